//! What signatures are looked for in: a source whose first error is kept, so that what reads
//! structures need not know its type, and whose beginning is read once.

use crate::read::Source;

/// The most that one structure may take: nothing on a disk makes us hold more.
const MAX_STRUCTURE_BYTES: u64 = 1 << 20;
/// Read at once, since most structures lie there.
const HEAD: u64 = 72 << 10;

/// Reads that either give all bytes or end the search.
trait Reads {
    fn fill(&mut self, offset: u64, buffer: &mut [u8]) -> bool;
}

struct FallibleSource<S: Source> {
    source: S,
    error: Option<S::Error>,
}

impl<S: Source> Reads for FallibleSource<S> {
    fn fill(&mut self, offset: u64, buffer: &mut [u8]) -> bool {
        if self.error.is_none() {
            self.error = self.source.read_at(offset, buffer).err();
        }
        self.error.is_none()
    }
}

/// See the module. Offsets count from its beginning.
pub(crate) struct Window<'a> {
    source: &'a mut dyn Reads,
    size: u64,
    sector: u64,
    head: Vec<u8>,
}

impl std::fmt::Debug for Window<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = f.debug_struct("Window");
        text.field("size", &self.size).finish_non_exhaustive()
    }
}

/// Looks at a source with logical sectors of this size.
///
/// # Errors
/// The first error of the source: what was found before it may be half of the truth.
pub(crate) fn look<T, S: Source>(
    source: S,
    sector: u64,
    look: impl FnOnce(&mut Window<'_>) -> T,
) -> Result<T, S::Error> {
    let size = source.size();
    let mut kept = FallibleSource {
        source,
        error: None,
    };
    let mut head = vec![0; usize::try_from(size.min(HEAD)).unwrap_or_default()];
    if !head.is_empty() {
        kept.fill(0, &mut head);
    }
    let mut window = Window {
        source: &mut kept,
        size,
        sector,
        head,
    };
    let found = look(&mut window);
    match kept.error {
        Some(error) => Err(error),
        None => Ok(found),
    }
}

impl Window<'_> {
    /// The size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The size of a logical sector in bytes.
    pub(crate) fn sector(&self) -> u64 {
        self.sector
    }

    /// Bytes. `None`: they do not lie inside, they are too many, or they cannot be read.
    pub(crate) fn bytes(&mut self, offset: u64, length: u64) -> Option<Vec<u8>> {
        let end = offset.checked_add(length)?;
        if end > self.size || length > MAX_STRUCTURE_BYTES {
            return None;
        }
        if let (Ok(start), Ok(end)) = (usize::try_from(offset), usize::try_from(end))
            && let Some(known) = self.head.get(start..end)
        {
            return Some(known.to_vec());
        }
        let mut buffer = vec![0; usize::try_from(length).ok()?];
        self.source.fill(offset, &mut buffer).then_some(buffer)
    }

    /// Whether these bytes are there.
    pub(crate) fn has(&mut self, offset: u64, bytes: &[u8]) -> bool {
        let found = self.bytes(offset, bytes.len() as u64);
        found.is_some_and(|found| found == bytes)
    }
}
