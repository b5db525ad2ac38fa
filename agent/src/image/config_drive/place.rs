//! From memory to a partition of the disk.

use std::io::Read as _;

use ironic_ondisk::partition_table::guid::Guid;
use ironic_ondisk::read::le_u16;

use super::error::of_table;
use super::{
    ConfigDrive, ConfigDriveError, FAT_LABEL, LABEL, MAX_DRIVE_BYTES, PlaceError, PutError,
};
use crate::disk::filesystem::copy_tree::Tree;
use crate::disk::filesystem::{fat, identity};
use crate::disk::partition::table::{Partition, PartitionTable};
use crate::system::disk::Disk;

/// The sector of a CD: no disk with larger ones can be read as one.
const CD_SECTOR: u32 = 2048;
/// Written in one go.
const PIECE: u64 = 1 << 20;

impl ConfigDrive {
    /// Puts it on a disk: into the partition that is made for it, else into a new one at the
    /// end. `table` is the disk's, and is changed with it; `guid` names a new partition.
    pub(in crate::image) fn place(
        &self,
        disk: &mut dyn Disk,
        table: &mut PartitionTable,
        guid: Guid,
        device: &str,
    ) -> Result<(), ConfigDriveError> {
        let node = &self.node;
        let failed = |source: PlaceError| ConfigDriveError::Place {
            node: node.clone(),
            device: device.to_owned(),
            source,
        };
        let sector_size = disk.geometry().sector_size;
        let needed = self.size_on(sector_size)?;
        let existing = existing(disk, table, device)?;
        let partition = match existing {
            Some(partition) if partition.size < needed => {
                return Err(failed(PlaceError::TooSmall {
                    number: partition.number,
                    size: partition.size,
                    needed,
                }));
            }
            Some(partition) => partition,
            None => {
                let added = table.add_last(sector_size, MAX_DRIVE_BYTES, needed, guid);
                let partition = added.map_err(|error| of_table(error, node, device))?;
                table.write(disk).map_err(|error| failed(error.into()))?;
                partition
            }
        };
        self.put(disk, partition.offset, partition.size)
            .map_err(|error| failed(error.into()))
    }

    /// Puts it into `size` bytes of a disk from `offset`, which are its partition.
    ///
    /// # Errors
    /// What the disk said, or what is wrong with the drive.
    pub(in crate::image) fn put(
        &self,
        disk: &mut dyn Disk,
        offset: u64,
        size: u64,
    ) -> Result<(), PutError> {
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
pub(super) fn is_readable(head: &[u8], sector_size: u32) -> Result<bool, PutError> {
    let number = |at: usize| le_u16(head, at).map(u32::from);
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

/// The partition that the image brings for a config drive.
fn existing(
    disk: &mut dyn Disk,
    table: &PartitionTable,
    device: &str,
) -> Result<Option<Partition>, ConfigDriveError> {
    let mut found: Option<Partition> = None;
    let partitions = table.all(disk);
    let partitions = partitions.map_err(|source| ConfigDriveError::Logical {
        device: device.to_owned(),
        source,
    })?;
    for partition in partitions {
        let label = identity::label(disk, partition.offset, partition.size);
        let label = label.map_err(|source| ConfigDriveError::Labels {
            device: device.to_owned(),
            source,
        })?;
        if !label.is_some_and(|label| label.eq_ignore_ascii_case(LABEL)) {
            continue;
        }
        if let Some(first) = found {
            return Err(ConfigDriveError::TwoPartitions {
                device: device.to_owned(),
                first: first.number,
                second: partition.number,
            });
        }
        found = Some(partition);
    }
    Ok(found)
}
