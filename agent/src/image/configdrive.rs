//! The config drive: from Ironic's text or URL to a partition at the end of the disk.

use std::io::Read;

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use flate2::read::MultiGzDecoder;

use super::request::is_url;
use super::source::{Patience, Source};
use crate::disk::gpt::Guid;
use crate::disk::label;
use crate::disk::mbr::MbrError;
use crate::disk::table::{Partition, Table, TableError};
use crate::failure::{Failure, FailureKind};
use crate::system::disk::Disk;
use crate::system::fetch::{Fetch, Request};
use crate::task::Task;

/// The largest config drive, and the size of the partition that is made for one.
const LARGEST: u64 = 64 << 20;
/// The largest answer to a URL: base64 of something that does not compress.
const LARGEST_ANSWER: usize = 96 << 20;
/// What file systems of config drives are called, in any case.
const LABEL: &str = "config-2";
/// How much is looked at to tell what it is.
const HEAD: u64 = 40 << 10;
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
    ) -> Result<Self, Failure> {
        if !is_url(value) {
            let bytes = decode_base64(value.as_bytes()).ok_or_else(|| {
                failed(format!(
                    "Config drive for node {node} is not base64 encoded or the content is \
                     malformed."
                ))
            })?;
            return Self::new(bytes, node, false);
        }
        let unavailable = |failure: Failure| {
            if task.is_cancelled() {
                return failure;
            }
            let shown = value.split(['?', '#']).next().unwrap_or(value);
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
            Some(decoded) => Self::new(decoded, node, false),
            // A server may as well have the file system itself.
            None => Self::new(bytes, node, true),
        }
    }

    fn new(bytes: Vec<u8>, node: &str, is_trusted: bool) -> Result<Self, Failure> {
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
        };
        if !is_packed && !is_trusted && !label::is_file_system(&drive.bytes) {
            return Err(unpack_failed("it is neither gzip data nor a file system"));
        }
        // One byte more than allowed, to see that there is more.
        let counted = std::io::copy(
            &mut drive.unpacked().take(LARGEST + 1),
            &mut std::io::sink(),
        );
        drive.size = counted.map_err(|error| unpack_failed(&error.to_string()))?;
        if drive.size > LARGEST {
            return Err(failed(format!(
                "Config drive size exceeds maximum limit of 64MiB. Size of the given config drive \
                 is more than {LARGEST} bytes for node {node}."
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
        let mut head = Vec::new();
        self.unpacked()
            .take(HEAD)
            .read_to_end(&mut head)
            .map_err(|error| broken(&error))?;
        let is_iso = head.get(32769..32774) == Some(b"CD001");
        if is_iso && sector_size > 2048 {
            return Err(broken(&format!(
                "a CD file system cannot be read from a disk with sectors of {sector_size} bytes, \
                 send the config drive as FAT"
            )));
        }
        let existing = existing(disk, table, device)?;
        let partition = match existing {
            Some(partition) if partition.size < self.size => {
                return Err(broken(&format!(
                    "partition {} is labelled {LABEL} and holds {} bytes, {} are needed",
                    partition.number, partition.size, self.size
                )));
            }
            Some(partition) => partition,
            None => {
                let added = table.add_last(sector_size, LARGEST, self.size.max(1), guid);
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
        self.write(disk, partition).map_err(|error| broken(&error))
    }

    fn write(&self, disk: &mut dyn Disk, partition: Partition) -> Result<(), WriteFailed> {
        // What was there before must not show behind the end of the new content.
        disk.zero(partition.offset, partition.size)?;
        let mut unpacked = self.unpacked();
        let mut offset = partition.offset;
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

#[derive(Debug, thiserror::Error)]
enum WriteFailed {
    #[error(transparent)]
    Disk(#[from] crate::system::DiskError),
    #[error(transparent)]
    Unpack(#[from] std::io::Error),
}

/// The partition that the image brings for a config drive.
fn existing(
    disk: &mut dyn Disk,
    table: &Table,
    device: &str,
) -> Result<Option<Partition>, Failure> {
    let mut found: Option<Partition> = None;
    for partition in table.partitions(disk.geometry().sector_size) {
        let label = label::read(disk, partition.offset, partition.size).map_err(|error| {
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
