//! A program to run, what it answered, and why it did not.

use std::fmt;
use std::io;
use std::time::Duration;

use futures_util::future::BoxFuture;
use thiserror::Error;

#[cfg(any(test, feature = "fake"))]
use super::recording::CommandOrigin;

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
    /// Exit statuses that mean success.
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
    pub origin: CommandOrigin,
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
            origin: CommandOrigin::here(),
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
    /// Standard output as text; bytes that are not UTF-8 become replacement characters.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Why a program gave no result.
#[derive(Debug, Error)]
pub enum RunError {
    /// There is no such program on this machine.
    #[error("{program} is not installed")]
    Missing {
        /// Its name.
        program: String,
    },
    /// It could not be started or spoken to.
    #[error("{command}: {source}")]
    Broken {
        /// The command line.
        command: String,
        /// What the kernel said.
        source: io::Error,
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

/// Runs programs. The widest-used seam of the agent has one method.
pub trait Run: fmt::Debug + Send + Sync {
    /// Runs a program to its end.
    fn run(&self, cmd: Cmd) -> BoxFuture<'_, Result<Output, RunError>>;
}
