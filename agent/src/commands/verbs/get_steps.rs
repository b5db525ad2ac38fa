//! Lists the steps that this machine offers for a phase.

use ironic_document::JsonObject;
use serde_json::Value;

use super::Verb;
use crate::commands::arguments::VerbArguments;
use crate::commands::context::CommandContext;
use crate::commands::failure::Failure;
use crate::commands::plan::CommandPlan;
use crate::commands::step_context::{remember, step_context, step_phase};
use crate::steps::{self, StepPhase};
use crate::task::Task;

/// The verb with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct GetSteps {
    /// Which step machine.
    pub phase: StepPhase,
    /// The node as Ironic stores it.
    pub node: JsonObject,
    /// Its ports.
    pub ports: Vec<JsonObject>,
}

impl Verb for GetSteps {
    fn read(mut arguments: VerbArguments) -> Option<Self> {
        Some(Self {
            phase: step_phase(arguments.verb())?,
            node: arguments.object("node"),
            ports: arguments.objects("ports"),
        })
    }

    async fn plan(&self, _context: &CommandContext) -> Result<CommandPlan, Failure> {
        let phase = self.phase.word();
        Ok(CommandPlan::of(format!(
            "List the {phase} steps of this machine."
        )))
    }

    /// Answers the steps and the versions of the hardware managers.
    ///
    /// # Errors
    /// The node has no UUID, or a hardware manager failed.
    async fn run(self, context: &CommandContext, task: &Task) -> Result<Value, Failure> {
        let config = context.config.current();
        let node = remember(context, &config, self.node).await?;
        let step_context = step_context(context, &config, &node, &self.ports, task);
        let registry = context.registry.under(&context.system, &config);
        Ok(steps::list(self.phase, &registry, step_context).await?)
    }
}
