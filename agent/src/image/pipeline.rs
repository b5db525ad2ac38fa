//! One pass: the network is read once, the disk written once, memory stays bounded.
//!
//! ```text
//! Source ──▶ Reader (aligned blocks of a pool) ──▶ hash (its own thread)
//!                                             └──▶ decode ▶ Writer (its own thread)
//! end of stream ──▶ digest ──▶ Verified ──▶ Writer::finish ──▶ finishing touches ──▶ release
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::block::{Block, Pool};
use super::checksum::{Expected, Hasher, Verified};
use super::decode::{Plan, Trailer, decoder};
use super::progress::{Meter, Written};
use super::source::Source;
use super::write::{Extent, WriteError, Writer};
use crate::failure::{Failure, FailureKind};
use crate::system::disk::Disk;
use crate::task::Task;

/// Blocks that may wait for a thread. The pool is the real bound.
const QUEUE: usize = 16;

/// The download as blocks, with its progress.
pub(super) struct Reader<'a> {
    source: Source<'a>,
    task: &'a Task,
    pool: Pool,
    meter: Meter,
    written: Written,
    rest: Bytes,
    done: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: Source<'a>, task: &'a Task, device: &str) -> Self {
        let meter = Meter::new("write_image", device, source.length(), Instant::now());
        let written = Written::default();
        Self {
            source,
            task,
            pool: Pool::new(),
            meter: meter.with(written.clone()),
            written,
            rest: Bytes::new(),
            done: 0,
        }
    }

    /// What the blocks come from.
    pub(super) fn source(&self) -> &Source<'a> {
        &self.source
    }

    /// The next block. Only the last is shorter than a full one, and none is empty.
    pub(super) async fn block(&mut self) -> Result<Option<Block>, Failure> {
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

/// How long a cancelled command waits for its disk: for writes of a MiB each, and for the flush
/// of all caches when the image is verified and about to be released.
const HANGING: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });
const HANGING_FLUSH: Duration = Duration::from_secs(600);

/// What goes to the writer's thread.
enum Order {
    Write(Arc<Block>),
    Release(Verified),
}

/// What the writer's thread needs.
pub(super) struct Target<F> {
    /// The disk, not changed yet.
    pub(super) disk: Box<dyn Disk>,
    /// Its name, for messages.
    pub(super) device: String,
    /// Which part of the disk the image gets; `None` means all of it.
    pub(super) extent: Option<Extent>,
    /// What the stream is.
    pub(super) plan: Plan,
    /// Changes that belong to the image before the disk may boot.
    pub(super) finish: F,
}

/// Runs the pipeline to its end. `head` is the first block, which was looked at before.
/// Answers what `Target::finish` did, and what of the file was ignored.
///
/// # Errors
/// The first thing that went wrong; nothing is written any more when it is returned.
pub(super) async fn run<T, F>(
    reader: &mut Reader<'_>,
    head: Block,
    expected: &Expected,
    image_id: &str,
    target: Target<F>,
) -> Result<(T, Option<Trailer>), Failure>
where
    F: FnOnce(&mut dyn Disk) -> Result<T, Failure> + Send + 'static,
    T: Send + 'static,
{
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
    let hasher = reader.during(hashing).await;
    let verdict = match (fed, hasher) {
        (Ok(()), Ok(hasher)) => hasher
            .verify(expected)
            .map_err(|mismatch| {
                Some(Failure::new(
                    FailureKind::ImageChecksum,
                    format!(
                        "Image failed to verify against checksum. location: {device}; image ID: \
                         {image_id}; image checksum: {}; verification checksum: {}",
                        mismatch.expected, mismatch.found
                    ),
                ))
            })
            .and_then(|verified| {
                reader
                    .task
                    .check()
                    .map(|()| verified)
                    .map_err(|c| Some(c.into()))
            }),
        (Err(failure), _) => Err(failure),
        (_, Err(error)) => Err(Some(Failure::execution(format!("hashing failed: {error}")))),
    };
    let verdict = match verdict {
        Ok(verified) => {
            // A writer that is gone tells its reason below.
            let _ = to_disk.send(Order::Release(verified)).await;
            None
        }
        Err(failure) => failure,
    };
    drop(to_disk);
    let is_given_up = verdict.is_some();
    let outcome = tokio::select! {
        outcome = reader.during(writing) => outcome,
        // The thread ends with what it is doing, and does nothing more.
        () = silence(task, is_given_up) => {
            let mut failure = Failure::from(task.cancellation());
            failure.details.push_str(
                ". The disk does not answer: what the kernel has for it may still be written",
            );
            return Err(failure);
        }
    };
    let outcome =
        outcome.map_err(|error| Failure::execution(format!("writing failed: {error}")))?;
    if outcome.is_ok() {
        reader.report();
    }
    match (verdict, outcome) {
        (Some(failure), _) | (None, Err(Some(failure))) => Err(failure),
        (None, Ok(outcome)) => Ok(outcome),
        (None, Err(None)) => Err(Failure::execution("the writer stopped without a reason")),
    }
}

/// Completes when a disk has not answered for too long after the command was cancelled.
async fn silence(task: &Task, is_given_up: bool) {
    task.cancelled().await;
    let patience = if is_given_up { HANGING } else { HANGING_FLUSH };
    tokio::time::sleep(patience).await;
}

/// Hands every block to both threads. `Err(None)`: a thread stopped and tells why itself.
async fn feed(
    reader: &mut Reader<'_>,
    head: Block,
    to_hash: &mpsc::Sender<Arc<Block>>,
    to_disk: &mpsc::Sender<Order>,
) -> Result<(), Option<Failure>> {
    let mut next = Some(head);
    while let Some(block) = next {
        let block = Arc::new(block);
        to_hash.send(Arc::clone(&block)).await.map_err(|_| None)?;
        to_disk.send(Order::Write(block)).await.map_err(|_| None)?;
        next = reader.block().await.map_err(Some)?;
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
fn write<T, F>(
    target: Target<F>,
    written: Written,
    mut queue: mpsc::Receiver<Order>,
) -> Result<(T, Option<Trailer>), Option<Failure>>
where
    F: FnOnce(&mut dyn Disk) -> Result<T, Failure>,
{
    let failed = |error: WriteError| Some(error.failure(&target.device));
    let extent = target
        .extent
        .unwrap_or_else(|| Extent::whole(target.disk.as_ref()));
    let mut writer = Writer::begin(target.disk, extent, written).map_err(failed)?;
    let mut decoder = decoder(target.plan);
    while let Some(order) = queue.blocking_recv() {
        match order {
            Order::Write(block) => decoder.push(block, &mut writer).map_err(failed)?,
            Order::Release(verified) => {
                let trailer = decoder.finish(&mut writer).map_err(failed)?;
                let mut held = writer.finish(verified).map_err(failed)?;
                let outcome = (target.finish)(&mut held).map_err(Some)?;
                held.release().map_err(failed)?;
                return Ok((outcome, trailer));
            }
        }
    }
    Err(None)
}
