//! Runs the program that makes the load.

use std::time::Duration;

use super::error::BurnInError;
use crate::hardware::StepContext;
use crate::system::{Cmd, Output};

/// The programs end by themselves; this is for those that do not.
pub(super) const MAX_RUN_TIME: Duration = Duration::from_secs(60 * 24 * 3600);
/// Bytes of what they say that are kept.
const OUTPUT: usize = 1 << 20;

/// Runs a program until it ends or the step is cancelled, which kills it.
pub(super) async fn execute(ctx: StepContext<'_>, command: Cmd) -> Result<Output, BurnInError> {
    let line = command.to_string();
    tracing::info!(command = %line, "burn-in");
    tokio::select! {
        output = ctx.system.run.run(command.timeout(MAX_RUN_TIME).tail(OUTPUT).ends_with_agent()) => {
            output.map_err(|error| BurnInError::of_program(line, error))
        }
        () = ctx.task.cancelled() => Err(ctx.task.cancellation().into()),
    }
}

/// Writes results to the log, where those who burn machines in collect them.
pub(super) fn log_output(output: &[u8]) {
    for line in String::from_utf8_lossy(output).lines() {
        tracing::info!("burn-in: {line}");
    }
}
