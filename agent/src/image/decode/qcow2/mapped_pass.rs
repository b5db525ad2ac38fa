//! The pass over an image whose tables are known: each part of the stream goes where the
//! map says, and the tables are compared as they come by.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::compressed::{ClusterJob, CompressedInput};
use super::error::{Defect, Qcow2Error};
use super::header::Header;
use super::map::{ClusterMap, Extent};
use super::output::{ImageOutput, ImageTarget};
use crate::image::block::Block;
use crate::image::decode::DecodeError;

/// Of an image with more gaps than one in so many bytes, all is made zeros first.
const MIN_BYTES_PER_GAP: u64 = 1 << 20;

/// Where in the pass we are.
pub(super) struct MappedPass {
    header: Header,
    map: ClusterMap,
    output: ImageOutput,
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

impl MappedPass {
    /// Announces the image and fills what it does not hold.
    pub(super) fn begin(
        header: Header,
        mut map: ClusterMap,
        target: &mut impl ImageTarget,
    ) -> Result<Self, DecodeError> {
        let mut output = ImageOutput::begin(&header, target)?;
        // What is written anyway need not be made zeros before, unless the device would be
        // asked too often.
        map.in_disk_order(|map| -> Result<(), DecodeError> {
            let gaps = map.gaps(&header).count() as u64;
            if gaps > header.virtual_size / MIN_BYTES_PER_GAP && output.clear(false, target)? {
                return Ok(());
            }
            map.gaps(&header)
                .try_for_each(|(start, length)| Ok(target.zero(start, length)?))
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
        target: &mut impl ImageTarget,
    ) -> Result<(), DecodeError> {
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
                        CompressedInput::Shared(Arc::clone(block), range)
                    } else {
                        self.cut.extend_from_slice(&block[range]);
                        CompressedInput::Joined(std::mem::take(&mut self.cut))
                    };
                    batch.push(ClusterJob { input, host, guest });
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
    pub(super) fn finish(&mut self, target: &mut impl ImageTarget) -> Result<(), DecodeError> {
        let position = self.position;
        if let Some(table) = self.map.tables.get(self.table) {
            return Err(Defect::EndsEarly(position).at(table.host).into());
        }
        if let Some(extent) = self.map.get(self.extent) {
            if extent.host() >= position || self.extent + 1 < self.map.len() {
                return Err(Defect::EndsEarly(position).at(extent.host()).into());
            }
            self.finish_cut(extent, target)?;
        }
        self.output.finish(target)
    }

    /// The last extent, which the end of the file cuts.
    fn finish_cut(&self, extent: Extent, target: &mut impl ImageTarget) -> Result<(), DecodeError> {
        let missing = extent.end() - self.position;
        match extent {
            // Nobody wrote the end of the last cluster, so it is zeros.
            Extent::Run { guest, length, .. } if missing < self.header.cluster() => {
                if !self.output.is_zeroed {
                    target.zero(guest + length - missing, missing)?;
                }
                Ok(())
            }
            _ => Err(Defect::EndsEarly(self.position).at(extent.host()).into()),
        }
    }

    /// Compares the tables with what the map was made of.
    fn compare(&mut self, block: &Block, start: u64, end: u64) -> Result<(), Qcow2Error> {
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
                return Err(Defect::Changed(table.part).at(table.host));
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
