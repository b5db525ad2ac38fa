//! The config drive: from Ironic's text or URL to a partition of the disk.
//!
//! Its file system is written as it came, unless the disk's sectors are too large for it or
//! the operator wants it so: then its files move to a FAT file system that is made here.
//! Nothing is mounted for that, see [`iso`] and [`fat`].

use std::io::Read;

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use flate2::read::MultiGzDecoder;
use ironic_ondisk::partition_table::guid::Guid;
use ironic_ondisk::partition_table::mbr::MbrError;

use super::request::is_url;
use super::source::{self, Patience, Source};
use crate::disk::filesystem::copy_tree::{Tree, TreeError};
use crate::disk::filesystem::fat;
use crate::disk::filesystem::identity;
use crate::disk::filesystem::iso9660;
use crate::disk::partition::table::{Partition, Table, TableError};
use crate::failure::{Failure, FailureKind};
use crate::system::disk::Disk;
use crate::system::fetch::{Fetch, Request};
use crate::task::Task;

/// The largest config drive behind a whole-disk image, and the size of the partition that is
/// made for one.
const LARGEST: u64 = 64 << 20;
/// The largest beside a partition image, whose partition is made to its measure. Ironic has no
/// limit there; this one keeps a few bytes from unpacking to a full disk.
const LARGEST_TO_MEASURE: u64 = 512 << 20;
/// The largest answer to a URL: base64 of something that does not compress.
const LARGEST_ANSWER: usize = 96 << 20;
/// What file systems of config drives are called, in any case.
const LABEL: &str = "config-2";
/// What it is called when it is made here.
const FAT_LABEL: &str = "CONFIG-2";
/// How much is looked at to tell what it is.
const HEAD: u64 = 40 << 10;
/// The sector of a CD: no disk with larger ones can be read as one.
const CD_SECTOR: u32 = 2048;
/// Written in one go.
const PIECE: u64 = 1 << 20;

/// A config drive that was unpacked once to see that it can be.
#[derive(Debug)]
pub(super) struct ConfigDrive {
    bytes: Vec<u8>,
    is_packed: bool,
    /// Unpacked size in bytes.
    size: u64,
    node: String,
    /// Whether the operator wants FAT whatever came.
    is_fat_wanted: bool,
}

/// What a config drive is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Purpose {
    /// Whether it gets a partition of just its size, beside a partition image.
    pub(super) is_to_measure: bool,
    /// Whether the operator wants FAT whatever came.
    pub(super) is_fat_wanted: bool,
}

impl Purpose {
    fn largest(self) -> u64 {
        if self.is_to_measure {
            LARGEST_TO_MEASURE
        } else {
            LARGEST
        }
    }
}

impl ConfigDrive {
    /// Takes what Ironic sent: a URL, base64 of gzip, or base64 of a file system.
    pub(super) async fn load(
        value: &str,
        node: &str,
        fetch: &dyn Fetch,
        template: Request,
        patience: Patience,
        task: &Task,
        purpose: Purpose,
    ) -> Result<Self, Failure> {
        let new = |bytes, is_trusted| Self::new(bytes, node, is_trusted, purpose);
        if !is_url(value) {
            let bytes = decode_base64(value.as_bytes()).ok_or_else(|| {
                failed(format!(
                    "Config drive for node {node} is not base64 encoded or the content is \
                     malformed."
                ))
            })?;
            return new(bytes, false);
        }
        let unavailable = |failure: Failure| {
            if task.is_cancelled() {
                return failure;
            }
            let shown = source::shown(value);
            failed(format!(
                "Can't download the configdrive content for node {node} from '{shown}'. {}",
                failure.details
            ))
        };
        let urls = [value.to_owned()];
        let source = Source::open(fetch, task, "configdrive", &urls, template, patience)
            .await
            .map_err(unavailable)?;
        let bytes = source.bytes(LARGEST_ANSWER).await.map_err(unavailable)?;
        match decode_base64(&bytes) {
            Some(decoded) => new(decoded, false),
            // A server may as well have the file system itself.
            None => new(bytes, true),
        }
    }

    fn new(
        bytes: Vec<u8>,
        node: &str,
        is_trusted: bool,
        purpose: Purpose,
    ) -> Result<Self, Failure> {
        let largest = purpose.largest();
        let is_packed = bytes.starts_with(&[0x1f, 0x8b]);
        let unpack_failed = |reason: &str| {
            failed(format!(
                "Encountered error while decompressing and writing config drive for node {node}. \
                 Error: {reason}"
            ))
        };
        let mut drive = Self {
            bytes,
            is_packed,
            size: 0,
            node: node.to_owned(),
            is_fat_wanted: purpose.is_fat_wanted,
        };
        if !is_packed && !is_trusted && !identity::is_config_drive(&drive.bytes) {
            return Err(unpack_failed("it is neither gzip data nor a file system"));
        }
        // One byte more than allowed, to see that there is more.
        let counted = std::io::copy(
            &mut drive.unpacked().take(largest + 1),
            &mut std::io::sink(),
        );
        drive.size = counted.map_err(|error| unpack_failed(&error.to_string()))?;
        if drive.size > largest {
            return Err(failed(format!(
                "Config drive size exceeds maximum limit of {}MiB. Size of the given config drive \
                 is more than {largest} bytes for node {node}.",
                largest >> 20
            )));
        }
        Ok(drive)
    }

    fn unpacked(&self) -> Box<dyn Read + '_> {
        if self.is_packed {
            Box::new(MultiGzDecoder::new(self.bytes.as_slice()))
        } else {
            Box::new(self.bytes.as_slice())
        }
    }

    /// How many bytes a partition for it must have on a disk with such sectors.
    ///
    /// # Errors
    /// It cannot be read from such a disk, nor be made into something that can.
    pub(super) fn size_on(&self, sector_size: u32) -> Result<u64, Failure> {
        let size = match self.is_rebuilt(sector_size) {
            Ok(false) => Ok(self.size.max(1)),
            Ok(true) => self.with_files(|tree| Ok(fat::size_for(tree))),
            Err(error) => Err(error),
        };
        size.map_err(|error| {
            failed(format!(
                "A failure occurred while attempting to format, copy and write the config drive \
                 for node {}. Error: {error}",
                self.node
            ))
        })
    }

    /// Whether its files must move to another file system.
    fn is_rebuilt(&self, sector_size: u32) -> Result<bool, PutError> {
        let mut head = Vec::new();
        self.unpacked().take(HEAD).read_to_end(&mut head)?;
        Ok(self.is_fat_wanted || !is_readable(&head, sector_size)?)
    }

    /// Does something with its files.
    fn with_files<T>(
        &self,
        work: impl FnOnce(&Tree<'_>) -> Result<T, PutError>,
    ) -> Result<T, PutError> {
        // It is in memory for that, and the ramdisk is, too.
        if self.size > LARGEST {
            return Err(PutError::TooLarge { size: self.size });
        }
        let mut bytes = Vec::new();
        self.unpacked().read_to_end(&mut bytes)?;
        if identity::is_iso(&bytes) {
            work(&iso9660::read(&bytes)?)
        } else if identity::is_fat(&bytes) {
            work(&fat::read(&bytes)?)
        } else {
            Err(PutError::Unknown)
        }
    }

    /// Puts it on a disk: into the partition that is made for it, else into a new one at the
    /// end. `table` is the disk's, and is changed with it; `guid` names a new partition.
    pub(super) fn place(
        &self,
        disk: &mut dyn Disk,
        table: &mut Table,
        guid: Guid,
        device: &str,
    ) -> Result<(), Failure> {
        let node = &self.node;
        let broken = |error: &dyn std::fmt::Display| {
            failed(format!(
                "Failed to create config drive on disk {device} for node {node}. Error: {error}"
            ))
        };
        let sector_size = disk.geometry().sector_size;
        let needed = self.size_on(sector_size)?;
        let existing = existing(disk, table, device)?;
        let partition = match existing {
            Some(partition) if partition.size < needed => {
                return Err(broken(&format!(
                    "partition {} is labelled {LABEL} and holds {} bytes, {needed} are needed",
                    partition.number, partition.size
                )));
            }
            Some(partition) => partition,
            None => {
                let added = table.add_last(sector_size, LARGEST, needed, guid);
                let partition = added.map_err(|error| match error {
                    TableError::Mbr(MbrError::Full(count)) => failed(format!(
                        "Config drive cannot be created for node {node}. Disk {device} uses MBR \
                         partitioning and already has {count} primary partitions."
                    )),
                    error => broken(&error),
                })?;
                table.write(disk).map_err(|error| broken(&error))?;
                partition
            }
        };
        self.put(disk, partition.offset, partition.size)
            .map_err(|error| broken(&error))
    }

    /// Puts it into `size` bytes of a disk from `offset`, which are its partition.
    ///
    /// # Errors
    /// What the disk said, or what is wrong with the drive.
    pub(super) fn put(&self, disk: &mut dyn Disk, offset: u64, size: u64) -> Result<(), PutError> {
        // What was there before must not show behind the end of the new content.
        disk.zero(offset, size)?;
        let sector_size = disk.geometry().sector_size;
        if self.is_rebuilt(sector_size)? {
            // Its identity is of no interest: it is found by its label.
            let serial = u32::from_be_bytes(*b"CFG2");
            let build = |tree: &Tree<'_>| {
                fat::build(size, sector_size, FAT_LABEL, serial, tree).map_err(PutError::Build)
            };
            return Ok(self.with_files(build)?.write_to(disk, offset)?);
        }
        let mut unpacked = self.unpacked();
        let mut offset = offset;
        loop {
            let mut piece = Vec::new();
            unpacked.by_ref().take(PIECE).read_to_end(&mut piece)?;
            if piece.is_empty() {
                return Ok(());
            }
            disk.write_at(offset, &piece)?;
            offset += piece.len() as u64;
        }
    }
}

/// Whether a kernel can read a file system, which starts with `head`, from a disk with such
/// sectors. What is unknown is taken to be the deployed system's business.
fn is_readable(head: &[u8], sector_size: u32) -> Result<bool, PutError> {
    let number = |at: usize| {
        let bytes = head.get(at..at + 2)?;
        Some(u32::from(u16::from_le_bytes([bytes[0], bytes[1]])))
    };
    if identity::is_iso(head) {
        return Ok(sector_size <= CD_SECTOR);
    }
    if identity::is_fat(head) {
        return Ok(number(11).unwrap_or(512) >= sector_size);
    }
    let block = identity::is_ext(head).then(|| number(1024 + 24)).flatten();
    match block.map(|shift| 1024_u32 << shift.min(16)) {
        Some(block) if block < sector_size => Err(PutError::SmallBlocks { block, sector_size }),
        _ => Ok(true),
    }
}

/// Why a config drive is not in its partition.
#[derive(Debug, thiserror::Error)]
pub(super) enum PutError {
    #[error(transparent)]
    Disk(#[from] crate::system::DiskError),
    #[error("unpacking it failed: {0}")]
    Unpack(#[from] std::io::Error),
    #[error(transparent)]
    Read(#[from] TreeError),
    #[error("no FAT file system can hold its files: {0}")]
    Build(std::io::Error),
    #[error(
        "its files cannot be moved to a FAT file system, as it is neither a CD nor a FAT file \
         system itself: send one of these, or switch config_drive_rebuild off"
    )]
    Unknown,
    #[error(
        "its files must move to a FAT file system, which can be done up to {LARGEST} bytes, and it \
         has {size}: send a smaller one, or one that can be written as it is"
    )]
    TooLarge { size: u64 },
    #[error(
        "its blocks have {block} bytes and the disk's sectors {sector_size}: send a CD or FAT \
         file system, which can be rebuilt"
    )]
    SmallBlocks { block: u32, sector_size: u32 },
}

/// The partition that the image brings for a config drive.
fn existing(
    disk: &mut dyn Disk,
    table: &Table,
    device: &str,
) -> Result<Option<Partition>, Failure> {
    let mut found: Option<Partition> = None;
    let logical = table.logical(disk).map_err(|error| {
        failed(format!(
            "Failed to read the logical partitions of disk {device}. Error: {error}"
        ))
    })?;
    let primary = table.partitions(disk.geometry().sector_size);
    for partition in primary.into_iter().chain(logical) {
        let label = identity::label(disk, partition.offset, partition.size).map_err(|error| {
            failed(format!(
                "Failed to retrieve partition labels on disk {device}. Error: {error}"
            ))
        })?;
        if !label.is_some_and(|label| label.eq_ignore_ascii_case(LABEL)) {
            continue;
        }
        if let Some(first) = found {
            return Err(failed(format!(
                "More than one partition with label {LABEL} exists on device {device}: numbers \
                 {} and {}",
                first.number, partition.number
            )));
        }
        found = Some(partition);
    }
    Ok(found)
}

/// Base64 with or without line breaks and padding; `None` if it is something else.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
    let compact: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    GeneralPurpose::new(&ALPHABET, LENIENT).decode(compact).ok()
}

fn failed(details: String) -> Failure {
    Failure::new(FailureKind::Deployment, details)
}

#[cfg(test)]
mod tests;
