//! Compressed files around a raw image.
//!
//! The output goes straight into the writer's memory and is bounded by the disk, so that a
//! small file that unpacks to terabytes ends with an error. The beginning is unpacked before
//! the disk is touched ([`beginning`]), because what is inside must not be another container.

use std::fmt;
use std::sync::Arc;

use super::format::Format;
use super::{Decode, DecodeError, ExpandError, bzip2, gzip, xz, zstd};
use crate::image::block::{BLOCK, Block};
use crate::image::write::ImageWriter;

/// At least so much of a larger image must be seen before the disk is touched: every format
/// of [`crate::image::decode::format`] shows itself in it.
const ENOUGH: usize = 64 << 10;

/// What one call of a decompressor did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ExpandStep {
    /// Bytes of the input that were used.
    pub(super) consumed: usize,
    /// Bytes of the output that were filled.
    pub(super) produced: usize,
    /// The member ended here; what follows is another one.
    pub(super) is_end: bool,
}

impl ExpandStep {
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

/// What comes after the end of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Following {
    /// Another member.
    Member,
    /// Bytes that are not compressed data; neither they nor anything after them counts.
    Trailer,
    /// More bytes are needed to tell.
    Undecided,
}

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

/// One member of a compressed file: many tools write several and concatenate them.
pub(super) trait Member: Send + Sized {
    /// Begins a member.
    fn begin() -> Result<Self, ExpandError>;

    /// Begins the member after this one, which ended.
    fn follow(self) -> Result<Self, ExpandError> {
        Self::begin()
    }

    /// Takes some input and fills some output. The error says what is wrong with the file,
    /// or what to do about it.
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<ExpandStep, ExpandError>;

    /// What stands after a member that ended, by the first bytes there and the one after
    /// them: as the format's own tool decides.
    fn following(_first: &[u8], _next: u8) -> Following {
        Following::Member
    }

    /// How many bytes at the beginning of `input` only fill the room between members.
    fn padding(_input: &[u8]) -> usize {
        0
    }

    /// Zeros after the last member deserve no warning.
    const ZEROS_ARE_PADDING: bool = false;

    /// Padding comes in units of so many bytes.
    const PADDING_UNIT: u64 = 1;
}

/// A compressed file, step by step.
trait Expand: Send {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<ExpandStep, ExpandError>;

    /// Whether the file may end here, after at least one member.
    fn is_complete(&self) -> bool;

    /// How many bytes after the last member were ignored.
    fn ignored(&self) -> u64;
}

struct Members<M> {
    current: Option<M>,
    /// The last member, which ended.
    ended: Option<M>,
    padding: u64,
    /// The first bytes after the last member, until they tell what they are.
    ahead: Vec<u8>,
    trailer: Option<IgnoredBytes>,
}

/// The bytes of a trailer so far.
#[derive(Debug, Clone, Copy)]
struct IgnoredBytes {
    bytes: u64,
    is_zero: bool,
}

impl<M: Member> Members<M> {
    fn new() -> Self {
        Self {
            current: None,
            ended: None,
            padding: 0,
            ahead: Vec::new(),
            trailer: None,
        }
    }

    fn is_padded(&self) -> bool {
        self.padding.is_multiple_of(M::PADDING_UNIT)
    }

    /// Consumes what stands between two members, and begins the next one if there is one.
    /// Answers how many bytes were used.
    fn advance(&mut self, input: &[u8]) -> Result<usize, ExpandError> {
        let mut consumed = 0;
        if self.ended.is_some() && self.ahead.is_empty() {
            consumed = M::padding(input);
            self.padding += consumed as u64;
        }
        while self.trailer.is_none() && self.current.is_none() && consumed < input.len() {
            if !self.is_padded() {
                return Err(ExpandError::Padding);
            }
            let following = match &self.ended {
                None => Following::Member,
                Some(_) => M::following(&self.ahead, input[consumed]),
            };
            match following {
                Following::Member => {
                    self.padding = 0;
                    self.current = Some(match self.ended.take() {
                        None => M::begin()?,
                        Some(ended) => ended.follow()?,
                    });
                }
                Following::Undecided => {
                    self.ahead.push(input[consumed]);
                    consumed += 1;
                }
                Following::Trailer => {
                    let ahead = std::mem::take(&mut self.ahead);
                    self.trailer = Some(IgnoredBytes::default().and(&ahead));
                }
            }
        }
        if let Some(trailer) = self.trailer {
            self.trailer = Some(trailer.and(&input[consumed..]));
            consumed = input.len();
        }
        Ok(consumed)
    }
}

impl Default for IgnoredBytes {
    fn default() -> Self {
        Self {
            bytes: 0,
            is_zero: true,
        }
    }
}

impl IgnoredBytes {
    fn and(self, more: &[u8]) -> Self {
        Self {
            bytes: self.bytes + more.len() as u64,
            is_zero: self.is_zero && more.iter().all(|byte| *byte == 0),
        }
    }
}

impl<M: Member> Expand for Members<M> {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<ExpandStep, ExpandError> {
        let mut consumed = 0;
        if self.current.is_none() {
            consumed = self.advance(input)?;
        }
        let Some(member) = &mut self.current else {
            return Ok(ExpandStep {
                consumed,
                produced: 0,
                is_end: false,
            });
        };
        // The bytes that announced a member are its first.
        if !self.ahead.is_empty() {
            let ahead = std::mem::take(&mut self.ahead);
            if member.step(&ahead, &mut [])?.consumed != ahead.len() {
                return Err(ExpandError::Stuck);
            }
        }
        let mut step = member.step(&input[consumed..], output)?;
        step.consumed += consumed;
        if step.is_end {
            self.ended = self.current.take();
        }
        Ok(step)
    }

    fn is_complete(&self) -> bool {
        self.ended.is_some() && self.is_padded() && self.ahead.is_empty()
    }

    fn ignored(&self) -> u64 {
        self.trailer
            .filter(|trailer| !(trailer.is_zero && M::ZEROS_ARE_PADDING))
            .map_or(0, |trailer| trailer.bytes)
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
