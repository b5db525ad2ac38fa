//! Why disks are not erased. The texts are for operators and name the way out.

use std::sync::Arc;
use std::time::Duration;

use ironic_text::error_chain;
use thiserror::Error;
use tokio::task::JoinError;

use crate::disk::erase::time::in_words;
use crate::system::{DiskError, RunError};

/// Why a drive cannot erase itself.
#[derive(Debug, Clone, Error)]
pub enum NoSecureErase {
    /// The firmware froze the security state.
    #[error(
        "its firmware froze the security state: the machine must lose power, and a BIOS setting \
         may freeze drives at every start"
    )]
    Frozen,
    /// The NVMe controller cannot be asked.
    #[error("its controller is unknown")]
    UnknownController(#[source] Arc<NvmeError>),
    /// The NVMe controller cannot format.
    #[error("its controller does not support the format command")]
    NoFormat,
    /// Formatting would erase namespaces that must not be erased.
    #[error(
        "its controller formats all namespaces at once, and {} must not be erased",
        .0.join(", ")
    )]
    Bystanders(Vec<String>),
}

/// Why a controller is not known.
#[derive(Debug, Error)]
pub enum NvmeError {
    /// What it printed is not a JSON document.
    #[error("'nvme id-ctrl' printed no JSON document")]
    NoDocument,
    /// Something is missing in it.
    #[error("'nvme id-ctrl' printed no {0}")]
    Missing(&'static str),
    /// It could not be asked.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// A drive cannot erase itself, and must not be erased in another way.
#[derive(Debug, Clone, Error)]
#[error(
    "{}. Set [deploy]continue_if_disk_secure_erase_fails of the conductor to overwrite such disks.",
    error_chain(.0)
)]
pub struct Unerasable(#[source] pub NoSecureErase);

/// A disk that was not erased.
#[derive(Debug)]
pub struct EraseFailure {
    /// The disk's path.
    pub device: String,
    /// Why.
    pub error: EraseError,
}

/// Why a disk was not erased.
#[derive(Debug, Error)]
pub enum EraseError {
    /// There is no way to erase it.
    #[error(transparent)]
    Unerasable(#[from] Unerasable),
    /// Every way failed.
    #[error("{}", joined(.0))]
    Failed(Vec<Attempt>),
}

fn joined(attempts: &[Attempt]) -> String {
    let texts: Vec<_> = attempts
        .iter()
        .map(|attempt| error_chain(attempt))
        .collect();
    texts.join("; ")
}

/// What was tried to erase a disk, and why it failed.
#[derive(Debug, Error)]
pub enum Attempt {
    /// Nothing could be tried, for a reason that the plan names.
    #[error("{0}")]
    Unplanned(String),
    /// The command was cancelled before.
    #[error("the command was cancelled")]
    Cancelled,
    /// The deadline passed before.
    #[error("no time is left for another way")]
    NoTimeLeft,
    /// It was tried and failed.
    #[error("{method}")]
    Method {
        /// The way, for a person.
        method: String,
        /// Why it failed.
        source: MethodError,
    },
}

/// Why a way to erase a disk failed.
#[derive(Debug, Error)]
pub enum MethodError {
    /// A program failed.
    #[error(transparent)]
    Program(#[from] RunError),
    /// A program took too long.
    #[error(
        "it was given up after {} ({source}); the drive may still be at it",
        in_words(*limit)
    )]
    TimedOut {
        /// The time that it had.
        limit: Duration,
        /// What was stopped.
        source: RunError,
    },
    /// The command was cancelled.
    #[error("it was stopped, because the command was cancelled")]
    Cancelled,
    /// The drive does not report its progress any more.
    #[error("where it stands is not known any more")]
    StatusUnknown(#[source] StatusError),
    /// The drive was still erasing itself at the deadline.
    #[error(
        "it is at {percent} % after {} and was given up; it goes on by itself",
        in_words(*limit)
    )]
    DeadlinePassed {
        /// How far it is.
        percent: u64,
        /// The time that it had.
        limit: Duration,
    },
    /// The ATA drive is locked with an unknown password.
    #[error(
        "it is locked with a password that is not ours: remove the password with the tool that \
         set it"
    )]
    Locked,
    /// The ATA drive takes no password.
    #[error("no password could be set")]
    NoPassword(#[source] RunError),
    /// Something between us and the ATA drive drops commands.
    #[error("it took a password and has none: its security commands do not reach it")]
    PasswordDropped,
    /// The ATA drive does not report its security state.
    #[error("its security state is unknown")]
    SecurityUnknown(#[source] RunError),
    /// The ATA drive failed to erase itself.
    #[error("the drive did not erase itself")]
    NotErased(#[source] Box<MethodError>),
    /// The ATA drive does not report its security state any more.
    #[error("its state after the erase is unknown")]
    SecurityLost(#[source] RunError),
    /// The ATA drive reports success and still has a password.
    #[error("its password is still set after the erase: it did not erase itself")]
    PasswordStays,
    /// The SCSI drive failed to sanitize itself.
    #[error("it failed to sanitize itself")]
    MediumError(#[source] RunError),
    /// The NVMe drive failed to sanitize itself.
    #[error("the drive failed to sanitize itself")]
    SanitizeFailed,
    /// The NVMe drive did not begin to sanitize itself.
    #[error("the drive did not start to sanitize itself")]
    SanitizeNotStarted,
    /// The file that plays a disk could not be written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The work ended without a result.
    #[error(transparent)]
    Thread(#[from] JoinError),
}

/// Why the progress of a drive that erases itself is unknown.
#[derive(Debug, Error)]
pub enum StatusError {
    /// The program that asks failed.
    #[error(transparent)]
    Program(#[from] RunError),
    /// The drive reports another condition.
    #[error("{0}")]
    Condition(String),
    /// The sanitize log of an NVMe drive is not understood.
    #[error("the drive's sanitize log makes no sense")]
    InvalidLog,
}
