//! The one decision: which partition table of a disk counts.
//!
//! It is what Linux makes partitions by. The kernel looks for a GUID partition table only
//! behind a record that announces one, and takes a master boot record only if it announces
//! none, so what is left of a table of the other kind does not count. Where the kernel makes
//! no partitions and other programs do (`libblkid`, `parted`, `sfdisk`, `sgdisk`), it is what
//! they agree on:
//!
//! | first sector | primary GPT | backup GPT | what counts |
//! |---|---|---|---|
//! | record with partitions, none of which announces a GPT | any | any | the record |
//! | an entry of type EE, others or none besides | valid | any | the primary |
//! | the same | damaged | valid | the backup |
//! | the same | damaged | damaged | nothing |
//! | a file system's boot sector without entries | any | any | nothing |
//! | no entry, or no record | valid | valid | nothing; it can be repaired, as `sgdisk` does |
//! | no entry, or no record | otherwise | | nothing |

use thiserror::Error;

use super::gpt::{self, Damage, Gpt, PRIMARY};
use super::mbr::Mbr;
use crate::read::Source;
use crate::size::Geometry;

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableDecision {
    /// A GUID partition table, with the record that announces it.
    Gpt {
        /// The table.
        table: Gpt,
        /// The first sector.
        record: Mbr,
        /// What a tool would repair. Linux makes partitions all the same.
        repair: Option<GptDefect>,
    },
    /// A master boot record.
    Mbr(Mbr),
    /// No table for Linux; but all of a GUID partition table is there, and a tool that repairs
    /// tables would write it anew.
    Repairable {
        /// The table.
        table: Gpt,
        /// The first sector as it should be.
        record: Mbr,
        /// What keeps Linux from it.
        flaw: GptDefect,
    },
    /// No table.
    Nothing(NoPartitionTable),
}

/// What is wrong with a GUID partition table that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum GptDefect {
    /// The primary copy is damaged and the backup is not.
    #[error("its primary copy is damaged ({0})")]
    Primary(Damage),
    /// The backup is damaged, or not where the primary says, or not at the end.
    #[error("its backup copy is damaged ({0})")]
    Backup(Damage),
    /// No entry of the first sector announces it.
    #[error("no protective record announces it")]
    Unannounced,
    /// The entry that announces it does not start at sector 1.
    #[error("its protective record does not start at sector 1")]
    Record,
    /// It was made for a larger disk.
    #[error("it was made for a larger disk")]
    LargerDisk,
}

/// Why a disk has no partition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoPartitionTable {
    /// The first sector does not end as a record does.
    #[error("there is no partition table")]
    Nothing,
    /// A file system begins in the first sector.
    #[error("there is no partition table, a {0} file system fills the disk")]
    FileSystem(&'static str),
    /// The entries of the first sector cannot be entries.
    #[error("the entries of the master boot record are not possible")]
    NoEntries,
    /// A GPT is announced and not there.
    #[error(
        "a protective record announces a GUID partition table, which is not there: at sector 1 \
         {primary}, at the last sector {backup}"
    )]
    Announced {
        /// What is wrong with the primary.
        primary: Damage,
        /// What is wrong with the backup.
        backup: Damage,
    },
    /// A GPT is there and nothing announces it, and it is not whole.
    #[error(
        "a GUID partition table has no protective record that announces it, and is damaged: {0}"
    )]
    Unannounced(Damage),
    /// A GPT is there for other sectors.
    #[error("the partition table is made for sectors of {table} bytes, the disk has {disk}")]
    SectorSize {
        /// Sectors of the table.
        table: u32,
        /// Sectors of the disk.
        disk: u32,
    },
}

impl NoPartitionTable {
    /// Whether something on the disk says that there is a table.
    #[must_use]
    pub fn is_contradiction(self) -> bool {
        matches!(
            self,
            Self::Announced { .. } | Self::Unannounced(_) | Self::SectorSize { .. }
        )
    }
}

/// Decides for a disk, or an image of one.
///
/// # Errors
/// What the source said.
pub fn decide<S: Source + ?Sized>(
    source: &mut S,
    geometry: Geometry,
) -> Result<TableDecision, S::Error> {
    let record = Mbr::read(source, geometry)?;
    let announced = match record {
        Some(record) if record.announces_gpt() => Some(record),
        Some(record) => match record_alone(&record) {
            Some(decision) => return Ok(decision),
            // No entry is used, so it may have been meant to announce something.
            None => return unannounced(source, geometry, Some(record)),
        },
        None => None,
    };
    let Some(record) = announced else {
        return unannounced(source, geometry, None);
    };
    let (primary, backup) = copies(source, geometry)?;
    Ok(match (primary, backup) {
        (Ok(table), backup) => with_record(table, record, backup.err().map(GptDefect::Backup)),
        (Err(damage), Ok(table)) => with_record(table, record, Some(GptDefect::Primary(damage))),
        (Err(primary), Err(backup)) => {
            let absence = other_sector_size(source, geometry)?;
            TableDecision::Nothing(
                absence.unwrap_or(NoPartitionTable::Announced { primary, backup }),
            )
        }
    })
}

fn with_record(table: Gpt, mut record: Mbr, repair: Option<GptDefect>) -> TableDecision {
    if !table.is_inside_of_disk() {
        record.make_protective();
        return TableDecision::Repairable {
            table,
            record,
            flaw: GptDefect::LargerDisk,
        };
    }
    let repair = if record.is_protective() {
        repair
    } else {
        record.make_protective();
        Some(GptDefect::Record)
    };
    TableDecision::Gpt {
        table,
        record,
        repair,
    }
}

/// What a record means that announces no GPT. `None`: it has no partition.
fn record_alone(record: &Mbr) -> Option<TableDecision> {
    let has_partitions = record.partitions().next().is_some();
    let nothing = |absence| Some(TableDecision::Nothing(absence));
    if let Some(name) = record.boot_sector() {
        // A table in the boot sector of a file system that fills the disk names the file
        // system itself, or is code.
        let is_possible = record.has_possible_flags() && record.check().is_ok();
        if !has_partitions || !is_possible {
            return nothing(NoPartitionTable::FileSystem(name));
        }
    }
    if !record.has_possible_flags() {
        return nothing(NoPartitionTable::NoEntries);
    }
    has_partitions.then(|| TableDecision::Mbr(record.clone()))
}

/// A GPT that no record announces.
fn unannounced<S: Source + ?Sized>(
    source: &mut S,
    geometry: Geometry,
    record: Option<Mbr>,
) -> Result<TableDecision, S::Error> {
    let or_record = |absence| match (&record, absence) {
        // Without partitions, which is what it says.
        (Some(record), NoPartitionTable::Nothing) => TableDecision::Mbr(record.clone()),
        (_, absence) => TableDecision::Nothing(absence),
    };
    if !gpt::has_header(source, geometry, PRIMARY)? {
        let absence = other_sector_size(source, geometry)?;
        return Ok(or_record(absence.unwrap_or(NoPartitionTable::Nothing)));
    }
    Ok(match copies(source, geometry)? {
        (Ok(table), Ok(_)) => {
            let mut record = record.unwrap_or_else(|| Mbr::new(geometry, 0));
            record.make_protective();
            TableDecision::Repairable {
                table,
                record,
                flaw: GptDefect::Unannounced,
            }
        }
        (Ok(_), Err(damage)) | (Err(damage), _) => or_record(NoPartitionTable::Unannounced(damage)),
    })
}

type GptCopy = Result<Gpt, Damage>;

/// Both copies. The backup is where the primary says, else in the last sector.
fn copies<S: Source + ?Sized>(
    source: &mut S,
    geometry: Geometry,
) -> Result<(GptCopy, GptCopy), S::Error> {
    let primary = Gpt::read(source, geometry, PRIMARY)?;
    let last = geometry.sectors().saturating_sub(1);
    let at = primary.as_ref().map_or(last, Gpt::backup);
    let backup = if at <= PRIMARY {
        Err(Damage::NoHeader)
    } else {
        Gpt::read(source, geometry, at)?
    };
    Ok((primary, backup))
}

/// A header where it is on a disk with other sectors.
fn other_sector_size<S: Source + ?Sized>(
    source: &mut S,
    geometry: Geometry,
) -> Result<Option<NoPartitionTable>, S::Error> {
    for sector_size in [512, 4096] {
        let other = Geometry {
            sector_size,
            ..geometry
        };
        let is_other = sector_size != geometry.sector_size;
        if is_other && gpt::has_header(source, other, PRIMARY)? {
            return Ok(Some(NoPartitionTable::SectorSize {
                table: sector_size,
                disk: geometry.sector_size,
            }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition_table::testing::{self, Shape};
    use crate::size::MIB;

    const SIZE: u64 = 4 * MIB;

    fn name(disk: &[u8], sector_size: u32) -> String {
        let geometry = Geometry {
            size: disk.len() as u64,
            sector_size,
        };
        match decide(&mut &*disk, geometry).unwrap() {
            TableDecision::Gpt { repair: None, .. } => "gpt".to_owned(),
            TableDecision::Gpt {
                repair: Some(flaw), ..
            } => format!("gpt, but {flaw}"),
            TableDecision::Mbr(record) => format!("mbr of {}", record.partitions().count()),
            TableDecision::Repairable { flaw, .. } => format!("repairable: {flaw}"),
            TableDecision::Nothing(absence) => absence.to_string(),
        }
    }

    #[test]
    fn the_table_of_the_module_holds() {
        let partitions = [(1, 2048, 4095)];
        for sector in [512, 4096] {
            let of = |is_announced, primary, backup| Shape {
                sector,
                is_announced,
                primary,
                backup,
                ..Shape::default()
            };
            let partitions = if sector == 512 {
                partitions
            } else {
                [(1, 256, 511)]
            };
            for (shape, expected) in [
                (of(true, true, true), "gpt"),
                (of(true, true, false), "gpt, but its backup copy is damaged"),
                (
                    of(true, false, true),
                    "gpt, but its primary copy is damaged",
                ),
                (of(true, false, false), "a protective record announces"),
                (
                    of(false, true, true),
                    "repairable: no protective record announces it",
                ),
                (of(false, true, false), "a GUID partition table has no prot"),
                (of(false, false, true), "a GUID partition table has no prot"),
            ] {
                let mut disk = testing::gpt(SIZE, shape, &partitions);
                let found = name(&disk, sector);
                assert!(found.starts_with(expected), "{shape:?}: {found}");
                // A record with partitions counts, whatever is left of a GPT.
                testing::mbr(&mut disk, 0, &[(0x83, 64, 64)]);
                assert_eq!(name(&disk, sector), "mbr of 1");
                // Without its signature it is nothing.
                disk[510] = 0;
                assert!(!name(&disk, sector).starts_with("mbr"));
            }
            // In any slot, and beside others.
            let mut disk = testing::gpt(SIZE, of(true, true, true), &partitions);
            testing::mbr(&mut disk, 0, &[(0x83, 64, 64), (0xee, 1, 63)]);
            assert_eq!(name(&disk, sector), "gpt");
            testing::mbr(&mut disk, 0, &[(0x83, 64, 64), (0xee, 0, 63)]);
            assert!(name(&disk, sector).contains("does not start at sector 1"));
            // For another size of sectors.
            let other = 4608 - sector;
            assert!(name(&disk, other).contains("is made for sectors of"));
        }
    }

    #[test]
    fn a_disk_without_a_table_says_why() {
        let mut disk = vec![0; 1 << 20];
        assert_eq!(name(&disk, 512), "there is no partition table");
        testing::mbr(&mut disk, 0, &[]);
        assert_eq!(name(&disk, 512), "mbr of 0");
        disk[446] = 0x12;
        assert!(name(&disk, 512).contains("are not possible"));
        disk[3..11].copy_from_slice(b"NTFS    ");
        assert!(name(&disk, 512).contains("a NTFS file system fills the disk"));
        for size in [0, 1, 512, 1024, 4096, 8192] {
            assert_eq!(name(&vec![0; size], 512), "there is no partition table");
            assert_eq!(name(&vec![0; size], 4096), "there is no partition table");
        }
    }

    #[test]
    fn a_table_for_a_larger_disk_can_be_repaired() {
        let disk = testing::gpt(SIZE, Shape::default(), &[(1, 2048, 4095)]);
        let found = name(&disk[..3 << 20], 512);
        assert_eq!(found, "repairable: it was made for a larger disk");
    }
}
