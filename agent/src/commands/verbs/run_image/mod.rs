//! Starts the deployed system: by a reboot, or by its kernel from here.

use std::time::Duration;

use serde_json::Value;

use super::Verb;
use crate::commands::arguments::VerbArguments;
use crate::commands::context::CommandContext;
use crate::commands::failure::{Failure, FailureKind};
use crate::commands::plan::CommandPlan;
use crate::commands::power;
use crate::commands::root_device::root_device;
use crate::disk::boot::kexec;
use crate::system::PowerAction;
use crate::task::Task;

/// How long after the command has ended the kernel is started: its record must leave.
const START_DELAY: Duration = Duration::from_secs(2);

/// The verb with its argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunImage {
    /// Whether the deployed system's kernel is started without the firmware.
    pub kexec: bool,
}

impl Verb for RunImage {
    fn read(mut arguments: VerbArguments) -> Option<Self> {
        Some(Self {
            kexec: arguments.flag("kexec").unwrap_or(false),
        })
    }

    fn check(&self, context: &CommandContext) -> Result<(), Failure> {
        if self.kexec && context.node.is_ironics() {
            return Err(Failure::new(
                FailureKind::InvalidCommandParams,
                "run_image.kexec: is refused for a node that Ironic has: Ironic reboots it by its \
                 firmware and waits for it",
            ));
        }
        Ok(())
    }

    async fn plan(&self, context: &CommandContext) -> Result<CommandPlan, Failure> {
        if !self.kexec {
            return Ok(CommandPlan::of("Flush all caches and reboot the machine."));
        }
        let disk = root_device(context).await?.name;
        Ok(CommandPlan::of(format!(
            "Flush all caches and start the kernel of the system on {disk} without the firmware."
        )))
    }

    /// Answers null.
    ///
    /// # Errors
    /// `SystemReboot`.
    async fn run(self, context: &CommandContext, task: &Task) -> Result<Value, Failure> {
        if self.kexec {
            return start_kernel(context, task).await;
        }
        power::shut_down(context, task, PowerAction::Reboot).await
    }
}

/// Loads the kernel and starts it in a moment.
async fn start_kernel(context: &CommandContext, task: &Task) -> Result<Value, Failure> {
    let system = &context.system;
    let disk = root_device(context).await?.name;
    if system.simulation.is_some() {
        tracing::info!(%disk, "a simulation starts no other kernel");
        return Ok(Value::Null);
    }
    kexec::load(system, &disk, task).await?;
    if let Err(failure) = power::flush(system, task).await {
        task.warn(failure.to_string());
    }
    task.check()?;
    let run = std::sync::Arc::clone(&system.run);
    tokio::spawn(async move {
        tokio::time::sleep(START_DELAY).await;
        if let Err(error) = run.run(kexec::start()).await {
            tracing::error!(%error, "the kernel that was loaded is not started");
        }
    });
    Ok(Value::Null)
}

#[cfg(test)]
mod tests;
