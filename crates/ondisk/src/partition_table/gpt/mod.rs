//! GUID partition tables (UEFI specification, chapter 5): reading, fitting one to a larger
//! disk, adding a partition. [`Gpt::copies`] says what to write.

use thiserror::Error;

use super::guid::Guid;
use super::kinds;
use crate::read::{self, Source, field, le_u32, le_u64};
use crate::size::Geometry;

const SIGNATURE: &[u8] = b"EFI PART";
/// Where the primary header is.
pub const PRIMARY: u64 = 1;
/// The fields of a header. The specification allows up to a sector.
const HEADER: usize = 92;
/// Entries of a new table, and the size of each, which every tool makes.
const ENTRIES: u32 = 128;
const ENTRY: u32 = 128;
/// Where an entry has its name, and how many bytes that has: 36 UTF-16 units.
const NAME_AT: usize = 56;
const NAME_SIZE: usize = 72;
/// Bytes of entries that Linux reads at most: 4,096 entries of up to 1 KiB, or 32,768 of 128
/// bytes.
const MAX_ENTRIES_BYTES: u64 = 4 << 20;

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
            let field = &mut entry[NAME_AT..NAME_AT + NAME_SIZE];
            field.fill(0);
            for (unit, bytes) in name.encode_utf16().zip(field.chunks_exact_mut(2)) {
                bytes.copy_from_slice(&unit.to_le_bytes());
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
        if !is_possible || bytes == 0 || bytes > MAX_ENTRIES_BYTES {
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
            kind: kinds::LINUX.gpt,
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
    let room = source.size().saturating_sub(table).min(MAX_ENTRIES_BYTES);
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
mod tests;
