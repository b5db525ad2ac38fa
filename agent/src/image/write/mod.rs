//! Writing what is not verified yet, so that it cannot boot.
//!
//! ```text
//! begin ──▶ both ends of the disk are zeros ──▶ append …   ──▶ finish(Verified) ──▶ Withheld ──▶ release
//!                                               write_at …
//!                                                    │
//!                                                    └ dropped: nothing more is written
//! ```
//!
//! The first megabyte (boot sector, partition table) and the image's last one (where it
//! keeps its backup table) stay in memory until there is a [`Verified`]. So a power cut, an
//! error or a cancelled command leaves a disk without a partition table. The idea to hold
//! back the first megabyte is coreos-installer's.
//!
//! Images come in one of two ways: in order and of unknown length ([`ImageWriter::append`],
//! [`ImageWriter::append_bytes`]), or in any order and of a length that is declared first
//! ([`ImageWriter::declare`], then [`ImageWriter::clear`], [`ImageWriter::write_at`], [`ImageWriter::write_block`],
//! [`ImageWriter::zero`]).

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use thiserror::Error;

use super::block::{BLOCK, Block};
use super::checksum::Verified;
use super::progress::Written;
use crate::disk::erase::metadata::zero_ends;
use crate::system::disk::{AlignedBuffer, Disk, DiskError, Geometry};

mod data_ref;
mod partition_view;
mod staging;
mod withheld;
mod write_behind;
mod writer_pair;

pub(super) use partition_view::DiskExtent;
pub(super) use withheld::Withheld;

use data_ref::DataRef;
use write_behind::WriteBehind;

/// Blocks held back at the end of an image of unknown length; two hold a megabyte whatever
/// the length of the last is.
const TAIL: usize = 2;
/// Runs of zeros are joined up to this length, so that the disk begins early.
const MAX_RUN_BYTES: u64 = 64 << 20;
/// From this length on, bytes are not gathered before they are written.
const LONG: usize = 256 << 10;

/// Small enough to stay in the fastest cache while a block is compared with it.
static ZEROS: [u8; 4096] = [0; 4096];

/// Why a disk did not take an image.
#[derive(Debug, Error)]
pub enum WriteError {
    /// It failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It is too small.
    #[error(
        "the image has {needed} bytes and the disk only {available}: choose a larger disk with root device hints, or a smaller image"
    )]
    TooLarge {
        /// How much the image needs at least.
        needed: String,
        /// Bytes of the disk.
        available: u64,
    },
    /// More bytes came than the image has.
    #[error("bytes up to {end} were to be written of an image of {size}")]
    Outside {
        /// Where the bytes end.
        end: u64,
        /// Bytes of the image.
        size: u64,
    },
    /// A thread could not be started.
    #[error("{0}")]
    Thread(#[source] io::Error),
    /// A thread ended, and not because of the disk.
    #[error("{0}")]
    Stopped(&'static str),
}

/// Refuses an image that cannot fit.
pub(super) fn check_size(length: Option<u64>, available: u64) -> Result<(), WriteError> {
    match length {
        Some(length) if length > available => Err(WriteError::TooLarge {
            needed: length.to_string(),
            available,
        }),
        _ => Ok(()),
    }
}

/// Writes an image to a disk. All offsets are those of the image.
#[derive(Debug)]
pub(super) struct ImageWriter {
    disk: WriteBehind,
    geometry: Geometry,
    /// The beginning of the disk.
    first: AlignedBuffer,
    /// The end of a declared image and where it starts; empty for others.
    last: (u64, AlignedBuffer),
    /// The end of an image of unknown length, not written yet, with offsets.
    tail: VecDeque<(u64, DataRef)>,
    /// Bytes that are gathered to a block: where they go, memory, how many.
    gathered: Option<(u64, AlignedBuffer, usize)>,
    /// Where the next bytes of an image of unknown length go; the end of a declared one.
    end: u64,
    is_declared: bool,
    /// What is not written reads as zeros already.
    is_zeroed: bool,
    /// Zeros to be made: start and end.
    zeros: (u64, u64),
    /// The part behind a declared image that holds what has no place yet.
    staged: Range<u64>,
}

impl ImageWriter {
    /// Makes the extent of the disk unbootable: from here on its old contents are lost.
    /// What reaches the disk from now on is added to `written`.
    pub(super) fn begin(
        disk: Box<dyn Disk>,
        extent: DiskExtent,
        written: Written,
    ) -> Result<Self, WriteError> {
        let mut disk = extent.of(disk);
        zero_ends(disk.as_mut())?;
        // The nodes of the old partitions go. It may fail only where the old table is
        // harmless: nothing is mounted, or the disk would not be open.
        if let Err(error) = disk.reread_table() {
            tracing::warn!(%error, "the old partitions are still known");
        }
        let geometry = disk.geometry();
        // A disk smaller than a block fits into memory.
        let length = usize::try_from(geometry.size).unwrap_or(BLOCK).min(BLOCK);
        Ok(Self {
            disk: WriteBehind::new(disk, written)?,
            geometry,
            first: AlignedBuffer::new(length),
            last: (u64::MAX, AlignedBuffer::new(0)),
            tail: VecDeque::new(),
            gathered: None,
            end: 0,
            is_declared: false,
            is_zeroed: false,
            zeros: (0, 0),
            staged: 0..0,
        })
    }

    /// Bytes that the image may have.
    pub(super) fn available(&self) -> u64 {
        self.geometry.size
    }

    /// Adds a block at the end.
    pub(super) fn append(&mut self, block: Arc<Block>) -> Result<(), WriteError> {
        if self.gathered.is_some() {
            return self.append_bytes(&block);
        }
        let length = block.len();
        self.extend(DataRef::Shared(block, 0..length))
    }

    /// Adds bytes at the end.
    pub(super) fn append_bytes(&mut self, mut bytes: &[u8]) -> Result<(), WriteError> {
        while !bytes.is_empty() {
            let room = self.room()?;
            let count = bytes.len().min(room.len());
            room[..count].copy_from_slice(&bytes[..count]);
            self.fill(count)?;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Memory for the next bytes at the end, never none; [`ImageWriter::fill`] adds them.
    pub(super) fn room(&mut self) -> Result<&mut [u8], WriteError> {
        let gathered = match self.gathered.take() {
            Some(gathered) => gathered,
            None => (self.end, self.disk.buffer()?, 0),
        };
        let (_, buffer, length) = self.gathered.insert(gathered);
        Ok(&mut buffer[*length..])
    }

    /// Adds as many bytes at the end as were put into [`ImageWriter::room`].
    pub(super) fn fill(&mut self, count: usize) -> Result<(), WriteError> {
        let Some((_, buffer, length)) = &mut self.gathered else {
            return Ok(());
        };
        *length = (*length + count).min(buffer.len());
        if *length == buffer.len() {
            self.put_gathered()?;
        }
        Ok(())
    }

    /// Takes the length of an image that comes in any order. Its range holds what was there
    /// before, and the gaps of the image must be filled with [`ImageWriter::zero`], or all of it
    /// with [`ImageWriter::clear`].
    pub(super) fn declare(&mut self, virtual_size: u64) -> Result<(), WriteError> {
        check_size(Some(virtual_size), self.available())?;
        self.is_declared = true;
        self.end = virtual_size;
        let first = self.first.len() as u64;
        let start = virtual_size.saturating_sub(BLOCK as u64).max(first);
        // At most a block, so it fits into memory.
        let length = usize::try_from(virtual_size.saturating_sub(start)).unwrap_or(BLOCK);
        self.last = (start, AlignedBuffer::new(length));
        Ok(())
    }

    /// Lets the device make the whole range of a declared image zeros, before anything is
    /// written to it. If the device cannot, they are written to it `if_need_be`. Answers
    /// whether all are zeros now.
    pub(super) fn clear(&mut self, if_need_be: bool) -> Result<bool, WriteError> {
        let first = self.first.len() as u64;
        let length = self.last.0.saturating_sub(first);
        self.is_zeroed = self.disk.punch(first, length)?;
        if !self.is_zeroed && if_need_be {
            self.disk.clear(first, length)?;
            self.is_zeroed = true;
        }
        Ok(self.is_zeroed)
    }

    /// Puts bytes at a place of a declared image. No place is written twice.
    pub(super) fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), WriteError> {
        let middle = self.withhold(offset, bytes)?;
        self.gather(offset + middle.start as u64, &bytes[middle])
    }

    /// The same for part of a block of the download, without copying it where that pays.
    pub(super) fn write_block(
        &mut self,
        offset: u64,
        block: &Arc<Block>,
        range: Range<usize>,
    ) -> Result<(), WriteError> {
        let middle = self.withhold(offset, &block[range.clone()])?;
        let offset = offset + middle.start as u64;
        let range = range.start + middle.start..range.start + middle.end;
        let bytes = &block[range.clone()];
        let sector = u64::from(self.geometry.sector_size);
        let is_direct = AlignedBuffer::is_aligned(bytes) && offset.is_multiple_of(sector);
        if bytes.len() < LONG || !is_direct {
            return self.gather(offset, bytes);
        }
        self.put_gathered()?;
        self.put(offset, DataRef::Shared(Arc::clone(block), range))
    }

    /// Makes a range of a declared image zeros.
    pub(super) fn zero(&mut self, offset: u64, length: u64) -> Result<(), WriteError> {
        self.check(offset, length)?;
        let (end, start) = (offset + length, self.last.0);
        for (memory, at) in [(&mut self.first, 0), (&mut self.last.1, start)] {
            let within = |offset: u64| {
                let offset = usize::try_from(offset.saturating_sub(at)).unwrap_or(usize::MAX);
                offset.min(memory.len())
            };
            let range = within(offset)..within(end);
            memory[range].fill(0);
        }
        let (offset, end) = (offset.max(self.first.len() as u64), end.min(start));
        if offset < end {
            self.put_gathered()?;
            self.put_zeros(offset, end)?;
        }
        Ok(())
    }

    /// Writes what was held back at the end. The beginning follows with [`Withheld::release`].
    pub(super) fn finish(mut self, _: Verified) -> Result<Withheld, WriteError> {
        self.put_gathered()?;
        while let Some((offset, data)) = self.tail.pop_front() {
            self.put_outside_of_first(offset, data)?;
        }
        self.make_zeros()?;
        self.forget_staged()?;
        let mut withheld = Withheld {
            disk: self.disk.end()?,
            first: self.first,
        };
        let (start, last) = self.last;
        if !last.is_empty() {
            withheld.write_at(start, &last)?;
        }
        // The rest of the last sector is not the image's, but nobody's else either.
        let Geometry { size, sector_size } = self.geometry;
        let sector_end = self.end.next_multiple_of(u64::from(sector_size)).min(size);
        withheld.zero(self.end, sector_end - self.end)?;
        Ok(withheld)
    }

    /// Adds what a decoder or the download has in memory at the end.
    fn extend(&mut self, data: DataRef) -> Result<(), WriteError> {
        let offset = self.end;
        self.end += data.len() as u64;
        let available = self.available();
        if self.end > available {
            return Err(WriteError::TooLarge {
                needed: format!("more than {available}"),
                available,
            });
        }
        self.tail.push_back((offset, data));
        if self.tail.len() > TAIL
            && let Some((offset, data)) = self.tail.pop_front()
        {
            self.put_outside_of_first(offset, data)?;
        }
        Ok(())
    }

    fn put_outside_of_first(&mut self, offset: u64, data: DataRef) -> Result<(), WriteError> {
        let middle = self.withhold(offset, &data)?;
        if middle.is_empty() {
            self.disk.recycle(data);
            return Ok(());
        }
        let offset = offset + middle.start as u64;
        self.put(offset, data.part(middle))
    }

    /// Refuses what is not inside the image.
    fn check(&self, offset: u64, length: u64) -> Result<(), WriteError> {
        let end = offset.saturating_add(length);
        if end > self.end {
            return Err(WriteError::Outside {
                end,
                size: self.end,
            });
        }
        Ok(())
    }

    /// Keeps what belongs to the ends in memory. Answers which of the bytes do not.
    fn withhold(&mut self, offset: u64, bytes: &[u8]) -> Result<Range<usize>, WriteError> {
        self.check(offset, bytes.len() as u64)?;
        // Distances within the memory fit into memory.
        let within = |distance: u64| usize::try_from(distance).unwrap_or(usize::MAX);
        let first = self.first.len().saturating_sub(within(offset));
        let first = first.min(bytes.len());
        if first > 0 {
            let at = within(offset);
            self.first[at..at + first].copy_from_slice(&bytes[..first]);
        }
        let (start, last) = &mut self.last;
        let until = within(start.saturating_sub(offset)).clamp(first, bytes.len());
        let rest = &bytes[until..];
        if !rest.is_empty() {
            let at = within(offset + until as u64 - *start);
            last[at..at + rest.len()].copy_from_slice(rest);
        }
        Ok(first..until)
    }

    /// Collects bytes until they are worth a write.
    fn gather(&mut self, mut offset: u64, mut bytes: &[u8]) -> Result<(), WriteError> {
        while !bytes.is_empty() {
            let follows =
                |(at, _, length): &(u64, AlignedBuffer, usize)| *at + *length as u64 == offset;
            if !self.gathered.as_ref().is_some_and(follows) {
                self.put_gathered()?;
                self.gathered = Some((offset, self.disk.buffer()?, 0));
            }
            let Some((at, buffer, length)) = &mut self.gathered else {
                continue;
            };
            // Blocks end at multiples of their length, so that the next begins at one.
            let skipped = usize::try_from(*at % BLOCK as u64).unwrap_or(0);
            let count = bytes.len().min(BLOCK - skipped - *length);
            buffer[*length..*length + count].copy_from_slice(&bytes[..count]);
            *length += count;
            let is_full = skipped + *length == BLOCK;
            bytes = &bytes[count..];
            offset += count as u64;
            if is_full {
                self.put_gathered()?;
            }
        }
        Ok(())
    }

    fn put_gathered(&mut self) -> Result<(), WriteError> {
        let Some((offset, buffer, length)) = self.gathered.take() else {
            return Ok(());
        };
        let data = DataRef::Owned(buffer, 0..length);
        if self.is_declared {
            self.put(offset, data)
        } else {
            self.extend(data)
        }
    }

    /// Sends bytes to the disk; zeros are made there.
    fn put(&mut self, offset: u64, data: DataRef) -> Result<(), WriteError> {
        if is_zeros(&data) {
            let end = offset + data.len() as u64;
            self.disk.recycle(data);
            if self.is_zeroed {
                return Ok(());
            }
            return self.put_zeros(offset, end);
        }
        self.make_zeros()?;
        self.disk.write(offset, data)
    }

    fn put_zeros(&mut self, offset: u64, end: u64) -> Result<(), WriteError> {
        if self.zeros.1 != offset {
            self.make_zeros()?;
            self.zeros.0 = offset;
        }
        self.zeros.1 = end;
        if end - self.zeros.0 >= MAX_RUN_BYTES {
            self.make_zeros()?;
        }
        Ok(())
    }

    /// The disk says whether it made the zeros; if it cannot, they are written.
    fn make_zeros(&mut self) -> Result<(), WriteError> {
        let (start, end) = std::mem::take(&mut self.zeros);
        if start < end {
            self.disk.zero(start, end - start)?;
        }
        Ok(())
    }
}

fn is_zeros(bytes: &[u8]) -> bool {
    bytes
        .chunks(ZEROS.len())
        .all(|piece| *piece == ZEROS[..piece.len()])
}

#[cfg(test)]
mod tests;
