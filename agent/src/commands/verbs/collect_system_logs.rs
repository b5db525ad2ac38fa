//! Gathers the machine's logs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Verb;
use crate::commands::arguments::VerbArguments;
use crate::commands::context::CommandContext;
use crate::commands::failure::Failure;
use crate::commands::plan::CommandPlan;
use crate::logs;
use crate::task::Task;

/// The verb, which takes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectSystemLogs;

impl Verb for CollectSystemLogs {
    fn read(_arguments: VerbArguments) -> Option<Self> {
        Some(Self)
    }

    async fn plan(&self, _context: &CommandContext) -> Result<CommandPlan, Failure> {
        Ok(CommandPlan::of("Gather the machine's logs in an archive."))
    }

    /// Answers the archive as Ironic takes it: `{"system_logs": base64 of a gzip of a tar}`.
    ///
    /// # Errors
    /// The archive cannot be made.
    async fn run(self, context: &CommandContext, _task: &Task) -> Result<Value, Failure> {
        let archive = archive(context).await?;
        Ok(json!({ "system_logs": STANDARD.encode(archive) }))
    }
}

/// The archive itself: a gzip of a tar.
///
/// # Errors
/// The archive cannot be made.
pub async fn archive(context: &CommandContext) -> Result<Vec<u8>, Failure> {
    Ok(logs::archive::collect(&context.system, None).await?)
}
