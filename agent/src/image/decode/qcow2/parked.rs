//! Parts of the file that have come before it is known what they are.

use std::collections::BTreeMap;

/// What a segment costs besides its bytes.
const OVERHEAD: usize = 96;
/// Segments are joined up to this length.
const LONGEST: usize = 1 << 20;

/// The store.
pub(super) struct Parked {
    /// By their place in the file. They do not overlap.
    segments: BTreeMap<u64, Vec<u8>>,
    memory: usize,
    limit: usize,
}

/// It is full.
pub(super) struct Full;

impl Parked {
    /// A store of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            segments: BTreeMap::new(),
            memory: 0,
            limit,
        }
    }

    /// Bytes that are kept.
    pub(super) fn len(&self) -> u64 {
        self.segments.values().map(|bytes| bytes.len() as u64).sum()
    }

    /// Nothing in here is needed any more.
    pub(super) fn clear(&mut self) {
        self.segments.clear();
        self.memory = 0;
    }

    /// Keeps bytes of the file, which come in its order.
    pub(super) fn put(&mut self, host: u64, bytes: &[u8]) -> Result<(), Full> {
        if self.memory + bytes.len() + OVERHEAD > self.limit {
            return Err(Full);
        }
        if let Some((start, last)) = self.segments.iter_mut().next_back()
            && start + last.len() as u64 == host
            && last.len() + bytes.len() <= LONGEST
        {
            last.extend_from_slice(bytes);
            self.memory += bytes.len();
        } else {
            self.insert(host, bytes.to_vec());
        }
        Ok(())
    }

    /// Takes bytes out, `least` at least and `length` if they are here.
    pub(super) fn take(&mut self, host: u64, least: u64, length: u64) -> Option<Vec<u8>> {
        let end = host + length;
        let mut taken = Vec::new();
        let mut at = host;
        while at < end {
            let Some((start, mut bytes)) = self.remove_around(at) else {
                return (at - host >= least).then_some(taken);
            };
            let until = end.min(start + bytes.len() as u64);
            if until < start + bytes.len() as u64 {
                let rest = bytes.split_off(within(until, start));
                bytes.shrink_to_fit();
                self.insert(until, rest);
            }
            if at > start {
                let rest = bytes.split_off(within(at, start));
                self.insert(start, std::mem::replace(&mut bytes, rest));
            }
            if taken.is_empty() {
                taken = bytes;
            } else {
                taken.extend_from_slice(&bytes);
            }
            at = until;
        }
        Some(taken)
    }

    /// Gives bytes back that were taken out.
    pub(super) fn give_back(&mut self, host: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.insert(host, bytes.to_vec());
        }
    }

    /// Takes the segment out that has the byte at `at`.
    fn remove_around(&mut self, at: u64) -> Option<(u64, Vec<u8>)> {
        let (&start, bytes) = self.segments.range(..=at).next_back()?;
        if start + bytes.len() as u64 <= at {
            return None;
        }
        let bytes = self.segments.remove(&start)?;
        self.memory -= OVERHEAD + bytes.len();
        Some((start, bytes))
    }

    fn insert(&mut self, host: u64, bytes: Vec<u8>) {
        self.memory += OVERHEAD + bytes.len();
        self.segments.insert(host, bytes);
    }
}

/// Offsets within a segment fit into memory.
fn within(offset: u64, start: u64) -> usize {
    usize::try_from(offset - start).unwrap_or(usize::MAX)
}
