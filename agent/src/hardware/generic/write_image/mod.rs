//! Step `write_image`: an image goes to the root device. What `standby.prepare_image` does,
//! as a step.

use std::borrow::Cow;

use futures_util::FutureExt as _;
use ironic_document::JsonObject;
use serde_json::{Value, json};

use crate::config::AgentConfig;
use crate::failure::Failure;
use crate::hardware::wait::probe;
use crate::hardware::{
    Argument, ArgumentError, ArgumentKind, Description, Offer, PlanFuture, PlannedAction,
    RunFuture, Step, StepContext, StepError, StepPhase,
};
use crate::image::{self, Deployment, ImageRequest};
use crate::machine::block::BlockDevice;
use crate::machine::block::hints;

/// The step.
#[derive(Debug)]
pub(super) struct WriteImageStep;

/// The conductor makes the arguments, operators cannot: they are not advertised.
static DESCRIPTION: Description = Description {
    name: Cow::Borrowed("write_image"),
    interface: Cow::Borrowed("deploy"),
    reboot_requested: false,
    arguments: Cow::Borrowed(&[
        Argument {
            name: Cow::Borrowed("image_info"),
            description: Cow::Borrowed("The image, where it is and how it is verified."),
            required: true,
            kind: ArgumentKind::Object,
            advertised: false,
        },
        Argument {
            name: Cow::Borrowed("configdrive"),
            description: Cow::Borrowed("The config drive: gzip in base64, or a URL of that."),
            required: false,
            kind: ArgumentKind::Text,
            advertised: false,
        },
    ]),
};

impl Step for WriteImageStep {
    fn description(&self) -> &Description {
        &DESCRIPTION
    }

    fn offer(&self, phase: StepPhase, _config: &AgentConfig) -> Option<Offer> {
        match phase {
            StepPhase::Clean => None,
            StepPhase::Deploy | StepPhase::Service => Some(Offer::at(0)),
        }
    }

    fn plan<'a>(&'a self, ctx: StepContext<'a>, arguments: &'a JsonObject) -> PlanFuture<'a> {
        async move {
            let request = WriteRequest::check(ctx, arguments).await?;
            let lines = image::plan(request.deployment(ctx)).await;
            let lines = lines.map_err(Failure::from)?;
            let actions = lines.into_iter().map(|description| PlannedAction {
                description,
                device: request.device.name.clone(),
                destructive: true,
            });
            Ok(actions.collect())
        }
        .boxed()
    }

    fn run<'a>(&'a self, ctx: StepContext<'a>, arguments: &'a JsonObject) -> RunFuture<'a> {
        async move {
            let request = WriteRequest::check(ctx, arguments).await?;
            let sentence = image::prepare(request.deployment(ctx)).await;
            let sentence = sentence.map_err(Failure::from)?;
            // The Python agent runs a command within the step and answers that one's result.
            Ok(json!({"result": format!("prepare_image: {sentence}")}))
        }
        .boxed()
    }
}

/// What is to be written, and where.
struct WriteRequest<'a> {
    request: ImageRequest,
    configdrive: Option<&'a str>,
    device: BlockDevice,
}

impl<'a> WriteRequest<'a> {
    fn deployment<'b>(&'b self, ctx: StepContext<'b>) -> Deployment<'b> {
        Deployment {
            system: ctx.system,
            config: ctx.config,
            node: ctx.node,
            request: &self.request,
            configdrive: self.configdrive,
            device: &self.device,
            task: ctx.task,
            installed: ctx.installed,
        }
    }

    async fn check(ctx: StepContext<'a>, arguments: &'a JsonObject) -> Result<Self, StepError> {
        let image_info = arguments
            .get("image_info")
            .and_then(Value::as_object)
            .ok_or(ArgumentError::ImageInfo)?;
        let request = ImageRequest::from_document(image_info, ctx.config.md5_enabled)
            .map_err(Failure::from)?;
        let device = hints::root_device(&probe(ctx.system).await, ctx.node)?;
        Ok(Self {
            request,
            configdrive: arguments.get("configdrive").and_then(Value::as_str),
            device,
        })
    }
}

#[cfg(test)]
mod tests;
