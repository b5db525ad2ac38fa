//! Writing what is not verified yet, so that it cannot boot.
//!
//! ```text
//! begin ──▶ both ends of the disk are zeros ──▶ append …   ──▶ finish(Verified) ──▶ Held ──▶ release
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
//! Images come in one of two ways: in order and of unknown length ([`Writer::append`],
//! [`Writer::append_bytes`]), or in any order and of a length that is declared first
//! ([`Writer::declare`], then [`Writer::clear`], [`Writer::write_at`], [`Writer::place`],
//! [`Writer::zero`]).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use thiserror::Error;

use super::block::{BLOCK, Block};
use super::checksum::Verified;
use super::progress::Written;
use crate::disk::erase::metadata::zero_ends;
use crate::failure::{Failure, FailureKind};
use crate::system::disk::{AlignedBuffer, Disk, DiskError, Geometry};

mod partition_view;
mod staging;
mod withheld;
mod write_behind;
mod writer_pair;

pub(super) use partition_view::Extent;
pub(super) use withheld::Held;

use write_behind::{Behind, Data};

/// Blocks held back at the end of an image of unknown length; two hold a megabyte whatever
/// the length of the last is.
const TAIL: usize = 2;
/// Runs of zeros are joined up to this length, so that the disk begins early.
const LONGEST_RUN: u64 = 64 << 20;
/// From this length on, bytes are not gathered before they are written.
const LONG: usize = 256 << 10;

/// Small enough to stay in the fastest cache while a block is compared with it.
static ZEROS: [u8; 4096] = [0; 4096];

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
    #[error("bytes up to {end} were to be written of an image of {size}")]
    Outside { end: u64, size: u64 },
    /// The file is not what its format says.
    #[error("{what} (byte {offset} of the {format} image)")]
    Malformed {
        /// The format's name.
        format: &'static str,
        what: String,
        /// Where in the file.
        offset: u64,
    },
    /// A thread ended, and not because of the disk.
    #[error("{0}")]
    Stopped(String),
}

impl WriteError {
    /// The failure of a command that was writing to `device`.
    pub(super) fn failure(&self, device: &str) -> Failure {
        match self {
            Self::Malformed { .. } => Failure::new(
                FailureKind::InvalidImage,
                format!("The image cannot be written to {device}: {self}"),
            ),
            _ => Failure::new(
                FailureKind::ImageWrite,
                format!("Writing image to device {device} failed: {self}"),
            ),
        }
    }
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
pub(super) struct Writer {
    disk: Behind,
    geometry: Geometry,
    /// The beginning of the disk.
    first: AlignedBuffer,
    /// The end of a declared image and where it starts; empty for others.
    last: (u64, AlignedBuffer),
    /// The end of an image of unknown length, not written yet, with offsets.
    tail: VecDeque<(u64, Data)>,
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

impl Writer {
    /// Makes the extent of the disk unbootable: from here on its old contents are lost.
    /// What reaches the disk from now on is added to `written`.
    pub(super) fn begin(
        disk: Box<dyn Disk>,
        extent: Extent,
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
        let held = usize::try_from(geometry.size).unwrap_or(BLOCK).min(BLOCK);
        Ok(Self {
            disk: Behind::new(disk, written)?,
            geometry,
            first: AlignedBuffer::new(held),
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
        self.extend(Data::Shared(block, 0..length))
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

    /// Memory for the next bytes at the end, never none; [`Writer::fill`] adds them.
    pub(super) fn room(&mut self) -> Result<&mut [u8], WriteError> {
        let gathered = match self.gathered.take() {
            Some(gathered) => gathered,
            None => (self.end, self.disk.buffer()?, 0),
        };
        let (_, buffer, length) = self.gathered.insert(gathered);
        Ok(&mut buffer[*length..])
    }

    /// Adds as many bytes at the end as were put into [`Writer::room`].
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
    /// before, and the gaps of the image must be filled with [`Writer::zero`], or all of it
    /// with [`Writer::clear`].
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
    pub(super) fn place(
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
        self.put(offset, Data::Shared(Arc::clone(block), range))
    }

    /// Makes a range of a declared image zeros.
    pub(super) fn zero(&mut self, offset: u64, length: u64) -> Result<(), WriteError> {
        self.check(offset, length)?;
        let (end, start) = (offset + length, self.last.0);
        for (memory, at) in [(&mut self.first, 0), (&mut self.last.1, start)] {
            let within = |place: u64| {
                let place = usize::try_from(place.saturating_sub(at)).unwrap_or(usize::MAX);
                place.min(memory.len())
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

    /// Writes what was held back at the end. The beginning follows with [`Held::release`].
    pub(super) fn finish(mut self, _: Verified) -> Result<Held, WriteError> {
        self.put_gathered()?;
        while let Some((offset, data)) = self.tail.pop_front() {
            self.put_outside_of_first(offset, data)?;
        }
        self.make_zeros()?;
        self.forget_staged()?;
        let mut held = Held {
            disk: self.disk.end()?,
            first: self.first,
        };
        let (start, last) = self.last;
        if !last.is_empty() {
            held.write_at(start, &last)?;
        }
        // The rest of the last sector is not the image's, but nobody's else either.
        let Geometry { size, sector_size } = self.geometry;
        let sector_end = self.end.next_multiple_of(u64::from(sector_size)).min(size);
        held.zero(self.end, sector_end - self.end)?;
        Ok(held)
    }

    /// Adds what a decoder or the download has in memory at the end.
    fn extend(&mut self, data: Data) -> Result<(), WriteError> {
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

    fn put_outside_of_first(&mut self, offset: u64, data: Data) -> Result<(), WriteError> {
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
        let data = Data::Owned(buffer, 0..length);
        if self.is_declared {
            self.put(offset, data)
        } else {
            self.extend(data)
        }
    }

    /// Sends bytes to the disk; zeros are made there.
    fn put(&mut self, offset: u64, data: Data) -> Result<(), WriteError> {
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
        if end - self.zeros.0 >= LONGEST_RUN {
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
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::checksum::verified;
    use super::*;
    use crate::system::Disks;
    use crate::system::disk::LinuxDisks;
    use crate::system::disk::testing::{CacheLoss, PowerCut};

    const MIB: usize = 1 << 20;

    fn disk(size: usize) -> (tempfile::NamedTempFile, Box<dyn Disk>) {
        disk_with(&vec![0xAA; size])
    }

    fn disk_with(content: &[u8]) -> (tempfile::NamedTempFile, Box<dyn Disk>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let disk = LinuxDisks.open(file.path()).unwrap();
        (file, disk)
    }

    fn blocks(image: &[u8]) -> Vec<Arc<Block>> {
        image.chunks(MIB).map(Block::of).collect()
    }

    fn begin(disk: Box<dyn Disk>) -> Result<Writer, WriteError> {
        let extent = Extent::whole(disk.as_ref());
        Writer::begin(disk, extent, Written::default())
    }

    fn write(disk: Box<dyn Disk>, blocks: &[Arc<Block>]) -> Result<(), WriteError> {
        let mut writer = begin(disk)?;
        for block in blocks {
            writer.append(Arc::clone(block))?;
        }
        writer.finish(verified())?.release()
    }

    /// How an image gets to the writer.
    #[derive(Debug, Clone, Copy)]
    enum Way {
        Blocks,
        Bytes,
        /// Pieces of this length in an order of this seed.
        Scattered(usize, u64),
        /// Everything waits behind the image before it gets to its place.
        Staged,
    }

    fn send(writer: &mut Writer, way: Way, image: &[u8]) -> Result<(), WriteError> {
        match way {
            Way::Blocks => blocks(image)
                .into_iter()
                .try_for_each(|block| writer.append(block)),
            Way::Bytes => image
                .chunks(77_777)
                .try_for_each(|bytes| writer.append_bytes(bytes)),
            Way::Scattered(length, seed) => {
                writer.declare(image.len() as u64)?;
                let is_zeroed = seed % 2 == 1 && writer.clear(seed % 4 == 1)?;
                let mut pieces: Vec<_> = image.chunks(length).enumerate().collect();
                pieces.sort_by_key(|(index, _)| {
                    (*index as u64 + 1).wrapping_mul(seed.wrapping_mul(2) | 1) % 1009
                });
                for (index, bytes) in pieces {
                    let offset = (index * length) as u64;
                    if bytes.iter().any(|byte| *byte != 0) {
                        if index % 2 == 0 {
                            writer.write_at(offset, bytes)?;
                        } else {
                            for (block, start) in blocks(bytes).iter().zip((0..).step_by(MIB)) {
                                writer.place(offset + start, block, 0..block.len())?;
                            }
                        }
                    } else if !is_zeroed {
                        writer.zero(offset, bytes.len() as u64)?;
                    }
                }
                Ok(())
            }
            Way::Staged => {
                writer.declare(image.len() as u64)?;
                let mut waiting = Vec::new();
                for (bytes, offset) in image.chunks(MIB).zip((0..).step_by(MIB)) {
                    let Some(at) = writer.stage(bytes)? else {
                        panic!("no room behind the image");
                    };
                    waiting.push((offset, at, bytes.len()));
                }
                for (offset, at, length) in waiting {
                    let bytes = writer.staged(at, length)?;
                    writer.write_at(offset, &bytes)?;
                }
                Ok(())
            }
        }
    }

    /// An image whose first bytes and last sector tell that it is there.
    fn image(length: usize) -> Vec<u8> {
        let mut image = vec![0x11; length];
        image[3 * MIB..5 * MIB].fill(0);
        image[510..512].copy_from_slice(&[0x55, 0xaa]);
        image[length - 512..length - 504].copy_from_slice(b"EFI PART");
        image
    }

    fn has_table(path: &Path) -> bool {
        let bytes = std::fs::read(path).unwrap();
        bytes[510..512] == [0x55, 0xaa] || bytes[bytes.len() - 512..].starts_with(b"EFI PART")
    }

    #[test]
    fn zeros_and_data_arrive_where_they_belong() {
        let (file, disk) = disk(9 * MIB);
        let image = image(8 * MIB + 100);
        write(disk, &blocks(&image)).unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        assert!(bytes[..image.len()] == image);
        assert!(
            bytes[image.len()..8 * MIB + 512]
                .iter()
                .all(|byte| *byte == 0)
        );
    }

    /// Writes with a power cut after every number of changes until it succeeds.
    fn cut_power_at_every_moment(
        way: Way,
        punches: bool,
        loss: CacheLoss,
        image: &[u8],
        size: usize,
    ) {
        let mut was_cut = 0;
        // What the disk was before: it boots.
        let before = [0x55, 0xaa].repeat(size / 2);
        for changes in 0.. {
            let (file, disk) = disk_with(&before);
            let disk = PowerCut::after(changes, punches).losing(loss).feed(disk);
            let written = begin(disk).and_then(|mut writer| {
                send(&mut writer, way, image)?;
                writer.finish(verified())?.release()
            });
            let bytes = std::fs::read(file.path()).unwrap();
            let is_whole = bytes[..image.len()] == *image;
            match written {
                Ok(()) => {
                    assert!(is_whole, "{way:?}");
                    assert!(!bytes[image.len()..].contains(&0x11), "{way:?}");
                    break;
                }
                // The old contents are still whole, but for the backup of their table.
                Err(_) if bytes[..size - MIB] == before[..size - MIB] => {}
                Err(_) => {
                    was_cut += 1;
                    // Everything but the beginning may be there.
                    assert!(
                        bytes[..MIB].iter().all(|byte| *byte == 0) || is_whole,
                        "{way:?} after {changes} changes, losing {loss:?}"
                    );
                    // Nothing of it waits where a backup table would be.
                    assert!(!bytes[image.len().max(size - MIB)..].contains(&0x11));
                }
            }
        }
        assert!(was_cut > 7, "only {was_cut} moments were tried");
    }

    #[test]
    fn a_power_cut_at_any_moment_leaves_no_table_or_the_whole_image() {
        let image = image(8 * MIB);
        for (way, size) in [
            (Way::Blocks, 8 * MIB),
            (Way::Bytes, 8 * MIB),
            (Way::Scattered(MIB, 7), 8 * MIB),
            (Way::Scattered(300_032, 3), 8 * MIB),
            (Way::Scattered(300_032, 4), 8 * MIB),
            (Way::Staged, 17 * MIB),
        ] {
            for punches in [true, false] {
                for loss in CacheLoss::KINDS {
                    cut_power_at_every_moment(way, punches, loss, &image, size);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn a_dropped_writer_leaves_no_table(length in 5 * MIB..8 * MIB, dropped_after in 0_usize..8) {
            let size = 8 * MIB;
            // An image that fills the disk has its backup table in the disk's last sectors.
            let length = if dropped_after.is_multiple_of(2) { size } else { length };
            let (file, disk) = disk(size);
            let mut writer = begin(disk).unwrap();
            for block in blocks(&image(length)).into_iter().take(dropped_after) {
                writer.append(block).unwrap();
            }
            drop(writer);
            prop_assert!(!has_table(file.path()));
            let bytes = std::fs::read(file.path()).unwrap();
            prop_assert!(bytes[..MIB].iter().all(|byte| *byte == 0));
            prop_assert!(bytes[size - MIB..].iter().all(|byte| *byte == 0));
        }

        #[test]
        fn any_order_gives_the_image_and_nothing_shows_before_it_is_verified(
            sectors in 1..16_000_usize,
            piece in 1..6000_usize,
            seed in 0..1009_u64,
            punches in proptest::bool::ANY,
        ) {
            let size = 8 * MIB;
            let image = {
                let mut image = vec![0x11; sectors * 512];
                image[510..512].copy_from_slice(&[0x55, 0xaa]);
                let end = image.len();
                image[end / 2..end / 2 + end / 8].fill(0);
                image[end - 8..].copy_from_slice(b"EFI PART");
                image
            };
            let (file, disk) = disk(size);
            let disk = PowerCut::after(usize::MAX, punches).feed(disk);
            let mut writer = begin(disk).unwrap();
            send(&mut writer, Way::Scattered(piece * 512, seed), &image).unwrap();
            let unverified = std::fs::read(file.path()).unwrap();
            prop_assert!(unverified[..MIB].iter().all(|byte| *byte == 0));
            prop_assert!(image.len() <= MIB || !unverified[image.len() - 512..image.len()].ends_with(b"EFI PART"));
            writer.finish(verified()).unwrap().release().unwrap();
            let bytes = std::fs::read(file.path()).unwrap();
            prop_assert!(bytes[..image.len()] == image);
        }
    }

    #[test]
    fn nothing_is_written_outside_a_declared_image() {
        let (file, disk) = disk(4 * MIB);
        let mut writer = begin(disk).unwrap();
        writer.declare(2 * MIB as u64).unwrap();
        assert!(writer.clear(false).unwrap());
        let block = &blocks(&[1; MIB])[0];
        for offset in [MIB as u64 + 1, 2 * MIB as u64, u64::MAX] {
            for outcome in [
                writer.write_at(offset, block),
                writer.place(offset, block, 0..MIB),
                writer.zero(offset, MIB as u64),
            ] {
                assert!(matches!(outcome, Err(WriteError::Outside { .. })));
            }
        }
        drop(writer);
        let bytes = std::fs::read(file.path()).unwrap();
        assert!(bytes.iter().all(|byte| *byte != 1));
    }

    #[test]
    fn a_part_of_a_disk_is_written_and_nothing_around_it() {
        for way in [Way::Blocks, Way::Scattered(MIB, 5)] {
            let (file, disk) = disk(9 * MIB);
            let extent = Extent {
                start: 2 * MIB as u64,
                length: 6 * MIB as u64,
            };
            let image = image(6 * MIB);
            let mut writer = Writer::begin(disk, extent, Written::default()).unwrap();
            send(&mut writer, way, &image).unwrap();
            let unverified = std::fs::read(file.path()).unwrap();
            assert!(unverified[2 * MIB..3 * MIB].iter().all(|byte| *byte == 0));
            writer.finish(verified()).unwrap().release().unwrap();
            let bytes = std::fs::read(file.path()).unwrap();
            assert!(bytes[2 * MIB..8 * MIB] == image);
            assert!(
                bytes[..2 * MIB]
                    .iter()
                    .chain(&bytes[8 * MIB..])
                    .all(|byte| *byte == 0xAA)
            );
            let (_file, disk) = self::disk(9 * MIB);
            let mut writer = Writer::begin(disk, extent, Written::default()).unwrap();
            let refused = send(&mut writer, way, &vec![1; 6 * MIB + 512]).unwrap_err();
            assert!(
                matches!(refused, WriteError::TooLarge { available, .. } if available == extent.length)
            );
        }
    }

    #[test]
    fn an_image_that_turns_out_too_large_is_refused() {
        let (file, disk) = disk(5 * MIB);
        let failure = write(disk, &blocks(&image(6 * MIB))).unwrap_err();
        assert!(matches!(failure, WriteError::TooLarge { .. }));
        assert!(
            failure.to_string().contains("more than 5242880 bytes"),
            "{failure}"
        );
        assert!(!has_table(file.path()));
    }

    #[test]
    fn what_is_held_reads_and_changes_like_a_disk() {
        let (file, disk) = disk(3 * MIB);
        let mut writer = begin(disk).unwrap();
        writer.append(blocks(&[0x11; MIB]).remove(0)).unwrap();
        let mut held = writer.finish(verified()).unwrap();
        // Across the border of what is in memory.
        let border = MIB as u64 - 4;
        held.write_at(border, &[7; 8]).unwrap();
        held.zero(border + 2, 4).unwrap();
        let mut bytes = [1; 10];
        held.read_at(border - 1, &mut bytes).unwrap();
        assert_eq!(bytes, [0x11, 7, 7, 0, 0, 0, 0, 7, 7, 0xAA]);
        assert!(
            std::fs::read(file.path()).unwrap()[..MIB]
                .iter()
                .all(|byte| *byte == 0)
        );
        held.release().unwrap();
        let disk = std::fs::read(file.path()).unwrap();
        assert_eq!(disk[MIB - 5..MIB + 5], bytes);
    }
}
