//! Step `execute_bootc_install`: a bootable container installs itself on the root device.

use std::borrow::Cow;

use futures_util::FutureExt as _;
use ironic_document::JsonObject;
use ironic_text::Secret;
use serde_json::{Value, json};

use crate::config::AgentConfig;
use crate::failure::Failure;
use crate::hardware::wait::probe;
use crate::hardware::{
    Argument, ArgumentKind, Description, Offer, PlanFuture, PlannedAction, RunFuture, Step,
    StepContext, StepPhase,
};
use crate::image::bootc::{self, BootcInstall};
use crate::machine::block::hints;

/// The step.
#[derive(Debug)]
pub(super) struct ExecuteBootcInstallStep;

/// The conductor makes the arguments, operators cannot: they are not advertised.
static DESCRIPTION: Description = Description {
    name: Cow::Borrowed("execute_bootc_install"),
    interface: Cow::Borrowed("deploy"),
    reboot_requested: false,
    arguments: Cow::Borrowed(&[
        Argument {
            name: Cow::Borrowed("image_source"),
            description: Cow::Borrowed("The container image: oci://registry/name:tag."),
            required: true,
            kind: ArgumentKind::Text,
            advertised: false,
        },
        Argument {
            name: Cow::Borrowed("configdrive"),
            description: Cow::Borrowed("The config drive: gzip in base64, or a URL of that."),
            required: false,
            kind: ArgumentKind::Text,
            advertised: false,
        },
        Argument {
            name: Cow::Borrowed("oci_pull_secret"),
            description: Cow::Borrowed("The registry's credential in base64."),
            required: false,
            kind: ArgumentKind::Text,
            advertised: false,
        },
    ]),
};

impl Step for ExecuteBootcInstallStep {
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
            bootc::permitted(ctx.config).map_err(Failure::from)?;
            let device = hints::root_device(&probe(ctx.system).await, ctx.node)?.name;
            Ok(vec![PlannedAction {
                description: format!(
                    "Install container {} on {device}",
                    text(arguments, "image_source").unwrap_or_default()
                ),
                device,
                destructive: true,
            }])
        }
        .boxed()
    }

    fn run<'a>(&'a self, ctx: StepContext<'a>, arguments: &'a JsonObject) -> RunFuture<'a> {
        async move {
            bootc::permitted(ctx.config).map_err(Failure::from)?;
            let device = hints::root_device(&probe(ctx.system).await, ctx.node)?;
            let none = JsonObject::new();
            let info = ctx.node.0.get("instance_info").and_then(Value::as_object);
            let secret = text(arguments, "oci_pull_secret").map(Secret::new);
            let sentence = bootc::install(BootcInstall {
                system: ctx.system,
                config: ctx.config,
                image_source: text(arguments, "image_source").unwrap_or_default(),
                instance_info: info.unwrap_or(&none),
                pull_secret: secret.as_ref(),
                configdrive: text(arguments, "configdrive"),
                device: &device,
                task: ctx.task,
                installed: ctx.installed,
            })
            .await
            .map_err(Failure::from)?;
            // The Python agent runs a command within the step and answers that one's result.
            Ok(json!({"result": format!("execute_bootc_install: {sentence}")}))
        }
        .boxed()
    }
}

fn text<'a>(arguments: &'a JsonObject, name: &str) -> Option<&'a str> {
    arguments.get(name).and_then(Value::as_str)
}
