//! Turning the machine off and on again.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use thiserror::Error;

use super::path_prefix::PathPrefix;
use super::process::{Cmd, Run, RunError};

/// How the machine is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerAction {
    /// It starts again.
    Reboot,
    /// It stays off.
    PowerOff,
}

impl PowerAction {
    /// The program of the same name.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::PowerOff => "poweroff",
        }
    }

    /// The key of the kernel's magic request that does the same without a program.
    fn request(self) -> &'static str {
        match self {
            Self::Reboot => "b",
            Self::PowerOff => "o",
        }
    }
}

/// Ends the machine's day.
pub trait Power: fmt::Debug + Send + Sync {
    /// Asks for the end and returns; the machine goes down a moment later. Everything must
    /// have been flushed before.
    fn shut_down(&self, action: PowerAction) -> BoxFuture<'_, Result<(), PowerError>>;
}

/// Neither the program nor the kernel obeyed.
#[derive(Debug, Error)]
#[error("{program} failed ({cause}) and so did the kernel's request: {source}")]
pub struct PowerError {
    /// The program that was tried first.
    pub program: &'static str,
    /// Why it did not do.
    pub cause: PowerProgramError,
    /// Why `/proc/sysrq-trigger` did not do either.
    pub source: std::io::Error,
}

/// Why the program did not end the machine's day.
#[derive(Debug, Error)]
pub enum PowerProgramError {
    /// It failed.
    #[error(transparent)]
    Run(RunError),
    /// It succeeded and says that it did nothing, as systemd's programs do in a chroot.
    #[error("{said}")]
    Ignored {
        /// Its standard error.
        said: String,
        /// Its exit status.
        status: i32,
    },
}

impl PowerProgramError {
    /// The program's exit status, if it had one.
    #[must_use]
    pub fn status(&self) -> Option<i32> {
        match self {
            Self::Run(RunError::Failed { status, .. }) | Self::Ignored { status, .. } => {
                Some(*status)
            }
            Self::Run(_) => None,
        }
    }
}

/// The power of this machine: the init's programs first, the kernel's request where there is
/// no init that listens (a container, a minimal ramdisk).
#[derive(Debug, Clone)]
pub struct MachinePower {
    /// Runs `reboot` and `poweroff`.
    pub run: Arc<dyn Run>,
    /// Holds `/proc/sysrq-trigger`.
    pub root: PathPrefix,
}

impl Power for MachinePower {
    fn shut_down(&self, action: PowerAction) -> BoxFuture<'_, Result<(), PowerError>> {
        Box::pin(async move {
            let program = action.program();
            let cause = match self.run.run(Cmd::new(program)).await {
                Ok(output) => {
                    let said = String::from_utf8_lossy(&output.stderr).into_owned();
                    if !said.contains("ignoring request") {
                        return Ok(());
                    }
                    PowerProgramError::Ignored {
                        said,
                        status: output.status,
                    }
                }
                Err(error) => PowerProgramError::Run(error),
            };
            tracing::warn!(program, reason = %cause, "asking the kernel instead");
            // Opened without creating: a file of that name elsewhere would hide the failure.
            std::fs::OpenOptions::new()
                .write(true)
                .open(self.root.path("/proc/sysrq-trigger"))
                .and_then(|mut trigger| {
                    std::io::Write::write_all(&mut trigger, action.request().as_bytes())
                })
                .map_err(|source| PowerError {
                    program,
                    cause,
                    source,
                })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::process::{Output, Script};
    use super::*;

    fn machine(script: Script) -> (tempfile::TempDir, MachinePower) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        let power = MachinePower {
            run: Arc::new(script),
            root: PathPrefix::new(dir.path()),
        };
        (dir, power)
    }

    fn failed(program: &str) -> Result<Output, RunError> {
        Err(RunError::Failed {
            program: program.into(),
            command: program.into(),
            status: 1,
            stderr: "no init".into(),
        })
    }

    #[tokio::test]
    async fn the_kernel_is_asked_only_when_the_program_did_nothing() {
        let ignored = Ok(Output {
            stderr: b"Running in chroot, ignoring request.\n".to_vec(),
            ..Output::default()
        });
        let cases = [
            (PowerAction::Reboot, Ok(Output::default()), ""),
            (PowerAction::Reboot, ignored, "b"),
            (PowerAction::PowerOff, failed("poweroff"), "o"),
        ];
        for (action, result, asked) in cases {
            let script = Script::new().expect_result(action.program(), result);
            let (dir, power) = machine(script);
            let trigger = dir.path().join("proc/sysrq-trigger");
            std::fs::write(&trigger, "").unwrap();
            power.shut_down(action).await.unwrap();
            assert_eq!(std::fs::read_to_string(trigger).unwrap(), asked);
        }
    }

    #[tokio::test]
    async fn when_both_ways_fail_both_reasons_are_reported() {
        let script = Script::new().expect_result("poweroff", failed("poweroff"));
        let (_dir, power) = machine(script);
        let error = power.shut_down(PowerAction::PowerOff).await.unwrap_err();
        assert_eq!(error.cause.status(), Some(1));
        assert!(error.to_string().contains("no init"), "{error}");
    }
}
