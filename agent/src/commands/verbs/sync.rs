//! Flushes caches to the disks.

use serde_json::Value;

use super::Verb;
use crate::commands::arguments::Arguments;
use crate::commands::context::CommandContext;
use crate::commands::failure::Failure;
use crate::commands::plan::Plan;
use crate::commands::power;
use crate::task::Task;

/// The verb, which takes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync;

impl Verb for Sync {
    fn read(_arguments: Arguments) -> Option<Self> {
        Some(Self)
    }

    async fn plan(&self, _context: &CommandContext) -> Result<Plan, Failure> {
        Ok(Plan::of("Flush all caches to the disks."))
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
