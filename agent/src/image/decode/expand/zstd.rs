//! Zstandard (RFC 8878): frames, each with or without a check sum, and skippable ones.
//!
//! The check sum is not computed, which would take a fifth of the time: nothing is released
//! before the digest of the whole file is right, and that covers every frame.

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe::{find_frame_compressed_size, get_frame_content_size};

use super::member::{ExpandStep, Member};
use crate::image::decode::ExpandError;

/// The largest window, as a power of two: 32 MiB. The levels up to 19 need 8 MiB; what needs
/// more was made with `--long` or `--ultra`.
const WINDOW_LOG: u32 = 25;

pub(super) struct Zstd(Decoder<'static>);

impl Member for Zstd {
    fn begin() -> Result<Self, ExpandError> {
        let mut decoder = Decoder::new().map_err(ExpandError::StartZstd)?;
        for parameter in [
            DParameter::WindowLogMax(WINDOW_LOG),
            DParameter::ForceIgnoreChecksum(true),
        ] {
            decoder
                .set_parameter(parameter)
                .map_err(ExpandError::StartZstd)?;
        }
        Ok(Self(decoder))
    }

    /// A decoder is ready for the next frame and keeps its memory.
    fn follow(self) -> Result<Self, ExpandError> {
        Ok(self)
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<ExpandStep, ExpandError> {
        let mut source = InBuffer::around(input);
        let mut target = OutBuffer::around(output);
        let wanted = self.0.run(&mut source, &mut target).map_err(|error| {
            // The library's code for it is lost on the way here.
            if error.to_string().contains("too much memory") {
                let mib = (1 << WINDOW_LOG) >> 20;
                ExpandError::Window { mib }
            } else {
                ExpandError::Zstd(error)
            }
        })?;
        Ok(ExpandStep {
            consumed: source.pos(),
            produced: target.pos(),
            // A frame is decoded and all of it is out.
            is_end: wanted == 0,
        })
    }
}

/// The length of the content, if the header of the only frame tells. A frame that is to be
/// skipped, as `pzstd` begins its files, has none. Where the first frame ends within `head`, the
/// beginning of the file, and something follows, it tells nothing about the whole.
pub(super) fn content_size(head: &[u8]) -> Option<u64> {
    let is_followed = find_frame_compressed_size(head).is_ok_and(|end| end < head.len());
    let size = get_frame_content_size(head).ok().flatten();
    size.filter(|size| *size > 0 && !is_followed)
}
