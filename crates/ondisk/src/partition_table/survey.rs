//! Every partition that any table on a disk claims: of the table that counts, of what is left
//! of others, of damaged copies, of tables for sectors of another size, and of tables inside of
//! partitions. What must be kept is looked for in all of these places.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;

use super::decide::{TableDecision, decide};
use super::gpt::{self, PRIMARY};
use super::kinds::PartitionType;
use super::logical::Logical;
use super::mbr::{Mbr, MbrPartition, PROTECTIVE};
use crate::read::{Area, Source};
use crate::size::Geometry;

/// Tables within tables are followed so deep.
const MAX_DEPTH: usize = 3;
/// More partitions than this are not listed. Linux reads 32,768 entries of a GPT at most.
const MAX_PARTITIONS: usize = 1 << 17;
/// Nor more than this of tables that do not count: what is left of a few tables has far fewer, and
/// each of them is a place in which tables are looked for.
const MAX_UNCOUNTED: usize = 4096;

/// The table that claims a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClaimingTable {
    /// The first copy of a GUID partition table.
    PrimaryGpt,
    /// Another copy of one.
    BackupGpt,
    /// A master boot record with its logical partitions.
    Mbr,
}

impl fmt::Display for ClaimingTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PrimaryGpt => "the GUID partition table",
            Self::BackupGpt => "the backup GUID partition table",
            Self::Mbr => "the MBR partition table",
        })
    }
}

/// A partition that a table claims. Offsets and sizes in bytes of the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedPartition {
    /// Its number in its table.
    pub number: u32,
    /// Where it starts.
    pub start: u64,
    /// How long it is, as the table says. It may end beyond the disk.
    pub size: u64,
    /// What it is for.
    pub kind: PartitionType,
    /// Whose it is.
    pub table: ClaimingTable,
    /// The sectors that the table counts in, in bytes.
    pub sector_size: u32,
    /// Whether the table is the one that counts on this disk.
    pub counts: bool,
    /// The byte at which the partition with the table starts; 0 for the disk.
    pub base: u64,
}

impl fmt::Display for ClaimedPartition {
    /// `partition 2`; of a table that does not count also which: `partition 2 (of the backup
    /// GUID partition table, which does not count)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {}", self.number)?;
        if self.counts {
            return Ok(());
        }
        write!(f, " (of {}", self.table)?;
        if self.base > 0 {
            write!(f, " that begins at byte {}", self.base)?;
        }
        write!(
            f,
            " for sectors of {} bytes, which does not count)",
            self.sector_size
        )
    }
}

/// All claims.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    /// Those of the table that counts come first.
    pub claims: Vec<ClaimedPartition>,
    /// Whether there are more than can be listed.
    pub is_cut: bool,
}

/// Lists the claims of all tables on a disk.
///
/// # Errors
/// What the source said.
pub fn survey<E>(source: &mut dyn Source<Error = E>, geometry: Geometry) -> Result<Survey, E> {
    let mut found = Survey::default();
    let counting = CountingTable::new(&decide(source, geometry)?, geometry);
    let mut uncounted = 0;
    let mut areas = VecDeque::from([(0_u64, geometry.size, 0_usize)]);
    let mut seen = BTreeSet::from([0]);
    while let Some((base, size, depth)) = areas.pop_front() {
        let mut area = Area::new(&mut *source, base, size);
        let geometry = Geometry {
            size: area.size(),
            ..geometry
        };
        let mut claims = tables(&mut area, geometry)?;
        for claim in &mut claims {
            claim.counts = depth == 0 && counting.has(claim, geometry);
            claim.start = claim.start.saturating_add(base);
            claim.base = base;
        }
        claims.sort_by_key(|claim| !claim.counts);
        uncounted += claims.iter().filter(|claim| !claim.counts).count();
        for claim in &claims {
            if depth < MAX_DEPTH && seen.insert(claim.start) {
                areas.push_back((claim.start, claim.size, depth + 1));
            }
        }
        found.claims.append(&mut claims);
        if found.claims.len() > MAX_PARTITIONS || uncounted > MAX_UNCOUNTED {
            found.claims.truncate(MAX_PARTITIONS);
            found.is_cut = true;
            break;
        }
    }
    Ok(found)
}

/// What counts on a disk.
enum CountingTable {
    /// The partitions of a GUID partition table: their first bytes by their numbers.
    Gpt(HashMap<u32, u64>),
    Mbr,
    Nothing,
}

impl CountingTable {
    fn new(decision: &TableDecision, geometry: Geometry) -> Self {
        match decision {
            TableDecision::Gpt { table, .. } => {
                let start = |first: u64| first.saturating_mul(geometry.sector());
                let partitions = table.partitions();
                let starts = partitions.map(|found| (found.number, start(found.first)));
                Self::Gpt(starts.collect())
            }
            TableDecision::Mbr(_) => Self::Mbr,
            TableDecision::Repairable { .. } | TableDecision::Nothing(_) => Self::Nothing,
        }
    }

    /// Whether a claim of a table on the disk is one of this table.
    fn has(&self, claim: &ClaimedPartition, geometry: Geometry) -> bool {
        let is_gpt = claim.table != ClaimingTable::Mbr;
        claim.sector_size == geometry.sector_size
            && match self {
                Self::Gpt(starts) => is_gpt && starts.get(&claim.number) == Some(&claim.start),
                Self::Mbr => !is_gpt,
                Self::Nothing => false,
            }
    }
}

/// What every table at the beginning and the end of a disk or a partition claims.
fn tables<E>(
    source: &mut dyn Source<Error = E>,
    geometry: Geometry,
) -> Result<Vec<ClaimedPartition>, E> {
    let mut found = Vec::new();
    let mut sizes = vec![geometry.sector_size];
    sizes.extend(
        [512, 4096]
            .into_iter()
            .filter(|size| *size != geometry.sector_size),
    );
    for sector_size in sizes {
        let geometry = Geometry {
            sector_size,
            ..geometry
        };
        guid_tables(source, geometry, &mut found)?;
        let Some(record) = Mbr::read(source, geometry)? else {
            continue;
        };
        // What protects a GPT covers it, and is not a place for anything else.
        let entries = record.partitions().filter(|entry| entry.kind != PROTECTIVE);
        found.extend(entries.map(|entry| mbr_claim(&entry, geometry)));
        let logical = Logical::read(source, &record)?;
        let logical = logical.partitions.iter();
        found.extend(logical.map(|entry| mbr_claim(entry, geometry)));
    }
    found.retain(|claim| claim.start < geometry.size);
    Ok(found)
}

fn guid_tables<E>(
    source: &mut dyn Source<Error = E>,
    geometry: Geometry,
    found: &mut Vec<ClaimedPartition>,
) -> Result<(), E> {
    let sector = geometry.sector();
    let last = geometry.sectors().saturating_sub(1);
    let mut headers = vec![PRIMARY, last];
    let mut next = 0;
    while let Some(at) = headers.get(next).copied() {
        next += 1;
        let Some((other, partitions)) = gpt::claims(source, geometry, at)? else {
            continue;
        };
        // Only the two headers of the ends are followed to another one.
        if next <= 2 && other <= last && !headers.contains(&other) {
            headers.push(other);
        }
        found.extend(partitions.into_iter().map(|partition| {
            let sectors = partition.last.saturating_sub(partition.first);
            ClaimedPartition {
                number: partition.number,
                start: partition.first.saturating_mul(sector),
                size: sectors.saturating_add(1).saturating_mul(sector),
                kind: PartitionType::Gpt(partition.kind),
                table: if at == PRIMARY {
                    ClaimingTable::PrimaryGpt
                } else {
                    ClaimingTable::BackupGpt
                },
                sector_size: geometry.sector_size,
                counts: false,
                base: 0,
            }
        }));
    }
    Ok(())
}

fn mbr_claim(entry: &MbrPartition, geometry: Geometry) -> ClaimedPartition {
    let sector = geometry.sector();
    ClaimedPartition {
        number: entry.number,
        start: entry.first.saturating_mul(sector),
        size: entry.sectors.saturating_mul(sector),
        kind: PartitionType::Mbr(entry.kind),
        table: ClaimingTable::Mbr,
        sector_size: geometry.sector_size,
        counts: false,
        base: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition_table::testing::{self, Shape};
    use crate::size::MIB;

    fn look(disk: &[u8]) -> Survey {
        let geometry = Geometry {
            size: disk.len() as u64,
            sector_size: 512,
        };
        survey(&mut &*disk, geometry).unwrap()
    }

    fn starts(found: &Survey, counts: bool) -> BTreeSet<u64> {
        let claims = found.claims.iter().filter(|claim| claim.counts == counts);
        claims.map(|claim| claim.start / 512).collect()
    }

    #[test]
    fn both_tables_of_a_contradicting_disk_are_listed() {
        let mut disk = testing::gpt(4 * MIB, Shape::default(), &[(1, 2048, 4095)]);
        testing::mbr(&mut disk, 0, &[(0x83, 4096, 100)]);
        let found = look(&disk);
        assert_eq!(starts(&found, true), BTreeSet::from([4096]));
        assert!(starts(&found, false).contains(&2048));
        let stale = found.claims.iter().find(|claim| !claim.counts).unwrap();
        let text = stale.to_string();
        assert!(
            text.starts_with("partition 1 (of the") && text.contains("does not count"),
            "{text}"
        );
        // Without checksums, too, and with the last entry of many.
        let shape = Shape {
            count: 4096,
            primary: false,
            backup: false,
            ..Shape::default()
        };
        let disk = testing::gpt(4 * MIB, shape, &[(4096, 3000, 4095)]);
        assert_eq!(starts(&look(&disk), false), BTreeSet::from([3000]));
    }

    #[test]
    fn tables_in_partitions_are_listed_and_circles_end() {
        let mut disk = vec![0; 4 << 20];
        testing::mbr(&mut disk, 0, &[(0x83, 1000, 4000), (0x83, 0, 8000)]);
        testing::mbr(&mut disk, 1000 * 512, &[(0x83, 1000, 100), (0x83, 0, 100)]);
        testing::mbr(&mut disk, 2000 * 512, &[(0x83, 50, 10)]);
        let found = look(&disk);
        assert_eq!(starts(&found, true), BTreeSet::from([0, 1000]));
        assert!(starts(&found, false).is_superset(&BTreeSet::from([2000, 2050])));
        assert!(!found.is_cut);
    }

    #[test]
    fn claims_are_bounded_where_they_do_not_count() {
        let partitions: Vec<_> = (1..=6000_u32)
            .map(|number| (number, 8400 + u64::from(number), 8400 + u64::from(number)))
            .collect();
        for counts in [true, false] {
            let shape = Shape {
                count: 32_768,
                primary: counts,
                backup: counts,
                ..Shape::default()
            };
            let found = look(&testing::gpt(16 * MIB, shape, &partitions));
            assert_eq!(found.is_cut, !counts);
            let listed = if counts { 6000 } else { 0 };
            assert_eq!(starts(&found, true).len(), listed);
        }
    }

    #[test]
    fn tables_for_sectors_of_another_size_are_listed() {
        let shape = Shape {
            sector: 4096,
            ..Shape::default()
        };
        let disk = testing::gpt(4 * MIB, shape, &[(2, 300, 400)]);
        assert_eq!(starts(&look(&disk), false), BTreeSet::from([300 * 8]));
    }
}
