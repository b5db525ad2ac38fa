//! A compressed file as a sequence of members, with what stands between and after them.

use super::member::{ExpandStep, Following, Member};
use crate::image::decode::ExpandError;

/// A compressed file, step by step.
pub(super) trait Expand: Send {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<ExpandStep, ExpandError>;

    /// Whether the file may end here, after at least one member.
    fn is_complete(&self) -> bool;

    /// How many bytes after the last member were ignored.
    fn ignored(&self) -> u64;
}

/// The members of a file, one after the other.
pub(super) struct Members<M> {
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
    pub(super) fn new() -> Self {
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
