//! bzip2. Every block and every stream has a check sum.

use bzip2::{Decompress, Status};

use super::member::{ExpandStep, Following, Member};
use crate::image::decode::ExpandError;

pub(super) struct Bzip2(Decompress);

impl Member for Bzip2 {
    fn begin() -> Result<Self, ExpandError> {
        Ok(Self(Decompress::new(false)))
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<ExpandStep, ExpandError> {
        let before = (self.0.total_in(), self.0.total_out());
        let status = self
            .0
            .decompress(input, output)
            .map_err(ExpandError::Bzip2)?;
        Ok(ExpandStep::since(
            before,
            (self.0.total_in(), self.0.total_out()),
            status == Status::StreamEnd,
        ))
    }

    /// `bzip2` compares the bytes with the head of a stream one by one.
    fn following(first: &[u8], next: u8) -> Following {
        let is_head = match first.len() {
            at @ 0..=2 => next == b"BZh"[at],
            _ => next.is_ascii_digit() && next != b'0',
        };
        match (is_head, first.len()) {
            (false, _) => Following::Trailer,
            (true, 0..=2) => Following::Undecided,
            (true, _) => Following::Member,
        }
    }
}
