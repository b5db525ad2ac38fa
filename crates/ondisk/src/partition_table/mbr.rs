//! Master boot records: the four primary partitions, and the disk's identifier. The logical
//! partitions are in [`super::logical`].

use thiserror::Error;

use crate::filesystem::fat::BootSector;
use crate::read::{self, Source, field, le_u32};
use crate::size::Geometry;

/// Type of FAT partitions with LBA, which parted gives to a config drive.
const FAT_LBA: u8 = 0x0c;
/// Type of the entry that keeps old programs away from a GPT.
pub const PROTECTIVE: u8 = 0xee;
/// Marks the partition that BIOS starts.
const ACTIVE: u8 = 0x80;
/// Types of the entry that holds logical partitions.
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
/// Where the entries are, and how long each is.
const ENTRIES_AT: usize = 446;
const ENTRY: usize = 16;
/// What the record ends with, and a file system's boot sector, too.
pub const SIGNATURE: [u8; 2] = [0x55, 0xaa];
/// Sectors that a record can name.
pub const REACH: u64 = u32::MAX as u64;

/// An entry. Sectors count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MbrPartition {
    /// Its number: 1 to 4, logical partitions from 5 on.
    pub number: u32,
    /// What it is for; 0 if it is for nothing.
    pub kind: u8,
    /// First sector.
    pub first: u64,
    /// Number of sectors.
    pub sectors: u64,
    /// Whether BIOS starts it.
    pub is_active: bool,
}

impl MbrPartition {
    /// The first sector behind it.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.sectors)
    }

    /// Whether it holds logical partitions.
    #[must_use]
    pub fn is_extended(&self) -> bool {
        EXTENDED.contains(&self.kind)
    }

    /// Whether partitioning tools take it for a partition. Linux takes an entry without a type
    /// for one as well.
    #[must_use]
    pub fn has_type(&self) -> bool {
        self.kind != 0 && self.sectors > 0
    }
}

/// Why a record cannot be used on a disk, or cannot name what it should.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MbrError {
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
    /// A partition lies outside of the disk.
    #[error("partition {number} ends at sector {last}, the disk's last sector is {usable}")]
    BeyondEnd {
        /// Its number.
        number: u32,
        /// Its last sector.
        last: u64,
        /// The last sector of the disk.
        usable: u64,
    },
    /// A partition lies over the record.
    #[error("partition {0} starts at sector 0, where the partition table is")]
    OverRecord(u32),
    /// Two partitions have sectors in common.
    #[error("partitions {0} and {1} overlap")]
    Overlap(u32, u32),
    /// There can be only one.
    #[error("partitions {0} and {1} are both extended partitions")]
    TwoExtended(u32, u32),
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
        sector[510..].copy_from_slice(&SIGNATURE);
        Self { geometry, sector }
    }

    /// The record in front of a GPT.
    #[must_use]
    pub fn protective(geometry: Geometry) -> Self {
        let mut record = Self::new(geometry, 0);
        record.make_protective();
        record
    }

    /// The disk's identifier.
    #[must_use]
    pub fn identifier(&self) -> u32 {
        le_u32(&self.sector, 440).unwrap_or_default()
    }

    /// The first sector of a disk if it ends as a record does. It may as well be the boot
    /// sector of a file system: see [`Mbr::boot_sector`].
    ///
    /// # Errors
    /// What the source said.
    pub fn read<S: Source + ?Sized>(
        source: &mut S,
        geometry: Geometry,
    ) -> Result<Option<Self>, S::Error> {
        Self::read_at(source, geometry, 0)
    }

    /// The same at another byte, where a link of a chain is.
    pub(super) fn read_at<S: Source + ?Sized>(
        source: &mut S,
        geometry: Geometry,
        offset: u64,
    ) -> Result<Option<Self>, S::Error> {
        let sector = read::array::<512, S>(source, offset)?;
        let signed = sector.filter(|sector| sector[510..] == SIGNATURE);
        Ok(signed.map(|sector| Self { geometry, sector }))
    }

    /// A sector that is in memory, whatever it ends with.
    #[must_use]
    pub fn of_sector(geometry: Geometry, sector: [u8; 512]) -> Self {
        Self { geometry, sector }
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
        let at = ENTRIES_AT + ENTRY * (number as usize - 1);
        let entry = &mut self.sector[at..at + ENTRY];
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

    /// All four entries, also those that are not used.
    #[must_use]
    pub fn entries(&self) -> [MbrPartition; 4] {
        [1_u32, 2, 3, 4].map(|number| {
            let entry: [u8; ENTRY] =
                field(&self.sector, ENTRIES_AT + ENTRY * (number as usize - 1)).unwrap_or_default();
            MbrPartition {
                number,
                kind: entry[4],
                first: le_u32(&entry, 8).unwrap_or_default().into(),
                sectors: le_u32(&entry, 12).unwrap_or_default().into(),
                is_active: entry[0] == ACTIVE,
            }
        })
    }

    /// The entries that Linux makes partitions by: those that have a length.
    pub fn partitions(&self) -> impl Iterator<Item = MbrPartition> + use<> {
        let entries = self.entries().into_iter();
        entries.filter(|partition| partition.sectors > 0)
    }

    /// Whether the first byte of each entry is one that an entry can have. Linux takes the
    /// sector for the beginning of a file system otherwise.
    #[must_use]
    pub fn has_possible_flags(&self) -> bool {
        let mut entries = self.sector[ENTRIES_AT..510].chunks_exact(ENTRY);
        entries.all(|entry| matches!(entry.first(), Some(&(0 | ACTIVE))))
    }

    /// Where the first entry begins, in cylinder, head and sector.
    pub(super) fn first_start(&self) -> [u8; 3] {
        field(&self.sector, ENTRIES_AT + 1).unwrap_or_default()
    }

    /// The file system whose boot sector this is. Its entries, where it has any, may still be
    /// a partition table: see [`super::decide`].
    #[must_use]
    pub fn boot_sector(&self) -> Option<&'static str> {
        let bytes = &self.sector;
        let named = |name: &[u8]| bytes[3..].starts_with(name);
        if named(b"NTFS    ") {
            Some("NTFS")
        } else if named(b"EXFAT   ") {
            Some("exFAT")
        } else if BootSector::parse(bytes).is_some() {
            Some("FAT")
        } else {
            None
        }
    }

    /// Whether an entry stands for a GPT.
    #[must_use]
    pub fn announces_gpt(&self) -> bool {
        self.entries().iter().any(|entry| entry.kind == PROTECTIVE)
    }

    /// Whether Linux looks for a GPT behind this record: an entry protects the sectors from 1
    /// on. In a hybrid record there are others besides.
    #[must_use]
    pub fn is_protective(&self) -> bool {
        let mut entries = self.entries().into_iter();
        entries.any(|entry| entry.kind == PROTECTIVE && entry.first == 1)
    }

    /// Stretches the entry that protects a GPT over the whole disk. A hybrid record, with
    /// other partitions, stays as it is.
    pub fn protect(&mut self) {
        let used: Vec<MbrPartition> = self.entries().into_iter().collect();
        let mut used = used.iter().filter(|entry| entry.kind != 0);
        if let (Some(only), None) = (used.next(), used.next())
            && only.kind == PROTECTIVE
        {
            self.put_protective(only.number, only.first);
        }
    }

    /// Makes the entry that protects a GPT what Linux looks for. Other entries are kept if
    /// there is such an entry already; else all are replaced by one. Code stays.
    pub fn make_protective(&mut self) {
        let mut entries = self.entries().into_iter();
        let found = entries.find(|entry| entry.kind == PROTECTIVE);
        let number = match found {
            Some(entry) => entry.number,
            None => {
                self.sector[ENTRIES_AT..510].fill(0);
                1
            }
        };
        let at = ENTRIES_AT + ENTRY * (number as usize - 1);
        let entry = &mut self.sector[at..at + ENTRY];
        // From sector 1, in cylinders, heads and sectors that firmware compares.
        entry[1..8].copy_from_slice(&[0, 2, 0, PROTECTIVE, 0xff, 0xff, 0xff]);
        self.sector[510..].copy_from_slice(&SIGNATURE);
        self.put_protective(number, 1);
    }

    fn put_protective(&mut self, number: u32, first: u64) {
        let sectors = self.geometry.sectors();
        let first = u32::try_from(first).unwrap_or(u32::MAX);
        let length = sectors.saturating_sub(first.into());
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let at = ENTRIES_AT + ENTRY * (number as usize - 1);
        self.sector[at + 8..at + 12].copy_from_slice(&first.to_le_bytes());
        self.sector[at + 12..at + 16].copy_from_slice(&length.to_le_bytes());
    }

    /// Refuses primary partitions that contradict the disk or each other, as parted does.
    /// Entries without a type are not looked at.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn check(&self) -> Result<(), MbrError> {
        let used: Vec<MbrPartition> = self.partitions().filter(MbrPartition::has_type).collect();
        if let Some(over) = used.iter().find(|partition| partition.first == 0) {
            return Err(MbrError::OverRecord(over.number));
        }
        check_extents(&used, self.geometry)?;
        let mut extended = used.iter().filter(|partition| partition.is_extended());
        match (extended.next(), extended.next()) {
            (Some(one), Some(two)) => Err(MbrError::TwoExtended(one.number, two.number)),
            _ => Ok(()),
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
        let sector = self.geometry.sector();
        let taken = used.iter().map(MbrPartition::end).max().unwrap_or(1);
        let end = self.geometry.sectors().min(REACH);
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

    /// The disk.
    pub(super) fn geometry(&self) -> Geometry {
        self.geometry
    }
}

/// Refuses partitions that end beyond the disk or overlap.
pub(super) fn check_extents(
    partitions: &[MbrPartition],
    geometry: Geometry,
) -> Result<(), MbrError> {
    let sectors = geometry.sectors();
    if let Some(beyond) = partitions.iter().find(|found| found.end() > sectors) {
        return Err(MbrError::BeyondEnd {
            number: beyond.number,
            last: beyond.end().saturating_sub(1),
            usable: sectors.saturating_sub(1),
        });
    }
    let mut sorted: Vec<&MbrPartition> = partitions.iter().collect();
    sorted.sort_by_key(|partition| (partition.first, partition.number));
    for pair in sorted.windows(2) {
        if let [one, next] = pair
            && next.first < one.end()
        {
            return Err(MbrError::Overlap(one.number, next.number));
        }
    }
    Ok(())
}

/// The disk identifier as Ironic knows it, `0x%08x`: bytes 440 to 443, little endian. It is
/// zero on most GPT disks.
///
/// # Errors
/// What the source said.
pub fn disk_identifier<S: Source + ?Sized>(source: &mut S) -> Result<String, S::Error> {
    let mut bytes = [0; 4];
    source.read_at(440, &mut bytes)?;
    Ok(format!("0x{:08x}", u32::from_le_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition_table::testing;
    use crate::size::MIB;

    fn record(size: u64, entries: &[(u8, u32, u32)]) -> Mbr {
        let mut sector = [0; 512];
        testing::mbr(&mut sector, 0, entries);
        let geometry = Geometry {
            size,
            sector_size: 512,
        };
        Mbr { geometry, sector }
    }

    #[test]
    fn a_partition_is_added_at_the_end() {
        let mut record = record(
            200 * MIB,
            &[(0x83, 2048, 4096), (0, 0, 0), (0x83, 6144, 2048)],
        );
        let added = record.add_last(64 * MIB, 1).unwrap();
        let expected = MbrPartition {
            number: 2,
            kind: FAT_LBA,
            first: (200 - 64) * MIB / 512,
            sectors: 64 * MIB / 512,
            is_active: false,
        };
        assert_eq!(added, expected);
        assert_eq!(record.entries()[1], expected);
    }

    #[test]
    fn four_is_all_and_room_is_needed() {
        let full = [(0x83, 2048, 2048); 4];
        assert_eq!(
            record(200 * MIB, &full).add_last(64 * MIB, 1),
            Err(MbrError::Full(4))
        );
        let large = [(0x83, 2048, 8192)];
        assert!(matches!(
            record(6 * MIB, &large).add_last(64 * MIB, 2 * MIB),
            Err(MbrError::NoRoom { free, .. }) if free == MIB
        ));
    }

    #[test]
    fn beyond_two_tebibytes_the_last_that_can_be_named_is_used() {
        let mut record = record(4 << 40, &[(0x83, 2048, 4096)]);
        let added = record.add_last(64 * MIB, 1).unwrap();
        assert_eq!(added.end(), REACH);
    }

    #[test]
    fn only_a_lone_protective_entry_is_stretched() {
        let mut alone = record(16 * MIB, &[(PROTECTIVE, 1, 100)]);
        alone.protect();
        assert_eq!(alone.entries()[0].sectors, 16 * MIB / 512 - 1);
        let mut hybrid = record(16 * MIB, &[(PROTECTIVE, 1, 100), (0x83, 2048, 4096)]);
        let before = hybrid.clone();
        hybrid.protect();
        assert_eq!(hybrid, before);
        let mut huge = record(4 << 40, &[(PROTECTIVE, 1, 100)]);
        huge.protect();
        assert_eq!(huge.entries()[0].sectors, u64::from(u32::MAX));
    }

    #[test]
    fn a_record_becomes_protective_and_keeps_its_code() {
        let geometry = Geometry {
            size: 16 * MIB,
            sector_size: 512,
        };
        let mut empty = record(16 * MIB, &[]);
        empty.sector[..4].copy_from_slice(b"code");
        empty.make_protective();
        assert!(empty.is_protective() && empty.bytes().starts_with(b"code"));
        assert_eq!(
            empty.bytes()[446..],
            Mbr::protective(geometry).bytes()[446..]
        );
        // One that starts elsewhere is moved; what a hybrid record has besides stays.
        let mut moved = record(16 * MIB, &[(0x83, 2048, 9), (PROTECTIVE, 0, 4)]);
        assert!(moved.announces_gpt() && !moved.is_protective());
        moved.make_protective();
        assert!(moved.is_protective());
        assert_eq!(moved.entries()[0].first, 2048);
    }

    #[test]
    fn contradictions_are_named() {
        let end = 16 * 2048;
        for (entries, expected) in [
            (vec![(0x83, 2048, end)], "partition 1 ends at sector 34815"),
            (vec![(0x83, 0, end)], "partition 1 starts at sector 0"),
            (
                vec![(0x83, 4096, 100), (0x83, 2048, 2049)],
                "partitions 2 and 1 overlap",
            ),
            (
                vec![(0x05, 2048, 100), (0x0f, 4096, 100)],
                "partitions 1 and 2 are both extended",
            ),
        ] {
            let error = record(16 * MIB, &entries).check().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        // Of no length or no type, up to the end.
        for entries in [
            vec![(0x83, 0, 0), (0, 0, end), (0x83, 2048, end - 2048)],
            vec![(0x83, 1, 2047)],
        ] {
            record(16 * MIB, &entries).check().unwrap();
        }
    }

    #[test]
    fn boot_sectors_of_file_systems_are_known_by_their_parameters() {
        let fat = |medium: u8, fats: u8| {
            let mut record = record(MIB, &[]);
            record.sector[11..17].copy_from_slice(&[0, 2, 4, 1, 0, fats]);
            record.sector[17..24].copy_from_slice(&[0, 2, 0, 8, medium, 2, 0]);
            record
        };
        for medium in [0xf0, 0xf8, 0xf9, 0xff] {
            assert_eq!(fat(medium, 2).boot_sector(), Some("FAT"));
            assert_eq!(fat(medium, 1).boot_sector(), Some("FAT"));
        }
        assert_eq!(fat(0x12, 2).boot_sector(), None);
        // Two bytes that code can have.
        let mut code = record(MIB, &[(0x83, 1, 9)]);
        (code.sector[16], code.sector[21]) = (2, 0xf8);
        assert_eq!(code.boot_sector(), None);
    }
}
