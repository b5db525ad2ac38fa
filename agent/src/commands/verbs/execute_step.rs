//! Runs one step.

use ironic_document::JsonObject;
use serde_json::Value;

use super::Verb;
use crate::commands::arguments::VerbArguments;
use crate::commands::context::CommandContext;
use crate::commands::failure::Failure;
use crate::commands::plan::CommandPlan;
use crate::commands::step_context::{identified, remember, step_context, step_phase};
use crate::hardware::StepContext;
use crate::steps::{self, StepPhase, StepRequest};
use crate::task::Task;

/// The verb with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecuteStep {
    /// Which step machine.
    pub phase: StepPhase,
    /// The step as Ironic sent it.
    pub step: JsonObject,
    /// The node as Ironic stores it.
    pub node: JsonObject,
    /// Its ports.
    pub ports: Vec<JsonObject>,
    /// The versions that Ironic planned with; `None` skips the check.
    pub version: Option<Value>,
    /// Further named arguments; the step's own `args` win.
    pub arguments: JsonObject,
}

impl ExecuteStep {
    fn request(&self) -> StepRequest<'_> {
        StepRequest {
            phase: self.phase,
            step: &self.step,
            version: self.version.as_ref(),
            arguments: &self.arguments,
        }
    }
}

impl Verb for ExecuteStep {
    fn read(mut arguments: VerbArguments) -> Option<Self> {
        let phase = step_phase(arguments.verb())?;
        Some(Self {
            phase,
            step: arguments.object("step"),
            node: arguments.object("node"),
            ports: arguments.objects("ports"),
            version: arguments.any(&format!("{}_version", phase.word())),
            arguments: arguments.further(),
        })
    }

    /// The node is used and not remembered.
    async fn plan(&self, context: &CommandContext) -> Result<CommandPlan, Failure> {
        let config = context.config.current();
        let node = identified(self.node.clone())?;
        let task = Task::detached();
        let erasers = context.registry.erasers();
        let step_context = StepContext {
            erasers: &erasers,
            ..step_context(context, &config, &node, &self.ports, &task)
        };
        let registry = context.registry.under(&context.system, &config);
        let actions = steps::plan(self.request(), &registry, step_context).await?;
        Ok(CommandPlan { actions })
    }

    /// Answers what the step answered.
    ///
    /// # Errors
    /// The node has no UUID, the versions differ, there is no such step, or the step failed.
    async fn run(mut self, context: &CommandContext, task: &Task) -> Result<Value, Failure> {
        let config = context.config.current();
        let node = remember(context, &config, std::mem::take(&mut self.node)).await?;
        let erasers = context.registry.erasers();
        let step_context = StepContext {
            erasers: &erasers,
            ..step_context(context, &config, &node, &self.ports, task)
        };
        let registry = context.registry.under(&context.system, &config);
        Ok(steps::execute(self.request(), &registry, step_context).await?)
    }
}
