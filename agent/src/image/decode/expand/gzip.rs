//! gzip (RFC 1952). The check sum and length of every member are verified.

use flate2::{Decompress, FlushDecompress, Status};

use super::member::{ExpandStep, Following, Member};
use crate::image::decode::ExpandError;

/// 32 KiB, the most that gzip allows.
const WINDOW_BITS: u8 = 15;

pub(super) struct Gzip(Decompress);

impl Member for Gzip {
    fn begin() -> Result<Self, ExpandError> {
        Ok(Self(Decompress::new_gzip(WINDOW_BITS)))
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<ExpandStep, ExpandError> {
        let before = (self.0.total_in(), self.0.total_out());
        let status = self
            .0
            .decompress(input, output, FlushDecompress::None)
            .map_err(ExpandError::Gzip)?;
        Ok(ExpandStep::since(
            before,
            (self.0.total_in(), self.0.total_out()),
            status == Status::StreamEnd,
        ))
    }

    /// `gzip` takes zeros without a word and other bytes with a warning, and wants two bytes
    /// to tell. What begins as its older formats do it would unpack; such a file is refused.
    fn following(first: &[u8], next: u8) -> Following {
        match (first, next) {
            ([], 0) => Following::Trailer,
            ([], _) => Following::Undecided,
            ([0x1F], 0x8B | 0x9D | 0x9E | 0x1E | 0xA0) => Following::Member,
            _ => Following::Trailer,
        }
    }

    const ZEROS_ARE_PADDING: bool = true;
}
