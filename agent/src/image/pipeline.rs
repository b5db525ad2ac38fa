//! One pass: the network is read once, the disk written once, memory stays bounded.
//!
//! ```text
//! ImageStream ──▶ BlockReader (aligned blocks of a pool) ──▶ hash (its own thread)
//!                                             └──▶ decode ▶ ImageWriter (its own thread)
//! end of stream ──▶ digest ──▶ Verified ──▶ ImageWriter::finish ──▶ finishing touches ──▶ release
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio::time::Instant;

use super::block::{Block, BlockPool};
use super::checksum::{ChecksumError, Expected, Hasher, Verified};
use super::decode::{DecodeError, DecodePlan, Trailer, decoder};
use super::error::ImageError;
use super::progress::{Meter, Written};
use super::source::{ImageStream, SourceError};
use super::write::{DiskExtent, ImageWriter, WriteError};
use crate::system::disk::Disk;
use crate::task::Task;

/// Blocks that may wait for a thread. The pool is the real bound.
const QUEUE: usize = 16;

/// The download as blocks, with its progress.
pub(super) struct BlockReader<'a> {
    source: ImageStream<'a>,
    task: &'a Task,
    pool: BlockPool,
    meter: Meter,
    written: Written,
    rest: Bytes,
    done: u64,
}

impl<'a> BlockReader<'a> {
    pub(super) fn new(source: ImageStream<'a>, task: &'a Task, device: &str) -> Self {
        let meter = Meter::new("write_image", device, source.length(), Instant::now());
        let written = Written::default();
        Self {
            source,
            task,
            pool: BlockPool::new(),
            meter: meter.with(written.clone()),
            written,
            rest: Bytes::new(),
            done: 0,
        }
    }

    /// What the blocks come from.
    pub(super) fn source(&self) -> &ImageStream<'a> {
        &self.source
    }

    /// The next block. Only the last is shorter than a full one, and none is empty.
    pub(super) async fn block(&mut self) -> Result<Option<Block>, SourceError> {
        let mut block = self.pool.take().await;
        loop {
            let taken = block.fill(&self.rest);
            let _ = self.rest.split_to(taken);
            self.done += taken as u64;
            if let Some(progress) = self.meter.tick(Instant::now(), self.done) {
                self.task.progress(progress);
            }
            if block.is_full() {
                return Ok(Some(block));
            }
            let (next, done) = (self.source.next(), self.done);
            match self.meter.during(self.task, || done, next).await? {
                Some(piece) => self.rest = piece,
                None => return Ok(Some(block).filter(|block| !block.is_empty())),
            }
        }
    }

    /// Reports the end at once.
    fn report(&mut self) {
        let progress = self.meter.report(Instant::now(), self.done);
        self.task.progress(progress);
    }

    /// Waits for a thread, reporting what it writes.
    async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let done = self.done;
        self.meter.during(self.task, || done, work).await
    }
}

/// How long a cancelled command waits for its disk to take writes of a MiB each.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(30);
/// The same for the flush of all caches, when the image is verified and about to be released.
const CANCEL_FLUSH_TIMEOUT: Duration = Duration::from_secs(600);

/// What goes to the writer's thread.
enum WriterMessage {
    Write(Arc<Block>),
    Release(Verified),
}

/// What belongs to the image before the disk may boot. Answers the identity of what was
/// written: the disk's, or that of a partition image's file system.
pub(super) type Finish =
    Box<dyn FnOnce(&mut dyn Disk) -> Result<Option<String>, ImageError> + Send>;

/// What [`Finish`] answered, and what of the file was ignored.
type WriteOutcome = (Option<String>, Option<Trailer>);

/// What the writer's thread needs.
pub(super) struct WriteTarget {
    /// The disk, not changed yet.
    pub(super) disk: Box<dyn Disk>,
    /// Its name, for messages.
    pub(super) device: String,
    /// Which part of the disk the image gets; `None` means all of it.
    pub(super) extent: Option<DiskExtent>,
    /// What the stream is.
    pub(super) plan: DecodePlan,
    /// Changes that belong to the image before the disk may boot.
    pub(super) finish: Finish,
}

/// Runs the pipeline to its end. `head` is the first block, which was looked at before.
///
/// # Errors
/// The first thing that went wrong; nothing is written any more when it is returned.
pub(super) async fn run(
    reader: &mut BlockReader<'_>,
    head: Block,
    expected: &Expected,
    image_id: &str,
    target: WriteTarget,
) -> Result<WriteOutcome, ImageError> {
    let device = target.device.clone();
    let (to_hash, hash_queue) = mpsc::channel(QUEUE);
    let (to_disk, disk_queue) = mpsc::channel(QUEUE);
    let hasher = Hasher::new(expected);
    let hashing = tokio::task::spawn_blocking(move || hash(hasher, hash_queue));
    let written = reader.written.clone();
    let writing = tokio::task::spawn_blocking(move || write(target, written, disk_queue));

    let task = reader.task;
    let fed = tokio::select! {
        fed = feed(reader, head, &to_hash, &to_disk) => fed,
        // Also while the disk does not take what is waiting for it.
        () = task.cancelled() => Err(Some(task.cancellation().into())),
    };
    drop(to_hash);
    let hashed = reader.during(hashing).await;
    let verified = match (fed, hashed) {
        (Ok(()), Ok(hasher)) => verify(hasher, expected, &device, image_id)
            .and_then(|verified| Ok(task.check().map(|()| verified)?))
            .map_err(Some),
        (Err(stopped), _) => Err(stopped),
        (_, Err(source)) => Err(Some(lost("hashing", source))),
    };
    let stopped = match verified {
        Ok(verified) => {
            // A writer that is gone reports its reason below.
            let _ = to_disk.send(WriterMessage::Release(verified)).await;
            None
        }
        Err(stopped) => stopped,
    };
    drop(to_disk);
    let finished = tokio::select! {
        finished = reader.during(writing) => finished,
        // The thread ends with what it is doing, and does nothing more.
        () = silence(task, stopped.is_some()) => {
            return Err(ImageError::Silent(task.cancellation()));
        }
    };
    let finished = finished.map_err(|source| lost("writing", source))?;
    if finished.is_ok() {
        reader.report();
    }
    match (stopped, finished) {
        (Some(error), _) | (None, Err(Some(error))) => Err(error),
        (None, Ok(finished)) => Ok(finished),
        (None, Err(None)) => Err(ImageError::NoReason),
    }
}

fn lost(work: &str, source: JoinError) -> ImageError {
    let work = work.to_owned();
    ImageError::Thread { work, source }
}

fn verify(
    hasher: Hasher,
    expected: &Expected,
    device: &str,
    image_id: &str,
) -> Result<Verified, ImageError> {
    let verified = hasher.verify(expected);
    verified.map_err(|source| {
        let (device, id) = (device.to_owned(), image_id.to_owned());
        ChecksumError::Mismatch { device, id, source }.into()
    })
}

/// Completes when a disk has not answered for too long after the command was cancelled.
async fn silence(task: &Task, is_given_up: bool) {
    task.cancelled().await;
    let timeout = if is_given_up {
        CANCEL_TIMEOUT
    } else {
        CANCEL_FLUSH_TIMEOUT
    };
    tokio::time::sleep(timeout).await;
}

/// Hands every block to both threads. `Err(None)`: a thread stopped and reports why itself.
async fn feed(
    reader: &mut BlockReader<'_>,
    head: Block,
    to_hash: &mpsc::Sender<Arc<Block>>,
    to_disk: &mpsc::Sender<WriterMessage>,
) -> Result<(), Option<ImageError>> {
    let mut next = Some(head);
    while let Some(block) = next {
        let block = Arc::new(block);
        to_hash.send(Arc::clone(&block)).await.map_err(|_| None)?;
        let message = WriterMessage::Write(block);
        to_disk.send(message).await.map_err(|_| None)?;
        next = reader.block().await.map_err(|error| Some(error.into()))?;
    }
    Ok(())
}

fn hash(mut hasher: Hasher, mut queue: mpsc::Receiver<Arc<Block>>) -> Hasher {
    while let Some(block) = queue.blocking_recv() {
        hasher.update(&block);
    }
    hasher
}

/// `Err(None)`: the queue ended without a release, the disk stays unbootable.
fn write(
    target: WriteTarget,
    written: Written,
    mut queue: mpsc::Receiver<WriterMessage>,
) -> Result<WriteOutcome, Option<ImageError>> {
    let device = target.device;
    let failed = |error: WriteError| Some(ImageError::of_decoding(&device, error));
    let undecodable = |error: DecodeError| Some(ImageError::of_decoding(&device, error));
    let extent = target
        .extent
        .unwrap_or_else(|| DiskExtent::whole(target.disk.as_ref()));
    let mut writer = ImageWriter::begin(target.disk, extent, written).map_err(failed)?;
    let mut decoder = decoder(target.plan);
    while let Some(message) = queue.blocking_recv() {
        match message {
            WriterMessage::Write(block) => {
                decoder.push(block, &mut writer).map_err(undecodable)?;
            }
            WriterMessage::Release(verified) => {
                let trailer = decoder.finish(&mut writer).map_err(undecodable)?;
                let mut withheld = writer.finish(verified).map_err(failed)?;
                let identity = (target.finish)(&mut withheld).map_err(Some)?;
                withheld.release().map_err(failed)?;
                return Ok((identity, trailer));
            }
        }
    }
    Err(None)
}
