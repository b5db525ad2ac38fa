//! The end of a deployment: the clock is set, caches are flushed, the power goes.

use serde_json::Value;

use super::context::CommandContext;
use super::failure::{Failure, FailureKind};
use crate::machine::block;
use crate::system::{Cmd, PowerAction, System};
use crate::task::Task;

mod clock;

/// Sets the clock, flushes, and asks for the end. Only the last may fail, unless the operator
/// wants the clock to be right.
pub(super) async fn shut_down(
    context: &CommandContext,
    task: &Task,
    action: PowerAction,
) -> Result<Value, Failure> {
    task.check()?;
    let config = context.config.current();
    if context.system.simulation.is_none() {
        clock::set_clock(&context.system, &config, task).await?;
    }
    if let Err(failure) = flush(&context.system, task).await {
        task.warn(failure.to_string());
    }
    context
        .system
        .power
        .shut_down(action)
        .await
        .map_err(|error| {
            let mut failure = Failure::new(
                FailureKind::SystemReboot,
                format!(
                    "Reboot script failed with exit code {}. stdout: . stderr: {}. {}",
                    error
                        .cause
                        .status()
                        .map_or_else(|| "unknown".to_owned(), |status| status.to_string()),
                    error.cause,
                    error.source
                ),
            );
            failure.program = Some(error.program.to_owned());
            failure.exit_status = error.cause.status();
            failure
        })?;
    Ok(Value::Null)
}

/// Writes all caches out, drops them, and flushes the disks' own. Only the first may fail.
pub(super) async fn flush(system: &System, task: &Task) -> Result<(), Failure> {
    if system.simulation.is_some() {
        // The files of a simulation were synced when they were written.
        return Ok(());
    }
    system.run.run(Cmd::new("sync")).await.map_err(|error| {
        Failure::execution(format!("Flushing file system buffers failed: {error}"))
    })?;
    let caches = system.root.writable("/proc/sys/vm/drop_caches");
    if let Err(error) = caches.and_then(|caches| std::fs::write(caches, "3")) {
        tracing::warn!(%error, "caches are not dropped");
    }
    let probed = system.clone();
    let devices = tokio::task::spawn_blocking(move || block::probe(&probed)).await;
    for device in devices.unwrap_or_default() {
        task.check()?;
        let flush = Cmd::new("blockdev").args(["--flushbufs", &device.name]);
        if let Err(error) = system.run.run(flush).await {
            tracing::warn!(device = %device.name, %error, "buffers are not flushed");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
