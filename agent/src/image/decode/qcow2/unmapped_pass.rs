//! The pass over an image whose tables are not known before: what they say counts from where
//! they come, and what came before it was known is deferred: kept in memory, then behind the image
//! on the disk ([`DeferredBytes`]).
//!
//! ```text
//! position ──▶ a table?       read it; what it names is in the store, or still to come
//!          ──▶ known data?    to its place
//!          ──▶ else           into the store, until all tables are known
//! ```
//!
//! Images as `qemu-img convert` makes them defer next to nothing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ironic_ondisk::size::SECTOR;

use super::compressed::{ClusterJob, CompressedInput};
use super::deferred::DeferredBytes;
use super::error::{Defect, Qcow2Error, Structure};
use super::header::Header;
use super::map::{ClusterMap, Extent, PackedExtent};
use super::output::{ImageOutput, ImageTarget};
use super::tables::{level_one, level_two};
use crate::image::block::Block;
use crate::image::decode::DecodeError;

/// Deferred bytes in memory.
pub(super) const DEFERRED_IN_MEMORY: usize = 16 << 20;
/// In such pieces deferred clusters go to their places.
const PIECE: u64 = 1 << 20;

/// Where in the pass we are.
pub(super) struct UnmappedPass {
    header: Header,
    output: ImageOutput,
    /// What has come of the file.
    position: u64,
    /// Tables to come, by their place: the L1 table, or the part of the disk that an L2 table
    /// describes.
    tables: BTreeMap<u64, Option<u32>>,
    /// What is known of the L1 table as far as it has come.
    level_one: ClusterMap,
    /// The L2 table at the position, as far as it has come.
    level_two: Vec<u8>,
    /// Data to come.
    extents: BinaryHeap<Reverse<PackedExtent>>,
    /// The extent at the position, the last one before, and the beginning of a compressed
    /// cluster that the last block cut.
    current: Option<Extent>,
    last: Option<Extent>,
    cut: Vec<u8>,
    deferred: DeferredBytes,
    batch: Vec<ClusterJob>,
    limit: usize,
    /// Tells the caller that the tables must be learnt first.
    needs_tables: Arc<AtomicBool>,
}

/// A table at the position.
#[derive(Debug, Clone, Copy)]
struct PendingTable {
    /// Where it begins in the file.
    host: u64,
    /// Which part of the disk an L2 table describes; `None` for the L1 table.
    index: Option<u32>,
}

impl UnmappedPass {
    /// Announces the image. The map and what is deferred may have `limit` bytes of memory,
    /// `deferred` of them what is deferred.
    pub(super) fn begin(
        header: Header,
        limit: usize,
        deferred: usize,
        needs_tables: Arc<AtomicBool>,
        target: &mut impl ImageTarget,
    ) -> Result<Self, DecodeError> {
        let mut output = ImageOutput::begin(&header, target)?;
        // What is not written will only be known at the end.
        output.clear(true, target)?;
        let limit = limit.saturating_sub(deferred);
        Ok(Self {
            output,
            position: 0,
            tables: BTreeMap::from([(header.level_one_offset, None)]),
            level_one: ClusterMap::new(limit),
            level_two: Vec::new(),
            extents: BinaryHeap::new(),
            current: None,
            last: None,
            cut: Vec::new(),
            deferred: DeferredBytes::new(deferred),
            batch: Vec::new(),
            limit,
            needs_tables,
            header,
        })
    }

    /// The next part of the file.
    pub(super) fn push(
        &mut self,
        block: &Arc<Block>,
        target: &mut impl ImageTarget,
    ) -> Result<(), DecodeError> {
        let placed = self.place(block, target);
        or_unstage(placed, target)
    }

    /// The file is at its end.
    pub(super) fn finish(&mut self, target: &mut impl ImageTarget) -> Result<(), DecodeError> {
        let ended = self.end(target);
        or_unstage(ended, target)
    }

    fn place(
        &mut self,
        block: &Arc<Block>,
        target: &mut impl ImageTarget,
    ) -> Result<(), DecodeError> {
        let start = self.position;
        let end = start + block.len() as u64;
        while self.position < end {
            match self.tables.first_key_value() {
                Some((&host, &index)) if host <= self.position => {
                    self.table(PendingTable { host, index }, block, start, target)?;
                }
                Some((&host, _)) => self.data(block, start, end.min(host), target)?,
                None => self.data(block, start, end, target)?,
            }
        }
        self.send_batch(target)
    }

    fn end(&mut self, target: &mut impl ImageTarget) -> Result<(), DecodeError> {
        let position = self.position;
        let next = self.extents.peek().map(|Reverse(packed)| (*packed).into());
        if let Some(host) = next.map(Extent::host).or_else(|| {
            let (host, _) = self.tables.first_key_value()?;
            Some(*host)
        }) {
            return Err(Defect::EndsEarly(position).at(host).into());
        }
        match self.current {
            // Nobody wrote the end of the last cluster, so it is zeros, as the disk is there.
            Some(extent @ Extent::Run { .. })
                if extent.end() - position < self.header.cluster() => {}
            Some(extent) => return Err(Defect::EndsEarly(position).at(extent.host()).into()),
            None => {}
        }
        self.output.finish(target)
    }

    /// A part of the file without tables, up to `until`.
    fn data(
        &mut self,
        block: &Arc<Block>,
        start: u64,
        until: u64,
        target: &mut impl ImageTarget,
    ) -> Result<(), DecodeError> {
        while let Some(extent) = self.next_extent(block, start, until, target)? {
            let to = extent.end().min(until);
            let from = extent.host().max(start);
            let range = within(from, start)..within(to, start);
            let is_whole = extent.is_whole(until);
            match extent {
                Extent::Run { host, guest, .. } => {
                    let guest = guest + (from - host);
                    self.output.plain(guest, block, range, target)?;
                }
                Extent::Compressed { host, guest, .. } if is_whole => {
                    let input = if host >= start {
                        CompressedInput::Shared(Arc::clone(block), range)
                    } else {
                        self.cut.extend_from_slice(&block[range]);
                        CompressedInput::Joined(std::mem::take(&mut self.cut))
                    };
                    self.batch.push(ClusterJob { input, host, guest });
                }
                Extent::Compressed { .. } => self.cut.extend_from_slice(&block[range]),
            }
            self.position = self.position.max(to);
            if is_whole {
                self.last = Some(extent);
            } else {
                self.current = Some(extent);
                break;
            }
        }
        self.defer(block, start, until, target)
    }

    /// The extent that goes on, or the next one; what comes before it is deferred.
    fn next_extent(
        &mut self,
        block: &Block,
        start: u64,
        until: u64,
        target: &mut impl ImageTarget,
    ) -> Result<Option<Extent>, DecodeError> {
        if let Some(extent) = self.current.take() {
            return Ok(Some(extent));
        }
        let Some(Reverse(packed)) = self.extents.peek() else {
            return Ok(None);
        };
        let extent = Extent::from(*packed);
        if extent.host() >= until {
            return Ok(None);
        }
        self.extents.pop();
        let second = extent.part();
        let overlaps = |first| Err(Defect::Overlap { first, second }.at(extent.host()).into());
        if extent.host() >= self.position {
            self.defer(block, start, extent.host(), target)?;
        } else {
            // Only a compressed cluster may begin where another one's last sector ends.
            match self.last {
                Some(last) if !last.overlaps(extent) => {}
                last => return overlaps(last.map_or(Structure::LevelTwo, Extent::part)),
            }
        }
        if let Some((&host, &index)) = self.tables.first_key_value()
            && host < extent.end()
        {
            return overlaps(index.map_or(Structure::LevelOne, |_| Structure::LevelTwo));
        }
        Ok(Some(extent))
    }

    /// Keeps the file up to `until`, of which nothing is known.
    fn defer(
        &mut self,
        block: &Block,
        start: u64,
        until: u64,
        target: &mut impl ImageTarget,
    ) -> Result<(), DecodeError> {
        let mut from = self.position;
        self.position = from.max(until);
        if self.tables.is_empty() || from >= until {
            return Ok(());
        }
        // Another compressed cluster may begin in the last one's last sector.
        if let Some(last @ Extent::Compressed { .. }) = self.last
            && last.end() == from
        {
            from = last.last_sector().max(start);
        }
        let (skip, skip_end) = self.header.refcount_table;
        let parts = [
            (from.max(self.header.cluster()), until.min(skip)),
            (from.max(skip_end), until),
        ];
        let parts = if skip_end == 0 { &parts[1..] } else { &parts };
        for &(from, until) in parts {
            if from >= until {
                continue;
            }
            let bytes = &block[within(from, start)..within(until, start)];
            if !self.deferred.put(from, bytes, target)? {
                self.needs_tables.store(true, Ordering::Release);
                let deferred = self.deferred.total();
                return Err(Defect::Unplaceable { deferred }.at(from).into());
            }
        }
        Ok(())
    }

    /// The table at the position.
    fn table(
        &mut self,
        PendingTable { host, index }: PendingTable,
        block: &Block,
        start: u64,
        target: &mut impl ImageTarget,
    ) -> Result<(), DecodeError> {
        let length = match index {
            None => self.header.level_one_entries * 8,
            Some(_) => self.header.cluster(),
        };
        let until = (host + length).min(start + block.len() as u64);
        let bytes = &block[within(self.position, start)..within(until, start)];
        match index {
            None => {
                let first = (self.position - host) / 8;
                level_one(&self.header, bytes, first, &mut self.level_one)
                    .map_err(|refusal| self.crowded(refusal))?;
            }
            Some(_) => self.level_two.extend_from_slice(bytes),
        }
        self.position = until;
        if until < host + length {
            return Ok(());
        }
        self.tables.remove(&host);
        match index {
            None => self.level_one_is_here(host, host + length, target)?,
            Some(index) => {
                let bytes = std::mem::take(&mut self.level_two);
                self.level_two_is_here(host, index, &bytes, target)?;
            }
        }
        if self.tables.is_empty() {
            self.deferred.clear();
        }
        Ok(())
    }

    fn level_one_is_here(
        &mut self,
        host: u64,
        end: u64,
        target: &mut impl ImageTarget,
    ) -> Result<(), DecodeError> {
        let mut named = std::mem::replace(&mut self.level_one, ClusterMap::new(0));
        named.sort().map_err(|refusal| self.crowded(refusal))?;
        let (first, second) = (Structure::LevelOne, Structure::LevelTwo);
        for table in &named.tables {
            if table.host < end && host < table.end() {
                return Err(Defect::Overlap { first, second }.at(table.host).into());
            }
            if table.host >= end {
                self.tables.insert(table.host, Some(table.index));
            }
        }
        for table in named.tables.iter().filter(|table| table.host < host) {
            let (at, length) = (table.host, table.length);
            let bytes = self.deferred.take(at, length, length, target)?;
            let Some(bytes) = bytes else {
                return Err(Defect::Overlap { first, second }.at(table.host).into());
            };
            self.level_two_is_here(table.host, table.index, &bytes, target)?;
        }
        Ok(())
    }

    fn level_two_is_here(
        &mut self,
        host: u64,
        index: u32,
        bytes: &[u8],
        target: &mut impl ImageTarget,
    ) -> Result<(), DecodeError> {
        let used = self.extents.len() * size_of::<PackedExtent>();
        let mut named = ClusterMap::new(self.limit.saturating_sub(used));
        level_two(&self.header, bytes, host, index, &mut named)
            .and_then(|()| named.sort())
            .map_err(|refusal| self.crowded(refusal))?;
        for extent in named.iter() {
            if extent.host() >= self.position {
                self.extents.push(Reverse(extent.into()));
            } else {
                self.parked_extent(extent, target)?;
            }
        }
        self.send_batch(target)
    }

    /// An extent that has come already.
    fn parked_extent(
        &mut self,
        extent: Extent,
        target: &mut impl ImageTarget,
    ) -> Result<(), DecodeError> {
        match extent {
            Extent::Run {
                host,
                guest,
                length,
            } => {
                let mut at = 0;
                while at < length {
                    let count = PIECE.min(length - at);
                    let bytes = self.deferred.take(host + at, count, count, target)?;
                    let bytes = bytes.ok_or_else(|| self.missing(extent))?;
                    self.output.bytes(guest + at, &bytes, target)?;
                    at += count;
                }
            }
            Extent::Compressed {
                host,
                guest,
                length,
            } => {
                // Of the last sector only the beginning is surely its own.
                let last = extent.last_sector().max(host);
                let bytes = self.deferred.take(host, last - host + 1, length, target)?;
                let bytes = bytes.ok_or_else(|| self.missing(extent))?;
                // Others may share its first and its last sector.
                let first = within(host.next_multiple_of(SECTOR).min(last), host);
                let last = within(last, host);
                self.deferred.give_back(host, &bytes[..first]);
                self.deferred.give_back(host + last as u64, &bytes[last..]);
                let input = CompressedInput::Joined(bytes);
                self.batch.push(ClusterJob { input, host, guest });
            }
        }
        if self.batch.len() as u64 * self.header.cluster() >= PIECE {
            self.send_batch(target)?;
        }
        Ok(())
    }

    /// A map that has no room beside what is deferred has it all where nothing is.
    fn crowded(&self, refusal: Qcow2Error) -> Qcow2Error {
        if matches!(refusal.defect, Defect::MapTooLarge { .. }) {
            self.needs_tables.store(true, Ordering::Release);
        }
        refusal
    }

    /// What an extent names was something else, or a compressed cluster's sector is shared in a
    /// way that only the whole map can tell.
    fn missing(&self, extent: Extent) -> Qcow2Error {
        self.needs_tables.store(true, Ordering::Release);
        let (first, second) = (Structure::LevelTwo, extent.part());
        Defect::Overlap { first, second }.at(extent.host())
    }

    fn send_batch(&mut self, target: &mut impl ImageTarget) -> Result<(), DecodeError> {
        let batch = std::mem::take(&mut self.batch);
        self.output.compressed(batch, target)
    }
}

/// Takes what is deferred from the disk where the file is at fault: another pass may follow, which
/// does not know of it.
fn or_unstage(
    result: Result<(), DecodeError>,
    target: &mut impl ImageTarget,
) -> Result<(), DecodeError> {
    if let Err(error) = &result
        && error.is_about_bytes()
    {
        target.unstage()?;
    }
    result
}

/// Offsets within a block fit into memory.
fn within(offset: u64, start: u64) -> usize {
    usize::try_from(offset - start).unwrap_or(usize::MAX)
}
