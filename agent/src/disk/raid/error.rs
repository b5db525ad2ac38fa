//! Why software RAID is not made or removed.

use std::io;

use thiserror::Error;
use tokio::task::JoinError;

use crate::disk::erase::guard::GuardError;
use crate::disk::partition::table::TableError;
use crate::disk::raid::plan::{InvalidRaidConfig, RaidLayoutError};
use crate::machine::block::hints::InvalidHint;
use crate::system::{DiskError, RunError};
use crate::task::Cancelled;

/// Why software RAID is not made or removed.
#[derive(Debug, Error)]
pub enum RaidError {
    /// The command was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// A disk must not be written.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The configuration of the node is invalid.
    #[error("Could not validate Software RAID config for {node}")]
    Config {
        /// The node's UUID.
        node: String,
        /// What is wrong with it.
        source: InvalidRaidConfig,
    },
    /// The node's skip list is invalid.
    #[error("skip_block_devices cannot be understood")]
    SkipList(#[source] InvalidHint),
    /// An array that is to be kept does not run.
    #[error(
        "skip_block_devices keeps volume '{volume}', of which a member is on {device}, but its \
         array is not running: start it (mdadm --assemble), or take the volume off \
         properties/skip_block_devices of the node"
    )]
    IdleVolume {
        /// The volume.
        volume: String,
        /// A member.
        device: String,
    },
    /// An array that is there has no name to compare.
    #[error("{array} has no volume name, so nothing says whether it is to be kept")]
    NoVolumeName {
        /// The array.
        array: String,
    },
    /// An array that is there is not wanted.
    #[error(
        "existing array {array} (volume {volume}) should not be there: run delete_configuration \
         first"
    )]
    UnwantedArray {
        /// The array.
        array: String,
        /// Its name.
        volume: String,
    },
    /// The volumes do not fit the disks.
    #[error(transparent)]
    Layout(#[from] RaidLayoutError),
    /// Disks that are chosen have partitions.
    #[error("Partitions detected on devices {} during RAID config", .0.join(", "))]
    Partitioned(Vec<String>),
    /// A disk that is chosen is left alone.
    #[error("{disk} cannot be used: {sentence}")]
    LeftAlone {
        /// The disk.
        disk: String,
        /// The guard's sentence.
        sentence: String,
    },
    /// The state directory cannot be written.
    #[error("the root volume cannot be remembered")]
    RootVolume(#[source] io::Error),
    /// A disk cannot be partitioned.
    #[error("Failed to create partitions on {disk}")]
    Partitions {
        /// The disk.
        disk: String,
        /// What stood in the way.
        source: PartitionCause,
    },
    /// A partition that was made has no device.
    #[error("partition {node} did not appear")]
    NoDevice {
        /// The device that it should have.
        node: String,
    },
    /// `mdadm` failed.
    #[error("{action}")]
    Program {
        /// What was tried.
        action: ArrayAction,
        /// What it said.
        source: RunError,
    },
    /// Something of the arrays is still there.
    #[error("Unable to clean all softraid correctly. Remaining [{}]", .0.join(", "))]
    Remaining(Vec<String>),
    /// The work ended without a result.
    #[error(transparent)]
    Thread(#[from] JoinError),
}

/// What `mdadm` was run for.
#[derive(Debug, Error)]
pub enum ArrayAction {
    /// Making an array.
    #[error("Failed to create md device {0}")]
    Create(String),
    /// Reading the state of an array.
    #[error("Failed to look at {0}")]
    Detail(String),
    /// Adding a member that is missing.
    #[error("Failed re-add {member} to {array}")]
    Add {
        /// The partition.
        member: String,
        /// The array.
        array: String,
    },
    /// Reading the superblock of a member.
    #[error("Failed to examine device {0}")]
    Examine(String),
}

/// Why a disk cannot be partitioned.
#[derive(Debug, Error)]
pub enum PartitionCause {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The partitions do not fit the table.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// Why a device keeps its superblock or its partition table.
#[derive(Debug, Error)]
pub(super) enum ClearError {
    /// The disk failed, or is in use.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The work ended without a result.
    #[error(transparent)]
    Thread(#[from] JoinError),
}
