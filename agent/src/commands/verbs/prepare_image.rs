//! Writes an image to the root device.

use ironic_document::JsonObject;
use serde_json::Value;

use super::Verb;
use crate::commands::arguments::VerbArguments;
use crate::commands::context::CommandContext;
use crate::commands::failure::Failure;
use crate::commands::plan::{CommandPlan, PlannedAction};
use crate::commands::root_device::{refreshed_node, root_device};
use crate::image::{self, Deployment, ImageRequest};
use crate::task::Task;

/// The verb with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct PrepareImage {
    /// Ironic's `image_info`; empty when it was not sent.
    pub image_info: JsonObject,
    /// URL or inline config drive.
    pub configdrive: Option<String>,
}

impl Verb for PrepareImage {
    fn read(mut arguments: VerbArguments) -> Option<Self> {
        Some(Self {
            image_info: arguments.object("image_info"),
            configdrive: arguments.text("configdrive"),
        })
    }

    fn check(&self, context: &CommandContext) -> Result<(), Failure> {
        self.request(context).map(drop)
    }

    async fn plan(&self, context: &CommandContext) -> Result<CommandPlan, Failure> {
        let request = self.request(context)?;
        let config = context.config.current();
        // What it says must be what will be done.
        let node = context.node.with_hints().await;
        let device = root_device(context).await?;
        let lines = image::plan(Deployment {
            system: &context.system,
            config: &config,
            node: &node,
            request: &request,
            configdrive: self.configdrive.as_deref(),
            device: &device,
            task: &Task::detached(),
            installed: &context.installed,
        })
        .await?;
        let actions = lines.into_iter().map(|description| PlannedAction {
            description,
            device: device.name.clone(),
            destructive: true,
        });
        Ok(CommandPlan {
            actions: actions.collect(),
        })
    }

    /// Answers a sentence.
    ///
    /// # Errors
    /// Whatever keeps the image from being on the disk.
    async fn run(self, context: &CommandContext, task: &Task) -> Result<Value, Failure> {
        let request = self.request(context)?;
        let config = context.config.current();
        let node = refreshed_node(context, task).await?;
        let device = root_device(context).await?;
        let written = image::prepare(Deployment {
            system: &context.system,
            config: &config,
            node: &node,
            request: &request,
            configdrive: self.configdrive.as_deref(),
            device: &device,
            task,
            installed: &context.installed,
        });
        Ok(Value::String(written.await?))
    }
}

impl PrepareImage {
    /// What `image_info` asks for.
    fn request(&self, context: &CommandContext) -> Result<ImageRequest, Failure> {
        let md5_enabled = context.config.current().md5_enabled;
        Ok(ImageRequest::from_document(&self.image_info, md5_enabled)?)
    }
}
