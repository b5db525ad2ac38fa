//! Installs a bootable container image on the root device.

use ironic_document::JsonObject;
use ironic_text::Secret;
use serde_json::Value;

use super::Verb;
use crate::commands::arguments::VerbArguments;
use crate::commands::context::CommandContext;
use crate::commands::failure::Failure;
use crate::commands::plan::{CommandPlan, PlannedAction};
use crate::commands::root_device::{refreshed_node, root_device};
use crate::image::bootc::{self, BootcInstall};
use crate::task::Task;

/// The verb with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecuteBootcInstall {
    /// The container image: `oci://registry/name:tag`.
    pub image_source: String,
    /// Ironic's `instance_info` of the node.
    pub instance_info: JsonObject,
    /// Base64 of the registry's credential.
    pub pull_secret: Option<Secret>,
    /// URL or inline config drive.
    pub configdrive: Option<String>,
}

impl Verb for ExecuteBootcInstall {
    fn read(mut arguments: VerbArguments) -> Option<Self> {
        Some(Self {
            image_source: arguments.text("image_source").unwrap_or_default(),
            instance_info: arguments.object("instance_info"),
            pull_secret: arguments.text("pull_secret").map(Secret::new),
            configdrive: arguments.text("configdrive"),
        })
    }

    async fn plan(&self, context: &CommandContext) -> Result<CommandPlan, Failure> {
        bootc::permitted(&context.config.current())?;
        context.node.with_hints().await;
        let device = root_device(context).await?.name;
        Ok(CommandPlan {
            actions: vec![PlannedAction {
                description: format!("Install container {} on {device}", self.image_source),
                device,
                destructive: true,
            }],
        })
    }

    /// Answers a sentence.
    ///
    /// # Errors
    /// Whatever keeps the container from being installed.
    async fn run(self, context: &CommandContext, task: &Task) -> Result<Value, Failure> {
        let config = context.config.current();
        // Before anything is looked for: a site that does not want this has no right disk either.
        bootc::permitted(&config)?;
        refreshed_node(context, task).await?;
        let device = root_device(context).await?;
        let installed = bootc::install(BootcInstall {
            system: &context.system,
            config: &config,
            image_source: &self.image_source,
            instance_info: &self.instance_info,
            pull_secret: self.pull_secret.as_ref(),
            configdrive: self.configdrive.as_deref(),
            device: &device,
            task,
            installed: &context.installed,
        });
        Ok(Value::String(installed.await?))
    }
}
