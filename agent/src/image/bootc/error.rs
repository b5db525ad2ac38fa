//! Why a bootable container is not on the disk.

use std::io;

use thiserror::Error;
use tokio::task::JoinError;

use super::RESERVED;
use crate::image::config_drive::ConfigDriveError;
use crate::image::partition_table::ImageTableError;
use crate::system::{DiskError, RunError};
use crate::task::Cancelled;

/// Why a bootable container is not on the disk.
#[derive(Debug, Error)]
pub enum BootcError {
    /// The command was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// This site does not want any.
    #[error(
        "Deployment of bootable containers is administratively disabled (option \
         disable_bootc_deploy)."
    )]
    Disabled,
    /// The image is not a container image.
    #[error(
        "'image_source' is not a container image such as oci://registry.example/name:tag: {0:?}"
    )]
    ImageSource(String),
    /// A field of the instance is something else.
    #[error("'instance_info.{field}' must be {kind}")]
    InstanceInfo {
        /// The field.
        field: &'static str,
        /// What it must be.
        kind: &'static str,
    },
    /// The disk is too small.
    #[error("{device} has {mib} MiB, and a bootable container needs more than {RESERVED} MiB")]
    TooSmall {
        /// The disk.
        device: String,
        /// MiB of it.
        mib: u64,
    },
    /// The config drive cannot be used.
    #[error(transparent)]
    ConfigDrive(#[from] ConfigDriveError),
    /// The settings of podman.
    #[error("Failed to write the settings of podman: {0}")]
    Settings(#[source] io::Error),
    /// The administrator's keys.
    #[error("Failed to write the authorized keys: {0}")]
    Keys(#[source] io::Error),
    /// The container does not come.
    #[error("Failed to pull container image: {0}")]
    Pull(#[from] PullError),
    /// The container installs nothing.
    #[error("The container image does not contain bootc, so it cannot be installed.")]
    NoBootc,
    /// The installation failed.
    #[error("Installing the container image on device {device} failed: {source}")]
    Install {
        /// The disk.
        device: String,
        /// Why.
        source: RunError,
    },
    /// The disk failed after the installation.
    #[error("{device}: {source}")]
    Disk {
        /// The disk.
        device: String,
        /// Why.
        source: DiskError,
    },
    /// What was installed does not boot.
    #[error(transparent)]
    Table(#[from] ImageTableError),
    /// A thread was lost.
    #[error("completing the disk failed: {0}")]
    Thread(#[source] JoinError),
}

/// Why a container does not come from its registry.
#[derive(Debug, Error)]
pub enum PullError {
    /// The credential cannot be read.
    #[error("'pull_secret' is not base64")]
    NotBase64,
    /// The same.
    #[error("'pull_secret' does not hold text in base64")]
    NotText,
    /// The credential has no place.
    #[error("the credential cannot be kept: {0}")]
    Keep(#[source] io::Error),
    /// podman failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The tenant's code would see the credential.
    #[error("its credential cannot be deleted, and must not be there when it runs: {0}")]
    Delete(#[source] io::Error),
}
