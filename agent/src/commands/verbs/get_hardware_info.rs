//! Answers the inventory.

use ironic_document::JsonObject;
use serde_json::Value;

use super::Verb;
use crate::commands::arguments::VerbArguments;
use crate::commands::context::CommandContext;
use crate::commands::failure::Failure;
use crate::commands::plan::CommandPlan;
use crate::machine;
use crate::task::Task;

/// The verb, which takes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetHardwareInfo;

impl Verb for GetHardwareInfo {
    fn read(_arguments: VerbArguments) -> Option<Self> {
        Some(Self)
    }

    async fn plan(&self, _context: &CommandContext) -> Result<CommandPlan, Failure> {
        Ok(CommandPlan::of("Read the machine's inventory."))
    }

    /// Answers the inventory as it is now.
    ///
    /// # Errors
    /// The machine cannot be read.
    async fn run(self, context: &CommandContext, _task: &Task) -> Result<Value, Failure> {
        inventory(context).await.map(Value::Object)
    }
}

/// The inventory as an object, for the callers that need no record.
///
/// # Errors
/// The machine cannot be read.
pub async fn inventory(context: &CommandContext) -> Result<JsonObject, Failure> {
    let context = context.clone();
    tokio::task::spawn_blocking(move || {
        machine::inventory(&context.system, &context.config.current())
    })
    .await
    .map_err(|error| Failure::execution(format!("The inventory could not be read: {error}")))
}
