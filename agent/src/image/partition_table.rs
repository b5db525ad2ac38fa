//! The partition table of an image: whether it can be one, and what it becomes on the disk.
//!
//! What an image brings is judged twice: by its first bytes, before anything is written, and
//! on the disk, before that may boot. A table that contradicts itself or the disk is refused.
//! One that is whole but for a copy or the record that announces it is written anew, as
//! `sgdisk` does.

use ironic_ondisk::Source;
use ironic_ondisk::partition_table::decide::{GptDefect, TableDecision, decide};
use ironic_ondisk::partition_table::gpt::{Gpt, PRIMARY};
use ironic_ondisk::partition_table::guid::Guid;
use ironic_ondisk::partition_table::mbr::{Mbr, disk_identifier};
use ironic_ondisk::read;
use thiserror::Error;

use super::config_drive::{ConfigDrive, ConfigDriveError};
use crate::disk::erase::metadata::EDGE;
use crate::disk::filesystem::identity;
use crate::disk::partition::table::{PartitionTable, TableError};
use crate::system::disk::{Disk, DiskError, Geometry};

/// Why an image does not become a disk that boots.
#[derive(Debug, Error)]
pub enum ImageTableError {
    /// What is on the disk now.
    #[error(
        "Unable to find a valid partition table on the disk after writing the image. The image may \
         be corrupted or it uses a different sector size than the device. Error: {device}: {source}"
    )]
    Written {
        /// The disk.
        device: String,
        /// What is wrong with it.
        source: UnusableTable,
    },
    /// The same of an empty table.
    #[error("No partitions found on the device {device} after writing the image.")]
    NoPartitions {
        /// The disk.
        device: String,
    },
    /// What the first bytes of the image show, before anything is written.
    #[error(
        "Unable to find a valid partition table in the image, and nothing was written to {device}. \
         The image may be corrupted or it uses a different sector size than the device. Error: \
         {source}"
    )]
    Beginning {
        /// The disk.
        device: String,
        /// What is wrong with it.
        source: UnusableTable,
    },
    /// The config drive has no place.
    #[error(transparent)]
    ConfigDrive(#[from] ConfigDriveError),
}

/// Why a disk cannot boot with the table of an image.
#[derive(Debug, Error)]
pub enum UnusableTable {
    /// The table contradicts itself or the disk.
    #[error(transparent)]
    Table(#[from] TableError),
    /// It is empty.
    #[error("the partition table has no partition")]
    NoPartitions,
    /// Neither a table nor a file system.
    #[error("unrecognised disk label")]
    Unrecognised,
    /// A config drive needs a table.
    #[error(
        "it holds one file system and no partition table, so there is no place for a config drive"
    )]
    NoPlace,
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// What an image is.
#[derive(Debug)]
enum ImageContent {
    /// A table, with what is to be repaired.
    Table(Box<PartitionTable>, Option<GptDefect>),
    /// One file system.
    FileSystem,
}

/// What follows the image itself, before the disk may boot: the table is checked and fitted to
/// the disk, the config drive placed. Returns the disk's identifier.
///
/// # Errors
/// No table, or one that cannot be.
pub(super) fn finish(
    disk: &mut dyn Disk,
    drive: Option<&ConfigDrive>,
    guid: Guid,
    device: &str,
) -> Result<String, ImageTableError> {
    let written = |source: UnusableTable| ImageTableError::Written {
        device: device.to_owned(),
        source,
    };
    let geometry = disk.geometry();
    let judged = judge(disk, geometry).map_err(|error| written(error.into()))?;
    match judged {
        Ok(ImageContent::Table(mut table, repair)) => {
            if let Some(flaw) = repair {
                tracing::warn!(%device, %flaw, "the GUID partition table is repaired");
            }
            let is_fitted = table.fit().map_err(|error| written(error.into()))?;
            if is_fitted || repair.is_some() {
                table.write(disk).map_err(|error| written(error.into()))?;
            }
            if let Some(drive) = drive {
                drive.place(disk, &mut table, guid, device)?;
            }
        }
        Ok(ImageContent::FileSystem) if drive.is_some() => {
            return Err(written(UnusableTable::NoPlace));
        }
        Ok(ImageContent::FileSystem) => {}
        Err(UnusableTable::NoPartitions) => {
            let device = device.to_owned();
            return Err(ImageTableError::NoPartitions { device });
        }
        Err(error) => return Err(written(error)),
    }
    disk_identifier(disk).map_err(|error| written(error.into()))
}

/// Refuses, before anything is written, an image that [`finish`] would refuse for certain.
/// `beginning` is what is known of its first bytes, `size` how many it has, if that is known.
///
/// # Errors
/// What contradicts what.
pub(super) fn check_beginning(
    beginning: &[u8],
    size: Option<u64>,
    geometry: Geometry,
    has_drive: bool,
    device: &str,
) -> Result<(), ImageTableError> {
    let mut image = ImageHead {
        bytes: beginning,
        size,
        disk: geometry.size,
    };
    let refused = |source: UnusableTable| {
        let device = device.to_owned();
        Err(ImageTableError::Beginning { device, source })
    };
    match judge(&mut image, geometry) {
        Ok(Ok(ImageContent::FileSystem)) if has_drive => refused(UnusableTable::NoPlace),
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => refused(error),
        // The primary counts whatever the rest of the image is.
        Err(NotKnownYet) => match primary(&mut image, geometry) {
            Ok(Some(table)) => table
                .check_fit()
                .or_else(|error| refused(TableError::from(error).into())),
            Ok(None) | Err(NotKnownYet) => Ok(()),
        },
    }
}

/// The primary copy of an announced GPT.
fn primary(image: &mut ImageHead<'_>, geometry: Geometry) -> Result<Option<Gpt>, NotKnownYet> {
    let record = Mbr::read(image, geometry)?;
    if record.is_some_and(|record| record.announces_gpt()) {
        return Ok(Gpt::read(image, geometry, PRIMARY)?.ok());
    }
    Ok(None)
}

/// What the rest of an image decides.
#[derive(Debug)]
struct NotKnownYet;

/// The disk as it will be, as far as the first bytes of the image tell.
#[derive(Debug)]
struct ImageHead<'a> {
    bytes: &'a [u8],
    size: Option<u64>,
    disk: u64,
}

/// What is judged.
trait ImageDisk: Source {
    /// Whether it begins as a file system that fills a disk.
    fn is_file_system(&mut self, geometry: Geometry) -> Result<bool, Self::Error>;
}

impl ImageDisk for dyn Disk + '_ {
    fn is_file_system(&mut self, geometry: Geometry) -> Result<bool, DiskError> {
        identity::is_whole_disk(self, geometry.sector())
    }
}

impl ImageDisk for ImageHead<'_> {
    /// All of these show it in their first MiB, but for what [`Mbr::boot_sector`] knows.
    fn is_file_system(&mut self, geometry: Geometry) -> Result<bool, NotKnownYet> {
        let known = self.bytes.len() as u64;
        if known < EDGE && self.size != Some(known) {
            return Err(NotKnownYet);
        }
        let mut bytes = self.bytes;
        let found = identity::is_whole_disk(&mut bytes, geometry.sector());
        let sector = read::array::<512, _>(&mut bytes, 0).ok().flatten();
        let boot = sector.map(|sector| Mbr::of_sector(geometry, sector));
        let is_boot_sector = boot.is_some_and(|boot| boot.boot_sector().is_some());
        Ok(is_boot_sector || found.unwrap_or(true))
    }
}

impl Source for ImageHead<'_> {
    type Error = NotKnownYet;

    fn size(&self) -> u64 {
        self.disk
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), NotKnownYet> {
        let mut known = self.bytes;
        if known.read_at(offset, buffer).is_ok() {
            return Ok(());
        }
        // Both ends of the disk are zeros, except for what the image brings.
        let is_behind = self.size.is_some_and(|size| offset >= size);
        let is_edge = offset < EDGE || offset >= self.disk.saturating_sub(EDGE);
        if is_behind && is_edge {
            buffer.fill(0);
            return Ok(());
        }
        Err(NotKnownYet)
    }
}

/// Judges what a disk holds, or will hold.
fn judge<S: ImageDisk + ?Sized>(
    source: &mut S,
    geometry: Geometry,
) -> Result<Result<ImageContent, UnusableTable>, S::Error> {
    let (table, repair) = match decide(source, geometry)? {
        TableDecision::Gpt {
            table,
            record,
            repair,
        } => (PartitionTable::Gpt(table, record), repair),
        TableDecision::Mbr(record) => (PartitionTable::Mbr(record), None),
        // What a file system left of an older table is not the image's.
        TableDecision::Repairable {
            flaw: GptDefect::Unannounced,
            ..
        } if source.is_file_system(geometry)? => return Ok(Ok(ImageContent::FileSystem)),
        TableDecision::Repairable {
            table,
            record,
            flaw,
        } => (PartitionTable::Gpt(table, record), Some(flaw)),
        TableDecision::Nothing(_) if source.is_file_system(geometry)? => {
            return Ok(Ok(ImageContent::FileSystem));
        }
        TableDecision::Nothing(absence) if absence.is_contradiction() => {
            return Ok(Err(TableError::Absent(absence).into()));
        }
        TableDecision::Nothing(_) => return Ok(Err(UnusableTable::Unrecognised)),
    };
    if !table.has_partitions() {
        return Ok(Err(UnusableTable::NoPartitions));
    }
    let checked = table.check(source, geometry)?;
    Ok(checked
        .map(|()| ImageContent::Table(Box::new(table), repair))
        .map_err(UnusableTable::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_input() {
        for corpus in ["table", "format"] {
            ironic_fuzz::run(corpus, |bytes| {
                for (size, sector_size) in [(Some(bytes.len() as u64), 512), (None, 4096)] {
                    let geometry = Geometry {
                        size: (bytes.len() as u64).next_multiple_of(4096) + (4 << 20),
                        sector_size,
                    };
                    let _ = check_beginning(bytes, size, geometry, false, "/dev/sda");
                }
            });
        }
    }
}
