//! qcow2, in one pass over a file that is never in memory as a whole.
//!
//! ```text
//! head ──▶ Header ──▶ tables, asked for by Range ──▶ ClusterMap (in the order of the file)
//!                                                    │
//! download ──▶ checksum                              ▼
//!          └─▶ tables: as in the ClusterMap?   clusters: to their places   compressed ones: by threads
//! ```
//!
//! Clusters come in any order, and the tables that say where they belong may come last. So
//! the tables are asked for first; the server's answer is a hint that the download must
//! repeat, and so the checksum of the download covers it ([`mapped_pass`]). From a server that
//! sends whole files only, what comes before it is known is deferred ([`unmapped_pass`]), a little of it in
//! memory and the rest behind the image on the disk. If there is no room, the file is read before
//! the pass that counts ([`RereadSource`]).

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Decode, DecodeError, Trailer};
use crate::image::block::Block;
use crate::image::write::{ImageWriter, WriteError};

mod compressed;

mod deferred;
mod error;
mod header;
mod hint;
mod map;
mod mapped_pass;
mod output;

mod reread;
mod tables;
mod unmapped_pass;

use header::Header;
use hint::{LearnError, learn};
use map::{ClusterMap, Extent};
use mapped_pass::MappedPass;
use output::ImageTarget;
use unmapped_pass::{DEFERRED_IN_MEMORY, UnmappedPass};

pub(in crate::image) use error::Qcow2Error;
pub(in crate::image) use hint::{RangedSource, ReadRanges};
pub(in crate::image) use reread::RereadSource;

/// Memory for the map of an image: 112 GiB of scattered or compressed clusters of 64 KiB. With
/// the blocks of the download, those of the writer and the decoder it stays within 64 MiB.
const MEMORY: usize = 28 << 20;

/// What was learnt about an image before the pass over it.
#[derive(Debug)]
pub(in crate::image) struct Qcow2Plan {
    header: Header,
    /// `None`: the server sends whole files only.
    map: Option<ClusterMap>,
    /// Becomes true when the image could not be written because its tables come too late in
    /// the file.
    needs_tables: Arc<AtomicBool>,
}

impl Qcow2Plan {
    /// Bytes of the disk that the image holds.
    pub(in crate::image) fn virtual_size(&self) -> u64 {
        self.header.virtual_size
    }

    /// As much of the beginning of the disk as lies in `head`, the beginning of the file.
    pub(in crate::image) fn beginning(&self, head: &[u8]) -> Vec<u8> {
        const MAX_HEAD_BYTES: u64 = 1 << 20;
        let Some(map) = &self.map else {
            return Vec::new();
        };
        let wanted = MAX_HEAD_BYTES.min(self.header.virtual_size);
        let mut extents: Vec<Extent> = map.iter().filter(|one| one.guest() < wanted).collect();
        extents.sort_unstable_by_key(|extent| extent.guest());
        // Both are bounded by MAX_HEAD_BYTES.
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or_default();
        let mut found = Vec::new();
        for extent in extents {
            // What no extent fills is zeros.
            found.resize(size(extent.guest()), 0);
            let Extent::Run {
                host,
                guest,
                length,
            } = extent
            else {
                return found;
            };
            let length = length.min(wanted - guest);
            let start = usize::try_from(host).unwrap_or(usize::MAX);
            let Some(there) = head.get(start..) else {
                return found;
            };
            let bytes = &there[..there.len().min(size(length))];
            found.extend_from_slice(bytes);
            if bytes.len() < size(length) {
                return found;
            }
        }
        found.resize(size(wanted), 0);
        found
    }
}

/// Looks at an image before the disk is touched: `head` is its beginning, `length` that of
/// the file, if it is known, and the disk has `available` bytes for it. `needs_tables` becomes
/// true when writing fails only because `parts` are not to be had.
///
/// # Errors
/// What is wrong with the image.
pub(in crate::image) async fn plan(
    head: &[u8],
    parts: &impl ReadRanges,
    length: Option<u64>,
    available: u64,
    needs_tables: Arc<AtomicBool>,
) -> Result<Qcow2Plan, Qcow2Error> {
    let header = Header::parse(head, length, available)?;
    let map = match learn(&header, head, parts, MEMORY).await {
        Ok(map) => Some(map),
        Err(LearnError::Refused(error)) => return Err(error),
        Err(LearnError::Unranged(reason)) => {
            tracing::info!(%reason, "the tables of the image are not known beforehand");
            None
        }
    };
    Ok(Qcow2Plan {
        header,
        map,
        needs_tables,
    })
}

/// The stage that follows a plan.
pub(super) struct Qcow2(DecoderState);

enum DecoderState {
    Planned(Qcow2Plan),
    Mapped(MappedPass),
    Unmapped(UnmappedPass),
    Failed,
}

impl Qcow2 {
    pub(super) fn new(plan: Qcow2Plan) -> Self {
        Self(DecoderState::Planned(plan))
    }

    fn begin(&mut self, writer: &mut ImageWriter) -> Result<(), DecodeError> {
        self.0 = match std::mem::replace(&mut self.0, DecoderState::Failed) {
            DecoderState::Planned(Qcow2Plan {
                header,
                map: Some(map),
                ..
            }) => DecoderState::Mapped(MappedPass::begin(header, map, writer)?),
            DecoderState::Planned(plan) => {
                let Qcow2Plan {
                    header,
                    needs_tables,
                    ..
                } = plan;
                let begun =
                    UnmappedPass::begin(header, MEMORY, DEFERRED_IN_MEMORY, needs_tables, writer);
                DecoderState::Unmapped(begun?)
            }
            begun => begun,
        };
        Ok(())
    }
}

impl Decode for Qcow2 {
    fn push(&mut self, block: Arc<Block>, writer: &mut ImageWriter) -> Result<(), DecodeError> {
        self.begin(writer)?;
        match &mut self.0 {
            DecoderState::Mapped(pass) => pass.push(&block, writer),
            DecoderState::Unmapped(pass) => pass.push(&block, writer),
            DecoderState::Planned(_) | DecoderState::Failed => Err(failed()),
        }
    }

    fn finish(&mut self, writer: &mut ImageWriter) -> Result<Option<Trailer>, DecodeError> {
        match &mut self.0 {
            DecoderState::Mapped(pass) => pass.finish(writer),
            DecoderState::Unmapped(pass) => pass.finish(writer),
            DecoderState::Planned(_) | DecoderState::Failed => Err(failed()),
        }
        .map(|()| None)
    }
}

fn failed() -> DecodeError {
    WriteError::Stopped("the image could not be begun").into()
}

impl ImageTarget for ImageWriter {
    fn declare(&mut self, size: u64) -> Result<(), WriteError> {
        ImageWriter::declare(self, size)
    }

    fn clear(&mut self, if_need_be: bool) -> Result<bool, WriteError> {
        ImageWriter::clear(self, if_need_be)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), WriteError> {
        ImageWriter::write_at(self, offset, bytes)
    }

    fn write_block(
        &mut self,
        offset: u64,
        block: &Arc<Block>,
        range: Range<usize>,
    ) -> Result<(), WriteError> {
        ImageWriter::write_block(self, offset, block, range)
    }

    fn zero(&mut self, offset: u64, length: u64) -> Result<(), WriteError> {
        ImageWriter::zero(self, offset, length)
    }

    fn stage(&mut self, bytes: &[u8]) -> Result<Option<u64>, WriteError> {
        ImageWriter::stage(self, bytes)
    }

    fn staged(&mut self, at: u64, length: usize) -> Result<Vec<u8>, WriteError> {
        ImageWriter::staged(self, at, length)
    }

    fn unstage(&mut self) -> Result<(), WriteError> {
        ImageWriter::unstage(self)
    }
}

#[cfg(test)]
mod tests;
