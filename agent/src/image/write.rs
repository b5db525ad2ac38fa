//! Writing what is not verified yet, so that it cannot boot.
//!
//! ```text
//! begin ──▶ both ends of the disk are zeros ──▶ append … append ──▶ finish(Verified) ──▶ Held ──▶ release
//!                                                     │
//!                                                     └ dropped: nothing more is written
//! ```
//!
//! The first megabyte (boot sector, partition table) and the last two blocks so far (where
//! an image that fills the disk keeps its backup table) stay in memory until there is a
//! [`Verified`]. So a power cut, an error or a cancelled command leaves a disk without a
//! partition table. The idea to hold back the first megabyte is coreos-installer's.

use std::collections::VecDeque;
use std::sync::Arc;

use thiserror::Error;

use super::block::{BLOCK, Block};
use super::checksum::Verified;
use crate::disk::metadata::zero_ends;
use crate::failure::{Failure, FailureKind};
use crate::system::disk::{AlignedBuffer, Disk, DiskError, Geometry};

/// Blocks held back at the end; two hold a megabyte whatever the length of the last is.
const TAIL: usize = 2;
/// Zeros are made in runs of at most this, so that a dropped writer stops soon.
const LONGEST_RUN: u64 = 64 << 20;

static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Why an image is not on the disk.
#[derive(Debug, Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(
        "the image has {needed} bytes and the disk only {available}: choose a larger disk with root device hints, or a smaller image"
    )]
    TooLarge {
        /// How much the image needs at least.
        needed: String,
        available: u64,
    },
}

impl WriteError {
    /// The failure of a command that was writing to `device`.
    pub(super) fn failure(&self, device: &str) -> Failure {
        Failure::new(
            FailureKind::ImageWrite,
            format!("Writing image to device {device} failed: {self}"),
        )
    }
}

/// Refuses an image that cannot fit.
pub(super) fn check_size(length: Option<u64>, geometry: Geometry) -> Result<(), WriteError> {
    match length {
        Some(length) if length > geometry.size => Err(WriteError::TooLarge {
            needed: length.to_string(),
            available: geometry.size,
        }),
        _ => Ok(()),
    }
}

/// Writes a disk from its beginning to the image's end.
#[derive(Debug)]
pub(super) struct Writer {
    held: Held,
    /// Where the next block goes.
    end: u64,
    /// The last blocks, not written yet, with their offsets.
    tail: VecDeque<(u64, Arc<Block>)>,
    /// Zeros to be made: start and end.
    zeros: (u64, u64),
}

impl Writer {
    /// Makes the disk unbootable: from here on its old contents are lost.
    pub(super) fn begin(mut disk: Box<dyn Disk>) -> Result<Self, WriteError> {
        zero_ends(disk.as_mut())?;
        // The nodes of the old partitions go. It may fail only where the old table is
        // harmless: nothing is mounted, or the disk would not be open.
        if let Err(error) = disk.reread_table() {
            tracing::warn!(%error, "the old partitions are still known");
        }
        // A disk smaller than a block fits into memory.
        let held = usize::try_from(disk.geometry().size)
            .unwrap_or(BLOCK)
            .min(BLOCK);
        let first = AlignedBuffer::new(held);
        Ok(Self {
            held: Held { disk, first },
            end: 0,
            tail: VecDeque::new(),
            zeros: (0, 0),
        })
    }

    /// Adds a block at the end.
    pub(super) fn append(&mut self, block: Arc<Block>) -> Result<(), WriteError> {
        let offset = self.end;
        self.end += block.len() as u64;
        let available = self.held.geometry().size;
        if self.end > available {
            return Err(WriteError::TooLarge {
                needed: format!("more than {available}"),
                available,
            });
        }
        self.tail.push_back((offset, block));
        if self.tail.len() > TAIL
            && let Some((offset, block)) = self.tail.pop_front()
        {
            self.put(offset, &block)?;
        }
        Ok(())
    }

    /// Writes what was held back at the end. The beginning follows with [`Held::release`].
    pub(super) fn finish(mut self, _: Verified) -> Result<Held, WriteError> {
        while let Some((offset, block)) = self.tail.pop_front() {
            self.put(offset, &block)?;
        }
        self.make_zeros()?;
        // The rest of the last sector is not the image's, but nobody's else either.
        let Geometry { size, sector_size } = self.held.geometry();
        let sector_end = self.end.next_multiple_of(u64::from(sector_size)).min(size);
        self.held.zero(self.end, sector_end - self.end)?;
        Ok(self.held)
    }

    fn put(&mut self, offset: u64, block: &Block) -> Result<(), WriteError> {
        let end = offset + block.len() as u64;
        if **block == ZEROS[..block.len()] {
            if self.zeros.1 != offset {
                self.make_zeros()?;
                self.zeros.0 = offset;
            }
            self.zeros.1 = end;
            if self.zeros.1 - self.zeros.0 >= LONGEST_RUN {
                self.make_zeros()?;
            }
        } else {
            self.make_zeros()?;
            self.held.write_at(offset, block)?;
        }
        Ok(())
    }

    /// The disk says whether it made the zeros; if it cannot, they are written.
    fn make_zeros(&mut self) -> Result<(), WriteError> {
        let (start, end) = std::mem::take(&mut self.zeros);
        if start < end {
            self.held.zero(start, end - start)?;
        }
        Ok(())
    }
}

/// A disk whose beginning is still in memory. Reading sees it, writing changes it, and only
/// [`Held::release`] puts it on the medium, after everything else.
#[derive(Debug)]
pub(super) struct Held {
    disk: Box<dyn Disk>,
    first: AlignedBuffer,
}

impl Held {
    /// Lets the disk boot: everything else is on the medium before the beginning is written.
    pub(super) fn release(mut self) -> Result<(), WriteError> {
        self.disk.sync()?;
        self.disk.write_at(0, &self.first)?;
        self.disk.sync()?;
        // What is on the disk is right, whether the kernel sees it or not.
        if let Err(error) = self.disk.reread_table() {
            tracing::warn!(%error, "the new partitions are not known yet");
        }
        Ok(())
    }

    /// How many of `length` bytes from `offset` are in memory, and where they start there.
    fn split(&self, offset: u64, length: usize) -> (usize, usize) {
        // Offsets within the memory fit into memory.
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        (start, length.min(self.first.len().saturating_sub(start)))
    }
}

impl Disk for Held {
    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        let (start, count) = self.split(offset, buffer.len());
        let (known, rest) = buffer.split_at_mut(count);
        if count > 0 {
            known.copy_from_slice(&self.first[start..start + count]);
        }
        if rest.is_empty() {
            return Ok(());
        }
        self.disk.read_at(offset + count as u64, rest)
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        let (start, count) = self.split(offset, data.len());
        let (known, rest) = data.split_at(count);
        if count > 0 {
            self.first[start..start + count].copy_from_slice(known);
        }
        if rest.is_empty() {
            return Ok(());
        }
        self.disk.write_at(offset + count as u64, rest)
    }

    fn zero(&mut self, offset: u64, length: u64) -> Result<(), DiskError> {
        let in_memory = usize::try_from(length).unwrap_or(usize::MAX);
        let (start, count) = self.split(offset, in_memory);
        if count > 0 {
            self.first[start..start + count].fill(0);
        }
        let count = count as u64;
        if length == count {
            return Ok(());
        }
        self.disk.zero(offset + count, length - count)
    }

    fn sync(&mut self) -> Result<(), DiskError> {
        self.disk.sync()
    }

    fn reread_table(&mut self) -> Result<(), DiskError> {
        self.disk.reread_table()
    }
}
