//! Why a config drive is not on a disk.

use ironic_ondisk::partition_table::mbr::MbrError;
use thiserror::Error;

use super::{LABEL, MAX_DRIVE_BYTES};
use crate::disk::filesystem::copy_tree::TreeError;
use crate::disk::partition::table::TableError;
use crate::image::source::SourceError;
use crate::system::DiskError;
use crate::task::Cancelled;

/// Why a config drive is not on a disk.
#[derive(Debug, Error)]
pub enum ConfigDriveError {
    /// The command was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// What came inline is no base64.
    #[error("Config drive for node {node} is not base64 encoded or the content is malformed.")]
    NotBase64 {
        /// The node.
        node: String,
    },
    /// It could not be downloaded.
    #[error("Can't download the configdrive content for node {node} from '{url}'. {source}")]
    Download {
        /// The node.
        node: String,
        /// The URL as it may be shown.
        url: String,
        /// Why.
        source: SourceError,
    },
    /// It cannot be unpacked.
    #[error(
        "Encountered error while decompressing and writing config drive for node {node}. Error: \
         {source}"
    )]
    Unpack {
        /// The node.
        node: String,
        /// Why.
        source: UnpackError,
    },
    /// It is too large.
    #[error(
        "Config drive size exceeds maximum limit of {}MiB. Size of the given config drive is more \
         than {largest} bytes for node {node}.",
        largest >> 20
    )]
    TooLarge {
        /// The node.
        node: String,
        /// The limit in bytes.
        largest: u64,
    },
    /// It cannot be made into something that this disk can hold.
    #[error(
        "A failure occurred while attempting to format, copy and write the config drive for node \
         {node}. Error: {source}"
    )]
    Size {
        /// The node.
        node: String,
        /// Why.
        source: PutError,
    },
    /// The disk's logical partitions cannot be read.
    #[error("Failed to read the logical partitions of disk {device}. Error: {source}")]
    Logical {
        /// The disk.
        device: String,
        /// Why.
        source: DiskError,
    },
    /// The disk's labels cannot be read.
    #[error("Failed to retrieve partition labels on disk {device}. Error: {source}")]
    Labels {
        /// The disk.
        device: String,
        /// Why.
        source: DiskError,
    },
    /// The image brings more than one place for it.
    #[error(
        "More than one partition with label {LABEL} exists on device {device}: numbers {first} \
         and {second}"
    )]
    TwoPartitions {
        /// The disk.
        device: String,
        /// Number of a partition.
        first: u32,
        /// Number of another.
        second: u32,
    },
    /// There is no entry for its partition.
    #[error(
        "Config drive cannot be created for node {node}. Disk {device} uses MBR partitioning and \
         already has {count} primary partitions."
    )]
    TableFull {
        /// The node.
        node: String,
        /// The disk.
        device: String,
        /// Partitions.
        count: usize,
    },
    /// It cannot be placed.
    #[error("Failed to create config drive on disk {device} for node {node}. Error: {source}")]
    Place {
        /// The node.
        node: String,
        /// The disk.
        device: String,
        /// Why.
        source: PlaceError,
    },
}

/// Why the bytes of a config drive mean nothing.
#[derive(Debug, Error)]
pub enum UnpackError {
    /// It is something else.
    #[error("it is neither gzip data nor a file system")]
    Unknown,
    /// The gzip data is damaged.
    #[error(transparent)]
    Gzip(#[from] std::io::Error),
}

/// Why a config drive has no place on a disk.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// The partition that the image brings for it is too small.
    #[error("partition {number} is labelled {LABEL} and holds {size} bytes, {needed} are needed")]
    TooSmall {
        /// Number of the partition.
        number: u32,
        /// Bytes of it.
        size: u64,
        /// Bytes of the config drive.
        needed: u64,
    },
    /// No partition can be added.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The partition table cannot be written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It cannot be written to its partition.
    #[error(transparent)]
    Put(#[from] PutError),
}

/// Why a config drive is not in its partition.
#[derive(Debug, Error)]
pub enum PutError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Its gzip data is damaged.
    #[error("unpacking it failed: {0}")]
    Unpack(#[from] std::io::Error),
    /// Its files cannot be read.
    #[error(transparent)]
    Read(#[from] TreeError),
    /// Its files do not fit into FAT.
    #[error("no FAT file system can hold its files: {0}")]
    Build(#[source] std::io::Error),
    /// Nobody here can read its files.
    #[error(
        "its files cannot be moved to a FAT file system, as it is neither a CD nor a FAT file \
         system itself: send one of these, or switch config_drive_rebuild off"
    )]
    Unknown,
    /// Its files would need too much memory.
    #[error(
        "its files must move to a FAT file system, which can be done up to {MAX_DRIVE_BYTES} bytes, and it \
         has {size}: send a smaller one, or one that can be written as it is"
    )]
    TooLarge {
        /// Bytes.
        size: u64,
    },
    /// The deployed system could not read it from this disk.
    #[error(
        "its blocks have {block} bytes and the disk's sectors {sector_size}: send a CD or FAT \
         file system, which can be rebuilt"
    )]
    SmallBlocks {
        /// Bytes of a block.
        block: u32,
        /// Bytes of a sector.
        sector_size: u32,
    },
}

/// Sorts out the one error of adding a partition that has its own sentence.
pub(super) fn of_table(error: TableError, node: &str, device: &str) -> ConfigDriveError {
    let (node, device) = (node.to_owned(), device.to_owned());
    match error {
        TableError::Mbr(MbrError::Full(count)) => ConfigDriveError::TableFull {
            node,
            device,
            count,
        },
        error => ConfigDriveError::Place {
            node,
            device,
            source: error.into(),
        },
    }
}
