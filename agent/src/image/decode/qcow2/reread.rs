//! Reads ranges of a file from a server that sends whole files only: the file is read up to them,
//! and once more from its beginning for what lies before.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::Mutex;

use super::hint::ReadRanges;
use crate::image::source::{ImageStream, PartError, SourceError};

/// The file, read in its order as often as needed.
pub(in crate::image) struct RereadSource<'a, S> {
    file: &'a S,
    /// How far the file is read.
    read: &'a AtomicU64,
    reading: Mutex<Option<RestartedRead<S>>>,
}

/// A file that comes in pieces.
pub(in crate::image) trait RestartableStream: Sized {
    /// The next piece; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, SourceError>> + Send;

    /// The same file from its beginning.
    fn again(&self) -> impl Future<Output = Result<Self, SourceError>> + Send;
}

impl RestartableStream for ImageStream<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        ImageStream::next(self).await
    }

    async fn again(&self) -> Result<Self, SourceError> {
        ImageStream::again(self).await
    }
}

struct RestartedRead<S> {
    stream: S,
    /// Where `piece` begins.
    position: u64,
    piece: Bytes,
}

impl<'a, S> RereadSource<'a, S> {
    /// `read` is kept at the place in the file that reading has come to.
    pub(in crate::image) fn new(file: &'a S, read: &'a AtomicU64) -> Self {
        Self {
            file,
            read,
            reading: Mutex::new(None),
        }
    }
}

impl<S: RestartableStream + Send + Sync> ReadRanges for RereadSource<'_, S> {
    const AT_ONCE: usize = 1;

    async fn part(&self, first: u64, length: u64) -> Result<Bytes, PartError> {
        let mut reading = self.reading.lock().await;
        let current = match reading.take().filter(|current| current.position <= first) {
            Some(current) => current,
            None => RestartedRead {
                stream: self.file.again().await?,
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
            match current.stream.next().await? {
                Some(piece) => current.piece = piece,
                None => {
                    let position = current.position;
                    *reading = None;
                    return Err(PartError::Ended(position));
                }
            }
        }
    }
}
