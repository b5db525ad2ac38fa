//! GUID partition tables (UEFI specification, chapter 5): reading, fitting one to a larger
//! disk, adding a partition. Values in, values out; [`Gpt::copies`] says what to write.
//!
//! The tables come out of images that strangers made, so nothing here trusts a number.

use std::fmt;

use flate2::Crc;
use thiserror::Error;

use crate::system::disk::{Disk, DiskError, Geometry};

const SIGNATURE: &[u8] = b"EFI PART";
/// The header's fields; the rest of its sector is zeros.
const HEADER: usize = 92;
/// Type of the partitions for Linux data: 0FC63DAF-8483-4772-8E79-3D69D8477DE4.
const LINUX_DATA: Guid = Guid([
    0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4,
]);
/// Type of EFI system partitions: C12A7328-F81F-11D2-BA4B-00A0C93EC93B.
pub const EFI_SYSTEM: Guid = Guid([
    0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
]);
/// Entries of a new table, and the size of each: what everybody makes.
const ENTRIES: u32 = 128;
const ENTRY: u32 = 128;
/// More entries than anybody has: 16 times the usual number.
const MOST_ENTRIES: u32 = 2048;
/// Where an entry has its name, and how many bytes that has: 36 UTF-16 units.
const NAME_AT: usize = 56;
const NAME_SIZE: usize = 72;
/// The specification allows 128 times a power of two.
const ENTRY_SIZES: [u32; 3] = [128, 256, 512];

/// A GUID as it lies on the disk: the first three fields little endian.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// Its first four bytes, which serve as a small identity.
    #[must_use]
    pub fn identifier(self) -> u32 {
        u32_at(&self.0, 0)
    }

    /// One that begins with a small identity.
    #[must_use]
    pub fn of_identifier(identifier: u32) -> Self {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&identifier.to_le_bytes());
        Self(bytes)
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes_le(self.0).fmt(f)
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A used entry. Sectors count from 0, `last` belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GptPartition {
    /// Its number, from 1.
    pub number: u32,
    /// What it is for.
    pub kind: Guid,
    /// Its own identity.
    pub guid: Guid,
    /// First sector.
    pub first: u64,
    /// Last sector.
    pub last: u64,
}

/// What is wrong with a table.
#[derive(Debug, Error)]
pub enum GptError {
    /// The disk could not be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It is made for other sectors.
    #[error("the partition table is made for sectors of {table} bytes, the disk has {disk}")]
    SectorSize {
        /// Sectors of the table.
        table: u32,
        /// Sectors of the disk.
        disk: u32,
    },
    /// A checksum or a field is wrong.
    #[error("the GUID partition table is damaged: {0}")]
    Damaged(&'static str),
    /// A partition lies outside of the disk.
    #[error("partition {number} ends at sector {last}, the disk's last usable sector is {usable}")]
    BeyondEnd {
        /// Its number.
        number: u32,
        /// Its last sector.
        last: u64,
        /// The last sector that may be used.
        usable: u64,
    },
    /// No entry is free.
    #[error("all {0} entries of the partition table are used")]
    Full(u32),
    /// Nothing is free at the end.
    #[error("{needed} bytes are needed at the end of the disk, {free} are free")]
    NoRoom {
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpt {
    geometry: Geometry,
    /// Sector of the backup header.
    backup: u64,
    first_usable: u64,
    last_usable: u64,
    disk: Guid,
    /// First sector of the primary entries.
    entries_at: u64,
    entry_size: u32,
    entries: Vec<u8>,
}

impl Gpt {
    /// A table without partitions for a whole disk. `disk` is the disk's identity.
    ///
    /// # Errors
    /// The disk is too small for a table.
    pub fn new(geometry: Geometry, disk: Guid) -> Result<Self, GptError> {
        let mut table = Self {
            geometry,
            backup: 0,
            first_usable: 0,
            last_usable: 0,
            disk,
            entries_at: 2,
            entry_size: ENTRY,
            entries: vec![0; (ENTRIES * ENTRY) as usize],
        };
        table.first_usable = table.entries_at + table.entry_sectors();
        table.fit()?;
        Ok(table)
    }

    /// The disk's identity.
    #[must_use]
    pub fn disk_guid(&self) -> Guid {
        self.disk
    }

    /// Puts a partition into the entry of its number, whatever was there.
    ///
    /// # Errors
    /// There is no such entry, or the partition does not fit.
    pub fn insert(&mut self, partition: GptPartition) -> Result<(), GptError> {
        let GptPartition { first, last, .. } = partition;
        if first < self.first_usable || last > self.last_usable || first > last {
            return Err(GptError::BeyondEnd {
                number: partition.number,
                last,
                usable: self.last_usable,
            });
        }
        self.put(partition)
    }

    /// Gives a partition a name, the first 36 UTF-16 units of it; [`Gpt::insert`] takes an
    /// earlier one away.
    pub fn set_name(&mut self, number: u32, name: &str) {
        let size = self.entry_size as usize;
        let index = number.checked_sub(1).unwrap_or(u32::MAX) as usize;
        if let Some(entry) = self.entries.chunks_exact_mut(size).nth(index) {
            let place = &mut entry[NAME_AT..NAME_AT + NAME_SIZE];
            place.fill(0);
            for (unit, place) in name.encode_utf16().zip(place.chunks_exact_mut(2)) {
                place.copy_from_slice(&unit.to_le_bytes());
            }
        }
    }

    fn put(&mut self, partition: GptPartition) -> Result<(), GptError> {
        let count = self.entry_count();
        let size = self.entry_size as usize;
        let index = partition.number.checked_sub(1).unwrap_or(u32::MAX) as usize;
        let Some(entry) = self.entries.chunks_exact_mut(size).nth(index) else {
            return Err(GptError::Full(count));
        };
        entry.fill(0);
        entry[..16].copy_from_slice(&partition.kind.0);
        entry[16..32].copy_from_slice(&partition.guid.0);
        entry[32..40].copy_from_slice(&partition.first.to_le_bytes());
        entry[40..48].copy_from_slice(&partition.last.to_le_bytes());
        Ok(())
    }

    fn entry_count(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX) / self.entry_size
    }

    /// Reads the primary table. `None`: the disk has none.
    ///
    /// # Errors
    /// There is one, and it is of no use.
    pub fn read(disk: &mut dyn Disk) -> Result<Option<Self>, GptError> {
        let geometry = disk.geometry();
        let sector = u64::from(geometry.sector_size);
        let mut header = [0; HEADER];
        if geometry.size < 2 * sector {
            return Ok(None);
        }
        disk.read_at(sector, &mut header)?;
        if !header.starts_with(SIGNATURE) {
            for other in [512, 4096] {
                let mut signature = [0; SIGNATURE.len()];
                if u64::from(other) + 512 > geometry.size {
                    continue;
                }
                disk.read_at(other.into(), &mut signature)?;
                if other != geometry.sector_size && signature == SIGNATURE {
                    return Err(GptError::SectorSize {
                        table: other,
                        disk: geometry.sector_size,
                    });
                }
            }
            return Ok(None);
        }
        let table = Self::parse(geometry, &header)?;
        let mut entries = vec![0; table.entries.len()];
        disk.read_at(table.entries_at * sector, &mut entries)?;
        if crc32(&entries) != u32_at(&header, 88) {
            return Err(GptError::Damaged("the checksum of its entries is wrong"));
        }
        Ok(Some(Self { entries, ..table }))
    }

    /// The header's fields, with entries yet to be read.
    fn parse(geometry: Geometry, header: &[u8; HEADER]) -> Result<Self, GptError> {
        let mut summed = *header;
        summed[16..20].fill(0);
        if u32_at(header, 12) as usize != HEADER {
            return Err(GptError::Damaged("the size of its header is unknown"));
        }
        if crc32(&summed) != u32_at(header, 16) {
            return Err(GptError::Damaged("the checksum of its header is wrong"));
        }
        let (count, entry_size) = (u32_at(header, 80), u32_at(header, 84));
        if !ENTRY_SIZES.contains(&entry_size) || count == 0 || count > MOST_ENTRIES {
            return Err(GptError::Damaged("its entries have an unknown shape"));
        }
        let sectors = geometry.size / u64::from(geometry.sector_size);
        let table = Self {
            geometry,
            backup: u64_at(header, 32),
            first_usable: u64_at(header, 40),
            last_usable: u64_at(header, 48),
            disk: guid_at(header, 56),
            entries_at: u64_at(header, 72),
            entry_size,
            // Bounded by the checks above.
            entries: vec![0; count as usize * entry_size as usize],
        };
        let entries_end = table.entries_at.checked_add(table.entry_sectors());
        if table.entries_at < 2 || entries_end.is_none_or(|end| end > sectors) {
            return Err(GptError::Damaged("its entries lie outside of the disk"));
        }
        if table.first_usable < 2 || table.first_usable > sectors {
            return Err(GptError::Damaged(
                "its usable sectors lie outside of the disk",
            ));
        }
        Ok(table)
    }

    /// The used entries in the order of their numbers.
    pub fn partitions(&self) -> impl Iterator<Item = GptPartition> + '_ {
        (1..)
            .zip(self.entries.chunks_exact(self.entry_size as usize))
            .map(|(number, entry)| GptPartition {
                number,
                kind: guid_at(entry, 0),
                guid: guid_at(entry, 16),
                first: u64_at(entry, 32),
                last: u64_at(entry, 40),
            })
            .filter(|partition| partition.kind != Guid([0; 16]))
    }

    /// Makes the table that of the whole disk: its backup goes to the end, and everything in
    /// between becomes usable. Answers whether that changed anything.
    ///
    /// # Errors
    /// A partition does not fit.
    pub fn fit(&mut self) -> Result<bool, GptError> {
        let sectors = self.geometry.size / u64::from(self.geometry.sector_size);
        // Behind the usable sectors come the backup of the entries and that of the header.
        let reserve = self.entry_sectors() + 1;
        let (Some(backup), Some(usable)) =
            (sectors.checked_sub(1), sectors.checked_sub(reserve + 1))
        else {
            return Err(GptError::Damaged("the disk is too small for it"));
        };
        if backup - self.entry_sectors() < self.entries_at + self.entry_sectors() {
            return Err(GptError::Damaged("the disk is too small for it"));
        }
        for partition in self.partitions() {
            if partition.last > usable || partition.first > partition.last {
                return Err(GptError::BeyondEnd {
                    number: partition.number,
                    last: partition.last.max(partition.first),
                    usable,
                });
            }
        }
        let is_changed = (self.backup, self.last_usable) != (backup, usable);
        (self.backup, self.last_usable) = (backup, usable);
        Ok(is_changed)
    }

    /// Adds a partition for Linux data at the end of the disk: of `wanted` bytes if they are
    /// free there, else of what is free if that is at least `needed`.
    ///
    /// # Errors
    /// No room, or no entry.
    pub fn add_last(
        &mut self,
        wanted: u64,
        needed: u64,
        guid: Guid,
    ) -> Result<GptPartition, GptError> {
        let sector = u64::from(self.geometry.sector_size);
        let taken = self
            .partitions()
            .map(|partition| partition.last.saturating_add(1))
            .max();
        let taken = taken.unwrap_or_default().max(self.first_usable);
        let end = self.last_usable + 1;
        let (first, last) = super::place_last(taken, end, sector, wanted, needed)
            .map_err(|free| GptError::NoRoom { needed, free })?;
        let used: Vec<u32> = self
            .partitions()
            .map(|partition| partition.number)
            .collect();
        let count = self.entry_count();
        let Some(number) = (1..=count).find(|number| !used.contains(number)) else {
            return Err(GptError::Full(count));
        };
        let partition = GptPartition {
            number,
            kind: LINUX_DATA,
            guid,
            first,
            last,
        };
        self.put(partition)?;
        Ok(partition)
    }

    /// What to write where, the backup first: it is of no use without its primary. Each copy
    /// must be on the medium before the other is touched.
    #[must_use]
    pub fn copies(&self) -> [[(u64, Vec<u8>); 2]; 2] {
        let sector = u64::from(self.geometry.sector_size);
        let copy = |own: u64, other: u64, entries_at: u64| {
            [
                (entries_at * sector, self.entries.clone()),
                (own * sector, self.header(own, other, entries_at)),
            ]
        };
        let backup_entries = self.backup - self.entry_sectors();
        [
            copy(self.backup, 1, backup_entries),
            copy(1, self.backup, self.entries_at),
        ]
    }

    /// A header's whole sector.
    fn header(&self, own: u64, other: u64, entries_at: u64) -> Vec<u8> {
        let mut header = vec![0; self.geometry.sector_size as usize];
        let count = self.entry_count();
        header[..8].copy_from_slice(SIGNATURE);
        // Revision 1.0 and the header's size.
        header[8..12].copy_from_slice(&[0, 0, 1, 0]);
        header[12..16].copy_from_slice(&92_u32.to_le_bytes());
        for (at, value) in [
            (24, own),
            (32, other),
            (40, self.first_usable),
            (48, self.last_usable),
            (72, entries_at),
        ] {
            header[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        header[56..72].copy_from_slice(&self.disk.0);
        for (at, value) in [
            (80, count),
            (84, self.entry_size),
            (88, crc32(&self.entries)),
        ] {
            header[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        let sum = crc32(&header[..HEADER]);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        header
    }

    /// How many sectors the entries fill.
    fn entry_sectors(&self) -> u64 {
        (self.entries.len() as u64).div_ceil(u64::from(self.geometry.sector_size))
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

fn guid_at(bytes: &[u8], at: usize) -> Guid {
    let mut guid = [0; 16];
    guid.copy_from_slice(&bytes[at..at + 16]);
    Guid(guid)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;
    use crate::system::Disks;
    use crate::system::disk::LinuxDisks;

    const MIB: u64 = 1 << 20;

    fn entry(first: u64, last: u64, number: u8) -> gptman::GPTPartitionEntry {
        gptman::GPTPartitionEntry {
            partition_type_guid: EFI_SYSTEM.0,
            unique_partition_guid: [number; 16],
            starting_lba: first,
            ending_lba: last,
            attribute_bits: 0,
            partition_name: "name".into(),
        }
    }

    /// A disk of `size` bytes that begins with a table for `table_size` bytes.
    fn disk(table_size: u64, size: u64) -> (tempfile::NamedTempFile, Box<dyn Disk>) {
        let mut cursor = Cursor::new(vec![0; usize::try_from(table_size).unwrap()]);
        let mut table = gptman::GPT::new_from(&mut cursor, 512, [7; 16]).unwrap();
        table[1] = entry(2048, 4095, 1);
        table[3] = entry(4096, 6143, 3);
        table.write_into(&mut cursor).unwrap();
        let mut bytes = cursor.into_inner();
        bytes.resize(usize::try_from(size).unwrap(), 0xAA);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let disk = LinuxDisks.open(file.path()).unwrap();
        (file, disk)
    }

    fn write(disk: &mut dyn Disk, table: &Gpt) {
        for (offset, bytes) in table.copies().into_iter().flatten() {
            disk.write_at(offset, &bytes).unwrap();
        }
    }

    fn reread(file: &tempfile::NamedTempFile) -> gptman::GPT {
        gptman::GPT::read_from(&mut file.reopen().unwrap(), 512).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn another_library_reads_what_was_fitted(extra in 0_u64..20_000) {
            let size = 8 * MIB + extra * 512;
            let (file, mut disk) = disk(8 * MIB, size);
            let mut table = Gpt::read(disk.as_mut()).unwrap().unwrap();
            prop_assert_eq!(table.fit().unwrap(), extra > 0);
            prop_assert!(!table.fit().unwrap(), "a second time there is nothing to do");
            write(disk.as_mut(), &table);
            let other = reread(&file);
            prop_assert_eq!(other.header.backup_lba, size / 512 - 1);
            prop_assert_eq!(other.header.last_usable_lba, size / 512 - 34);
            prop_assert_eq!(other[3].partition_name.as_str(), "name");
            prop_assert_eq!(Gpt::read(disk.as_mut()).unwrap().unwrap(), table);
            // Without its primary the backup is as good.
            disk.zero(0, MIB).unwrap();
            let backup = reread(&file);
            prop_assert_eq!(&backup[1], &other[1]);
            prop_assert_eq!(backup.header.partition_entry_lba, size / 512 - 33);
        }

        #[test]
        fn damage_is_noticed_and_never_crashes(at in 512_usize..1536, value in any::<u8>()) {
            let (file, mut disk) = disk(8 * MIB, 8 * MIB);
            let before = std::fs::read(file.path()).unwrap();
            disk.write_at(at as u64, &[value]).unwrap();
            let is_read = matches!(Gpt::read(disk.as_mut()), Ok(Some(_)));
            // What lies between the header and its entries means nothing.
            let means_nothing = before[at] == value || (604..1024).contains(&at);
            prop_assert_eq!(is_read, means_nothing);
        }

        #[test]
        fn any_header_with_right_checksums_is_survived(fields in any::<[u64; 4]>(), shape in any::<[u32; 2]>()) {
            let geometry = Geometry { size: 8 * MIB, sector_size: 512 };
            let mut header = [0; HEADER];
            header[..8].copy_from_slice(SIGNATURE);
            header[12..16].copy_from_slice(&92_u32.to_le_bytes());
            for (at, value) in [32, 40, 48, 72].into_iter().zip(fields) {
                header[at..at + 8].copy_from_slice(&value.to_le_bytes());
            }
            for (at, value) in [80, 84].into_iter().zip(shape) {
                header[at..at + 4].copy_from_slice(&value.to_le_bytes());
            }
            let sum = crc32(&header);
            header[16..20].copy_from_slice(&sum.to_le_bytes());
            if let Ok(mut table) = Gpt::parse(geometry, &header) {
                let _ = table.fit();
            }
        }
    }

    #[test]
    fn a_partition_is_added_at_the_end_with_the_first_free_number() {
        let (file, mut disk) = disk(8 * MIB, 100 * MIB);
        let mut table = Gpt::read(disk.as_mut()).unwrap().unwrap();
        table.fit().unwrap();
        let added = table.add_last(64 * MIB, 1, Guid([9; 16])).unwrap();
        assert_eq!((added.number, added.kind), (2, LINUX_DATA));
        assert_eq!(added.first % 2048, 0);
        assert_eq!(added.last, 100 * MIB / 512 - 34);
        let size = (added.last + 1 - added.first) * 512;
        assert!((64 * MIB..65 * MIB + MIB).contains(&size), "{size}");
        write(disk.as_mut(), &table);
        assert_eq!(reread(&file)[2].unique_partition_guid, [9; 16]);
        assert_eq!(
            LINUX_DATA.to_string(),
            "0fc63daf-8483-4772-8e79-3d69d8477de4"
        );
        assert_eq!(
            EFI_SYSTEM.to_string(),
            "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
        );
        // Nothing is free any more.
        let refused = table.add_last(64 * MIB, 1, Guid([8; 16]));
        assert!(matches!(refused, Err(GptError::NoRoom { free: 0, .. })));
    }

    #[test]
    fn less_than_wanted_is_taken_when_it_is_enough() {
        let (_file, mut disk) = disk(8 * MIB, 8 * MIB);
        let mut table = Gpt::read(disk.as_mut()).unwrap().unwrap();
        let mut other = table.clone();
        // Partitions end at 3 MiB, the backup table begins 33 sectors before 8 MiB.
        let free = 5 * MIB - 33 * 512;
        assert!(matches!(
            table.add_last(64 * MIB, free + 1, Guid([9; 16])),
            Err(GptError::NoRoom { free: found, .. }) if found == free
        ));
        let added = other.add_last(64 * MIB, free, Guid([9; 16])).unwrap();
        assert_eq!(
            (added.first, added.last),
            (3 * MIB / 512, 8 * MIB / 512 - 34)
        );
    }

    #[test]
    fn what_does_not_fit_is_told() {
        // The image was cut: its table is for 8 MiB, partition 3 ends at 3 MiB.
        let (file, _) = disk(8 * MIB, 8 * MIB);
        file.as_file().set_len(3 * MIB).unwrap();
        let mut short = LinuxDisks.open(file.path()).unwrap();
        let mut table = Gpt::read(short.as_mut()).unwrap().unwrap();
        assert!(matches!(
            table.fit(),
            Err(GptError::BeyondEnd {
                number: 3,
                last: 6143,
                ..
            })
        ));
        // A table for sectors of 4096 bytes on a disk with 512.
        let mut cursor = Cursor::new(vec![0; 8 << 20]);
        let mut table = gptman::GPT::new_from(&mut cursor, 4096, [7; 16]).unwrap();
        table.write_into(&mut cursor).unwrap();
        std::fs::write(file.path(), cursor.into_inner()).unwrap();
        let mut other = LinuxDisks.open(file.path()).unwrap();
        assert!(matches!(
            Gpt::read(other.as_mut()),
            Err(GptError::SectorSize {
                table: 4096,
                disk: 512
            })
        ));
    }

    #[test]
    fn an_empty_or_tiny_disk_has_no_table() {
        for size in [0, 1, 512, 1024, 4096, 8192] {
            let file = tempfile::NamedTempFile::new().unwrap();
            file.as_file().set_len(size).unwrap();
            let mut disk = LinuxDisks.open(file.path()).unwrap();
            assert!(matches!(Gpt::read(disk.as_mut()), Ok(None)), "{size}");
        }
    }
}
