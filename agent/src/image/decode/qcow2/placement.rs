//! The pass over an image whose tables are known: each part of the stream goes where the
//! map says, and the tables are compared as they come by.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::super::super::block::Block;
use super::super::super::write::WriteError;
use super::compressed::{Input, Job};
use super::error::{Flaw, Refusal};
use super::header::Header;
use super::map::{Extent, Map};
use super::output::{Output, Target};

/// Of an image with more gaps than one in so many bytes, all is made zeros first.
const LEAST_PER_GAP: u64 = 1 << 20;

/// Where in the pass we are.
pub(super) struct Placer {
    header: Header,
    map: Map,
    output: Output,
    /// How much of the file has come.
    position: u64,
    /// The first extent that has not come as a whole.
    extent: usize,
    /// The first table that has not come as a whole, and what has come of it.
    table: usize,
    hasher: Sha256,
    /// The beginning of a compressed cluster that the last block cut.
    cut: Vec<u8>,
}

impl Placer {
    /// Announces the image and fills what it does not hold.
    pub(super) fn begin(
        header: Header,
        mut map: Map,
        target: &mut impl Target,
    ) -> Result<Self, WriteError> {
        let mut output = Output::begin(&header, target)?;
        // What is written anyway need not be made zeros before, unless the device would be
        // asked too often.
        map.in_disk_order(|map| {
            let gaps = map.gaps(&header).count() as u64;
            if gaps > header.virtual_size / LEAST_PER_GAP && output.clear(false, target)? {
                return Ok(());
            }
            map.gaps(&header)
                .try_for_each(|(start, length)| target.zero(start, length))
        })?;
        Ok(Self {
            header,
            map,
            output,
            position: 0,
            extent: 0,
            table: 0,
            hasher: Sha256::new(),
            cut: Vec::new(),
        })
    }

    /// The next part of the file.
    pub(super) fn push(
        &mut self,
        block: &Arc<Block>,
        target: &mut impl Target,
    ) -> Result<(), WriteError> {
        let start = self.position;
        let end = start + block.len() as u64;
        self.compare(block, start, end)?;
        let mut batch = Vec::new();
        while let Some(extent) = self.map.get(self.extent)
            && extent.host() < end
        {
            let from = extent.host().max(start);
            let to = extent.end().min(end);
            let range = within(from, start)..within(to, start);
            match extent {
                Extent::Run { host, guest, .. } => {
                    let guest = guest + (from - host);
                    self.output.plain(guest, block, range, target)?;
                }
                Extent::Compressed { host, guest, .. } if extent.is_whole(end) => {
                    let input = if host >= start {
                        Input::Shared(Arc::clone(block), range)
                    } else {
                        self.cut.extend_from_slice(&block[range]);
                        Input::Joined(std::mem::take(&mut self.cut))
                    };
                    batch.push(Job { input, host, guest });
                }
                Extent::Compressed { .. } => self.cut.extend_from_slice(&block[range]),
            }
            if !extent.is_whole(end) {
                break;
            }
            self.extent += 1;
        }
        self.position = end;
        self.output.compressed(batch, target)
    }

    /// The file is at its end.
    pub(super) fn finish(&mut self, target: &mut impl Target) -> Result<(), WriteError> {
        let position = self.position;
        if let Some(table) = self.map.tables.get(self.table) {
            return Err(Flaw::EndsEarly(position).at(table.host).into());
        }
        if let Some(extent) = self.map.get(self.extent) {
            if extent.host() >= position || self.extent + 1 < self.map.len() {
                return Err(Flaw::EndsEarly(position).at(extent.host()).into());
            }
            self.finish_cut(extent, target)?;
        }
        self.output.finish(target)
    }

    /// The last extent, which the end of the file cuts.
    fn finish_cut(&self, extent: Extent, target: &mut impl Target) -> Result<(), WriteError> {
        let missing = extent.end() - self.position;
        match extent {
            // Nobody wrote the end of the last cluster, so it is zeros.
            Extent::Run { guest, length, .. } if missing < self.header.cluster() => {
                if !self.output.is_zeroed {
                    target.zero(guest + length - missing, missing)?;
                }
                Ok(())
            }
            _ => Err(Flaw::EndsEarly(self.position).at(extent.host()).into()),
        }
    }

    /// Compares the tables with what the map was made of.
    fn compare(&mut self, block: &Block, start: u64, end: u64) -> Result<(), Refusal> {
        while let Some(table) = self.map.tables.get(self.table)
            && table.host < end
        {
            let from = within(table.host.max(start), start);
            let to = within(table.end().min(end), start);
            self.hasher.update(&block[from..to]);
            if table.end() > end {
                break;
            }
            if self.hasher.finalize_reset()[..] != table.digest {
                return Err(Flaw::Changed(table.part).at(table.host));
            }
            self.table += 1;
        }
        Ok(())
    }
}

/// Offsets within a block fit into memory.
fn within(offset: u64, start: u64) -> usize {
    usize::try_from(offset - start).unwrap_or(usize::MAX)
}
