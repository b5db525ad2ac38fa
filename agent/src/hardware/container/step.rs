//! A step that runs a container.

use std::borrow::Cow;

use futures_util::FutureExt as _;
use ironic_document::JsonObject;
use serde_json::Value;

use super::error::ContainerStepError;
use super::file::FileStep;
use super::options::own_or;
use super::run::{ContainerRun, PULL, RUN, URL, asked};
use super::runtime::{forget_container, remove_container, version};
use crate::config::AgentConfig;
use crate::hardware::{
    Argument, ArgumentKind, Description, Offer, PlanFuture, PlannedAction, RunFuture, Step,
    StepContext, StepError, StepPhase,
};
use crate::system::Cmd;

/// A step that runs a container.
#[derive(Debug)]
pub(super) struct ContainerStep {
    description: Description,
    source: ContainerSource,
}

/// Whose image.
#[derive(Debug)]
pub(super) enum ContainerSource {
    /// The command's: not trusted.
    Asked,
    /// The ramdisk's.
    Baked(FileStep),
}

impl ContainerStep {
    pub(super) fn new(name: &'static str, source: ContainerSource) -> Self {
        let argument = |name: &'static str, description: &'static str, required| Argument {
            name: name.into(),
            description: description.into(),
            required,
            // A wrong type is an error of another class than those of other steps.
            kind: ArgumentKind::Any,
            advertised: true,
        };
        Self {
            description: Description {
                name: name.into(),
                interface: "deploy".into(),
                reboot_requested: false,
                arguments: vec![
                    argument(URL, "Container image URL", true),
                    argument(PULL, "Pull options", false),
                    argument(RUN, "Run options", false),
                ]
                .into(),
            },
            source,
        }
    }

    pub(super) fn of_file(step: FileStep) -> Self {
        Self {
            description: Description {
                name: step.name.clone().into(),
                interface: step.interface.clone().into(),
                reboot_requested: step.reboot_requested,
                arguments: Cow::Borrowed(&[]),
            },
            source: ContainerSource::Baked(step),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.description.name
    }

    fn resolve(
        &self,
        config: &AgentConfig,
        arguments: &JsonObject,
    ) -> Result<ContainerRun, ContainerStepError> {
        match &self.source {
            ContainerSource::Asked => asked(config, arguments),
            ContainerSource::Baked(step) => Ok(ContainerRun {
                image: step.image.clone(),
                pull: own_or(&step.pull_options, &config.container.pull_options),
                run: own_or(&step.run_options, &config.container.run_options),
            }),
        }
    }
}

impl Step for ContainerStep {
    fn description(&self) -> &Description {
        &self.description
    }

    fn offer(&self, phase: StepPhase, _config: &AgentConfig) -> Option<Offer> {
        let (priority, abortable) = match &self.source {
            ContainerSource::Asked => (0, true),
            // The file's priorities are those of automated cleaning: elsewhere each such step
            // would run every time.
            ContainerSource::Baked(step) if phase == StepPhase::Clean => {
                (step.priority, step.abortable)
            }
            ContainerSource::Baked(step) => (0, step.abortable),
        };
        Some(Offer {
            priority,
            abortable: Some(abortable),
        })
    }

    fn plan<'a>(&'a self, ctx: StepContext<'a>, arguments: &'a JsonObject) -> PlanFuture<'a> {
        async move {
            let container = self.resolve(ctx.config, arguments)?;
            let runner = ctx.config.container.runner.word();
            let action = |command: Cmd| PlannedAction {
                description: format!("Run {command}"),
                ..PlannedAction::default()
            };
            Ok(container.commands(runner).map(action).into())
        }
        .boxed()
    }

    fn run<'a>(&'a self, ctx: StepContext<'a>, arguments: &'a JsonObject) -> RunFuture<'a> {
        async move {
            let container = self.resolve(ctx.config, arguments)?;
            let runner = ctx.config.container.runner.word();
            let usable = ctx.system.run.run(version(runner)).await;
            usable.map_err(|source| ContainerStepError::Runner { runner, source })?;
            forget_container(ctx.system)?;
            for command in container.commands(runner) {
                let ended = tokio::select! {
                    result = ctx.system.run.run(command) => result.map_err(StepError::from),
                    () = ctx.task.cancelled() => Err(ctx.task.cancellation().into()),
                };
                if ended.is_err() {
                    remove_container(ctx.system, runner).await;
                }
                ended?;
            }
            tracing::info!(image = %container.image, "the container ended");
            Ok(Value::Null)
        }
        .boxed()
    }
}
