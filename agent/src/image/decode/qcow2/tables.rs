//! The two levels of tables: from the bytes of a table to [`Extent`]s.
//!
//! Clusters that are not allocated, or allocated and marked as zeros, leave no extent: the
//! whole disk is made zeros before anything is written.

use super::error::{Defect, Qcow2Error, Structure};
use super::header::{Header, MAX_IMAGE_BYTES};
use super::map::{ClusterMap, Extent, TableExtent};

/// Offsets in table entries: bits 9 to 55.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// Reserved in L1 entries: bits 0 to 8 and 56 to 62.
const RESERVED_1: u64 = 0x7f00_0000_0000_01ff;
/// Reserved in L2 entries of plain clusters: bits 1 to 8 and 56 to 61.
const RESERVED_2: u64 = 0x3f00_0000_0000_01fe;
const COMPRESSED: u64 = 1 << 62;
/// Marks a plain cluster that reads as zeros; not with subclusters.
const ZEROS: u64 = 1;

/// Reads a part of the L1 table, whose entry `first` is the first in `bytes`, and adds the
/// L2 tables that it names. Their digests are not known yet.
pub(super) fn level_one(
    header: &Header,
    bytes: &[u8],
    first: u64,
    map: &mut ClusterMap,
) -> Result<(), Qcow2Error> {
    for (index, entry) in (first..).zip(numbers(bytes)) {
        let at = header.level_one_offset + index * 8;
        if entry & RESERVED_1 != 0 {
            let table = Structure::LevelOne;
            return Err(Defect::Reserved { table, entry }.at(at));
        }
        let offset = entry & OFFSET;
        if offset == 0 {
            continue;
        }
        header.check_table(Structure::LevelTwo, offset, header.cluster(), at)?;
        let table = TableExtent {
            part: Structure::LevelTwo,
            host: offset,
            length: header.cluster(),
            // QEMU's limit of entries is far below.
            index: u32::try_from(index).unwrap_or(u32::MAX),
            digest: [0; 32],
        };
        map.push_table(table, at)?;
    }
    Ok(())
}

/// Reads the L2 table at `host`, to which the L1 entry `index` points.
pub(super) fn level_two(
    header: &Header,
    bytes: &[u8],
    host: u64,
    index: u32,
    map: &mut ClusterMap,
) -> Result<(), Qcow2Error> {
    let cluster = header.cluster();
    let width = if header.has_subclusters { 16 } else { 8 };
    let base = u64::from(index) * header.level_two_entries() * cluster;
    let mut entries = numbers(bytes);
    let mut at = host;
    let mut guest = base;
    while let Some(entry) = entries.next() {
        let subclusters = if header.has_subclusters {
            entries.next()
        } else {
            None
        };
        // The last table of a disk has entries for what is not there.
        if guest >= header.virtual_size {
            break;
        }
        let cluster_at = TableEntry { header, at, guest };
        if entry & COMPRESSED == 0 {
            cluster_at.plain(entry, subclusters, map)?;
        } else {
            cluster_at.compressed(entry, subclusters, map)?;
        }
        at += width;
        guest += cluster;
    }
    Ok(())
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes
        .as_chunks::<8>()
        .0
        .iter()
        .map(|chunk| u64::from_be_bytes(*chunk))
}

/// An entry of an L2 table.
struct TableEntry<'a> {
    header: &'a Header,
    /// Where the entry is in the file.
    at: u64,
    /// What it describes.
    guest: u64,
}

impl TableEntry<'_> {
    fn plain(
        &self,
        entry: u64,
        subclusters: Option<u64>,
        map: &mut ClusterMap,
    ) -> Result<(), Qcow2Error> {
        let reserved = match subclusters {
            Some(_) => RESERVED_2 | ZEROS,
            None => RESERVED_2,
        };
        if entry & reserved != 0 {
            let table = Structure::LevelTwo;
            return Err(Defect::Reserved { table, entry }.at(self.at));
        }
        if entry & ZEROS != 0 && self.header.version == 2 {
            return Err(Defect::ZeroInVersion2.at(self.at));
        }
        let host = entry & OFFSET;
        if !host.is_multiple_of(self.header.cluster()) {
            let what = Structure::Cluster;
            return Err(Defect::Unaligned { what, offset: host }.at(self.at));
        }
        match subclusters {
            Some(bits) => self.subclusters(host, bits, map),
            None if host == 0 || entry & ZEROS != 0 => Ok(()),
            None => self.run(host, 0, self.header.cluster(), map),
        }
    }

    /// The lower half of `bits` marks data, the upper half zeros.
    fn subclusters(&self, host: u64, bits: u64, map: &mut ClusterMap) -> Result<(), Qcow2Error> {
        let (data, zeros) = (bits & 0xffff_ffff, bits >> 32);
        if data & zeros != 0 || (host == 0 && data != 0) {
            return Err(Defect::Subclusters(bits).at(self.at + 8));
        }
        let size = self.header.cluster() / 32;
        let mut index = 0;
        while index < 32 {
            let rest = data >> index;
            let skipped = rest.trailing_zeros().min(32 - index);
            index += skipped;
            let count = (data >> index).trailing_ones().min(32 - index);
            if count > 0 {
                self.run(host, u64::from(index) * size, u64::from(count) * size, map)?;
            }
            index += count;
        }
        Ok(())
    }

    /// Data in `length` bytes from `skip` on of the cluster at `host`.
    fn run(
        &self,
        host: u64,
        skip: u64,
        length: u64,
        map: &mut ClusterMap,
    ) -> Result<(), Qcow2Error> {
        let (header, what) = (self.header, Structure::Cluster);
        if host < header.cluster() {
            let first = Structure::Header;
            return Err(Defect::Overlap {
                first,
                second: what,
            }
            .at(self.at));
        }
        // A cluster may be cut by the end of the file, where nobody wrote its end.
        header.check_inside(what, host, host.saturating_add(1), self.at)?;
        if host >= MAX_IMAGE_BYTES {
            let limit = MAX_IMAGE_BYTES;
            return Err(Defect::BeyondReason { size: host, limit }.at(self.at));
        }
        let guest = self.guest + skip;
        let length = length.min(header.virtual_size.saturating_sub(guest));
        if length == 0 {
            return Ok(());
        }
        let extent = Extent::Run {
            host: host + skip,
            guest,
            length,
        };
        map.push(extent, self.at)
    }

    /// A byte offset and the number of sectors after the one in which it lies.
    fn compressed(
        &self,
        entry: u64,
        subclusters: Option<u64>,
        map: &mut ClusterMap,
    ) -> Result<(), Qcow2Error> {
        let (header, what) = (self.header, Structure::Compressed);
        let offset_bits = 62 - (header.cluster_bits - 8);
        let host = entry & ((1 << offset_bits) - 1);
        let sectors = ((entry & (COMPRESSED - 1)) >> offset_bits) + 1;
        if let Some(bits) = subclusters.filter(|bits| *bits != 0) {
            return Err(Defect::Subclusters(bits).at(self.at + 8));
        }
        if host < header.cluster() {
            let first = Structure::Header;
            return Err(Defect::Overlap {
                first,
                second: what,
            }
            .at(self.at));
        }
        let length = sectors * 512 - host % 512;
        // The last sector may be cut by the end of the file; it is only named as a whole.
        let least = host + length.saturating_sub(511).max(1);
        header.check_inside(what, host, least, self.at)?;
        let extent = Extent::Compressed {
            host,
            guest: self.guest,
            length,
        };
        map.push(extent, self.at)
    }
}
