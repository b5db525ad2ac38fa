//! Compressed files around a raw image.
//!
//! The output goes straight into the writer's memory and is bounded by the disk, so that a
//! small file that unpacks to terabytes ends with an error. The beginning is unpacked before
//! the disk is touched ([`beginning`]), because what is inside must not be another container.

use std::fmt;
use std::sync::Arc;

use super::format::Format;
use super::{Decode, DecodeError, ExpandError};
use crate::image::block::{BLOCK, Block};
use crate::image::write::ImageWriter;

mod bzip2;
mod gzip;
mod gzip_reader;
mod member;
mod members;
mod xz;
mod zstd;

pub(in crate::image) use gzip_reader::GzipReader;
use members::{Expand, Members};

/// At least so much of a larger image must be seen before the disk is touched: every format
/// of [`crate::image::decode::format`] shows itself in it.
const ENOUGH: usize = 64 << 10;

/// Bytes after the compressed data that were ignored, as the format's own tool ignores them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::image) struct Trailer {
    format: Format,
    bytes: u64,
}

impl fmt::Display for Trailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} bytes after the {} data were ignored",
            self.bytes,
            self.format.name()
        )
    }
}

/// A decompressor; `None` for what is not compressed.
fn expander(format: Format) -> Option<Box<dyn Expand>> {
    Some(match format {
        Format::Gzip => Box::new(Members::<gzip::Gzip>::new()),
        Format::Zstd => Box::new(Members::<zstd::Zstd>::new()),
        Format::Xz => Box::new(Members::<xz::Xz>::new()),
        Format::Bzip2 => Box::new(Members::<bzip2::Bzip2>::new()),
        _ => return None,
    })
}

/// The stage for a compressed file.
pub(super) struct Expander {
    format: Format,
    expand: Box<dyn Expand>,
    /// Bytes of the file that were used.
    consumed: u64,
}

impl Expander {
    /// `None` for what is not compressed.
    pub(super) fn new(format: Format) -> Option<Self> {
        Some(Self {
            format,
            expand: expander(format)?,
            consumed: 0,
        })
    }

    fn malformed(&self, source: ExpandError) -> DecodeError {
        DecodeError::Compressed {
            format: self.format,
            offset: self.consumed,
            source,
        }
    }

    /// One step. `false`: there is nothing more to be had from this input.
    fn step(&mut self, input: &mut &[u8], output: &mut [u8]) -> Result<(bool, usize), DecodeError> {
        let step = self
            .expand
            .step(input, output)
            .map_err(|error| self.malformed(error))?;
        self.consumed += step.consumed as u64;
        *input = &input[step.consumed..];
        let is_stuck = step.consumed == 0 && step.produced == 0 && !step.is_end;
        if is_stuck && !input.is_empty() {
            return Err(self.malformed(ExpandError::Stuck));
        }
        // A full output may mean that there is more of it.
        let goes_on = !is_stuck && (!input.is_empty() || step.produced == output.len());
        Ok((goes_on, step.produced))
    }

    fn check_complete(&self) -> Result<(), DecodeError> {
        if self.expand.is_complete() {
            Ok(())
        } else {
            Err(self.malformed(ExpandError::CutOff))
        }
    }
}

impl Decode for Expander {
    fn push(&mut self, block: Arc<Block>, writer: &mut ImageWriter) -> Result<(), DecodeError> {
        let mut input = &block[..];
        loop {
            let (goes_on, produced) = self.step(&mut input, writer.room()?)?;
            writer.fill(produced)?;
            if !goes_on {
                return Ok(());
            }
        }
    }

    fn finish(&mut self, _: &mut ImageWriter) -> Result<Option<Trailer>, DecodeError> {
        self.check_complete()?;
        let (format, bytes) = (self.format, self.expand.ignored());
        Ok((bytes > 0).then_some(Trailer { format, bytes }))
    }
}

/// Unpacks the beginning of a compressed image from the beginning of its file, up to a
/// megabyte. `is_all` tells that the file has no more bytes than these.
///
/// # Errors
/// The file is malformed, needs too much memory, or shows too little of what is inside.
pub(in crate::image) fn beginning(
    format: Format,
    head: &[u8],
    is_all: bool,
) -> Result<Vec<u8>, DecodeError> {
    let Some(mut expander) = Expander::new(format) else {
        return Ok(head.to_vec());
    };
    let mut inside = vec![0; BLOCK];
    let (mut length, mut input) = (0, head);
    while length < inside.len() {
        let (goes_on, produced) = expander.step(&mut input, &mut inside[length..])?;
        length += produced;
        if !goes_on {
            break;
        }
    }
    inside.truncate(length);
    if is_all && length < BLOCK {
        expander.check_complete()?;
    } else if length < ENOUGH {
        return Err(expander.malformed(ExpandError::TooLittle {
            file: head.len(),
            image: length,
        }));
    }
    Ok(inside)
}

/// The length that a compressed image announces in its head, if it does.
pub(in crate::image) fn announced_length(format: Format, head: &[u8]) -> Option<u64> {
    match format {
        Format::Zstd => zstd::content_size(head),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
