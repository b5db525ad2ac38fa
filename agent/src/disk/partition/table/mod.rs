//! A disk's partition table, of either kind. Which of several counts is decided in
//! [`ironic_ondisk::partition_table::decide`].

use ironic_ondisk::Source;
use ironic_ondisk::partition_table::decide::{GptDefect, NoPartitionTable, TableDecision, decide};
use ironic_ondisk::partition_table::gpt::{Gpt, GptError, GptPartition};
use ironic_ondisk::partition_table::guid::Guid;
use ironic_ondisk::partition_table::kinds::{EFI_SYSTEM, PartitionKind};
use ironic_ondisk::partition_table::logical::{ChainError, Logical};
use ironic_ondisk::partition_table::mbr::{Mbr, MbrError, MbrPartition};
use thiserror::Error;

use crate::machine::ironic_node::DiskLabel;
use crate::system::disk::{Disk, DiskError, Geometry};

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionTable {
    /// A GUID partition table, with the record that announces it.
    Gpt(Gpt, Mbr),
    /// A master boot record.
    Mbr(Mbr),
}

/// A partition, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 1.
    pub number: u32,
    /// Where it starts.
    pub offset: u64,
    /// How long it is.
    pub size: u64,
    /// Whether firmware looks for boot loaders there.
    pub is_efi_system: bool,
    /// Its identity in a GPT.
    pub guid: Option<Guid>,
}

/// A partition to be entered. Offsets and sizes are bytes, multiples of the sector size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionEntry {
    /// Its number, from 1.
    pub number: u32,
    /// Where it starts.
    pub offset: u64,
    /// How long it is.
    pub size: u64,
    /// What it is for.
    pub kind: PartitionKind,
    /// Its identity in a GPT.
    pub guid: Guid,
    /// Whether BIOS starts it: only in a master boot record.
    pub is_active: bool,
}

/// What is wrong with a table.
#[derive(Debug, Error)]
pub enum TableError {
    /// A GPT.
    #[error(transparent)]
    Gpt(#[from] GptError),
    /// A master boot record.
    #[error(transparent)]
    Mbr(#[from] MbrError),
    /// The logical partitions of a master boot record.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A mark announces a table that does not exist.
    #[error(transparent)]
    Absent(NoPartitionTable),
    /// No table for Linux.
    #[error("there is a GUID partition table that does not count: {0}")]
    DoesNotCount(GptDefect),
    /// The disk itself.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl PartitionTable {
    /// A table without partitions for a whole disk. `identity` becomes the disk's; a master
    /// boot record takes its first four bytes.
    ///
    /// # Errors
    /// The disk is too small for a table.
    pub fn empty(label: DiskLabel, geometry: Geometry, identity: Guid) -> Result<Self, TableError> {
        Ok(match label {
            DiskLabel::Gpt => {
                let record = Mbr::protective(geometry);
                Self::Gpt(Gpt::new(geometry, identity)?, record)
            }
            DiskLabel::Msdos => Self::Mbr(Mbr::new(geometry, identity.identifier())),
        })
    }

    /// The identity of the disk that is in its table.
    #[must_use]
    pub fn identity(&self) -> Guid {
        match self {
            Self::Gpt(table, _) => table.disk_guid(),
            Self::Mbr(record) => Guid::of_identifier(record.identifier()),
        }
    }

    /// Puts a partition into the entry of its number, whatever was there.
    ///
    /// # Errors
    /// There is no such entry, or the partition lies outside of what the table can name.
    pub fn insert(&mut self, sector_size: u32, entry: PartitionEntry) -> Result<(), TableError> {
        let sector = u64::from(sector_size);
        let (number, first) = (entry.number, entry.offset / sector);
        match self {
            Self::Gpt(table, _) => table.insert(GptPartition {
                number,
                kind: entry.kind.gpt,
                guid: entry.guid,
                first,
                last: (entry.offset.saturating_add(entry.size) / sector).saturating_sub(1),
            })?,
            Self::Mbr(record) => record.insert(MbrPartition {
                number,
                kind: entry.kind.mbr,
                first,
                sectors: entry.size / sector,
                is_active: entry.is_active,
            })?,
        }
        Ok(())
    }

    /// The identity of a partition as Linux calls it, `PARTUUID`.
    #[must_use]
    pub fn partuuid(&self, partition: Partition) -> String {
        match (self, partition.guid) {
            (Self::Mbr(record), _) => {
                format!("{:08x}-{:02x}", record.identifier(), partition.number)
            }
            (Self::Gpt(..), guid) => guid.unwrap_or(Guid([0; 16])).to_string(),
        }
    }

    /// Reads the table of a disk: the one that counts for Linux. `None`: it has none.
    ///
    /// # Errors
    /// What says that there is one and what is there contradict each other.
    pub fn read(disk: &mut dyn Disk) -> Result<Option<Self>, TableError> {
        let geometry = disk.geometry();
        match decide(disk, geometry)? {
            TableDecision::Gpt { table, record, .. } => Ok(Some(Self::Gpt(table, record))),
            TableDecision::Mbr(record) => Ok(Some(Self::Mbr(record))),
            TableDecision::Repairable { flaw, .. } => Err(TableError::DoesNotCount(flaw)),
            TableDecision::Nothing(absence) if absence.is_contradiction() => {
                Err(TableError::Absent(absence))
            }
            TableDecision::Nothing(_) => Ok(None),
        }
    }

    /// The logical partitions of a master boot record, from number 5 on; a GPT has none. They
    /// end where the disk ends.
    ///
    /// # Errors
    /// What the disk said.
    pub fn logical(&self, disk: &mut dyn Disk) -> Result<Vec<Partition>, DiskError> {
        let Self::Mbr(record) = self else {
            return Ok(Vec::new());
        };
        let geometry = disk.geometry();
        let found = Logical::read(disk, record)?.partitions.into_iter();
        let inside = found.filter(|found| found.first < geometry.sectors());
        let clipped = inside.map(|found| {
            let end = found.end().min(geometry.sectors());
            let sectors = end - found.first;
            partition_of(&MbrPartition { sectors, ..found }, geometry.sector())
        });
        Ok(clipped.collect())
    }

    /// All partitions in the order of their numbers: those of the table and the logical ones.
    ///
    /// # Errors
    /// As those of [`PartitionTable::logical`].
    pub fn all(&self, disk: &mut dyn Disk) -> Result<Vec<Partition>, DiskError> {
        let mut partitions = self.partitions(disk.geometry().sector_size);
        partitions.extend(self.logical(disk)?);
        Ok(partitions)
    }

    /// Refuses a table whose partitions contradict the disk or each other.
    ///
    /// # Errors
    /// The first contradiction within, or what the source said.
    pub fn check<S: Source + ?Sized>(
        &self,
        source: &mut S,
        geometry: Geometry,
    ) -> Result<Result<(), TableError>, S::Error> {
        let record = match self {
            Self::Gpt(table, _) => return Ok(table.check_fit().map_err(TableError::from)),
            Self::Mbr(record) => record,
        };
        if let Err(error) = record.check() {
            return Ok(Err(error.into()));
        }
        let logical = Logical::read(source, record)?;
        Ok(logical.check(geometry).map_err(TableError::from))
    }

    /// Whether there are partitions that partitioning tools show.
    #[must_use]
    pub fn has_partitions(&self) -> bool {
        match self {
            Self::Gpt(table, _) => table.partitions().next().is_some(),
            Self::Mbr(record) => record.partitions().any(|entry| entry.has_type()),
        }
    }

    /// The partitions in the order of their numbers, without those of [`PartitionTable::logical`].
    #[must_use]
    pub fn partitions(&self, sector_size: u32) -> Vec<Partition> {
        let sector = u64::from(sector_size);
        match self {
            Self::Gpt(table, _) => table
                .partitions()
                .map(|partition| Partition {
                    number: partition.number,
                    offset: partition.first.saturating_mul(sector),
                    size: (partition.last.saturating_sub(partition.first))
                        .saturating_add(1)
                        .saturating_mul(sector),
                    is_efi_system: partition.kind == EFI_SYSTEM.gpt,
                    guid: Some(partition.guid),
                })
                .collect(),
            Self::Mbr(record) => record
                .partitions()
                .map(|partition| partition_of(&partition, sector))
                .collect(),
        }
    }

    /// Makes the table that of the whole disk. Answers whether that changed anything; a
    /// master boot record needs no change.
    ///
    /// # Errors
    /// A partition lies outside of the disk.
    pub fn fit(&mut self) -> Result<bool, TableError> {
        match self {
            Self::Gpt(table, record) => {
                let is_changed = table.fit()?;
                if is_changed {
                    record.protect();
                }
                Ok(is_changed)
            }
            Self::Mbr(_) => Ok(false),
        }
    }

    /// Adds a partition at the end: of `wanted` bytes if they are free there, else of what is
    /// free if that is at least `needed`. `guid` becomes its identity in a GPT.
    ///
    /// # Errors
    /// No room, or no entry.
    pub fn add_last(
        &mut self,
        sector_size: u32,
        wanted: u64,
        needed: u64,
        guid: Guid,
    ) -> Result<Partition, TableError> {
        let number = match self {
            Self::Gpt(table, _) => table.add_last(wanted, needed, guid)?.number,
            Self::Mbr(record) => record.add_last(wanted, needed)?.number,
        };
        self.partitions(sector_size)
            .into_iter()
            .find(|partition| partition.number == number)
            .ok_or(TableError::Gpt(GptError::Full(number)))
    }

    /// Writes the table.
    ///
    /// # Errors
    /// What the disk said.
    pub fn write(&self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        match self {
            Self::Gpt(table, record) => {
                for copy in table.copies() {
                    for (offset, bytes) in copy {
                        disk.write_at(offset, &bytes)?;
                    }
                    // One copy is whole at any time, also if the power goes.
                    disk.sync()?;
                }
                disk.write_at(0, record.bytes())
            }
            Self::Mbr(record) => disk.write_at(0, record.bytes()),
        }
    }
}

/// The partitions of a disk in the order of their numbers, with the logical ones; none if it has
/// no table.
///
/// # Errors
/// As those of [`PartitionTable::read`].
pub fn partitions_of(disk: &mut dyn Disk) -> Result<Vec<Partition>, TableError> {
    match PartitionTable::read(disk)? {
        Some(table) => Ok(table.all(disk)?),
        None => Ok(Vec::new()),
    }
}

/// A partition of a master boot record, in bytes.
fn partition_of(partition: &MbrPartition, sector: u64) -> Partition {
    Partition {
        number: partition.number,
        offset: partition.first.saturating_mul(sector),
        size: partition.sectors.saturating_mul(sector),
        is_efi_system: partition.kind == EFI_SYSTEM.mbr,
        guid: None,
    }
}

#[cfg(test)]
mod tests;
