//! qcow2, in one pass over a file that is never in memory as a whole.
//!
//! ```text
//! head ──▶ Header ──▶ tables, asked for by Range ──▶ Map (in the order of the file)
//!                                                    │
//! download ──▶ checksum                              ▼
//!          └─▶ tables: as in the Map?   clusters: to their places   compressed ones: by threads
//! ```
//!
//! Clusters come in any order, and the tables that say where they belong may come last. So
//! the tables are asked for first; the server's answer is a hint that the download must
//! repeat, and so the checksum of the download covers it ([`placement`]). From a server that
//! sends whole files only, what comes before it is known is parked ([`defer`]), a little of it in
//! memory and the rest behind the image on the disk. If there is no room, the file is read before
//! the pass that counts ([`Reread`]).

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::super::block::Block;
use super::super::write::{WriteError, Writer};
use super::{Decode, Trailer};
use crate::failure::Failure;

mod compressed;
mod defer;
mod deferred;
mod error;
mod header;
mod hint;
mod map;
mod output;
mod placement;
mod reread;
mod tables;

use defer::{PARKED, Parker};
use header::Header;
use hint::{Unlearnt, learn};
use map::{Extent, Map};
use output::Target;
use placement::Placer;

pub(in crate::image) use hint::{Parts, Ranged};
pub(in crate::image) use reread::Reread;

/// Memory for the map of an image: 112 GiB of scattered or compressed clusters of 64 KiB. With
/// the blocks of the download, those of the writer and the decoder it stays within 64 MiB.
const MEMORY: usize = 28 << 20;

/// What was learnt about an image before the pass over it.
#[derive(Debug)]
pub(in crate::image) struct Plan {
    header: Header,
    /// `None`: the server sends whole files only.
    map: Option<Map>,
    /// Becomes true when the image could not be written because its tables come too late in
    /// the file.
    needs_tables: Arc<AtomicBool>,
}

impl Plan {
    /// Bytes of the disk that the image holds.
    pub(in crate::image) fn virtual_size(&self) -> u64 {
        self.header.virtual_size
    }

    /// As much of the beginning of the disk as lies in `head`, the beginning of the file.
    pub(in crate::image) fn beginning(&self, head: &[u8]) -> Vec<u8> {
        const MOST: u64 = 1 << 20;
        let Some(map) = &self.map else {
            return Vec::new();
        };
        let wanted = MOST.min(self.header.virtual_size);
        let mut extents: Vec<Extent> = map.iter().filter(|one| one.guest() < wanted).collect();
        extents.sort_unstable_by_key(|extent| extent.guest());
        // Both are bounded by MOST.
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
    parts: &impl Parts,
    length: Option<u64>,
    available: u64,
    needs_tables: Arc<AtomicBool>,
) -> Result<Plan, Failure> {
    let header = Header::parse(head, length, available)?;
    let map = match learn(&header, head, parts, MEMORY).await {
        Ok(map) => Some(map),
        Err(Unlearnt::Refused(refusal)) => return Err(refusal.into()),
        Err(Unlearnt::Unranged(reason)) => {
            tracing::info!(reason, "the tables of the image are not known beforehand");
            None
        }
    };
    Ok(Plan {
        header,
        map,
        needs_tables,
    })
}

/// The stage that follows a plan.
pub(super) struct Qcow2(State);

enum State {
    Planned(Plan),
    Placing(Placer),
    Parking(Parker),
    Failed,
}

impl Qcow2 {
    pub(super) fn new(plan: Plan) -> Self {
        Self(State::Planned(plan))
    }

    fn begin(&mut self, writer: &mut Writer) -> Result<(), WriteError> {
        self.0 = match std::mem::replace(&mut self.0, State::Failed) {
            State::Planned(Plan {
                header,
                map: Some(map),
                ..
            }) => State::Placing(Placer::begin(header, map, writer)?),
            State::Planned(plan) => {
                let Plan {
                    header,
                    needs_tables,
                    ..
                } = plan;
                let begun = Parker::begin(header, MEMORY, PARKED, needs_tables, writer);
                State::Parking(begun?)
            }
            begun => begun,
        };
        Ok(())
    }
}

impl Decode for Qcow2 {
    fn push(&mut self, block: Arc<Block>, writer: &mut Writer) -> Result<(), WriteError> {
        self.begin(writer)?;
        match &mut self.0 {
            State::Placing(placer) => placer.push(&block, writer),
            State::Parking(parker) => parker.push(&block, writer),
            State::Planned(_) | State::Failed => Err(failed()),
        }
    }

    fn finish(&mut self, writer: &mut Writer) -> Result<Option<Trailer>, WriteError> {
        match &mut self.0 {
            State::Placing(placer) => placer.finish(writer),
            State::Parking(parker) => parker.finish(writer),
            State::Planned(_) | State::Failed => Err(failed()),
        }
        .map(|()| None)
    }
}

fn failed() -> WriteError {
    WriteError::Stopped("the image could not be begun".to_owned())
}

impl Target for Writer {
    fn declare(&mut self, size: u64) -> Result<(), WriteError> {
        Writer::declare(self, size)
    }

    fn clear(&mut self, if_need_be: bool) -> Result<bool, WriteError> {
        Writer::clear(self, if_need_be)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), WriteError> {
        Writer::write_at(self, offset, bytes)
    }

    fn place(
        &mut self,
        offset: u64,
        block: &Arc<Block>,
        range: Range<usize>,
    ) -> Result<(), WriteError> {
        Writer::place(self, offset, block, range)
    }

    fn zero(&mut self, offset: u64, length: u64) -> Result<(), WriteError> {
        Writer::zero(self, offset, length)
    }

    fn stage(&mut self, bytes: &[u8]) -> Result<Option<u64>, WriteError> {
        Writer::stage(self, bytes)
    }

    fn staged(&mut self, at: u64, length: usize) -> Result<Vec<u8>, WriteError> {
        Writer::staged(self, at, length)
    }
}

#[cfg(test)]
mod tests;
