//! Answers what the last image write left behind.

use serde_json::Value;

use super::Verb;
use crate::commands::arguments::VerbArguments;
use crate::commands::context::CommandContext;
use crate::commands::failure::Failure;
use crate::commands::plan::CommandPlan;
use crate::task::Task;

/// The verb, which takes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetPartitionUuids;

impl Verb for GetPartitionUuids {
    fn read(_arguments: VerbArguments) -> Option<Self> {
        Some(Self)
    }

    async fn plan(&self, _context: &CommandContext) -> Result<CommandPlan, Failure> {
        Ok(CommandPlan::of(
            "Answer what the last image write left behind.",
        ))
    }

    /// Answers an object, which is empty before any image was written.
    async fn run(self, context: &CommandContext, _task: &Task) -> Result<Value, Failure> {
        let uuids = context.installed.partition_uuids();
        if uuids.is_empty() {
            tracing::warn!("no image was written since the agent started");
        }
        Ok(Value::Object(uuids))
    }
}
