//! Setting the clocks before the machine is powered off: the system's by an NTP server, and the
//! hardware's by that.

use crate::commands::failure::{Failure, FailureKind};
use crate::config::AgentConfig;
use crate::system::time_server::set_clock_by;
use crate::system::{Cmd, RunError, System};
use crate::task::Task;

/// Sets the clock by the NTP server, if there is one, and the hardware clock by it.
///
/// # Errors
/// `ClockSync`, only when the operator insists on a right clock.
pub(super) async fn set_clock(
    system: &System,
    config: &AgentConfig,
    task: &Task,
) -> Result<(), Failure> {
    let forgiven = |failure: Failure| {
        if config.fail_if_clock_not_set {
            return Err(failure);
        }
        task.warn(failure.to_string());
        Ok(())
    };
    if let Some(server) = config.ntp_server.as_deref()
        && let Err(error) = set_clock_by(system, server).await
    {
        forgiven(error.into())?;
    }
    let store = Cmd::new("hwclock").args(["-v", "--systohc"]);
    match system.run.run(store).await {
        Ok(_) => Ok(()),
        // A machine without such a clock can still be powered off.
        Err(error @ RunError::Missing { .. }) => {
            task.warn(error.to_string());
            Ok(())
        }
        Err(error) => forgiven(Failure::new(
            FailureKind::ClockSync,
            format!("Failed to sync hardware clock: {error}"),
        )),
    }
}
