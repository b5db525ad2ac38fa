//! Writes an image to the root device.

use std::sync::OnceLock;

use ironic_document::JsonObject;
use serde_json::Value;

use super::Verb;
use crate::commands::arguments::VerbArguments;
use crate::commands::context::CommandContext;
use crate::commands::failure::Failure;
use crate::commands::plan::CommandPlan;
use crate::commands::root_device::{refreshed_node, root_device};
use crate::image::{self, Deployment, ImageRequest};
use crate::task::Task;

/// The verb with its arguments.
#[derive(Debug, Clone)]
pub struct PrepareImage {
    /// Ironic's `image_info`; empty when it was not sent.
    pub image_info: JsonObject,
    /// URL or inline config drive.
    pub configdrive: Option<String>,
    /// What `image_info` asks for, once it has been read: what was admitted is what is done,
    /// also when the configuration changes in between.
    request: OnceLock<ImageRequest>,
}

impl Verb for PrepareImage {
    fn read(mut arguments: VerbArguments) -> Option<Self> {
        Some(Self {
            image_info: arguments.object("image_info"),
            configdrive: arguments.text("configdrive"),
            request: OnceLock::new(),
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
            request,
            configdrive: self.configdrive.as_deref(),
            device: &device,
            task: &Task::detached(),
            installed: &context.installed,
        })
        .await?;
        Ok(CommandPlan::overwriting(&device.name, lines))
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
            request,
            configdrive: self.configdrive.as_deref(),
            device: &device,
            task,
            installed: &context.installed,
        });
        Ok(Value::String(written.await?))
    }
}

impl PrepareImage {
    /// What `image_info` asks for, read the first time that somebody asks.
    fn request(&self, context: &CommandContext) -> Result<&ImageRequest, Failure> {
        if let Some(request) = self.request.get() {
            return Ok(request);
        }
        let md5_enabled = context.config.current().md5_enabled;
        let request = ImageRequest::from_document(&self.image_info, md5_enabled)?;
        Ok(self.request.get_or_init(|| request))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing;
    use crate::config::{AgentConfig, SessionOverrides};

    #[test]
    fn what_was_admitted_is_carried_out_when_the_configuration_changes() {
        let context = testing::context(AgentConfig {
            md5_enabled: true,
            ..AgentConfig::default()
        });
        let info = json!({"id": "i", "urls": ["http://a/b"], "checksum": "0".repeat(32)});
        let call = || PrepareImage {
            image_info: info.as_object().unwrap().clone(),
            configdrive: None,
            request: OnceLock::new(),
        };
        let admitted = call();
        admitted.check(&context).unwrap();
        context.config.apply(&SessionOverrides {
            agent_md5_checksum_enable: Some(false),
            ..SessionOverrides::default()
        });
        assert!(admitted.request(&context).unwrap().md5_enabled);
        call().check(&context).unwrap_err();
    }
}
