//! Running programs: by argument vector, never a shell, always with a timeout.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustix::process::Signal;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt};
use tokio::process::Child;

use super::group::{self, Group};
#[cfg(any(test, feature = "fake"))]
use super::recording::{Origin, record};
use crate::failure::{Failure, FailureKind};

/// How much of standard error an error carries.
const STDERR_TAIL: usize = 1024;
/// What a program may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(5);
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
    /// Bytes of each of its outputs that are kept, the last ones; all when absent.
    pub tail: Option<usize>,
    /// It must not outlive the agent, also one that was killed.
    pub ends_with_agent: bool,
    /// Where in the source it was put together.
    #[cfg(any(test, feature = "fake"))]
    pub origin: Origin,
}

impl Cmd {
    /// A program without arguments, exit status 0, five minutes at most.
    #[cfg_attr(any(test, feature = "fake"), track_caller)]
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            stdin: Vec::new(),
            accepted: vec![0],
            timeout: DEFAULT_TIMEOUT,
            directory: None,
            tail: None,
            ends_with_agent: false,
            #[cfg(any(test, feature = "fake"))]
            origin: Origin::here(),
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

    /// Keeps only the last bytes of each output: for what may talk for days.
    #[must_use]
    pub fn tail(mut self, bytes: usize) -> Self {
        self.tail = Some(bytes);
        self
    }

    /// Ends it when the agent starts again after it was killed: for what may write to disks
    /// for days.
    #[must_use]
    pub fn ends_with_agent(mut self) -> Self {
        self.ends_with_agent = true;
        self
    }

    /// Kills the program, and what it started, after this time.
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
    if let Some(owner) = owner {
        command.env(OWNER, owner);
    }
    Group::lead(&mut command);
    command.env_remove(crate::config::TOKEN_VARIABLE);
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

    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let group = Group::of(&child);
    let mut running = Running(Some(Started { group, child }));
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A program that does not read its input says so by its exit status.
            let _ = stdin.write_all(&cmd.stdin).await;
        }
    };
    let ended = async {
        match &mut running.0 {
            Some(started) => started.child.wait().await,
            None => Err(io::ErrorKind::NotFound.into()),
        }
    };
    let work = async {
        let (stdout, stderr) = (read(stdout, cmd.tail), read(stderr, cmd.tail));
        let ((), stdout, stderr, ended) = tokio::join!(feed, stdout, stderr, ended);
        Ok((ended?, stdout?, stderr?))
    };
    let (ended, stdout, stderr) = match tokio::time::timeout(cmd.timeout, work).await {
        Ok(done) => done.map_err(broken)?,
        Err(_) => {
            running.end().await;
            return Err(RunError::TimedOut {
                command: cmd.to_string(),
                timeout: cmd.timeout,
            });
        }
    };
    running.has_ended();

    use std::os::unix::process::ExitStatusExt;
    let status = ended
        .code()
        .unwrap_or_else(|| 128 + ended.signal().unwrap_or_default());
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

/// A program that runs. Dropping it, because somebody cancelled or it takes too long, ends it
/// and what it started. It is asked first: fio's jobs leave its group, and fio writes its report.
struct Running(Option<Started>);

impl Running {
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

impl Drop for Running {
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
        record(&cmd);
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
    async fn programs_speak_the_c_locale() {
        let cmd = Cmd::new("sh").args(["-c", "echo $LC_ALL"]);
        assert_eq!(Programs.run(cmd).await.unwrap().text(), "C\n");
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

    /// Those that fio starts would go on writing to disks.
    #[tokio::test]
    async fn what_a_killed_program_started_is_killed_too() {
        for script in [
            "sleep 600 & echo $! >FILE; wait",
            // As fio does: jobs outside of the group, ended by who started them.
            "trap 'kill $job' TERM; setsid sleep 600 & job=$!; echo $job >FILE; wait",
            // One that does not listen.
            "trap '' TERM; sleep 600 & echo $! >FILE; wait",
            // Neither does this one, and its job is outside of the group.
            "trap '' TERM; setsid sleep 600 & echo $! >FILE; wait",
            // One that listens and forgets its job.
            "trap 'exit 0' TERM; setsid sleep 600 & echo $! >FILE; wait",
            // A job of a job.
            "trap '' TERM; setsid sh -c 'setsid sleep 600 & echo $! >FILE; wait' & wait",
        ] {
            assert_ends_with_its_parent(script).await;
        }
    }

    async fn assert_ends_with_its_parent(script: &str) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("child");
        let script = script.replace("FILE", file.to_str().unwrap());
        let running = Programs.run(Cmd::new("sh").args(["-c", &script]));
        let child = tokio::select! {
            ended = running => panic!("{ended:?}"),
            child = written(&file) => child,
        };
        let gone = async {
            while !is_gone(&child) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let gone = tokio::time::timeout(Duration::from_secs(20), gone).await;
        gone.unwrap_or_else(|_| panic!("it is not killed: {script}"));
    }

    /// The process number that a script writes into a file.
    async fn written(file: &std::path::Path) -> String {
        loop {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            if text.ends_with('\n') {
                break text.trim().to_owned();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn is_gone(process: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
        stat.map_or(true, |stat| stat.contains(") Z "))
    }

    /// The agent stops by dropping its runtime, with nobody left to wait for programs.
    #[test]
    fn what_runs_when_the_runtime_ends_is_killed_with_what_it_started() {
        for script in [
            "setsid sleep 600 & echo $! >FILE; wait",
            "trap '' TERM; setsid sh -c 'setsid sleep 600 & echo $! >FILE; wait' & wait",
        ] {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("child");
            let script = script.replace("FILE", file.to_str().unwrap());
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.spawn(Programs.run(Cmd::new("sh").args(["-c", &script])));
            let child = runtime.block_on(written(&file));
            assert!(!is_gone(&child));
            drop(runtime);
            let until = std::time::Instant::now() + Duration::from_secs(20);
            while !is_gone(&child) {
                assert!(std::time::Instant::now() < until, "it goes on: {script}");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// An agent that is killed ends nothing. The next one does, and leaves those of others alone.
    #[tokio::test]
    async fn what_a_killed_agent_left_behind_is_killed_at_the_next_start() {
        let (ours, others) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut started = Vec::new();
        for (owner, is_bound) in [(&ours, true), (&ours, false), (&others, true)] {
            let file = tempfile::NamedTempFile::new().unwrap();
            let script = format!(
                "setsid sh -c 'echo $$ >{}; exec sleep 600' & exit 0",
                file.path().display()
            );
            let mut cmd = Cmd::new("sh").args(["-c", script.as_str()]);
            // Who reads the output would wait for the job.
            cmd.args[1] = script.replace("exec sleep", "exec >/dev/null 2>&1 sleep");
            cmd.ends_with_agent = is_bound;
            OwnedPrograms::new(owner.path()).run(cmd).await.unwrap();
            started.push(written(file.path()).await);
        }
        let agent = OwnedPrograms::new(ours.path());
        assert_eq!(agent.end_leftovers(), 1);
        while !is_gone(&started[0]) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!is_gone(&started[1]) && !is_gone(&started[2]));
        assert_eq!(agent.end_leftovers(), 0);
        for left in &started[1..] {
            let left = rustix::process::Pid::from_raw(left.parse().unwrap()).unwrap();
            rustix::process::kill_process(left, Signal::KILL).unwrap();
        }
    }

    #[tokio::test]
    async fn of_what_talks_long_the_end_is_kept() {
        let script = "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done; echo end >&2";
        let cmd = Cmd::new("sh").args(["-c", script]).tail(20);
        let output = Programs.run(cmd).await.unwrap();
        assert_eq!(output.text(), "line 4998\nline 4999\n");
        assert_eq!(output.stderr, b"end\n");
    }
}
