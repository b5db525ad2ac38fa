//! Parts of the file that have come before it is known what they are.
//!
//! They are kept in memory, and beyond a bound on the part of the disk that the image does
//! not reach, if there is enough of it.

use std::collections::BTreeMap;

use super::super::super::write::WriteError;
use super::output::Target;

/// What a segment costs besides its bytes.
const OVERHEAD: usize = 96;
/// Segments on the disk are joined from so much.
const STAGED: usize = 1 << 20;

/// Where the bytes of a segment are.
enum Kept {
    Memory(Vec<u8>),
    /// At this offset of the scratch space, so many.
    Disk(u64, u64),
}

impl Kept {
    fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Disk(_, length) => *length,
        }
    }

    fn memory(&self) -> usize {
        OVERHEAD
            + match self {
                Self::Memory(bytes) => bytes.len(),
                Self::Disk(..) => 0,
            }
    }

    /// Cuts off all but the first bytes.
    fn split_off(&mut self, at: u64) -> Self {
        match self {
            // No longer than what is in memory.
            Self::Memory(bytes) => {
                let rest = bytes.split_off(usize::try_from(at).unwrap_or(usize::MAX));
                bytes.shrink_to_fit();
                Self::Memory(rest)
            }
            Self::Disk(start, length) => {
                let rest = Self::Disk(*start + at, *length - at);
                *length = at;
                rest
            }
        }
    }
}

/// The store.
pub(super) struct Parked {
    /// By their place in the file. They do not overlap.
    segments: BTreeMap<u64, Kept>,
    memory: usize,
    limit: usize,
    /// How much of the scratch space is used, and how much there is.
    staged: u64,
    room: u64,
}

/// It is full.
pub(super) struct Full;

impl Parked {
    /// A store of at most `limit` bytes in memory and `room` on the disk.
    pub(super) fn new(limit: usize, room: u64) -> Self {
        Self {
            segments: BTreeMap::new(),
            memory: 0,
            limit,
            staged: 0,
            room,
        }
    }

    /// Bytes that are kept.
    pub(super) fn len(&self) -> u64 {
        self.segments.values().map(Kept::len).sum()
    }

    /// How much of the scratch space was used.
    pub(super) fn staged(&self) -> u64 {
        self.staged
    }

    /// Nothing in here is needed any more.
    pub(super) fn clear(&mut self) {
        self.segments.clear();
        self.memory = 0;
    }

    /// Keeps bytes of the file, which come in its order.
    pub(super) fn put(
        &mut self,
        host: u64,
        bytes: &[u8],
        target: &mut impl Target,
    ) -> Result<Result<(), Full>, WriteError> {
        let needed = bytes.len() + OVERHEAD;
        if self.memory + needed > self.limit {
            self.stage(target)?;
            if self.memory + needed > self.limit {
                return Ok(Err(Full));
            }
        }
        if let Some((start, Kept::Memory(last))) = self.segments.iter_mut().next_back()
            && start + last.len() as u64 == host
            && last.len() + bytes.len() <= STAGED
        {
            last.extend_from_slice(bytes);
            self.memory += bytes.len();
        } else {
            self.insert(host, Kept::Memory(bytes.to_vec()));
        }
        Ok(Ok(()))
    }

    /// Moves what is in memory to the disk, if there is room.
    fn stage(&mut self, target: &mut impl Target) -> Result<(), WriteError> {
        let in_memory: u64 = self
            .segments
            .values()
            .filter(|kept| matches!(kept, Kept::Memory(_)))
            .map(Kept::len)
            .sum();
        if in_memory > self.room - self.staged {
            return Ok(());
        }
        for kept in self.segments.values_mut() {
            if let Kept::Memory(bytes) = kept {
                target.stage(self.staged, bytes)?;
                let length = bytes.len() as u64;
                self.memory -= bytes.len();
                *kept = Kept::Disk(self.staged, length);
                self.staged += length;
            }
        }
        Ok(())
    }

    /// Takes bytes out, `least` at least and `length` if they are here.
    pub(super) fn take(
        &mut self,
        host: u64,
        least: u64,
        length: u64,
        target: &mut impl Target,
    ) -> Result<Option<Vec<u8>>, WriteError> {
        let end = host + length;
        let mut taken = Vec::new();
        let mut at = host;
        while at < end {
            let Some((start, mut kept)) = self.remove_around(at) else {
                return Ok((at - host >= least).then_some(taken));
            };
            let until = end.min(start + kept.len());
            if until < start + kept.len() {
                let rest = kept.split_off(until - start);
                self.insert(until, rest);
            }
            if at > start {
                let rest = kept.split_off(at - start);
                self.insert(start, std::mem::replace(&mut kept, rest));
            }
            match kept {
                Kept::Memory(bytes) if taken.is_empty() => taken = bytes,
                Kept::Memory(bytes) => taken.extend_from_slice(&bytes),
                Kept::Disk(place, length) => {
                    let known = taken.len();
                    // Callers take what fits into memory.
                    taken.resize(known + usize::try_from(length).unwrap_or(0), 0);
                    target.unstage(place, &mut taken[known..])?;
                }
            }
            at = until;
        }
        Ok(Some(taken))
    }

    /// Gives bytes back that were taken out.
    pub(super) fn give_back(&mut self, host: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.insert(host, Kept::Memory(bytes.to_vec()));
        }
    }

    /// Takes the segment out that has the byte at `at`.
    fn remove_around(&mut self, at: u64) -> Option<(u64, Kept)> {
        let (&start, kept) = self.segments.range(..=at).next_back()?;
        if start + kept.len() <= at {
            return None;
        }
        self.remove(start).map(|kept| (start, kept))
    }

    fn insert(&mut self, host: u64, kept: Kept) {
        self.memory += kept.memory();
        self.segments.insert(host, kept);
    }

    fn remove(&mut self, host: u64) -> Option<Kept> {
        let kept = self.segments.remove(&host)?;
        self.memory -= kept.memory();
        Some(kept)
    }
}
