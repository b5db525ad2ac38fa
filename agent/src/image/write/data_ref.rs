//! Bytes on their way to the disk.

use std::ops::Range;
use std::sync::Arc;

use super::Block;
use crate::system::disk::AlignedBuffer;

/// Bytes on their way to the disk, in the memory in which they came.
#[derive(Debug)]
pub(super) enum DataRef {
    /// A part of a block of the download.
    Shared(Arc<Block>, Range<usize>),
    /// A part of a buffer of [`WriteBehind::buffer`](super::write_behind::WriteBehind::buffer).
    Owned(AlignedBuffer, Range<usize>),
    /// The same, for a place where it does not stay.
    Staged(AlignedBuffer, Range<usize>),
}

impl DataRef {
    /// Only these of the bytes.
    pub(super) fn part(self, part: Range<usize>) -> Self {
        let within = |range: Range<usize>| range.start + part.start..range.start + part.end;
        match self {
            Self::Shared(block, range) => Self::Shared(block, within(range)),
            Self::Owned(buffer, range) => Self::Owned(buffer, within(range)),
            Self::Staged(buffer, range) => Self::Staged(buffer, within(range)),
        }
    }
}

impl std::ops::Deref for DataRef {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Shared(block, range) => &block[range.clone()],
            Self::Owned(buffer, range) | Self::Staged(buffer, range) => &buffer[range.clone()],
        }
    }
}
