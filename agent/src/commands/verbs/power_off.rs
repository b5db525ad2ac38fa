//! Powers the machine off.

use serde_json::Value;

use super::Verb;
use crate::commands::arguments::VerbArguments;
use crate::commands::context::CommandContext;
use crate::commands::failure::Failure;
use crate::commands::plan::CommandPlan;
use crate::commands::power;
use crate::system::PowerAction;
use crate::task::Task;

/// The verb, which takes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerOff;

impl Verb for PowerOff {
    fn read(_arguments: VerbArguments) -> Option<Self> {
        Some(Self)
    }

    async fn plan(&self, _context: &CommandContext) -> Result<CommandPlan, Failure> {
        Ok(CommandPlan::of(
            "Flush all caches and power the machine off.",
        ))
    }

    /// Answers null.
    ///
    /// # Errors
    /// `SystemReboot`.
    async fn run(self, context: &CommandContext, task: &Task) -> Result<Value, Failure> {
        power::shut_down(context, task, PowerAction::PowerOff).await
    }
}
