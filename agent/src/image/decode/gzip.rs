//! gzip (RFC 1952). The check sum and length of every member are verified.

use flate2::{Decompress, FlushDecompress, Status};

use super::expand::{Member, Step};

/// 32 KiB, the most that gzip allows.
const WINDOW_BITS: u8 = 15;

pub(super) struct Gzip(Decompress);

impl Member for Gzip {
    fn begin() -> Result<Self, String> {
        Ok(Self(Decompress::new_gzip(WINDOW_BITS)))
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, String> {
        let before = (self.0.total_in(), self.0.total_out());
        let status = self
            .0
            .decompress(input, output, FlushDecompress::None)
            .map_err(|error| format!("broken data: {error}"))?;
        Ok(Step::since(
            before,
            (self.0.total_in(), self.0.total_out()),
            status == Status::StreamEnd,
        ))
    }
}
