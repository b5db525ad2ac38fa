//! The programs of this machine, run.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt};
use tokio::process::Child;

use super::command::{Cmd, Output, Run, RunError};
use crate::system::group::{self, Group};

/// How much of standard error an error carries.
const STDERR_TAIL: usize = 1024;
/// What a program may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(5);

/// The programs of this machine.
#[derive(Debug, Clone, Copy)]
pub struct Programs;

impl Run for Programs {
    fn run(&self, cmd: Cmd) -> BoxFuture<'_, Result<Output, RunError>> {
        Box::pin(run(cmd, None))
    }
}

/// The variable by which programs of an agent that was killed are known.
const OWNER: &str = "IRONIC_AGENT_PROGRAM_OF";

/// The programs of this machine, as the agent runs them whose state is in this directory.
#[derive(Debug, Clone)]
pub struct OwnedPrograms {
    owner: OsString,
}

impl OwnedPrograms {
    /// `state`: the directory that this agent has and no other.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self {
            owner: state.as_os_str().to_owned(),
        }
    }

    /// Kills what an earlier process of this agent has left behind of programs that
    /// [must not outlive it](Cmd::ends_with_agent). Answers how many processes that were.
    #[must_use]
    pub fn end_leftovers(&self) -> usize {
        group::kill_marked(OWNER, &self.owner)
    }
}

impl Run for OwnedPrograms {
    fn run(&self, cmd: Cmd) -> BoxFuture<'_, Result<Output, RunError>> {
        let owner = cmd.ends_with_agent.then_some(self.owner.as_os_str());
        Box::pin(run(cmd, owner))
    }
}

/// Runs a program. What it starts inherits the mark of its `owner`.
async fn run(cmd: Cmd, owner: Option<&OsStr>) -> Result<Output, RunError> {
    let mut program = RunningProgram::start(&cmd, owner)?;
    let work = program.finish(&cmd.stdin, cmd.tail);
    let finished = match tokio::time::timeout(cmd.timeout, work).await {
        Ok(done) => done.map_err(|source| RunError::Broken {
            command: cmd.to_string(),
            source,
        })?,
        Err(_) => {
            program.end().await;
            return Err(RunError::TimedOut {
                command: cmd.to_string(),
                timeout: cmd.timeout,
            });
        }
    };
    program.has_ended();
    judge(cmd, finished)
}

/// What a program that has ended leaves: its exit status and its outputs.
struct ProgramExit {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// The output of a program that ended as expected, or why it did not.
fn judge(cmd: Cmd, finished: ProgramExit) -> Result<Output, RunError> {
    let ProgramExit {
        status,
        stdout,
        stderr,
    } = finished;
    let status = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    tracing::debug!(command = %cmd, status, "program ended");
    if cmd.accepted.contains(&status) {
        Ok(Output {
            status,
            stdout,
            stderr,
        })
    } else {
        Err(RunError::Failed {
            command: cmd.to_string(),
            program: cmd.program,
            status,
            stderr: tail(&stderr),
        })
    }
}

/// A program and what it started, in the order in which they must be dropped: while the
/// program is there, its children are known as its own.
struct Started {
    group: Group,
    child: Child,
}

impl Started {
    /// Asks it to end, and kills what does not.
    async fn end(mut self) {
        let descendants = self.group.descendants();
        self.group.signal(Signal::TERM);
        let ended = tokio::time::timeout(GRACE, self.child.wait()).await;
        if ended.is_err() {
            self.group.kill();
            // One that waits for a device in the kernel cannot be killed.
            let _ = tokio::time::timeout(GRACE, self.child.wait()).await;
        }
        // It may not have ended those that are outside of its group.
        descendants.kill();
    }
}

/// A program that runs. Dropping it, after a cancellation or a timeout, ends it
/// and what it started. It is asked first: fio's jobs leave its group, and fio writes its report.
struct RunningProgram(Option<Started>);

impl RunningProgram {
    /// Starts it at the head of a process group of its own.
    fn start(cmd: &Cmd, owner: Option<&OsStr>) -> Result<Self, RunError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the one place that runs programs"
        )]
        let mut command = tokio::process::Command::new(&cmd.program);
        if let Some(directory) = &cmd.directory {
            command.current_dir(directory);
        }
        if let Some(owner) = owner {
            command.env(OWNER, owner);
        }
        Group::lead(&mut command);
        command.env_remove(ironic_program::TOKEN_VARIABLE);
        let spawned = command
            .args(&cmd.args)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let child = spawned.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => RunError::Missing {
                program: cmd.program.clone(),
            },
            _ => RunError::Broken {
                command: cmd.to_string(),
                source,
            },
        })?;
        let group = Group::of(&child);
        Ok(Self(Some(Started { group, child })))
    }

    /// Feeds its input, reads its outputs and waits for its end.
    async fn finish(&mut self, input: &[u8], tail: Option<usize>) -> io::Result<ProgramExit> {
        let Some(Started { child, .. }) = &mut self.0 else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A program that does not read its input says so by its exit status.
                let _ = stdin.write_all(input).await;
            }
        };
        let (stdout, stderr) = (read(stdout, tail), read(stderr, tail));
        let ((), stdout, stderr, status) = tokio::join!(feed, stdout, stderr, child.wait());
        Ok(ProgramExit {
            status: status?,
            stdout: stdout?,
            stderr: stderr?,
        })
    }

    /// What the program left behind on purpose stays.
    fn has_ended(mut self) {
        if let Some(Started { group, child }) = self.0.take() {
            group.let_go();
            drop(child);
        }
    }

    /// Waits until it has ended.
    async fn end(mut self) {
        if let Some(started) = self.0.take() {
            started.end().await;
        }
    }
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        let Some(started) = self.0.take() else {
            return;
        };
        // Without a runtime, or where it ends together with the agent, they are killed at once:
        // what is not run to its end is dropped.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(started.end());
        }
    }
}

/// All that comes, or the last bytes of it.
async fn read(from: Option<impl AsyncRead + Unpin>, tail: Option<usize>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let Some(mut from) = from else {
        return Ok(bytes);
    };
    while from.read_buf(&mut bytes).await? > 0 {
        // Not at every read: that would move the rest each time.
        if let Some(tail) = tail
            && bytes.len() > 2 * tail
        {
            bytes.drain(..bytes.len() - tail);
        }
    }
    let start = bytes.len().saturating_sub(tail.unwrap_or(bytes.len()));
    bytes.drain(..start);
    Ok(bytes)
}

fn tail(stderr: &[u8]) -> String {
    let start = stderr.len().saturating_sub(STDERR_TAIL);
    String::from_utf8_lossy(&stderr[start..]).trim().to_owned()
}
