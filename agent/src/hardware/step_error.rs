//! Why a step failed.

use std::io;

use thiserror::Error;

use super::argument::ArgumentError;
use super::container::error::ContainerStepError;
use super::external::error::{ExternalStepError, ManagerFailure};
use super::generic::burnin::error::BurnInError;
use super::generic::error::{EraseDevicesError, InvalidMatchPatterns};
use super::generic::inject_files::error::InjectFilesError;
use super::vendor::mellanox::error::NicFirmwareError;
use crate::disk::erase::InvalidOverrides;
use crate::disk::erase::guard::GuardError;
use crate::disk::erase::metadata::MetadataError;
use crate::disk::inject::InjectError;
use crate::disk::raid::RaidError;
use crate::failure::Failure;
use crate::machine::block::hints::NoRootDevice;
use crate::system::RunError;
use crate::task::Cancelled;

/// Why a step failed. What Ironic sees of it is decided by the table of `commands`.
#[derive(Debug, Error)]
pub enum StepError {
    /// The step does not fit this hardware: the next manager is asked.
    #[error("{0}")]
    Incompatible(String),
    /// The arguments are wrong.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// An external program failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A file of the machine could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The command was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// A burn-in failed.
    #[error(transparent)]
    BurnIn(#[from] BurnInError),
    /// `clean_uefi_nvram` was given patterns that cannot be used.
    #[error(transparent)]
    MatchPatterns(#[from] InvalidMatchPatterns),
    /// Devices were not erased.
    #[error(transparent)]
    Erase(#[from] EraseDevicesError),
    /// Files were not injected.
    #[error(transparent)]
    InjectFiles(#[from] InjectFilesError),
    /// A step in a container failed.
    #[error(transparent)]
    Container(#[from] ContainerStepError),
    /// A manager that is a program of its own did not do its work.
    #[error(transparent)]
    External(#[from] ExternalStepError),
    /// Such a manager says why its step failed.
    #[error(transparent)]
    Reported(Box<ManagerFailure>),
    /// Firmware of network cards was not updated.
    #[error(transparent)]
    NicFirmware(#[from] NicFirmwareError),
    /// A module below failed.
    #[error("{}", .0.details)]
    Failure(#[from] Failure),
}

/// What the modules below say reaches Ironic in its own class.
macro_rules! in_its_class {
    ($($error:ty),*) => {
        $(impl From<$error> for StepError {
            fn from(error: $error) -> Self {
                Self::Failure(error.into())
            }
        })*
    };
}

in_its_class!(
    GuardError,
    InjectError,
    InvalidOverrides,
    MetadataError,
    NoRootDevice,
    RaidError
);
