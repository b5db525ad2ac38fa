//! Tables for tests, made byte by byte so that they may be wrong in any field.

#![allow(clippy::cast_possible_truncation, reason = "test images are small")]

/// What a GUID partition table looks like.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Bytes of a sector.
    pub sector: u32,
    /// Bytes of the header.
    pub header: u32,
    /// Bytes of an entry.
    pub entry: u32,
    /// How many entries.
    pub count: u32,
    /// Whether the first sector announces it.
    pub is_announced: bool,
    /// Whether the primary has the right checksum.
    pub primary: bool,
    /// Whether the backup has.
    pub backup: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            sector: 512,
            header: 92,
            entry: 128,
            count: 128,
            is_announced: true,
            primary: true,
            backup: true,
        }
    }
}

/// Puts bytes at an offset.
pub fn put(disk: &mut [u8], offset: u64, bytes: &[u8]) {
    let at = offset as usize;
    disk[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Writes entries of type, start and length in sectors into a master boot record, or a link of
/// a chain, at a byte.
pub fn mbr(disk: &mut [u8], offset: u64, entries: &[(u8, u32, u32)]) {
    put(disk, offset + 510, &[0x55, 0xaa]);
    for (index, (kind, first, sectors)) in (0..).zip(entries) {
        let at = offset + 446 + 16 * index;
        put(disk, at, &[0, 0xfe, 0xff, 0xff, *kind, 0xfe, 0xff, 0xff]);
        put(disk, at + 8, &first.to_le_bytes());
        put(disk, at + 12, &sectors.to_le_bytes());
    }
}

/// A disk with a GUID partition table that has partitions of number, first and last sector.
pub fn gpt(size: u64, shape: Shape, partitions: &[(u32, u64, u64)]) -> Vec<u8> {
    let mut disk = vec![0; size as usize];
    put_gpt(&mut disk, shape, partitions);
    disk
}

/// Writes one over what is there.
pub fn put_gpt(disk: &mut [u8], shape: Shape, partitions: &[(u32, u64, u64)]) {
    let sector = u64::from(shape.sector);
    let sectors = disk.len() as u64 / sector;
    let mut entries = vec![0; (shape.count * shape.entry) as usize];
    for (number, first, last) in partitions {
        let at = (*number as usize - 1) * shape.entry as usize;
        let Some(entry) = entries.get_mut(at..at + 48) else {
            continue;
        };
        entry[..16].fill(7);
        entry[16..20].copy_from_slice(&number.to_le_bytes());
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&last.to_le_bytes());
    }
    let length = (entries.len() as u64).div_ceil(sector);
    if shape.is_announced {
        let all = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
        mbr(disk, 0, &[(0xee, 1, all)]);
    }
    let backup_entries = sectors - 1 - length;
    for (own, other, at, is_right) in [
        (1, sectors - 1, 2, shape.primary),
        (sectors - 1, 1, backup_entries, shape.backup),
    ] {
        let mut header = vec![0; shape.sector.max(shape.header) as usize];
        header[..8].copy_from_slice(b"EFI PART");
        header[8..12].copy_from_slice(&0x1_0000_u32.to_le_bytes());
        header[12..16].copy_from_slice(&shape.header.to_le_bytes());
        let numbers = [
            (24, own),
            (32, other),
            (40, 2 + length),
            (48, sectors - 2 - length),
            (72, at),
        ];
        for (offset, number) in numbers {
            header[offset..offset + 8].copy_from_slice(&number.to_le_bytes());
        }
        header[56..72].fill(3);
        let mut sum = crc32fast::hash(&entries);
        for (offset, number) in [(80, shape.count), (84, shape.entry), (88, sum)] {
            header[offset..offset + 4].copy_from_slice(&number.to_le_bytes());
        }
        sum = crc32fast::hash(&header[..shape.header as usize]);
        if !is_right {
            sum ^= 1;
        }
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        put(disk, own * sector, &header[..shape.sector as usize]);
        put(disk, at * sector, &entries);
    }
}
