//! Programs that run beside the agent until it ends or ends them.
//!
//! Such a program leads a process group of its own, so that it goes together with what it
//! started. Its standard input stays open and silent as long as the agent lives: a
//! program that reads it learns that the agent is gone, whatever the cause. What it writes
//! becomes lines of the agent's log.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin};
use tokio::time::Instant;

use super::RunError;
use super::group::Group;

/// How much of one line of its output is kept.
const MAX_LINE_BYTES: u64 = 4096;
/// So many lines of one of its outputs are logged in this time.
const LINES: u32 = 200;
const REFILL: Duration = Duration::from_secs(10);

/// A program beside the agent. Dropping it kills it and its process group.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    group: Group,
    _stdin: Option<ChildStdin>,
}

/// How a program ended.
#[derive(Debug)]
pub enum ProgramEnd {
    /// With this exit status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// The kernel does not say.
    Unknown(io::Error),
}

impl fmt::Display for ProgramEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "ended with status {status}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Self::Unknown(error) => write!(f, "ended: {error}"),
        }
    }
}

impl From<ExitStatus> for ProgramEnd {
    fn from(status: ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;
        match (status.code(), status.signal()) {
            (Some(status), _) => Self::Status(status),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => Self::Unknown(io::Error::other(status.to_string())),
        }
    }
}

impl Daemon {
    /// Starts a program; `name` is what the log calls it.
    ///
    /// # Errors
    /// There is no such program, or it cannot be started.
    pub fn start(name: &str, program: &Path, args: &[String]) -> Result<Self, RunError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "this and its neighbour `process` are where programs are started"
        )]
        let mut command = tokio::process::Command::new(program);
        Group::lead(&mut command);
        command.env_remove(ironic_program::TOKEN_VARIABLE);
        let spawned = command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = spawned.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => RunError::Missing {
                program: program.display().to_string(),
            },
            _ => RunError::Broken {
                command: program.display().to_string(),
                source: error,
            },
        })?;
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(relay(name.to_owned(), stdout));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(relay(name.to_owned(), stderr));
        }
        Ok(Self {
            _stdin: child.stdin.take(),
            group: Group::of(&child),
            child,
        })
    }

    /// Waits for its end. May be dropped and called again.
    pub async fn ended(&mut self) -> ProgramEnd {
        match self.child.wait().await {
            Ok(status) => status.into(),
            Err(error) => ProgramEnd::Unknown(error),
        }
    }

    /// Asks it to end, and kills it and what it started when it has not after `timeout`.
    pub async fn stop(mut self, timeout: Duration) -> ProgramEnd {
        self.group.signal(Signal::TERM);
        match tokio::time::timeout(timeout, self.ended()).await {
            Ok(ended) => ended,
            Err(_) => {
                self.group.signal(Signal::KILL);
                self.ended().await
            }
        }
    }
}

/// How many lines of a program the log takes.
#[derive(Debug)]
struct LineBudget {
    /// When the budget was last refilled.
    at: Instant,
    lines: u32,
    left_out: u64,
}

impl LineBudget {
    fn new(now: Instant) -> Self {
        Self {
            at: now,
            lines: LINES,
            left_out: 0,
        }
    }

    /// Whether one more line is taken, and how many were left out before it.
    fn take(&mut self, now: Instant) -> Option<u64> {
        if now.duration_since(self.at) >= REFILL {
            self.at = now;
            self.lines = LINES;
        }
        let Some(left) = self.lines.checked_sub(1) else {
            self.left_out += 1;
            return None;
        };
        self.lines = left;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Puts what a program writes into the log, line by line. What is too much is read and left
/// out: a program that waits for its log would not do its work.
async fn relay(name: String, output: impl AsyncRead + Unpin) {
    let mut output = BufReader::new(output);
    let mut budget = LineBudget::new(Instant::now());
    loop {
        let mut line = Vec::new();
        match (&mut output)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
            .await
        {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let Some(left_out) = budget.take(Instant::now()) else {
                    continue;
                };
                if left_out > 0 {
                    tracing::warn!(program = %name, lines = left_out, "it says too much");
                }
                let text = String::from_utf8_lossy(&line);
                tracing::info!(program = %name, "{}", text.trim_end());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Daemon {
        let args = ["-c".to_owned(), script.to_owned()];
        Daemon::start("shell", Path::new("/bin/sh"), &args).unwrap()
    }

    #[test]
    fn a_flood_of_lines_is_cut_and_counted() {
        let begin = Instant::now();
        let mut budget = LineBudget::new(begin);
        let taken = (0..1000).filter(|_| budget.take(begin).is_some()).count();
        assert_eq!(taken, 200);
        assert_eq!(budget.take(begin + REFILL), Some(800));
        assert_eq!(budget.take(begin + REFILL), Some(0));
    }

    #[tokio::test]
    async fn tells_how_it_ended() {
        assert!(matches!(
            shell("exit 3").ended().await,
            ProgramEnd::Status(3)
        ));
        assert!(matches!(
            shell("kill -9 $$").ended().await,
            ProgramEnd::Signal(9)
        ));
        let missing = Daemon::start("none", Path::new("/no/such/program"), &[]);
        assert!(matches!(missing, Err(RunError::Missing { .. })));
    }

    #[tokio::test]
    async fn input_stays_open_until_the_agent_lets_go() {
        // `cat` ends at the end of its input, which does not come by itself.
        let mut daemon = shell("cat >/dev/null; exit 7");
        let waiting = tokio::time::timeout(Duration::from_millis(50), daemon.ended()).await;
        assert!(waiting.is_err());
        daemon._stdin = None;
        assert!(matches!(daemon.ended().await, ProgramEnd::Status(7)));
    }

    #[tokio::test]
    async fn one_that_does_not_listen_is_killed() {
        let daemon = shell("trap '' TERM; echo ready; while :; do sleep 1; done");
        let ended = daemon.stop(Duration::from_millis(100)).await;
        assert!(
            matches!(ended, ProgramEnd::Signal(9 | 15)),
            "the trap may come late: {ended:?}"
        );
        let daemon = shell("trap 'exit 4' TERM; read nothing");
        let ended = daemon.stop(Duration::from_secs(10)).await;
        assert!(
            matches!(ended, ProgramEnd::Signal(15) | ProgramEnd::Status(4)),
            "{ended:?}"
        );
    }
}
