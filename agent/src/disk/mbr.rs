//! Master boot records: the four primary partitions, and the disk's identifier.

use std::collections::BTreeSet;

use ironic_ondisk::filesystem::fat::BootSector;
use thiserror::Error;

use crate::system::disk::{Disk, DiskError, Geometry};

/// Type of FAT partitions with LBA, which parted gives to a config drive.
const FAT_LBA: u8 = 0x0c;
/// Type of the entry that keeps old programs away from a GPT.
const PROTECTIVE: u8 = 0xee;
/// Marks the partition that BIOS starts.
const ACTIVE: u8 = 0x80;
/// Types of the entry that holds logical partitions.
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
/// As many logical partitions as Linux has numbers for.
const LOGICAL: usize = 251;
/// Some links have no partition.
const LINKS: usize = 2 * LOGICAL;
/// Sectors that a record can name.
const REACH: u64 = u32::MAX as u64;

/// A used entry. Sectors count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MbrPartition {
    /// Its number, 1 to 4.
    pub number: u32,
    /// What it is for.
    pub kind: u8,
    /// First sector.
    pub first: u64,
    /// Number of sectors.
    pub sectors: u64,
    /// Whether BIOS starts it.
    pub is_active: bool,
}

/// What is wrong with a record.
#[derive(Debug, Error)]
pub enum MbrError {
    /// The disk could not be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It cannot name the sectors, or has no such entry.
    #[error("partition {number} ends at sector {end}, which a master boot record cannot name")]
    BeyondReach {
        /// Its number.
        number: u32,
        /// The first sector behind it.
        end: u64,
    },
    /// Four is all.
    #[error("it already has {0} primary partitions")]
    Full(usize),
    /// Nothing is free at the end.
    #[error("{needed} bytes are needed at the end of the disk, {free} are free")]
    NoRoom {
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mbr {
    geometry: Geometry,
    sector: [u8; 512],
}

impl Mbr {
    /// A record without partitions and without a boot program. `identifier` is the disk's.
    #[must_use]
    pub fn new(geometry: Geometry, identifier: u32) -> Self {
        let mut sector = [0; 512];
        sector[440..444].copy_from_slice(&identifier.to_le_bytes());
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        Self { geometry, sector }
    }

    /// The record in front of a GPT.
    #[must_use]
    pub fn protective(geometry: Geometry) -> Self {
        let mut record = Self::new(geometry, 0);
        let entry = &mut record.sector[446..462];
        // From sector 1, in cylinders, heads and sectors that firmware compares.
        entry[1..8].copy_from_slice(&[0, 2, 0, PROTECTIVE, 0xff, 0xff, 0xff]);
        entry[8] = 1;
        record.protect();
        record
    }

    /// The disk's identifier.
    #[must_use]
    pub fn identifier(&self) -> u32 {
        u32_at(&self.sector, 440)
    }

    /// Puts a partition into the entry of its number, whatever was there.
    ///
    /// # Errors
    /// There is no such entry, or it cannot name the partition's sectors.
    pub fn insert(&mut self, partition: MbrPartition) -> Result<(), MbrError> {
        let MbrPartition {
            number,
            first,
            sectors,
            ..
        } = partition;
        let end = first.saturating_add(sectors);
        let (Ok(start), Ok(length), 1..=4) = (u32::try_from(first), u32::try_from(sectors), number)
        else {
            return Err(MbrError::BeyondReach { number, end });
        };
        if end > REACH {
            return Err(MbrError::BeyondReach { number, end });
        }
        let at = 446 + 16 * (number as usize - 1);
        let entry = &mut self.sector[at..at + 16];
        entry.fill(0);
        entry[0] = if partition.is_active { ACTIVE } else { 0 };
        // Cylinders, heads and sectors that say: look at the sector numbers.
        entry[1..4].copy_from_slice(&[0xfe, 0xff, 0xff]);
        entry[4] = partition.kind;
        entry[5..8].copy_from_slice(&[0xfe, 0xff, 0xff]);
        entry[8..12].copy_from_slice(&start.to_le_bytes());
        entry[12..16].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    /// The partitions within an extended one, from number 5 on, as far as their chain makes
    /// sense: each link names one partition and the next link.
    ///
    /// # Errors
    /// What the disk said.
    pub fn logical(&self, disk: &mut dyn Disk) -> Result<Vec<MbrPartition>, DiskError> {
        let mut found = Vec::new();
        let mut extended = self.partitions();
        let Some(extended) = extended.find(|entry| EXTENDED.contains(&entry.kind)) else {
            return Ok(found);
        };
        let (first, end) = (extended.first, extended.first + extended.sectors);
        let size = u64::from(self.geometry.sector_size);
        let mut at = first;
        // In any order. A chain that comes back has no end.
        let mut seen = BTreeSet::new();
        while found.len() < LOGICAL
            && seen.len() < LINKS
            && seen.insert(at)
            && at < end
            && (at + 1) * size <= self.geometry.size
        {
            let mut link = Self {
                geometry: self.geometry,
                sector: [0; 512],
            };
            disk.read_at(at * size, &mut link.sector)?;
            if link.sector[510..] != [0x55, 0xaa] {
                break;
            }
            let mut next = None;
            for entry in link.partitions() {
                if EXTENDED.contains(&entry.kind) {
                    // Counted from the first link.
                    next = Some(first + entry.first);
                } else if let Ok(index) = u32::try_from(found.len()) {
                    found.push(MbrPartition {
                        number: 5 + index,
                        first: at + entry.first,
                        ..entry
                    });
                }
            }
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
        let end = end.min(self.geometry.size / size);
        found.retain(|partition| partition.first + partition.sectors <= end);
        Ok(found)
    }

    /// Reads the record. `None`: the disk has none, or a file system's boot sector.
    ///
    /// # Errors
    /// What the disk said.
    pub fn read(disk: &mut dyn Disk) -> Result<Option<Self>, DiskError> {
        let geometry = disk.geometry();
        let mut sector = [0; 512];
        if geometry.size < 512 {
            return Ok(None);
        }
        disk.read_at(0, &mut sector)?;
        let record = Self { geometry, sector };
        let is_possible = (0..4).all(|index| matches!(record.entry(index)[0], 0 | 0x80));
        // A FAT file system's boot sector ends with the same two bytes.
        let has_entries = record.sector[446..510].iter().any(|byte| *byte != 0);
        let is_fat = !has_entries && BootSector::parse(&record.sector).is_some();
        let is_signed = record.sector[510..] == [0x55, 0xaa];
        Ok(Some(record).filter(|_| is_signed && is_possible && !is_fat))
    }

    /// The used entries in the order of their numbers.
    pub fn partitions(&self) -> impl Iterator<Item = MbrPartition> + '_ {
        (1..)
            .zip((0..4).map(|index| self.entry(index)))
            .map(|(number, entry)| MbrPartition {
                number,
                kind: entry[4],
                first: u32_at(entry, 8).into(),
                sectors: u32_at(entry, 12).into(),
                is_active: entry[0] == ACTIVE,
            })
            .filter(|partition| partition.kind != 0)
    }

    /// Whether it has partitions, and none of them stands for a GPT.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        let mut kinds = self.partitions().map(|partition| partition.kind).peekable();
        kinds.peek().is_some() && kinds.all(|kind| kind != PROTECTIVE)
    }

    /// Stretches the entry that protects a GPT over the whole disk. A hybrid record, with
    /// other partitions, stays as it is.
    pub fn protect(&mut self) {
        let used: Vec<MbrPartition> = self.partitions().collect();
        if let [only] = used.as_slice()
            && only.kind == PROTECTIVE
        {
            let sectors = self.geometry.size / u64::from(self.geometry.sector_size);
            let length = u32::try_from(sectors - only.first.min(sectors)).unwrap_or(u32::MAX);
            let at = 446 + 16 * (only.number as usize - 1) + 12;
            self.sector[at..at + 4].copy_from_slice(&length.to_le_bytes());
        }
    }

    /// Adds a partition at the end of what a record can reach: of `wanted` bytes if they are
    /// free there, else of what is free if that is at least `needed`.
    ///
    /// # Errors
    /// No room, or no entry.
    pub fn add_last(&mut self, wanted: u64, needed: u64) -> Result<MbrPartition, MbrError> {
        let used: Vec<MbrPartition> = self.partitions().collect();
        let Some(number) = (1..=4).find(|number| used.iter().all(|used| used.number != *number))
        else {
            return Err(MbrError::Full(used.len()));
        };
        let sector = u64::from(self.geometry.sector_size);
        let ends = used.iter().map(|used| used.first + used.sectors);
        let taken = ends.max().unwrap_or(1);
        let end = (self.geometry.size / sector).min(REACH);
        let (first, last) = super::place_last(taken, end, sector, wanted, needed)
            .map_err(|free| MbrError::NoRoom { needed, free })?;
        let partition = MbrPartition {
            number,
            kind: FAT_LBA,
            first,
            sectors: last + 1 - first,
            is_active: false,
        };
        self.insert(partition)?;
        Ok(partition)
    }

    /// The sector to write at 0.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.sector
    }

    fn entry(&self, index: usize) -> &[u8] {
        &self.sector[446 + 16 * index..446 + 16 * (index + 1)]
    }
}

/// The disk identifier as Ironic knows it, `0x%08x`: bytes 440 to 443, little endian. It is
/// zero on most GPT disks.
///
/// # Errors
/// What the disk said.
pub fn disk_identifier(disk: &mut dyn Disk) -> Result<String, DiskError> {
    let mut bytes = [0; 4];
    disk.read_at(440, &mut bytes)?;
    Ok(format!("0x{:08x}", u32::from_le_bytes(bytes)))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Disks;
    use crate::system::disk::LinuxDisks;

    const MIB: u64 = 1 << 20;

    fn record(size: u64, entries: &[(u8, u32, u32)]) -> Mbr {
        let mut sector = [0; 512];
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        for (index, (kind, first, sectors)) in entries.iter().enumerate() {
            let at = 446 + 16 * index;
            sector[at + 4] = *kind;
            sector[at + 8..at + 12].copy_from_slice(&first.to_le_bytes());
            sector[at + 12..at + 16].copy_from_slice(&sectors.to_le_bytes());
        }
        let geometry = Geometry {
            size,
            sector_size: 512,
        };
        Mbr { geometry, sector }
    }

    #[test]
    fn a_partition_is_added_where_another_library_sees_it() {
        let mut record = record(
            200 * MIB,
            &[(0x83, 2048, 4096), (0, 0, 0), (0x83, 6144, 2048)],
        );
        let added = record.add_last(64 * MIB, 1).unwrap();
        let first = (200 - 64) * MIB / 512;
        let expected = MbrPartition {
            number: 2,
            kind: FAT_LBA,
            first,
            sectors: 64 * MIB / 512,
            is_active: false,
        };
        assert_eq!(added, expected);
        let mut cursor = std::io::Cursor::new(record.bytes());
        let other = mbrman::MBRHeader::read_from(&mut cursor).unwrap();
        assert_eq!(
            (other[2].sys, u64::from(other[2].starting_lba)),
            (FAT_LBA, first)
        );
        assert_eq!(other[3].starting_lba, 6144);
    }

    /// A disk with an extended partition of sectors 100 to 1000 and these links: where they
    /// are, their partition, the next link; both counted as the links do.
    fn chain(links: &[(u64, [u32; 2], u32)]) -> (tempfile::NamedTempFile, Box<dyn Disk>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(MIB).unwrap();
        let mut disk = LinuxDisks.open(file.path()).unwrap();
        let first = record(MIB, &[(0x83, 10, 50), (0x05, 100, 900)]);
        disk.write_at(0, first.bytes()).unwrap();
        for (at, [first, sectors], next) in links {
            let kind = if *next == 0 { 0 } else { 0x05 };
            let link = record(MIB, &[(0x83, *first, *sectors), (kind, *next, 300)]);
            disk.write_at(at * 512, link.bytes()).unwrap();
        }
        (file, disk)
    }

    #[test]
    fn logical_partitions_are_found_as_another_library_finds_them() {
        let links = [
            (100, [8, 90], 200),
            (300, [8, 50], 400),
            (500, [16, 300], 0),
        ];
        let (mut file, mut disk) = chain(&links);
        let record = Mbr::read(disk.as_mut()).unwrap().unwrap();
        let found = record.logical(disk.as_mut()).unwrap();
        let seen: Vec<_> = found
            .iter()
            .map(|found| (found.number, found.first, found.sectors))
            .collect();
        assert_eq!(seen, [(5, 108, 90), (6, 308, 50), (7, 516, 300)]);
        let other = mbrman::MBR::read_from(file.as_file_mut(), 512).unwrap();
        let other: Vec<_> = other
            .iter()
            .filter(|(number, _)| *number > 4)
            .map(|(number, entry)| {
                let number = u32::try_from(number).unwrap();
                (number, entry.starting_lba.into(), entry.sectors.into())
            })
            .collect();
        assert_eq!(seen, other);
    }

    #[test]
    fn a_chain_of_logical_partitions_that_makes_no_sense_ends() {
        for (links, count) in [
            // In a circle, to itself, into nothing, out of the extended partition.
            (
                &[(100, [8, 50], 200), (300, [8, 50], 0), (300, [8, 50], 100)][..],
                2,
            ),
            (&[(100, [8, 50], 200), (300, [8, 50], 200)], 2),
            (&[(100, [8, 50], 600)], 1),
            (&[(100, [8, 50], 4_000_000_000)], 1),
            (&[(100, [8, 900], 0)], 0),
            // Further behind and back again, as Linux follows it.
            (
                &[
                    (100, [8, 50], 700),
                    (800, [8, 60], 400),
                    (500, [16, 200], 0),
                ],
                3,
            ),
            (&[], 0),
        ] {
            let (_file, mut disk) = chain(links);
            let record = Mbr::read(disk.as_mut()).unwrap().unwrap();
            assert_eq!(
                record.logical(disk.as_mut()).unwrap().len(),
                count,
                "{links:?}"
            );
        }
    }

    #[test]
    fn four_is_all_and_room_is_needed() {
        let full = [(0x83, 2048, 2048); 4];
        assert!(matches!(
            record(200 * MIB, &full).add_last(64 * MIB, 1),
            Err(MbrError::Full(4))
        ));
        let large = [(0x83, 2048, 8192)];
        assert!(matches!(
            record(6 * MIB, &large).add_last(64 * MIB, 2 * MIB),
            Err(MbrError::NoRoom { free, .. }) if free == MIB
        ));
    }

    #[test]
    fn beyond_two_tebibytes_the_last_that_can_be_named_is_used() {
        let size = 4 << 40;
        let mut record = record(size, &[(0x83, 2048, 4096)]);
        let added = record.add_last(64 * MIB, 1).unwrap();
        assert_eq!(added.first + added.sectors, REACH);
    }

    #[test]
    fn only_a_lone_protective_entry_is_stretched() {
        let mut alone = record(16 * MIB, &[(PROTECTIVE, 1, 100)]);
        alone.protect();
        assert_eq!(
            alone.partitions().next().unwrap().sectors,
            16 * MIB / 512 - 1
        );
        let mut hybrid = record(16 * MIB, &[(PROTECTIVE, 1, 100), (0x83, 2048, 4096)]);
        let before = hybrid.clone();
        hybrid.protect();
        assert_eq!(hybrid, before);
        let mut huge = record(4 << 40, &[(PROTECTIVE, 1, 100)]);
        huge.protect();
        assert_eq!(
            huge.partitions().next().unwrap().sectors,
            u64::from(u32::MAX)
        );
    }
}
