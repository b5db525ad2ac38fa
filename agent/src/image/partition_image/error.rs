//! Why a partition image and what is around it are not on a disk.

use std::io;

use thiserror::Error;
use tokio::task::JoinError;

use crate::disk::partition::layout::LayoutError;
use crate::disk::partition::table::TableError;
use crate::failure::Failure;
use crate::image::config_drive::{ConfigDriveError, PutError};
use crate::system::{DiskError, RunError};
use crate::task::Cancelled;

/// Why a partition image and what is around it are not on a disk.
#[derive(Debug, Error)]
pub enum PartitionImageError {
    /// The command was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// BIOS machines boot such images only by a program that is not permitted.
    #[error(
        "A partition image boots on a BIOS machine only by its own GRUB, which is not run unless \
         the option enable_bios_bootloader_install permits it (off because of CVE-2026-43003). \
         Nothing was written: permit it, or use a whole disk image."
    )]
    BiosLoader,
    /// UEFI machines boot such images only by a loader that it does not bring.
    #[error(
        "The image brings no EFI boot loader: there is nothing below /boot/efi/EFI. Nothing was \
         written: use an image that has one, or permit the image's own GRUB to be run by the \
         option enable_bios_bootloader_install (off because of CVE-2026-43003)."
    )]
    EfiLoader,
    /// The image is larger than its partition.
    #[error(
        "Root partition is too small for requested image. Image virtual size: {image} MB, Root \
         size: {root} MB"
    )]
    TooLarge {
        /// MiB of the image.
        image: u64,
        /// MiB of the partition.
        root: u64,
    },
    /// The ephemeral file system cannot be made here.
    #[error("Failed to create a file system. File system {format} is not supported. {reason}")]
    FileSystem {
        /// What was asked for.
        format: String,
        /// Why it cannot be made.
        #[source]
        reason: NoFileSystem,
    },
    /// The config drive cannot be used.
    #[error(transparent)]
    ConfigDrive(#[from] ConfigDriveError),
    /// What the disk held cannot be removed.
    #[error("{}", .0.details)]
    Clear(#[source] Failure),
    /// The partitions cannot be made.
    #[error("Disk partitioning failed on device {device}. Error: {source}")]
    Partitioning {
        /// The disk.
        device: String,
        /// Why.
        source: PartitioningError,
    },
    /// The kernel does not show a partition.
    #[error("Unable to stat device {node} after creating partitions.")]
    Missing {
        /// Its device node.
        node: String,
    },
    /// The program that makes the ephemeral file system failed.
    #[error("Writing image to device {device} failed: {source}")]
    Mkfs {
        /// The disk.
        device: String,
        /// Why.
        source: RunError,
    },
    /// A thread was lost.
    #[error("shaping {device} failed: {source}")]
    Thread {
        /// The disk.
        device: String,
        /// Why.
        source: JoinError,
    },
}

/// Why a file system cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoFileSystem {
    /// A program needs a device node.
    #[error("{device} is a file, and only FAT can be made in a part of one.")]
    File {
        /// The disk.
        device: String,
    },
    /// The program is missing.
    #[error("{program} is not installed.")]
    NoProgram {
        /// Its name.
        program: String,
    },
}

/// Why the partitions around an image are not there.
#[derive(Debug, Error)]
pub enum PartitioningError {
    /// They do not fit.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// They cannot be in one table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// One of them has a size that its file system cannot have.
    #[error("no FAT file system can be made: {0}")]
    Format(#[source] io::Error),
    /// The config drive is not in its partition.
    #[error(transparent)]
    ConfigDrive(#[from] PutError),
    /// What was written does not come back.
    #[error("the disk does not have the partitions that were written")]
    Different,
}
