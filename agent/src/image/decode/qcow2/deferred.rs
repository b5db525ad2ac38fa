//! Parts of the file that have come before it is known what they are: in memory, and when
//! that is full, behind the image on the disk ([`ImageTarget::stage`]).

use std::collections::BTreeMap;

use super::output::ImageTarget;
use crate::image::decode::DecodeError;
use crate::image::write::WriteError;

/// What a segment costs besides its bytes.
const OVERHEAD: usize = 96;
/// Segments in memory are joined up to this length, and so much is staged at once.
const MAX_SEGMENT_BYTES: usize = 1 << 20;
/// At least so much is read of what was staged: compressed clusters that are neighbours are
/// needed one after the other.
const WINDOW: u64 = 128 << 10;
/// Where windows begin.
const ALIGNMENT: u64 = 4096;

/// The store.
pub(super) struct DeferredBytes {
    /// By their place in the file. They do not overlap.
    segments: BTreeMap<u64, Segment>,
    memory: usize,
    limit: usize,
    total: u64,
    /// What was staged and read last, and where it begins.
    window: (u64, Vec<u8>),
    /// Where what was staged ends.
    staged: u64,
}

/// A part of the file.
enum Segment {
    Memory(Vec<u8>),
    /// Behind the image, from `at` on.
    Staged {
        at: u64,
        length: u64,
    },
}

impl Segment {
    fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Staged { length, .. } => *length,
        }
    }

    fn memory(&self) -> usize {
        match self {
            Self::Memory(bytes) => OVERHEAD + bytes.len(),
            Self::Staged { .. } => OVERHEAD,
        }
    }

    /// What is before and what is behind its first `length` bytes.
    fn split(self, length: u64) -> (Option<Self>, Option<Self>) {
        if length == 0 {
            return (None, Some(self));
        }
        if length >= self.len() {
            return (Some(self), None);
        }
        match self {
            Self::Memory(mut bytes) => {
                let after = bytes.split_off(within(length, 0));
                bytes.shrink_to_fit();
                (Some(Self::Memory(bytes)), Some(Self::Memory(after)))
            }
            Self::Staged { at, length: all } => (
                Some(Self::Staged { at, length }),
                Some(Self::Staged {
                    at: at + length,
                    length: all - length,
                }),
            ),
        }
    }
}

impl DeferredBytes {
    /// A store of at most `limit` bytes of memory.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            segments: BTreeMap::new(),
            memory: 0,
            limit,
            total: 0,
            window: (0, Vec::new()),
            staged: 0,
        }
    }

    /// Bytes that were ever to be kept.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Nothing in here is needed any more.
    pub(super) fn clear(&mut self) {
        self.segments.clear();
        self.memory = 0;
        self.window.1 = Vec::new();
    }

    /// Keeps bytes of the file, which come in its order. `false`: neither memory nor disk has
    /// room for them, and what is kept is not whole any more.
    pub(super) fn put(
        &mut self,
        host: u64,
        bytes: &[u8],
        target: &mut impl ImageTarget,
    ) -> Result<bool, DecodeError> {
        self.total += bytes.len() as u64;
        let needed = bytes.len() + OVERHEAD;
        let has_room = |deferred: &Self| deferred.memory + needed <= deferred.limit;
        let fits = has_room(self) || (self.stage(target)? && has_room(self));
        if !fits {
            return Ok(false);
        }
        if let Some((start, Segment::Memory(last))) = self.segments.iter_mut().next_back()
            && start + last.len() as u64 == host
            && last.len() + bytes.len() <= MAX_SEGMENT_BYTES
        {
            last.extend_from_slice(bytes);
            self.memory += bytes.len();
        } else {
            self.insert(host, Segment::Memory(bytes.to_vec()));
        }
        Ok(true)
    }

    /// Takes bytes out, `least` at least and `length` if they are here.
    pub(super) fn take(
        &mut self,
        host: u64,
        least: u64,
        length: u64,
        target: &mut impl ImageTarget,
    ) -> Result<Option<Vec<u8>>, DecodeError> {
        let end = host + length;
        let mut taken = Vec::new();
        let mut at = host;
        while at < end {
            let Some((start, segment)) = self.remove_around(at) else {
                return Ok((at - host >= least).then_some(taken));
            };
            let until = end.min(start + segment.len());
            let (before, rest) = segment.split(at - start);
            let (wanted, after) = rest.map_or((None, None), |rest| rest.split(until - at));
            for (host, segment) in [(start, before), (until, after)] {
                if let Some(segment) = segment {
                    self.insert(host, segment);
                }
            }
            match wanted {
                Some(Segment::Memory(bytes)) if taken.is_empty() => taken = bytes,
                Some(Segment::Memory(bytes)) => taken.extend_from_slice(&bytes),
                Some(Segment::Staged { at, length }) => {
                    self.read(at, length, &mut taken, target)?;
                }
                None => {}
            }
            at = until;
        }
        Ok(Some(taken))
    }

    /// Gives bytes back that were taken out.
    pub(super) fn give_back(&mut self, host: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.insert(host, Segment::Memory(bytes.to_vec()));
        }
    }

    /// Puts all that is in memory behind the image. `false`: there is no room.
    fn stage(&mut self, target: &mut impl ImageTarget) -> Result<bool, DecodeError> {
        let segments = std::mem::take(&mut self.segments);
        self.memory = 0;
        let mut gathered = Vec::new();
        let mut parts = Vec::new();
        for (host, segment) in segments {
            let Segment::Memory(bytes) = segment else {
                self.insert(host, segment);
                continue;
            };
            let mut host = host;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let count = rest.len().min(MAX_SEGMENT_BYTES - gathered.len());
                parts.push((host, gathered.len() as u64, count as u64));
                gathered.extend_from_slice(&rest[..count]);
                rest = &rest[count..];
                host += count as u64;
                if gathered.len() == MAX_SEGMENT_BYTES
                    && !self.stage_block(&gathered, &parts, target)?
                {
                    return Ok(false);
                }
                if gathered.len() == MAX_SEGMENT_BYTES {
                    gathered.clear();
                    parts.clear();
                }
            }
        }
        Ok(gathered.is_empty() || self.stage_block(&gathered, &parts, target)?)
    }

    fn stage_block(
        &mut self,
        bytes: &[u8],
        parts: &[(u64, u64, u64)],
        target: &mut impl ImageTarget,
    ) -> Result<bool, DecodeError> {
        let Some(base) = target.stage(bytes)? else {
            return Ok(false);
        };
        self.staged = base + bytes.len() as u64;
        for &(host, offset, length) in parts {
            let at = base + offset;
            // What follows in the file and on the disk is one segment.
            let last = self.segments.range_mut(..host).next_back();
            match last {
                Some((
                    start,
                    Segment::Staged {
                        at: first,
                        length: before,
                    },
                )) if *start + *before == host && *first + *before == at => *before += length,
                _ => self.insert(host, Segment::Staged { at, length }),
            }
        }
        Ok(true)
    }

    /// Reads what was staged.
    fn read(
        &mut self,
        at: u64,
        length: u64,
        into: &mut Vec<u8>,
        target: &mut impl ImageTarget,
    ) -> Result<(), DecodeError> {
        let (mut at, end) = (at, at + length);
        while at < end {
            let (start, bytes) = &self.window;
            if !(*start..*start + bytes.len() as u64).contains(&at) {
                let start = at - at % ALIGNMENT;
                let until = end.max(start + WINDOW).min(self.staged);
                let count = within(until, start).min(MAX_SEGMENT_BYTES);
                self.window = (start, target.staged(start, count)?);
            }
            let (start, bytes) = &self.window;
            let from = within(at, *start);
            let count = bytes.len().saturating_sub(from).min(within(end, at));
            if count == 0 {
                let reason = "less came back from the disk than was kept there";
                return Err(WriteError::Stopped(reason).into());
            }
            into.extend_from_slice(&bytes[from..from + count]);
            at += count as u64;
        }
        Ok(())
    }

    /// Takes the segment out that has the byte at `at`.
    fn remove_around(&mut self, at: u64) -> Option<(u64, Segment)> {
        let (&start, segment) = self.segments.range(..=at).next_back()?;
        if start + segment.len() <= at {
            return None;
        }
        let segment = self.segments.remove(&start)?;
        self.memory -= segment.memory();
        Some((start, segment))
    }

    fn insert(&mut self, host: u64, segment: Segment) {
        self.memory += segment.memory();
        self.segments.insert(host, segment);
    }
}

/// Distances within a segment fit into memory.
fn within(offset: u64, start: u64) -> usize {
    usize::try_from(offset - start).unwrap_or(usize::MAX)
}
