//! What each format knows of one member of a compressed file.

use crate::image::decode::ExpandError;

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
