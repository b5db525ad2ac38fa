//! A disk's partition table, of either kind.

use thiserror::Error;

use super::gpt::{EFI_SYSTEM, Gpt, GptError, Guid};
use super::mbr::{Mbr, MbrError};
use crate::system::disk::{Disk, DiskError};

/// Type of EFI system partitions in a master boot record.
const MBR_EFI_SYSTEM: u8 = 0xef;

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Table {
    /// A GUID partition table, with the record that protects it.
    Gpt(Gpt, Option<Mbr>),
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

/// What is wrong with a table.
#[derive(Debug, Error)]
pub enum TableError {
    /// A GPT.
    #[error(transparent)]
    Gpt(#[from] GptError),
    /// A master boot record.
    #[error(transparent)]
    Mbr(#[from] MbrError),
    /// The disk itself.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Table {
    /// Reads the table of a disk. `None`: it has none.
    ///
    /// # Errors
    /// It has one that is of no use.
    pub fn read(disk: &mut dyn Disk) -> Result<Option<Self>, TableError> {
        let record = Mbr::read(disk)?;
        if let Some(table) = Gpt::read(disk)? {
            return Ok(Some(Self::Gpt(table, record)));
        }
        Ok(record.map(Self::Mbr))
    }

    /// The partitions in the order of their numbers. Logical partitions are not looked for.
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
                    is_efi_system: partition.kind == EFI_SYSTEM,
                    guid: Some(partition.guid),
                })
                .collect(),
            Self::Mbr(record) => record
                .partitions()
                .map(|partition| Partition {
                    number: partition.number,
                    offset: partition.first * sector,
                    size: partition.sectors * sector,
                    is_efi_system: partition.kind == MBR_EFI_SYSTEM,
                    guid: None,
                })
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
                if is_changed && let Some(record) = record {
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
                for (offset, bytes) in table.pieces() {
                    disk.write_at(offset, &bytes)?;
                }
                record
                    .as_ref()
                    .map_or(Ok(()), |record| disk.write_at(0, record.bytes()))
            }
            Self::Mbr(record) => disk.write_at(0, record.bytes()),
        }
    }
}
