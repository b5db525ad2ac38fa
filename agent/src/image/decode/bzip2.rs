//! bzip2. Every block and every stream has a check sum.

use bzip2::{Decompress, Status};

use super::expand::{Member, Step};

pub(super) struct Bzip2(Decompress);

impl Member for Bzip2 {
    fn begin() -> Result<Self, String> {
        Ok(Self(Decompress::new(false)))
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, String> {
        let before = (self.0.total_in(), self.0.total_out());
        let status = self
            .0
            .decompress(input, output)
            .map_err(|error| format!("broken data: {error}"))?;
        Ok(Step::since(
            before,
            (self.0.total_in(), self.0.total_out()),
            status == Status::StreamEnd,
        ))
    }
}
