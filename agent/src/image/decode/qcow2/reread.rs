//! Parts of a file from a server that sends whole files only: the file is read up to them,
//! and once more from its beginning for what lies before.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::Mutex;

use super::super::super::source::{Source, Unranged};
use super::hint::Parts;
use crate::failure::Failure;

/// The file, read in its order as often as needed.
pub(in crate::image) struct Reread<'a, S> {
    file: &'a S,
    /// How far the file is read.
    read: &'a AtomicU64,
    reading: Mutex<Option<Reading<S>>>,
}

/// A file that comes in pieces.
pub(in crate::image) trait Stream: Sized {
    /// The next piece; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, Failure>> + Send;

    /// The same file from its beginning.
    fn again(&self) -> impl Future<Output = Result<Self, Failure>> + Send;
}

impl Stream for Source<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        Source::next(self).await
    }

    async fn again(&self) -> Result<Self, Failure> {
        Source::again(self).await
    }
}

struct Reading<S> {
    stream: S,
    /// Where `piece` begins.
    position: u64,
    piece: Bytes,
}

impl<'a, S> Reread<'a, S> {
    /// `read` is kept at the place in the file that reading has come to.
    pub(in crate::image) fn new(file: &'a S, read: &'a AtomicU64) -> Self {
        Self {
            file,
            read,
            reading: Mutex::new(None),
        }
    }
}

impl<S: Stream + Send + Sync> Parts for Reread<'_, S> {
    const AT_ONCE: usize = 1;

    async fn part(&self, first: u64, length: u64) -> Result<Bytes, Unranged> {
        let failed = |failure: Failure| Unranged(failure.details);
        let mut reading = self.reading.lock().await;
        let current = match reading.take().filter(|current| current.position <= first) {
            Some(current) => current,
            None => Reading {
                stream: self.file.again().await.map_err(failed)?,
                position: 0,
                piece: Bytes::new(),
            },
        };
        let current = reading.insert(current);
        let mut part = Vec::new();
        loop {
            // Both distances are at most a piece's length.
            let skip =
                (first + part.len() as u64 - current.position).min(current.piece.len() as u64);
            let _ = current
                .piece
                .split_to(usize::try_from(skip).unwrap_or(usize::MAX));
            current.position += skip;
            let missing = length - part.len() as u64;
            if current.position == first + part.len() as u64 {
                let count = usize::try_from(missing).unwrap_or(usize::MAX);
                let count = count.min(current.piece.len());
                part.extend_from_slice(&current.piece.split_to(count));
                current.position += count as u64;
            }
            self.read.store(current.position, Ordering::Relaxed);
            if part.len() as u64 == length {
                return Ok(part.into());
            }
            match current.stream.next().await.map_err(failed)? {
                Some(piece) => current.piece = piece,
                None => {
                    let position = current.position;
                    *reading = None;
                    return Err(Unranged(format!("the file ended at byte {position}")));
                }
            }
        }
    }
}
