//! Which part of the file belongs where on the disk, in the order of the file.
//!
//! Clusters that follow each other in the file and on the disk are one [`Extent`], so an
//! image as `qemu-img convert` makes it has a handful. An extent has 16 bytes.

use ironic_ondisk::size::SECTOR;

use super::error::{Defect, Qcow2Error, Structure};
use super::header::Header;

/// Lengths of runs are 36 bits of sectors.
const MAX_RUN_SECTORS: u64 = (1 << 36) - 1;

/// A part of the file that is data of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// The bytes are those of the disk from `guest` on. Everything is whole sectors.
    Run { host: u64, guest: u64, length: u64 },
    /// One cluster of the disk, compressed within so many bytes, which end with a sector.
    Compressed { host: u64, guest: u64, length: u64 },
}

impl Extent {
    pub(super) fn host(self) -> u64 {
        let (Self::Run { host, .. } | Self::Compressed { host, .. }) = self;
        host
    }

    pub(super) fn end(self) -> u64 {
        let (Self::Run { host, length, .. } | Self::Compressed { host, length, .. }) = self;
        host + length
    }

    pub(super) fn guest(self) -> u64 {
        let (Self::Run { guest, .. } | Self::Compressed { guest, .. }) = self;
        guest
    }

    /// Where a compressed cluster's last sector begins.
    pub(super) fn last_sector(self) -> u64 {
        self.end().saturating_sub(SECTOR)
    }

    /// Whether all of it has come when `end` bytes of the file have. Only the file's end is no
    /// sector's end, and what is missing there of a compressed cluster's last sector never
    /// was: its length is only known in sectors.
    pub(super) fn is_whole(self, end: u64) -> bool {
        let end = match self {
            Self::Run { .. } => end,
            Self::Compressed { .. } => end.next_multiple_of(SECTOR),
        };
        self.end() <= end
    }

    /// Whether the next extent of the file uses a byte of this one. The length of a compressed
    /// cluster is only known in sectors, so the next one may begin within its last sector, but
    /// not at the same byte.
    pub(super) fn overlaps(self, next: Self) -> bool {
        match (self, next) {
            (Self::Compressed { host, .. }, Self::Compressed { host: start, .. }) => {
                start == host || start <= self.last_sector()
            }
            _ => next.host() < self.end(),
        }
    }

    pub(super) fn part(self) -> Structure {
        match self {
            Self::Run { .. } => Structure::Cluster,
            Self::Compressed { .. } => Structure::Compressed,
        }
    }
}

/// An extent in 128 bits, ordered by its place in the file:
/// `host` (50 bits), `is compressed` (1), `guest` in sectors (41), length in sectors (36).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PackedExtent(u128);

impl From<Extent> for PackedExtent {
    fn from(extent: Extent) -> Self {
        let (host, is_compressed, guest, length) = match extent {
            Extent::Run {
                host,
                guest,
                length,
            } => (host, 0, guest, length / SECTOR),
            // The end is known to be a sector's, so the number of sectors says it all.
            Extent::Compressed {
                host,
                guest,
                length,
            } => (host, 1, guest, length.div_ceil(SECTOR)),
        };
        Self(
            u128::from(host) << 78
                | is_compressed << 77
                | u128::from(guest / SECTOR) << 36
                | u128::from(length),
        )
    }
}

impl From<PackedExtent> for Extent {
    fn from(PackedExtent(bits): PackedExtent) -> Self {
        // Each mask leaves less than 64 bits.
        let field = |shift: u32, width: u32| {
            u64::try_from(bits >> shift & ((1 << width) - 1)).unwrap_or_default()
        };
        let (host, guest, length) = (field(78, 50), field(36, 41) * SECTOR, field(0, 36) * SECTOR);
        if field(77, 1) == 0 {
            Self::Run {
                host,
                guest,
                length,
            }
        } else {
            let length = length - host % SECTOR;
            Self::Compressed {
                host,
                guest,
                length,
            }
        }
    }
}

/// A table that the stream must repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TableExtent {
    pub(super) part: Structure,
    pub(super) host: u64,
    pub(super) length: u64,
    /// Which part of the disk an L2 table describes.
    pub(super) index: u32,
    /// SHA-256 of its bytes; zeros while they are not known.
    pub(super) digest: [u8; 32],
}

impl TableExtent {
    pub(super) fn end(&self) -> u64 {
        self.host + self.length
    }
}

/// All that an image says about itself.
#[derive(Debug)]
pub(super) struct ClusterMap {
    extents: Vec<PackedExtent>,
    pub(super) tables: Vec<TableExtent>,
    limit: usize,
}

impl ClusterMap {
    /// An empty map that refuses to have more than `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            extents: Vec::new(),
            tables: Vec::new(),
            limit,
        }
    }

    /// Bytes in use.
    pub(super) fn memory(&self) -> usize {
        size_of::<PackedExtent>() * self.extents.len()
            + size_of::<TableExtent>() * self.tables.len()
    }

    pub(super) fn len(&self) -> usize {
        self.extents.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<Extent> {
        self.extents.get(index).copied().map(Extent::from)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Extent> {
        self.extents.iter().copied().map(Extent::from)
    }

    /// Adds a table. `at` is where it is named.
    pub(super) fn push_table(&mut self, table: TableExtent, at: u64) -> Result<(), Qcow2Error> {
        self.tables.push(table);
        self.check_memory(at)
    }

    /// Adds an extent, joined with the last if it continues it. `at` is where it is named.
    pub(super) fn push(&mut self, extent: Extent, at: u64) -> Result<(), Qcow2Error> {
        if let Some(last) = self.extents.last_mut()
            && let Some(joined) = join(Extent::from(*last), extent)
        {
            *last = joined.into();
            return Ok(());
        }
        self.extents.push(extent.into());
        self.check_memory(at)
    }

    fn check_memory(&self, at: u64) -> Result<(), Qcow2Error> {
        if self.memory() > self.limit {
            let limit = self.limit;
            return Err(Defect::MapTooLarge { limit }.at(at));
        }
        Ok(())
    }

    /// Puts everything into the order of the file and refuses what uses a part of it twice.
    pub(super) fn sort(&mut self) -> Result<(), Qcow2Error> {
        self.extents.sort_unstable();
        let mut joined: usize = 0;
        for index in 1..self.extents.len() {
            let (last, next) = (self.extents[joined], self.extents[index]);
            match join(last.into(), next.into()) {
                Some(both) => self.extents[joined] = both.into(),
                None => {
                    joined += 1;
                    self.extents[joined] = next;
                }
            }
        }
        self.extents.truncate(joined + 1);
        self.tables.sort_unstable_by_key(|table| table.host);
        self.check_overlaps()
    }

    fn check_overlaps(&self) -> Result<(), Qcow2Error> {
        for pair in self.tables.windows(2) {
            if pair[1].host < pair[0].end() {
                let (first, second) = (pair[0].part, pair[1].part);
                return Err(Defect::Overlap { first, second }.at(pair[1].host));
            }
        }
        let mut tables = self.tables.iter().peekable();
        let mut last: Option<Extent> = None;
        for extent in self.iter() {
            if let Some(before) = last
                && before.overlaps(extent)
            {
                let (first, second) = (before.part(), extent.part());
                return Err(Defect::Overlap { first, second }.at(extent.host()));
            }
            last = Some(extent);
            while tables
                .next_if(|table| table.end() <= extent.host())
                .is_some()
            {}
            if let Some(table) = tables.peek().filter(|table| table.host < extent.end()) {
                let (first, second) = (table.part, extent.part());
                return Err(Defect::Overlap { first, second }.at(extent.host()));
            }
        }
        Ok(())
    }

    /// Looks at the map in the disk's order. It is in the file's order again afterwards.
    pub(super) fn in_disk_order<T>(&mut self, look: impl FnOnce(&Self) -> T) -> T {
        let guest = |packed: &PackedExtent| Extent::from(*packed).guest();
        self.extents.sort_unstable_by_key(guest);
        let seen = look(self);
        self.extents.sort_unstable();
        seen
    }

    /// The parts of the disk that no extent fills, with their lengths, of a map that is
    /// [in the disk's order](ClusterMap::in_disk_order).
    pub(super) fn gaps(&self, header: &Header) -> impl Iterator<Item = (u64, u64)> {
        let (size, cluster) = (header.virtual_size, header.cluster());
        let filled = self.iter().map(move |extent| match extent {
            Extent::Run { guest, length, .. } => (guest, guest + length),
            Extent::Compressed { guest, .. } => (guest, guest + cluster),
        });
        let mut before = 0;
        filled
            .chain([(size, size)])
            .map(move |(start, end)| {
                let gap = (before, start.saturating_sub(before));
                before = end;
                gap
            })
            .filter(|(_, length)| *length > 0)
    }
}

/// One extent instead of two, if the second continues the first.
fn join(first: Extent, second: Extent) -> Option<Extent> {
    match (first, second) {
        (
            Extent::Run {
                host,
                guest,
                length,
            },
            Extent::Run {
                host: next_host,
                guest: next_guest,
                length: more,
            },
        ) if host + length == next_host
            && guest + length == next_guest
            && (length + more) / SECTOR <= MAX_RUN_SECTORS =>
        {
            Some(Extent::Run {
                host,
                guest,
                length: length + more,
            })
        }
        _ => None,
    }
}
