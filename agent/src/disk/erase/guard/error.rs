//! Why nothing may be erased.

use std::io;
use std::sync::Arc;

use ironic_text::error_chain;
use thiserror::Error;
use tokio::task::JoinError;

use crate::disk::erase::error::MethodError;
use crate::machine::block::hints::InvalidHint;
use crate::system::RunError;

/// What to do about a device that is guarded.
const OVERRIDES: &str = "Detach the volume or name it in properties/skip_block_devices; only if \
                         it may be destroyed, set wipe_special_filesystems to true in the node's \
                         driver_info or guard_special_filesystems to false in the ramdisk's \
                         configuration.";

/// Why nothing may be erased. The texts name the way out.
#[derive(Debug, Error)]
pub enum GuardError {
    /// The node's skip list is invalid.
    #[error(
        "Nothing was erased, because skip_block_devices cannot be understood: {}",
        error_chain(.0)
    )]
    SkipList(#[source] InvalidHint),
    /// A device cannot be examined.
    #[error(
        "Nothing was erased, because {device} could not be examined: {source}. Repair it, or name \
         it in properties/skip_block_devices of the node."
    )]
    Unreadable {
        /// The device.
        device: String,
        /// What the kernel said.
        source: Arc<io::Error>,
    },
    /// A disk that an order names was there when it was chosen.
    #[error(
        "Nothing was erased, because {0} is not the disk any more that was chosen: it is gone, or \
         another one has its name. Look at the machine's disks and order again."
    )]
    Gone(String),
    /// A drive answers no read, because it is locked.
    #[error(
        "Nothing was erased, because {device} cannot be read: {}. If its content may stay, name it \
         in properties/skip_block_devices of the node.",
        error_chain(source)
    )]
    Locked {
        /// The device.
        device: String,
        /// Why it stays locked.
        source: MethodError,
    },
    /// A file system that other machines may be using.
    #[error(
        "Nothing was erased: protected {kind} found on {location}. Other machines may be using it. \
         {OVERRIDES}"
    )]
    SharedFileSystem {
        /// What it is: `VMFS`, `GPFS`, `GFS2`, `OCFS2`.
        kind: &'static str,
        /// The device, or the partition that a table of it names.
        location: String,
    },
    /// The partition tables of a device claim more than can be examined.
    #[error(
        "Nothing was erased: the partition tables on {device} name more partitions than can be \
         examined, and one of them may hold a file system that other machines use. {OVERRIDES}"
    )]
    TooManyPartitions {
        /// The device.
        device: String,
    },
    /// Devices are write-protected.
    #[error(
        "Nothing was erased, because these devices are read-only: {}. Lift their write protection, \
         set [deploy]erase_skip_read_only of the conductor, or name them in \
         properties/skip_block_devices of the node.",
        .0.join(", ")
    )]
    ReadOnly(Vec<String>),
    /// Devices are mounted or claimed.
    #[error(
        "Nothing was erased, because these devices are in use: {}. Unmount them, or name them in \
         properties/skip_block_devices of the node.",
        .0.join(", ")
    )]
    InUse(Vec<String>),
    /// The kernel does not tell which devices are in use.
    #[error(
        "Nothing was erased, because what is in use is not known: {list} cannot be read: {source}"
    )]
    UnknownUse {
        /// The kernel's list.
        list: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// An array of the firmware would lose some of its disks and keep others.
    #[error(
        "Nothing was erased, because {erased} is a member of array {array} and {kept}, another \
         one, is left alone. Name both or none in properties/skip_block_devices of the node."
    )]
    SplitArray {
        /// The array.
        array: String,
        /// A member that would be erased.
        erased: String,
        /// A member that would not.
        kept: String,
    },
    /// An array of the firmware cannot be stopped.
    #[error("The disks of array {array} were not erased, because it could not be stopped")]
    ArrayNotStopped {
        /// The array.
        array: String,
        /// What `mdadm` said.
        source: RunError,
    },
    /// The examination ended without a result.
    #[error("The disks could not be examined")]
    Thread(#[from] JoinError),
}
