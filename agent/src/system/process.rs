//! Running programs: by argument vector, never a shell, always with a timeout.

use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::BoxFuture;
use thiserror::Error;
use tokio::io::AsyncWriteExt;

use crate::failure::{Failure, FailureKind};

/// How much of standard error an error carries.
const STDERR_TAIL: usize = 1024;
/// A program that is not done by then is killed.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cmd {
    /// The program's name, looked up in `PATH`, or its path.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// What it reads from standard input.
    pub stdin: Vec<u8>,
    /// Exit statuses that are no failure.
    pub accepted: Vec<i32>,
    /// When it is killed.
    pub timeout: Duration,
    /// Where it runs; where the agent does when absent.
    pub directory: Option<String>,
}

impl Cmd {
    /// A program without arguments, exit status 0, five minutes at most.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            stdin: Vec::new(),
            accepted: vec![0],
            timeout: DEFAULT_TIMEOUT,
            directory: None,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Feeds standard input.
    #[must_use]
    pub fn stdin(mut self, stdin: impl Into<Vec<u8>>) -> Self {
        self.stdin = stdin.into();
        self
    }

    /// Accepts these exit statuses instead of only 0.
    #[must_use]
    pub fn accept(mut self, statuses: impl Into<Vec<i32>>) -> Self {
        self.accepted = statuses.into();
        self
    }

    /// Runs it in this directory.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<String>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Kills the program after this time.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// The command line as a person would type it. Secrets go to standard input, never here.
impl fmt::Display for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program)?;
        self.args.iter().try_for_each(|arg| write!(f, " {arg}"))
    }
}

/// What a program said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// Its exit status, one of the accepted.
    pub status: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text; bytes that are no UTF-8 become replacement characters.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Why a program gave no result.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RunError {
    /// There is no such program on this machine.
    #[error("{program} is not installed")]
    Missing {
        /// Its name.
        program: String,
    },
    /// It could not be started or spoken to.
    #[error("{command}: {reason}")]
    Broken {
        /// The command line.
        command: String,
        /// What the kernel said.
        reason: String,
    },
    /// It ended with a status that is a failure.
    #[error("{command} ended with status {status}: {stderr}")]
    Failed {
        /// The program.
        program: String,
        /// The command line.
        command: String,
        /// The exit status; 128 plus the signal's number when it was killed.
        status: i32,
        /// The last KiB of standard error.
        stderr: String,
    },
    /// It was killed because it took too long.
    #[error("{command} was stopped after {} s", timeout.as_secs())]
    TimedOut {
        /// The command line.
        command: String,
        /// The limit.
        timeout: Duration,
    },
}

impl RunError {
    /// A command's failure because of this program: `<what>: <error>`, and what the program
    /// itself said.
    #[must_use]
    pub fn failure(self, kind: FailureKind, what: impl fmt::Display) -> Failure {
        let mut failure = Failure::new(kind, format!("{what}: {self}"));
        match self {
            Self::Failed {
                program,
                status,
                stderr,
                ..
            } => {
                failure.program = Some(program);
                failure.exit_status = Some(status);
                failure.stderr_tail = stderr;
            }
            Self::Missing { program } => failure.program = Some(program),
            Self::Broken { .. } | Self::TimedOut { .. } => {}
        }
        failure
    }
}

/// Runs programs. The widest-used seam of the agent has one method.
pub trait Run: fmt::Debug + Send + Sync {
    /// Runs a program to its end.
    fn run(&self, cmd: Cmd) -> BoxFuture<'_, Result<Output, RunError>>;
}

/// The programs of this machine.
#[derive(Debug, Clone, Copy)]
pub struct Programs;

impl Run for Programs {
    fn run(&self, cmd: Cmd) -> BoxFuture<'_, Result<Output, RunError>> {
        Box::pin(run(cmd))
    }
}

async fn run(cmd: Cmd) -> Result<Output, RunError> {
    let broken = |error: std::io::Error| RunError::Broken {
        command: cmd.to_string(),
        reason: error.to_string(),
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that runs programs"
    )]
    let mut command = tokio::process::Command::new(&cmd.program);
    if let Some(directory) = &cmd.directory {
        command.current_dir(directory);
    }
    let spawned = command
        .args(&cmd.args)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(RunError::Missing {
                program: cmd.program,
            });
        }
        Err(error) => return Err(broken(error)),
    };

    let stdin = child.stdin.take();
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A program that does not read its input says so by its exit status.
            let _ = stdin.write_all(&cmd.stdin).await;
        }
    };
    // Dropping the future kills the program: kill_on_drop.
    let work = async { tokio::join!(feed, child.wait_with_output()).1 };
    let output = match tokio::time::timeout(cmd.timeout, work).await {
        Ok(output) => output.map_err(broken)?,
        Err(_) => {
            return Err(RunError::TimedOut {
                command: cmd.to_string(),
                timeout: cmd.timeout,
            });
        }
    };

    use std::os::unix::process::ExitStatusExt;
    let status = output
        .status
        .code()
        .unwrap_or_else(|| 128 + output.status.signal().unwrap_or_default());
    tracing::debug!(command = %cmd, status, "program ended");
    if cmd.accepted.contains(&status) {
        Ok(Output {
            status,
            stdout: output.stdout,
            stderr: output.stderr,
        })
    } else {
        Err(RunError::Failed {
            command: cmd.to_string(),
            program: cmd.program,
            status,
            stderr: tail(&output.stderr),
        })
    }
}

fn tail(stderr: &[u8]) -> String {
    let start = stderr.len().saturating_sub(STDERR_TAIL);
    String::from_utf8_lossy(&stderr[start..]).trim().to_owned()
}

/// A scripted world for tests: each expected command line with its answer.
///
/// It is stateful and strict: an unexpected command panics with the argv it saw, and
/// [`Script::assert_done`] fails while expected commands are missing.
#[cfg(any(test, feature = "fake"))]
#[derive(Debug, Default)]
pub struct Script {
    expected: std::sync::Mutex<std::collections::VecDeque<(String, Result<Output, RunError>)>>,
}

#[cfg(any(test, feature = "fake"))]
#[allow(
    clippy::panic,
    clippy::expect_used,
    reason = "a fake fails its test loudly"
)]
impl Script {
    /// A script in which no program is expected.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Expects this command line next and answers with this standard output.
    #[must_use]
    pub fn expect(self, command: &str, stdout: &str) -> Self {
        let output = Output {
            stdout: stdout.into(),
            ..Output::default()
        };
        self.expect_result(command, Ok(output))
    }

    /// Expects this command line next and answers with this result.
    #[must_use]
    pub fn expect_result(self, command: &str, result: Result<Output, RunError>) -> Self {
        self.expected
            .lock()
            .expect("no panic in between")
            .push_back((command.into(), result));
        self
    }

    /// Fails while expected commands have not been run.
    pub fn assert_done(&self) {
        let left = self.expected.lock().expect("no panic in between");
        assert!(
            left.is_empty(),
            "these commands were expected and not run: {left:?}"
        );
    }
}

#[cfg(any(test, feature = "fake"))]
#[allow(
    clippy::panic,
    clippy::expect_used,
    reason = "a fake fails its test loudly"
)]
impl Run for Script {
    fn run(&self, cmd: Cmd) -> BoxFuture<'_, Result<Output, RunError>> {
        let next = self
            .expected
            .lock()
            .expect("no panic in between")
            .pop_front();
        let Some((command, result)) = next else {
            panic!("no command was expected, but this one was run: {cmd}");
        };
        assert_eq!(command, cmd.to_string(), "another command was expected");
        Box::pin(std::future::ready(result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_program_is_not_a_failed_one() {
        let missing = Programs
            .run(Cmd::new("no-such-program-at-all"))
            .await
            .unwrap_err();
        assert_eq!(
            missing,
            RunError::Missing {
                program: "no-such-program-at-all".into()
            }
        );

        let failed = Programs
            .run(Cmd::new("sh").args(["-c", "echo why >&2; exit 3"]))
            .await;
        let Err(RunError::Failed {
            status,
            stderr,
            program,
            ..
        }) = failed
        else {
            panic!("{failed:?}")
        };
        assert_eq!(
            (status, stderr.as_str(), program.as_str()),
            (3, "why", "sh")
        );
    }

    #[tokio::test]
    async fn input_is_fed_and_accepted_statuses_are_results() {
        let cmd = Cmd::new("sh")
            .args(["-c", "cat; exit 2"])
            .stdin("hello")
            .accept([0, 2]);
        let output = Programs.run(cmd).await.unwrap();
        assert_eq!((output.status, output.text().as_str()), (2, "hello"));
    }

    #[tokio::test]
    async fn a_slow_program_is_killed() {
        let cmd = Cmd::new("sleep")
            .arg("60")
            .timeout(Duration::from_millis(50));
        assert!(matches!(
            Programs.run(cmd).await,
            Err(RunError::TimedOut { .. })
        ));
    }
}
