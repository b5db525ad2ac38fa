//! The chain of logical partitions within an extended partition of a master boot record, as
//! Linux follows it (`block/partitions/msdos.c`).
//!
//! Each link is a sector like a master boot record: its entries are counted from the link
//! itself, except for the one that names the next link, which is counted from the first. The
//! links may lie in any order. A chain may come back to a link; Linux follows it until it has
//! no more numbers, and so does this.

use std::collections::HashMap;

use thiserror::Error;

use super::mbr::{Mbr, MbrError, MbrPartition, check_extents};
use crate::read::Source;
use crate::size::Geometry;

/// Linux has numbers up to here.
const LAST_NUMBER: u32 = 255;
/// The first number.
const FIRST_NUMBER: u32 = 5;
/// Links without a partition that Linux follows in succession.
const EMPTY_LINKS: u32 = 100;

/// Why a chain cannot be that of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChainError {
    /// A link is not a link.
    #[error("the chain of its logical partitions leads to sector {0}, where no link of it is")]
    NoLink(u64),
    /// A link is named twice.
    #[error("the chain of its logical partitions comes back to sector {0}")]
    Circle(u64),
    /// A partition is not inside of the extended partition.
    #[error("logical partition {0} lies outside of the extended partition")]
    Outside(u32),
    /// As with primary partitions.
    #[error(transparent)]
    Extent(#[from] MbrError),
}

/// Logical partitions and what is wrong with them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Logical {
    /// The partitions that Linux makes, in the order of their numbers. They may overlap, lie
    /// outside of the extended partition and be beyond the end of the disk.
    pub partitions: Vec<MbrPartition>,
    /// Where the chain does not go on as it says.
    broken: Option<ChainError>,
    /// The extended partitions.
    extended: Vec<MbrPartition>,
}

impl Logical {
    /// Follows the chains of a record.
    ///
    /// # Errors
    /// What the source said.
    pub fn read<S: Source + ?Sized>(source: &mut S, record: &Mbr) -> Result<Self, S::Error> {
        let mut found = Self::default();
        for extended in record.partitions().filter(MbrPartition::is_extended) {
            found.follow(source, record.geometry(), extended)?;
            found.extended.push(extended);
        }
        Ok(found)
    }

    fn follow<S: Source + ?Sized>(
        &mut self,
        source: &mut S,
        geometry: Geometry,
        extended: MbrPartition,
    ) -> Result<(), S::Error> {
        let mut seen: HashMap<u64, Option<Mbr>> = HashMap::new();
        let (mut at, mut size) = (extended.first, extended.sectors);
        let mut empty = 0;
        loop {
            empty += 1;
            if empty > EMPTY_LINKS || self.is_full() {
                return Ok(());
            }
            let link = match seen.get(&at) {
                Some(link) => {
                    self.broken.get_or_insert(ChainError::Circle(at));
                    link.clone()
                }
                None => {
                    let offset = at.saturating_mul(geometry.sector());
                    let link = Mbr::read_at(source, geometry, offset)?;
                    seen.insert(at, link.clone());
                    link
                }
            };
            let Some(link) = link else {
                self.broken.get_or_insert(ChainError::NoLink(at));
                return Ok(());
            };
            let used = link.partitions().filter(|entry| !entry.is_extended());
            for entry in used {
                let partition = MbrPartition {
                    number: self.next_number(),
                    first: at.saturating_add(entry.first),
                    ..entry
                };
                // The third and the fourth entry may be anything.
                let is_plausible = entry.end() <= size
                    && partition.first >= extended.first
                    && partition.end() <= extended.end();
                if entry.number > 2 && !is_plausible {
                    continue;
                }
                self.partitions.push(partition);
                empty = 0;
                if self.is_full() {
                    return Ok(());
                }
            }
            let next = link.partitions().find(MbrPartition::is_extended);
            let Some(next) = next else {
                return Ok(());
            };
            at = extended.first.saturating_add(next.first);
            size = next.sectors;
        }
    }

    fn next_number(&self) -> u32 {
        let count = u32::try_from(self.partitions.len()).unwrap_or(LAST_NUMBER);
        FIRST_NUMBER.saturating_add(count)
    }

    fn is_full(&self) -> bool {
        self.next_number() > LAST_NUMBER
    }

    /// Refuses a chain that contradicts itself, its extended partition or the disk, as parted
    /// does.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn check(&self, geometry: Geometry) -> Result<(), ChainError> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let used: Vec<MbrPartition> = self
            .partitions
            .iter()
            .copied()
            .filter(MbrPartition::has_type)
            .collect();
        let outside = used.iter().find(|partition| {
            let holds = |extended: &MbrPartition| {
                partition.first >= extended.first && partition.end() <= extended.end()
            };
            !self.extended.iter().any(holds)
        });
        if let Some(outside) = outside {
            return Err(ChainError::Outside(outside.number));
        }
        Ok(check_extents(&used, geometry)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition_table::testing;
    use crate::size::MIB;

    const GEOMETRY: Geometry = Geometry {
        size: MIB,
        sector_size: 512,
    };

    /// A disk with an extended partition of sectors 100 to 1000 and these links: where they
    /// are, their partition, the next link; both counted as the links do.
    fn chain(links: &[(u64, [u32; 2], u32)]) -> (Logical, Result<(), ChainError>) {
        let mut disk = vec![0; 1 << 20];
        testing::mbr(&mut disk, 0, &[(0x83, 10, 50), (0x05, 100, 900)]);
        for (at, [first, sectors], next) in links {
            let next = if *next == u32::MAX {
                (0, 0, 0)
            } else {
                (0x05, *next, 300)
            };
            testing::mbr(&mut disk, at * 512, &[(0x83, *first, *sectors), next]);
        }
        let mut source = &disk[..];
        let record = Mbr::read(&mut source, GEOMETRY).unwrap().unwrap();
        let found = Logical::read(&mut source, &record).unwrap();
        let checked = found.check(GEOMETRY);
        (found, checked)
    }

    /// No next link.
    const END: u32 = u32::MAX;

    #[test]
    fn links_are_followed_in_any_order() {
        for links in [
            [
                (100, [8, 90], 200),
                (300, [8, 50], 400),
                (500, [16, 300], END),
            ],
            [
                (100, [8, 90], 400),
                (500, [8, 300], 200),
                (300, [8, 90], END),
            ],
        ] {
            let (found, checked) = chain(&links);
            checked.unwrap();
            let seen: Vec<_> = found
                .partitions
                .iter()
                .map(|found| (found.number, found.first, found.sectors))
                .collect();
            let expected: Vec<_> = (5..)
                .zip(links)
                .map(|(number, (at, [first, sectors], _))| {
                    (number, at + u64::from(first), u64::from(sectors))
                })
                .collect();
            assert_eq!(seen, expected);
        }
    }

    #[test]
    fn a_chain_that_makes_no_sense_ends_and_is_refused() {
        for (links, count, expected) in [
            // Back to the first link, and to itself: Linux goes on until it has no numbers.
            (
                &[(100, [8, 50], 200), (300, [8, 50], 0)][..],
                251,
                Some(ChainError::Circle(100)),
            ),
            (
                &[(100, [8, 50], 200), (300, [8, 50], 200)],
                251,
                Some(ChainError::Circle(300)),
            ),
            (&[(100, [8, 50], 600)], 1, Some(ChainError::NoLink(700))),
            (
                &[(100, [8, 50], 4_000_000_000)],
                1,
                Some(ChainError::NoLink(4_000_000_100)),
            ),
            (&[(100, [8, 900], END)], 1, Some(ChainError::Outside(5))),
            (
                &[(100, [8, 300], 200), (300, [8, 50], END)],
                2,
                Some(ChainError::Extent(MbrError::Overlap(5, 6))),
            ),
            (&[], 0, Some(ChainError::NoLink(100))),
        ] {
            let (found, checked) = chain(links);
            assert_eq!(found.partitions.len(), count, "{links:?}");
            assert_eq!(checked.err(), expected, "{links:?}");
        }
    }

    #[test]
    fn links_without_a_partition_are_followed_a_hundred_times() {
        for (length, is_found) in [(99, true), (100, false)] {
            let mut disk = vec![0; 1 << 20];
            testing::mbr(&mut disk, 0, &[(0x05, 100, 900)]);
            for link in 0..length {
                testing::mbr(
                    &mut disk,
                    (100 + u64::from(link)) * 512,
                    &[(0x05, link + 1, 300)],
                );
            }
            testing::mbr(&mut disk, (100 + u64::from(length)) * 512, &[(0x83, 8, 9)]);
            let mut source = &disk[..];
            let record = Mbr::read(&mut source, GEOMETRY).unwrap().unwrap();
            let found = Logical::read(&mut source, &record).unwrap();
            assert_eq!(found.partitions.len() == 1, is_found, "{length}");
        }
    }
}
