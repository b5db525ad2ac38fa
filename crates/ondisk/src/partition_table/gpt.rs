//! GUID partition tables (UEFI specification, chapter 5): reading, fitting one to a larger
//! disk, adding a partition. [`Gpt::copies`] says what to write.

use thiserror::Error;

use super::guid::Guid;
use crate::read::{self, Source, field, le_u32, le_u64};
use crate::size::Geometry;

const SIGNATURE: &[u8] = b"EFI PART";
/// Where the primary header is.
pub const PRIMARY: u64 = 1;
/// The fields of a header. The specification allows up to a sector.
const HEADER: usize = 92;
/// Type of the partitions for Linux data: 0FC63DAF-8483-4772-8E79-3D69D8477DE4.
const LINUX_DATA: Guid = Guid([
    0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4,
]);
/// Type of EFI system partitions: C12A7328-F81F-11D2-BA4B-00A0C93EC93B.
pub const EFI_SYSTEM: Guid = Guid([
    0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
]);
/// Entries of a new table, and the size of each, which every tool makes.
const ENTRIES: u32 = 128;
const ENTRY: u32 = 128;
/// Where an entry has its name, and how many bytes that has: 36 UTF-16 units.
const NAME_AT: usize = 56;
const NAME_SIZE: usize = 72;
/// Bytes of entries that Linux reads at most: 4,096 entries of up to 1 KiB, or 32,768 of 128
/// bytes.
const MOST_BYTES: u64 = 4 << 20;

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

/// Why a copy of a table is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Damage {
    /// There is none.
    #[error("there is no header")]
    NoHeader,
    /// A header is smaller than its fields or larger than a sector.
    #[error("the size of its header is {0} bytes, which is not possible")]
    HeaderSize(u32),
    /// The header was changed, or not all of it was written.
    #[error("the checksum of its header is wrong")]
    HeaderChecksum,
    /// The header says that it is in another place.
    #[error("its header belongs to sector {0}")]
    Misplaced(u64),
    /// Entries are of 128 bytes, or of a power of two times that.
    #[error("it has {count} entries of {size} bytes, which is not possible")]
    Entries {
        /// How many entries it says to have.
        count: u32,
        /// Bytes of each.
        size: u32,
    },
    /// The entries are not on the disk, or where the headers are.
    #[error("its entries lie outside of the disk")]
    EntriesOutside,
    /// The entries were changed, or not all of them were written.
    #[error("the checksum of its entries is wrong")]
    EntriesChecksum,
    /// The first usable sector is not on the disk.
    #[error("its usable sectors lie outside of the disk")]
    UsableOutside,
}

/// Why a table cannot be used on a disk.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GptError {
    /// A checksum or a field is wrong.
    #[error("the GUID partition table is damaged: {0}")]
    Damaged(#[from] Damage),
    /// The disk has no room for the table.
    #[error("the GUID partition table is damaged: the disk is too small for it")]
    TooSmall,
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
    /// A partition ends before it starts.
    #[error("partition {number} starts at sector {first} and ends at sector {last}, before that")]
    Backwards {
        /// Its number.
        number: u32,
        /// Its first sector.
        first: u64,
        /// Its last sector.
        last: u64,
    },
    /// Two partitions have sectors in common.
    #[error("partitions {0} and {1} overlap")]
    Overlap(u32, u32),
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

    /// Sector of the header of the other copy, as this one says.
    #[must_use]
    pub fn backup(&self) -> u64 {
        self.backup
    }

    /// Whether the usable sectors lie inside of the disk. Linux makes no partitions by a table
    /// that was made for a larger disk.
    #[must_use]
    pub fn is_inside_of_disk(&self) -> bool {
        self.first_usable <= self.last_usable && self.last_usable < self.geometry.sectors()
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

    /// Reads the copy whose header is in sector `at`: 1, or the disk's last. It is valid by
    /// the UEFI specification; see [`Gpt::is_inside_of_disk`] for what Linux wants besides.
    ///
    /// # Errors
    /// What the source said.
    pub fn read<S: Source + ?Sized>(
        source: &mut S,
        geometry: Geometry,
        at: u64,
    ) -> Result<Result<Self, Damage>, S::Error> {
        let sector = geometry.sector();
        // A sector is not larger than memory.
        let length = usize::try_from(sector).unwrap_or(usize::MAX);
        let offset = at.checked_mul(sector);
        let Some(header) = offset.map(|offset| read::bytes(source, offset, length)) else {
            return Ok(Err(Damage::NoHeader));
        };
        let Some(header) = header? else {
            return Ok(Err(Damage::NoHeader));
        };
        let mut table = match Self::parse(geometry, &header, at) {
            Ok(table) => table,
            Err(damage) => return Ok(Err(damage)),
        };
        let own = le_u64(&header, 72).and_then(|at| at.checked_mul(sector));
        let entries = own.map(|offset| read::bytes(source, offset, table.entries.len()));
        let Some(Some(entries)) = entries.transpose()? else {
            return Ok(Err(Damage::EntriesOutside));
        };
        if le_u32(&header, 88) != Some(crc32fast::hash(&entries)) {
            return Ok(Err(Damage::EntriesChecksum));
        }
        table.entries = entries;
        Ok(Ok(table))
    }

    /// The header's fields, with entries yet to be read.
    fn parse(geometry: Geometry, header: &[u8], at: u64) -> Result<Self, Damage> {
        let number = |at| le_u32(header, at).ok_or(Damage::NoHeader);
        let sector = |at| le_u64(header, at).ok_or(Damage::NoHeader);
        if !header.starts_with(SIGNATURE) {
            return Err(Damage::NoHeader);
        }
        let size = number(12)?;
        let summed = header
            .get(..size as usize)
            .filter(|_| size as usize >= HEADER);
        let mut summed = summed.ok_or(Damage::HeaderSize(size))?.to_vec();
        summed[16..20].fill(0);
        if crc32fast::hash(&summed) != number(16)? {
            return Err(Damage::HeaderChecksum);
        }
        if sector(24)? != at {
            return Err(Damage::Misplaced(sector(24)?));
        }
        let (count, entry_size) = (number(80)?, number(84)?);
        let bytes = u64::from(count) * u64::from(entry_size);
        let is_possible = entry_size >= ENTRY && entry_size.is_power_of_two();
        if !is_possible || bytes == 0 || bytes > MOST_BYTES {
            return Err(Damage::Entries {
                count,
                size: entry_size,
            });
        }
        let sectors = geometry.sectors();
        let is_primary = at == PRIMARY;
        let mut table = Self {
            geometry,
            backup: if is_primary { sector(32)? } else { at },
            first_usable: sector(40)?,
            last_usable: sector(48)?,
            disk: Guid(field(header, 56).ok_or(Damage::NoHeader)?),
            entries_at: sector(72)?,
            entry_size,
            // Bounded by the checks above.
            entries: vec![0; usize::try_from(bytes).unwrap_or_default()],
        };
        let entries_end = table.entries_at.checked_add(table.entry_sectors());
        if table.entries_at < 2 || entries_end.is_none_or(|end| end > sectors) {
            return Err(Damage::EntriesOutside);
        }
        if table.first_usable < 2 || table.first_usable > sectors {
            return Err(Damage::UsableOutside);
        }
        if !is_primary {
            // Only the primary knows where its own entries were. Right behind the header is
            // where every tool writes them.
            table.entries_at = 2;
        }
        Ok(table)
    }

    /// The used entries in the order of their numbers.
    pub fn partitions(&self) -> impl Iterator<Item = GptPartition> + '_ {
        entries(&self.entries, self.entry_size)
    }

    /// What two partitions contradict each other in, or one the disk.
    ///
    /// # Errors
    /// The first that is found.
    fn check(&self, usable: u64) -> Result<(), GptError> {
        let mut sorted: Vec<GptPartition> = self.partitions().collect();
        for partition in &sorted {
            let GptPartition {
                number,
                first,
                last,
                ..
            } = *partition;
            if first > last {
                return Err(GptError::Backwards {
                    number,
                    first,
                    last,
                });
            }
            if last > usable {
                return Err(GptError::BeyondEnd {
                    number,
                    last,
                    usable,
                });
            }
        }
        sorted.sort_by_key(|partition| (partition.first, partition.number));
        for pair in sorted.windows(2) {
            if let [one, next] = pair
                && next.first <= one.last
            {
                return Err(GptError::Overlap(one.number, next.number));
            }
        }
        Ok(())
    }

    /// Refuses a table that [`Gpt::fit`] would.
    ///
    /// # Errors
    /// A partition does not fit, or two overlap.
    pub fn check_fit(&self) -> Result<(), GptError> {
        self.clone().fit().map(|_| ())
    }

    /// Makes the table that of the whole disk: its backup goes to the end, and everything in
    /// between becomes usable. Returns whether that changed anything.
    ///
    /// # Errors
    /// A partition does not fit, or two overlap.
    pub fn fit(&mut self) -> Result<bool, GptError> {
        let sectors = self.geometry.sectors();
        // Behind the usable sectors come the backup of the entries and that of the header.
        let reserve = self.entry_sectors() + 1;
        let (Some(backup), Some(usable)) =
            (sectors.checked_sub(1), sectors.checked_sub(reserve + 1))
        else {
            return Err(GptError::TooSmall);
        };
        if backup.saturating_sub(self.entry_sectors()) < self.entries_at + self.entry_sectors() {
            return Err(GptError::TooSmall);
        }
        self.check(usable)?;
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
        let taken = self
            .partitions()
            .map(|partition| partition.last.saturating_add(1))
            .max();
        let taken = taken.unwrap_or_default().max(self.first_usable);
        let end = self.last_usable + 1;
        let (first, last) = super::place_last(taken, end, self.geometry.sector(), wanted, needed)
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

    /// What to write where, the backup first: nothing uses it without its primary. Each copy
    /// must be on the medium before the other is touched.
    #[must_use]
    pub fn copies(&self) -> [[(u64, Vec<u8>); 2]; 2] {
        let sector = self.geometry.sector();
        let copy = |own: u64, other: u64, entries_at: u64| {
            [
                (entries_at * sector, self.entries.clone()),
                (own * sector, self.header(own, other, entries_at)),
            ]
        };
        let backup_entries = self.backup.saturating_sub(self.entry_sectors());
        [
            copy(self.backup, PRIMARY, backup_entries),
            copy(PRIMARY, self.backup, self.entries_at),
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
            (88, crc32fast::hash(&self.entries)),
        ] {
            header[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        let sum = crc32fast::hash(&header[..HEADER]);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        header
    }

    /// How many sectors the entries fill.
    fn entry_sectors(&self) -> u64 {
        (self.entries.len() as u64).div_ceil(self.geometry.sector())
    }
}

/// Whether a header begins in sector `at`, whatever is in it.
///
/// # Errors
/// What the source said.
pub fn has_header<S: Source + ?Sized>(
    source: &mut S,
    geometry: Geometry,
    at: u64,
) -> Result<bool, S::Error> {
    let Some(offset) = at.checked_mul(geometry.sector()) else {
        return Ok(false);
    };
    let signature = read::array::<8, S>(source, offset)?;
    Ok(signature.is_some_and(|signature| signature == SIGNATURE))
}

/// The sector of the other header and the partitions of a copy that may be damaged: no
/// checksum is looked at, and what cannot be on this disk is left out. `None`: no header.
///
/// # Errors
/// What the source said.
pub fn claims<S: Source + ?Sized>(
    source: &mut S,
    geometry: Geometry,
    at: u64,
) -> Result<Option<(u64, Vec<GptPartition>)>, S::Error> {
    let sector = geometry.sector();
    let Some(offset) = at.checked_mul(sector) else {
        return Ok(None);
    };
    let Some(header) = read::array::<HEADER, S>(source, offset)? else {
        return Ok(None);
    };
    let fields = (
        le_u64(&header, 32),
        le_u64(&header, 72).and_then(|at| at.checked_mul(sector)),
        le_u32(&header, 80),
        le_u32(&header, 84),
    );
    let (true, (Some(other), Some(table), Some(count), Some(size))) =
        (header.starts_with(SIGNATURE), fields)
    else {
        return Ok(None);
    };
    // As much of the entries as is there.
    let room = source.size().saturating_sub(table).min(MOST_BYTES);
    let wanted = u64::from(count) * u64::from(size);
    let length = usize::try_from(wanted.min(room)).unwrap_or_default();
    let found = read::bytes(source, table, length)?.unwrap_or_default();
    let partitions = if size >= ENTRY {
        entries(&found, size)
            .filter(|partition| partition.first < geometry.sectors())
            .collect()
    } else {
        Vec::new()
    };
    Ok(Some((other, partitions)))
}

/// The used entries of a table, numbered from 1.
fn entries(bytes: &[u8], size: u32) -> impl Iterator<Item = GptPartition> + '_ {
    let entries = bytes.chunks_exact(size.max(1) as usize);
    (1..).zip(entries).filter_map(|(number, entry)| {
        let kind = Guid(field(entry, 0)?);
        (kind != Guid::default()).then_some(GptPartition {
            number,
            kind,
            guid: Guid(field(entry, 16)?),
            first: le_u64(entry, 32)?,
            last: le_u64(entry, 40)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::partition_table::guid::Guid;
    use crate::partition_table::testing::{self, Shape};
    use crate::size::MIB;

    fn geometry(size: u64) -> Geometry {
        Geometry {
            size,
            sector_size: 512,
        }
    }

    fn partition(number: u32, first: u64, last: u64) -> GptPartition {
        GptPartition {
            number,
            kind: EFI_SYSTEM,
            guid: Guid([u8::try_from(number).unwrap(); 16]),
            first,
            last,
        }
    }

    /// A disk of `size` bytes that begins with a table for `table_size` bytes.
    fn disk(table_size: u64, size: u64) -> Vec<u8> {
        let mut table = Gpt::new(geometry(table_size), Guid([7; 16])).unwrap();
        table.insert(partition(1, 2048, 4095)).unwrap();
        table.insert(partition(3, 4096, 6143)).unwrap();
        let mut bytes = vec![0xaa; usize::try_from(size).unwrap()];
        write(&mut bytes, &table);
        bytes
    }

    fn write(bytes: &mut [u8], table: &Gpt) {
        for (offset, part) in table.copies().into_iter().flatten() {
            testing::put(bytes, offset, &part);
        }
    }

    fn read(bytes: &[u8], at: u64) -> Result<Gpt, Damage> {
        Gpt::read(&mut &*bytes, geometry(bytes.len() as u64), at).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_fitted_table_is_that_of_the_larger_disk(extra in 0_u64..5_000) {
            let size = 8 * MIB + extra * 512;
            let mut bytes = disk(8 * MIB, size);
            let mut table = read(&bytes, PRIMARY).unwrap();
            table = Gpt { geometry: geometry(size), ..table };
            prop_assert_eq!(table.fit().unwrap(), extra > 0);
            prop_assert!(!table.fit().unwrap(), "a second time there is nothing to do");
            write(&mut bytes, &table);
            prop_assert_eq!(&read(&bytes, PRIMARY).unwrap(), &table);
            // The backup alone says the same.
            prop_assert_eq!(&read(&bytes, size / 512 - 1).unwrap(), &table);
        }

        #[test]
        fn damage_is_noticed(at in 512_usize..1536, value in any::<u8>()) {
            let mut bytes = disk(8 * MIB, 8 * MIB);
            let before = bytes[at];
            bytes[at] = value;
            // What lies between the header and its entries means nothing.
            let means_nothing = before == value || (604..1024).contains(&at);
            prop_assert_eq!(read(&bytes, PRIMARY).is_ok(), means_nothing);
        }

        #[test]
        fn any_header_with_right_checksums_is_survived(
            fields in any::<[u64; 4]>(),
            shape in any::<[u32; 2]>(),
            size in 0_u32..600,
        ) {
            let mut header = vec![0; 512];
            header[..8].copy_from_slice(SIGNATURE);
            header[12..16].copy_from_slice(&size.to_le_bytes());
            header[24] = 1;
            for (at, value) in [32, 40, 48, 72].into_iter().zip(fields) {
                header[at..at + 8].copy_from_slice(&value.to_le_bytes());
            }
            for (at, value) in [80, 84].into_iter().zip(shape) {
                header[at..at + 4].copy_from_slice(&value.to_le_bytes());
            }
            let sum = crc32fast::hash(&header[..(size as usize).min(512)]);
            header[16..20].copy_from_slice(&sum.to_le_bytes());
            if let Ok(mut table) = Gpt::parse(geometry(8 * MIB), &header, PRIMARY) {
                let _ = table.fit();
                let _ = table.copies();
            }
        }
    }

    #[test]
    fn what_the_specification_allows_is_taken() {
        for (shape, is_valid) in [
            (
                Shape {
                    header: 92,
                    ..Shape::default()
                },
                true,
            ),
            (
                Shape {
                    header: 512,
                    ..Shape::default()
                },
                true,
            ),
            (
                Shape {
                    header: 513,
                    ..Shape::default()
                },
                false,
            ),
            (
                Shape {
                    header: 91,
                    ..Shape::default()
                },
                false,
            ),
            (
                Shape {
                    entry: 256,
                    ..Shape::default()
                },
                true,
            ),
            (
                Shape {
                    entry: 1024,
                    ..Shape::default()
                },
                true,
            ),
            (
                Shape {
                    entry: 192,
                    ..Shape::default()
                },
                false,
            ),
            (
                Shape {
                    entry: 64,
                    ..Shape::default()
                },
                false,
            ),
            (
                Shape {
                    count: 4096,
                    ..Shape::default()
                },
                true,
            ),
            (
                Shape {
                    count: 4096,
                    entry: 1024,
                    ..Shape::default()
                },
                true,
            ),
            (
                Shape {
                    count: 1,
                    ..Shape::default()
                },
                true,
            ),
            (
                Shape {
                    count: 0,
                    ..Shape::default()
                },
                false,
            ),
            (
                Shape {
                    sector: 4096,
                    header: 4096,
                    ..Shape::default()
                },
                true,
            ),
            (
                Shape {
                    sector: 4096,
                    header: 4097,
                    ..Shape::default()
                },
                false,
            ),
        ] {
            let bytes = testing::gpt(16 * MIB, shape, &[(1, 10_000, 12_000)]);
            let geometry = Geometry {
                size: 16 * MIB,
                sector_size: shape.sector,
            };
            let last = geometry.sectors() - 1;
            for at in [PRIMARY, last] {
                let found = Gpt::read(&mut &bytes[..], geometry, at).unwrap();
                assert_eq!(found.is_ok(), is_valid, "{shape:?} {at}: {found:?}");
            }
        }
    }

    #[test]
    fn a_partition_is_added_at_the_end_with_the_first_free_number() {
        let bytes = disk(8 * MIB, 100 * MIB);
        let mut table = read(&bytes, PRIMARY).unwrap();
        table.fit().unwrap();
        let added = table.add_last(64 * MIB, 1, Guid([9; 16])).unwrap();
        assert_eq!((added.number, added.kind), (2, LINUX_DATA));
        assert_eq!(added.first % 2048, 0);
        assert_eq!(added.last, 100 * MIB / 512 - 34);
        let size = (added.last + 1 - added.first) * 512;
        assert!((64 * MIB..65 * MIB + MIB).contains(&size), "{size}");
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
        let bytes = disk(8 * MIB, 8 * MIB);
        let mut table = read(&bytes, PRIMARY).unwrap();
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
    fn contradictions_are_named() {
        // The image was cut: its table is for 8 MiB, partition 3 ends at 3 MiB.
        let bytes = disk(8 * MIB, 8 * MIB);
        let mut table = read(&bytes[..3 << 20], PRIMARY).unwrap();
        assert!(!table.is_inside_of_disk());
        assert!(matches!(
            table.fit(),
            Err(GptError::BeyondEnd {
                number: 3,
                last: 6143,
                ..
            })
        ));
        for (first, last, expected) in [
            (5000, 7000, GptError::Overlap(3, 4)),
            (
                7000,
                6999,
                GptError::Backwards {
                    number: 4,
                    first: 7000,
                    last: 6999,
                },
            ),
        ] {
            let mut table = read(&bytes, PRIMARY).unwrap();
            table.put(partition(4, first, last)).unwrap();
            assert_eq!(table.fit(), Err(expected));
        }
    }

    #[test]
    fn a_name_is_cut_to_what_an_entry_holds() {
        let bytes = disk(8 * MIB, 8 * MIB);
        let mut table = read(&bytes, PRIMARY).unwrap();
        table.set_name(3, &"n".repeat(40));
        table.set_name(77, "nobody");
        let entry = &table.entries[2 * 128..3 * 128];
        assert_eq!(entry[NAME_AT..NAME_AT + 4], *b"n\0n\0");
        assert_eq!(entry[126..], *b"n\0");
    }
}
