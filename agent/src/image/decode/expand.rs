//! Compressed files around a raw image.
//!
//! The output goes straight into the writer's memory and is bounded by the disk, so that a
//! small file that unpacks to terabytes ends with an error. The beginning is unpacked before
//! the disk is touched ([`beginning`]), because what is inside must not be another container.

use std::sync::Arc;

use super::{Decode, bzip2, gzip, xz, zstd};
use crate::image::block::{BLOCK, Block};
use crate::image::format::Format;
use crate::image::write::{WriteError, Writer};

/// At least so much of a larger image must be seen before the disk is touched: every format
/// of [`crate::image::format`] shows itself in it.
const ENOUGH: usize = 64 << 10;

/// What one call of a decompressor did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// Bytes of the input that were used.
    pub(super) consumed: usize,
    /// Bytes of the output that were filled.
    pub(super) produced: usize,
    /// The member ended here; what follows is another one.
    pub(super) is_end: bool,
}

impl Step {
    /// The step between two readings of the totals of input and output.
    pub(super) fn since(before: (u64, u64), now: (u64, u64), is_end: bool) -> Self {
        // No more than the slices in memory that the step was given.
        let length = |from: u64, to: u64| usize::try_from(to - from).unwrap_or(0);
        Self {
            consumed: length(before.0, now.0),
            produced: length(before.1, now.1),
            is_end,
        }
    }
}

/// One member of a compressed file: many tools write several and concatenate them.
pub(super) trait Member: Send + Sized {
    /// Begins a member.
    fn begin() -> Result<Self, String>;

    /// Takes some input and fills some output. The error says what is wrong with the file,
    /// or what to do about it.
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, String>;

    /// How many bytes at the beginning of `input` only fill the room between members.
    fn padding(_input: &[u8]) -> usize {
        0
    }

    /// Padding comes in units of so many bytes.
    const PADDING_UNIT: u64 = 1;
}

/// A compressed file, step by step.
trait Expand: Send {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, String>;

    /// Whether the file may end here, after at least one member.
    fn is_complete(&self) -> bool;
}

struct Members<M> {
    current: Option<M>,
    ended: bool,
    padding: u64,
}

impl<M: Member> Members<M> {
    fn new() -> Self {
        Self {
            current: None,
            ended: false,
            padding: 0,
        }
    }

    fn is_padded(&self) -> bool {
        self.padding.is_multiple_of(M::PADDING_UNIT)
    }
}

impl<M: Member> Expand for Members<M> {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, String> {
        let mut consumed = 0;
        if self.current.is_none() {
            if self.ended {
                consumed = M::padding(input);
                self.padding += consumed as u64;
            }
            if consumed == input.len() {
                return Ok(Step {
                    consumed,
                    produced: 0,
                    is_end: false,
                });
            }
            if !self.is_padded() {
                return Err("padding of a wrong length".to_owned());
            }
            self.padding = 0;
        }
        let member = match &mut self.current {
            Some(member) => member,
            slot => slot.insert(M::begin()?),
        };
        let mut step = member.step(&input[consumed..], output)?;
        step.consumed += consumed;
        if step.is_end {
            self.current = None;
            self.ended = true;
        }
        Ok(step)
    }

    fn is_complete(&self) -> bool {
        self.ended && self.current.is_none() && self.is_padded()
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

    fn malformed(&self, what: impl Into<String>) -> WriteError {
        WriteError::Malformed {
            format: self.format.name(),
            what: what.into(),
            offset: self.consumed,
        }
    }

    /// One step. `false`: there is nothing more to be had from this input.
    fn step(&mut self, input: &mut &[u8], output: &mut [u8]) -> Result<(bool, usize), WriteError> {
        let step = self
            .expand
            .step(input, output)
            .map_err(|reason| self.malformed(reason))?;
        self.consumed += step.consumed as u64;
        *input = &input[step.consumed..];
        let is_stuck = step.consumed == 0 && step.produced == 0 && !step.is_end;
        if is_stuck && !input.is_empty() {
            return Err(self.malformed("the decompressor stands still"));
        }
        // A full output may mean that there is more of it.
        let goes_on = !is_stuck && (!input.is_empty() || step.produced == output.len());
        Ok((goes_on, step.produced))
    }

    fn check_complete(&self) -> Result<(), WriteError> {
        if self.expand.is_complete() {
            Ok(())
        } else {
            Err(self.malformed("the file ends before the compressed data does"))
        }
    }
}

impl Decode for Expander {
    fn push(&mut self, block: Arc<Block>, writer: &mut Writer) -> Result<(), WriteError> {
        let mut input = &block[..];
        loop {
            let (goes_on, produced) = self.step(&mut input, writer.room()?)?;
            writer.fill(produced)?;
            if !goes_on {
                return Ok(());
            }
        }
    }

    fn finish(&mut self, _: &mut Writer) -> Result<(), WriteError> {
        self.check_complete()
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
) -> Result<Vec<u8>, WriteError> {
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
        return Err(expander.malformed(format!(
            "the first {} bytes of the file hold only {length} bytes of the image",
            head.len()
        )));
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
