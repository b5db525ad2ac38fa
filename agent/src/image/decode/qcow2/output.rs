//! Where the bytes of the disk go: straight from the download, or through the threads that
//! unpack clusters.

use std::ops::Range;
use std::sync::Arc;

use super::compressed::{Chunk, ClusterJob, UnpackWorkers, Unpacked};
use super::header::Header;
use crate::image::block::Block;
use crate::image::decode::DecodeError;
use crate::image::write::WriteError;

/// Zeros are looked for in pieces of this size.
const PIECE: usize = 64 << 10;
static ZEROS: [u8; PIECE] = [0; PIECE];

/// A disk that is written in any order. All of it is given to the image at first.
pub(super) trait ImageTarget {
    /// Announces the disk's size.
    fn declare(&mut self, size: u64) -> Result<(), WriteError>;
    /// Makes all of it zeros, before anything is written, if the device can do that itself;
    /// otherwise only `if_need_be`. Answers whether all are zeros now.
    fn clear(&mut self, if_need_be: bool) -> Result<bool, WriteError>;
    /// Puts bytes at a place. No place is written twice.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), WriteError>;
    /// The same for a part of a block of the download.
    fn write_block(
        &mut self,
        offset: u64,
        block: &Arc<Block>,
        range: Range<usize>,
    ) -> Result<(), WriteError>;
    /// Makes a range zeros, if nothing was written to it yet.
    fn zero(&mut self, offset: u64, length: u64) -> Result<(), WriteError>;
    /// Keeps up to a mebibyte behind the image until the end of the pass. Answers where, or
    /// `None` where there is no room.
    fn stage(&mut self, bytes: &[u8]) -> Result<Option<u64>, WriteError>;
    /// What is kept there from `at` on.
    fn staged(&mut self, at: u64, length: usize) -> Result<Vec<u8>, WriteError>;
    /// Leaves nothing of what is kept, now: the pass ends without the image.
    fn unstage(&mut self) -> Result<(), WriteError>;
}

/// The way to the disk.
pub(super) struct ImageOutput {
    header: Header,
    /// What is not written reads as zeros.
    pub(super) is_zeroed: bool,
    workers: Option<UnpackWorkers>,
}

impl ImageOutput {
    /// Announces the image.
    pub(super) fn begin(
        header: &Header,
        target: &mut impl ImageTarget,
    ) -> Result<Self, WriteError> {
        target.declare(header.virtual_size)?;
        Ok(Self {
            header: header.clone(),
            is_zeroed: false,
            workers: None,
        })
    }

    /// Makes all of the disk zeros, see [`ImageTarget::clear`].
    pub(super) fn clear(
        &mut self,
        if_need_be: bool,
        target: &mut impl ImageTarget,
    ) -> Result<bool, WriteError> {
        self.is_zeroed = target.clear(if_need_be)?;
        Ok(self.is_zeroed)
    }

    /// Plain bytes, from a block of the download.
    pub(super) fn plain(
        &self,
        guest: u64,
        block: &Arc<Block>,
        range: Range<usize>,
        target: &mut impl ImageTarget,
    ) -> Result<(), DecodeError> {
        if !self.is_zeroed {
            return Ok(target.write_block(guest, block, range)?);
        }
        let start = range.start;
        for data in data(&block[range]) {
            let offset = guest + data.start as u64;
            target.write_block(offset, block, start + data.start..start + data.end)?;
        }
        Ok(())
    }

    /// Plain bytes from elsewhere.
    pub(super) fn bytes(
        &self,
        guest: u64,
        bytes: &[u8],
        target: &mut impl ImageTarget,
    ) -> Result<(), DecodeError> {
        // A cluster may be longer than the rest of the disk.
        let rest = self.header.virtual_size.saturating_sub(guest);
        let length = bytes.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
        let bytes = &bytes[..length];
        if !self.is_zeroed {
            return Ok(target.write_at(guest, bytes)?);
        }
        for data in data(bytes) {
            target.write_at(guest + data.start as u64, &bytes[data])?;
        }
        Ok(())
    }

    /// Clusters to unpack. Some that were given before are written meanwhile.
    pub(super) fn compressed(
        &mut self,
        batch: Vec<ClusterJob>,
        target: &mut impl ImageTarget,
    ) -> Result<(), DecodeError> {
        if batch.is_empty() {
            return self.write_unpacked(usize::MAX, target);
        }
        let workers = self
            .workers
            .get_or_insert_with(|| UnpackWorkers::new(&self.header));
        workers.submit(batch);
        let capacity = workers.capacity();
        self.write_unpacked(capacity, target)
    }

    /// Waits for all that is being unpacked.
    pub(super) fn finish(&mut self, target: &mut impl ImageTarget) -> Result<(), DecodeError> {
        self.write_unpacked(0, target)?;
        self.workers = None;
        Ok(())
    }

    fn write_unpacked(
        &mut self,
        in_flight: usize,
        target: &mut impl ImageTarget,
    ) -> Result<(), DecodeError> {
        let Some(mut workers) = self.workers.take() else {
            return Ok(());
        };
        while let Unpacked::Chunk(chunk) = workers.next(in_flight)? {
            let Chunk { guest, length, .. } = chunk;
            self.bytes(guest, &chunk.buffer[..length], target)?;
            workers.recycle(chunk);
        }
        self.workers = Some(workers);
        Ok(())
    }
}

/// The ranges that are not zeros, in whole pieces.
fn data(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut next = 0;
    let is_zero = move |start: usize| {
        let piece = &bytes[start..bytes.len().min(start + PIECE)];
        *piece == ZEROS[..piece.len()]
    };
    std::iter::from_fn(move || {
        while next < bytes.len() && is_zero(next) {
            next += PIECE;
        }
        if next >= bytes.len() {
            return None;
        }
        let start = next;
        while next < bytes.len() && !is_zero(next) {
            next += PIECE;
        }
        Some(start..next.min(bytes.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_pieces_of_zeros_are_left_out() {
        let mut bytes = vec![0; 5 * PIECE + 7];
        let ranges = |bytes: &[u8]| data(bytes).collect::<Vec<_>>();
        assert!(ranges(&bytes).is_empty());
        bytes[PIECE + 5] = 1;
        bytes[5 * PIECE + 6] = 1;
        assert_eq!(ranges(&bytes), [PIECE..2 * PIECE, 5 * PIECE..5 * PIECE + 7]);
        bytes[2 * PIECE] = 1;
        assert_eq!(ranges(&bytes)[0], PIECE..3 * PIECE);
        assert!(ranges(&[]).is_empty());
    }
}
