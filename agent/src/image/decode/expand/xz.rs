//! xz, its blocks verified by whatever check they carry.

use liblzma::stream::{Action, Error, Status, Stream, TELL_UNSUPPORTED_CHECK};

use super::member::{ExpandStep, Member};
use crate::image::decode::ExpandError;

/// What a decoder may allocate: the 64 MiB dictionary of `xz -9`, and its own state. It is
/// the one thing that may take the agent above its bound, because such files are common.
const MEMORY: u64 = (64 << 20) + (2 << 20);

pub(super) struct Xz(Stream);

impl Member for Xz {
    fn begin() -> Result<Self, ExpandError> {
        Stream::new_stream_decoder(MEMORY, TELL_UNSUPPORTED_CHECK)
            .map(Self)
            .map_err(ExpandError::StartXz)
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<ExpandStep, ExpandError> {
        let before = (self.0.total_in(), self.0.total_out());
        let status = match self.0.process(input, output, Action::Run) {
            Ok(status) => status,
            Err(Error::MemLimit) => {
                let mib = MEMORY >> 20;
                return Err(ExpandError::Memory { mib });
            }
            Err(Error::UnsupportedCheck) => return Err(ExpandError::UnknownCheck),
            Err(error) => return Err(ExpandError::Xz(error)),
        };
        Ok(ExpandStep::since(
            before,
            (self.0.total_in(), self.0.total_out()),
            status == Status::StreamEnd,
        ))
    }

    fn padding(input: &[u8]) -> usize {
        input.iter().take_while(|byte| **byte == 0).count()
    }

    const PADDING_UNIT: u64 = 4;
}
