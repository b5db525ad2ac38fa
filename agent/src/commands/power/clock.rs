//! The clock of the machine, set by an NTP server.

use crate::commands::failure::{Failure, FailureKind};
use crate::config::AgentConfig;
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
        && let Err(failure) = ask_the_time(system, server).await
    {
        forgiven(failure)?;
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

/// Sets the system's clock with chrony, or else ntpdate, or else without any program.
///
/// # Errors
/// The server's name is invalid, the server does not answer, or a program failed.
pub async fn ask_the_time(system: &System, server: &str) -> Result<(), Failure> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".:_-".contains(&byte);
    if server.is_empty() || server.len() > 253 || !server.bytes().all(is_name) {
        return Err(Failure::execution(format!(
            "Invalid NTP server address: {server}"
        )));
    }
    let failed = |error: &dyn std::error::Error| {
        Failure::execution(format!(
            "Failed to sync time with ntp server: {server}: {error}"
        ))
    };
    let is_there = async |probe: Cmd| {
        !matches!(
            system.run.run(probe).await,
            Err(RunError::Missing { .. } | RunError::Failed { .. })
        )
    };
    let set = if is_there(Cmd::new("chronyd").arg("-h")).await {
        let stop = Cmd::new("chronyc").arg("shutdown").accept([0, 1]);
        system.run.run(stop).await.map_err(|error| failed(&error))?;
        Cmd::new("chronyd").args(["-q".to_owned(), format!("server {server} iburst")])
    } else if is_there(Cmd::new("ntpdate").arg("-v").accept([0, 1])).await {
        Cmd::new("ntpdate").arg(server)
    } else {
        let set = system.clock.set_by(server).await;
        let correction = set.map_err(|error| failed(&error))?;
        tracing::info!(server, %correction, "the clock was set");
        return Ok(());
    };
    system
        .run
        .run(set)
        .await
        .map(drop)
        .map_err(|error| failed(&error))
}
