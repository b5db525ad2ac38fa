//! Flushes caches to the disks.

use serde_json::Value;

use super::Verb;
use crate::commands::arguments::VerbArguments;
use crate::commands::context::CommandContext;
use crate::commands::failure::Failure;
use crate::commands::plan::CommandPlan;
use crate::commands::power;
use crate::task::Task;

/// The verb, which takes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync;

impl Verb for Sync {
    fn read(_arguments: VerbArguments) -> Option<Self> {
        Some(Self)
    }

    async fn plan(&self, _context: &CommandContext) -> Result<CommandPlan, Failure> {
        Ok(CommandPlan::of("Flush all caches to the disks."))
    }

    /// Answers null.
    ///
    /// # Errors
    /// The caches could not be flushed.
    async fn run(self, context: &CommandContext, task: &Task) -> Result<Value, Failure> {
        power::flush(&context.system, task).await?;
        Ok(Value::Null)
    }
}
