//! Why a system is not made to boot.

use std::io;

use ironic_text::error_chain;
use thiserror::Error;
use tokio::task::JoinError;

use crate::disk::boot::loader::SearchError;
use crate::disk::filesystem::mount::MountError;
use crate::disk::partition::table::TableError;
use crate::system::{DiskError, RunError};
use crate::task::Cancelled;

/// Why a system is not made to boot.
#[derive(Debug, Error)]
pub enum BootError {
    /// The command was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The firmware's boot menu could not be written.
    #[error("Could not configure UEFI boot on device {device}")]
    Firmware {
        /// The disk.
        device: String,
        /// What stood in the way.
        source: BootCause,
    },
    /// The disk has no EFI system partition, or not the one that was named.
    #[error(
        "No EFI partition could be detected on device {device} and EFI partition UUID has not been \
         recorded during deployment (which is often the case for whole disk images). Are you using \
         a UEFI-compatible image?"
    )]
    NoEfiSystemPartition {
        /// The disk.
        device: String,
    },
    /// The image's own GRUB failed.
    #[error(
        "Installing GRUB2 boot loader to device {device} failed with {}.",
        error_chain(source)
    )]
    Grub {
        /// The disk.
        device: String,
        /// What stood in the way.
        source: BootCause,
    },
    /// The image's EFI files could not be copied.
    #[error("Copying the EFI files of the image to {partition} failed")]
    EfiFiles {
        /// The EFI system partition.
        partition: String,
        /// What stood in the way.
        source: BootCause,
    },
    /// An EFI system partition could not be searched for a loader.
    #[error("Looking for a boot loader on {partition}")]
    FallbackLoader {
        /// The EFI system partition.
        partition: String,
        /// What stood in the way.
        source: BootCause,
    },
    /// The partitions of a disk could not be read.
    #[error("Reading the partitions of {disk} failed")]
    Partitions {
        /// The disk.
        disk: String,
        /// What stood in the way.
        source: BootCause,
    },
    /// No partition has the identity that is looked for.
    #[error("No partition with UUID {uuid} found on device {disk}")]
    NoPartition {
        /// The identity.
        uuid: String,
        /// The disk.
        disk: String,
    },
    /// Several partitions have the identity that is looked for.
    #[error("More than one partition with UUID {uuid} found on device {disk}")]
    AmbiguousPartition {
        /// The identity.
        uuid: String,
        /// The disk.
        disk: String,
    },
    /// The disks of an array got no boot partitions.
    #[error("The boot partitions of the array could not be made")]
    Array(#[from] BootArrayError),
}

/// Why the disks of an array got no boot partitions.
#[derive(Debug, Error)]
pub enum BootArrayError {
    /// Every name of an array is taken.
    #[error("all array names are taken")]
    NoArrayName,
    /// A disk is not prepared for them.
    #[error("{device}")]
    Device {
        /// The disk or the array.
        device: String,
        /// What stood in the way.
        source: BootCause,
    },
    /// A disk has no GUID partition table.
    #[error("{disk}: it has no GUID partition table, so no EFI system partition")]
    NoGpt {
        /// The disk.
        disk: String,
    },
    /// A disk has no room.
    #[error("{disk}: no {mib} MiB are free between its partitions")]
    NoRoom {
        /// The disk.
        disk: String,
        /// The size of the partition.
        mib: u64,
    },
    /// A partition that was made has no device.
    #[error("the new partition {node} did not appear")]
    NoDevice {
        /// The device that it should have.
        node: String,
    },
    /// The image's EFI system partition has no file system that could be moved.
    #[error("{partition} holds no FAT file system")]
    NoFat {
        /// The partition.
        partition: String,
    },
    /// The content of the image's EFI system partition could not be copied to the array.
    #[error("{partition} does not fit into {array}")]
    Content {
        /// The partition.
        partition: String,
        /// The array.
        array: String,
        /// What stood in the way.
        source: BootCause,
    },
    /// Anything else.
    #[error(transparent)]
    Other(#[from] BootCause),
}

/// What stands in the way of making a system boot.
#[derive(Debug, Error)]
pub enum BootCause {
    /// The command was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// A program failed.
    #[error(transparent)]
    Program(#[from] RunError),
    /// A disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A partition table is damaged or has no room.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A file system could not be mounted or unmounted.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A file of a mounted file system could not be read or written.
    #[error(transparent)]
    File(#[from] io::Error),
    /// A file of the image could not be read or written.
    #[error("{path} of the image")]
    ImageFile {
        /// Its path.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// An EFI system partition cannot be searched.
    #[error("{partition}")]
    Search {
        /// The partition.
        partition: String,
        /// Why not.
        source: SearchError,
    },
    /// The work on the disks ended without a result.
    #[error(transparent)]
    Thread(#[from] JoinError),
}
