//! Why a manager that is a program of its own, or its step, failed.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use ironic_text::error_chain;
use thiserror::Error;

use crate::system::RunError;
use crate::system::daemon::ProgramEnd;

/// The program did not answer as agreed.
#[derive(Debug, Error)]
#[error("{}", error_chain(source.as_ref()))]
pub struct PeerError {
    /// Why, for an operator.
    pub source: Box<dyn Error + Send + Sync>,
    /// Whether no program listens at the socket (yet).
    pub unreachable: bool,
}

/// A manager says why its step failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{details}")]
pub struct ReportedFailure {
    /// A class that Ironic knows, a class name of the manager's own, or nothing.
    pub kind: String,
    /// What happened.
    pub details: String,
    /// The external program that failed, if one did.
    pub program: Option<String>,
    /// Its exit status, unless it has none.
    pub exit_status: Option<i32>,
    /// The end of its standard error.
    pub stderr_tail: String,
}

/// A step failed as its manager says.
#[derive(Debug, Error)]
#[error("{failure}")]
pub struct ManagerFailure {
    /// The program's file name.
    pub manager: String,
    /// What the manager says.
    #[source]
    pub failure: ReportedFailure,
}

/// A step did not run to its end in the program.
#[derive(Debug, Error)]
#[error("hardware manager {manager}: {source}")]
pub struct ExternalStepError {
    /// The program's file name.
    pub manager: String,
    /// What happened.
    pub source: ExternalStepCause,
}

/// Why a step did not run to its end in the program.
#[derive(Debug, Error)]
pub enum ExternalStepCause {
    /// The program cannot be called.
    #[error("it is not running: {0}")]
    NotRunning(#[source] ProgramDown),
    /// The program ended.
    #[error("{0} while the step ran")]
    Ended(#[source] ProgramDown),
    /// The call failed.
    #[error(transparent)]
    Call(#[from] PeerError),
    /// The program did not say in time what it would do.
    #[error("no plan within {seconds} s")]
    NoPlan {
        /// How long it had.
        seconds: u64,
    },
    /// The step's deadline passed.
    #[error("the step did not end within its {seconds} s")]
    Deadline {
        /// How long it had.
        seconds: u64,
    },
}

/// Why a program cannot be called now.
#[derive(Debug, Clone, Error)]
pub enum ProgramDown {
    /// It ended.
    #[error("the program {0}")]
    Ended(Arc<ProgramEnd>),
    /// It was started again and describes itself differently.
    #[error("the program was started again and now says that it is something else")]
    Changed,
    /// It could not be started again.
    #[error(transparent)]
    NotStarted(Arc<StartError>),
    /// The agent ends.
    #[error("it is no longer watched")]
    Unwatched,
}

/// Why a program is not a hardware manager.
#[derive(Debug, Error)]
pub enum StartError {
    /// The kernel takes no socket with such a path.
    #[error(
        "the path of its socket, {}, is longer than {longest} bytes: give the program a shorter \
         name", path.display()
    )]
    SocketPath {
        /// The path.
        path: PathBuf,
        /// The kernel's limit.
        longest: usize,
    },
    /// It cannot be started.
    #[error(transparent)]
    Run(#[from] RunError),
    /// It ended at once.
    #[error("the program {0} before it described itself")]
    Ended(ProgramEnd),
    /// It does not describe itself.
    #[error("it does not tell what it is: {0}")]
    Describe(#[from] PeerError),
    /// It is silent.
    #[error("it did not tell what it is within {seconds} s")]
    Silent {
        /// How long it had.
        seconds: u64,
    },
}

/// Why a file is not started. It would run as the agent does.
#[derive(Debug, Error)]
pub enum UnsafeProgram {
    /// It cannot be examined.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is a directory, a socket, ...
    #[error("it is not a file")]
    NotAFile,
    /// It has no executable bit.
    #[error("it is not executable")]
    NotExecutable,
    /// Other users could replace it.
    #[error("others than its owner may change it: chmod go-w")]
    WritableByOthers,
}
