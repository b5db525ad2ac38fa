//! Compressed clusters, unpacked by a few threads.
//!
//! ```text
//! batches of clusters ──▶ workers ──▶ chunks of the disk ──▶ the writer's thread
//!                            ▲                                   │
//!                            └────────── memory, again ──────────┘
//! ```
//!
//! All that is in flight has a bound: so many batches, of a block of the download each, and
//! so many chunks.

use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use libdeflater::{DecompressionError, Decompressor};
use zstd::zstd_safe;

use super::error::{Defect, Qcow2Error};
use super::header::{Compression, Header};
use crate::image::block::{BLOCK, Block};
use crate::system::disk::AlignedBuffer;

/// More would wait for the network.
const MAX_WORKERS: usize = 4;

/// The bytes of a compressed cluster, and perhaps of the next one: to the end of a sector.
#[derive(Debug)]
pub(super) enum CompressedInput {
    /// Within a block of the download.
    Shared(Arc<Block>, Range<usize>),
    /// Joined from several.
    Joined(Vec<u8>),
}

impl CompressedInput {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Shared(block, range) => &block[range.clone()],
            Self::Joined(bytes) => bytes,
        }
    }
}

/// A cluster to unpack.
#[derive(Debug)]
pub(super) struct ClusterJob {
    pub(super) input: CompressedInput,
    /// Where it is in the file.
    pub(super) host: u64,
    /// Where it belongs on the disk.
    pub(super) guest: u64,
}

/// Unpacked neighbours.
pub(super) struct Chunk {
    pub(super) guest: u64,
    pub(super) length: usize,
    pub(super) buffer: AlignedBuffer,
}

enum WorkerReport {
    Chunk(Chunk),
    Batch,
    Failed(Qcow2Error),
}

/// The threads. Dropping them lets them end.
pub(super) struct UnpackWorkers {
    jobs: Option<Sender<Vec<ClusterJob>>>,
    done: Receiver<WorkerReport>,
    spare: Sender<AlignedBuffer>,
    threads: Vec<JoinHandle<()>>,
    in_flight: usize,
}

/// What came back.
pub(super) enum Unpacked {
    Chunk(Chunk),
    /// Nothing for now.
    Nothing,
}

impl UnpackWorkers {
    pub(super) fn new(header: &Header) -> Self {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let count = count.min(MAX_WORKERS);
        let (jobs, queue) = channel();
        let (done, results) = channel();
        let (spare, spares) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let spares = Arc::new(Mutex::new(spares));
        for _ in 0..=count {
            // The receiver is in our hands.
            let _ = spare.send(AlignedBuffer::new(BLOCK.max(header.cluster_in_memory())));
        }
        let threads = (0..count)
            .map(|_| {
                let worker = UnpackWorker {
                    cluster: header.cluster_in_memory(),
                    codec: Codec::new(header.compression),
                    queue: Arc::clone(&queue),
                    spares: Arc::clone(&spares),
                    done: done.clone(),
                };
                std::thread::spawn(|| worker.run())
            })
            .collect();
        Self {
            jobs: Some(jobs),
            done: results,
            spare,
            threads,
            in_flight: 0,
        }
    }

    /// Hands over a batch.
    pub(super) fn submit(&mut self, batch: Vec<ClusterJob>) {
        if let Some(jobs) = &self.jobs {
            // It cannot be closed while there are workers; without them `next` says so.
            let _ = jobs.send(batch);
            self.in_flight += 1;
        }
    }

    /// What has been unpacked. Waits only while more than `in_flight` batches are.
    pub(super) fn next(&mut self, in_flight: usize) -> Result<Unpacked, Qcow2Error> {
        loop {
            let done = if self.in_flight > in_flight {
                self.done.recv().map_err(|_| ())
            } else {
                match self.done.try_recv() {
                    Ok(done) => Ok(done),
                    Err(_) => return Ok(Unpacked::Nothing),
                }
            };
            match done {
                Ok(WorkerReport::Chunk(chunk)) => return Ok(Unpacked::Chunk(chunk)),
                Ok(WorkerReport::Batch) => self.in_flight -= 1,
                Ok(WorkerReport::Failed(refusal)) => return Err(refusal),
                Err(()) => return Err(Defect::Compressed("the threads that unpack ended").at(0)),
            }
        }
    }

    /// As many batches as keep every thread busy.
    pub(super) fn capacity(&self) -> usize {
        self.threads.len() + 1
    }

    /// Takes the memory of a chunk back.
    pub(super) fn recycle(&self, chunk: Chunk) {
        // Workers that have ended need none.
        let _ = self.spare.send(chunk.buffer);
    }
}

impl Drop for UnpackWorkers {
    fn drop(&mut self) {
        // The workers wait for work or for memory; both queues close, and they end.
        self.jobs = None;
        let (closed, _) = channel();
        self.spare = closed;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that unpacks clusters panicked");
            }
        }
    }
}

struct UnpackWorker {
    cluster: usize,
    codec: Codec,
    queue: Arc<Mutex<Receiver<Vec<ClusterJob>>>>,
    spares: Arc<Mutex<Receiver<AlignedBuffer>>>,
    done: Sender<WorkerReport>,
}

/// The other side has gone.
struct QueueClosed;

impl UnpackWorker {
    fn run(mut self) {
        while let Some(batch) = take(&self.queue) {
            let answer = match self.unpack(batch) {
                Ok(()) => WorkerReport::Batch,
                Err(Ok(refusal)) => WorkerReport::Failed(refusal),
                Err(Err(QueueClosed)) => return,
            };
            if self.done.send(answer).is_err() {
                return;
            }
        }
    }

    /// Neighbours on the disk leave as one chunk.
    fn unpack(&mut self, batch: Vec<ClusterJob>) -> Result<(), Result<Qcow2Error, QueueClosed>> {
        let mut open: Option<Chunk> = None;
        for job in batch {
            if let Some(chunk) = open.take_if(|chunk| {
                chunk.guest + chunk.length as u64 != job.guest
                    || chunk.length + self.cluster > chunk.buffer.len()
            }) {
                self.send(chunk)?;
            }
            let mut chunk = match open.take() {
                Some(chunk) => chunk,
                None => Chunk {
                    guest: job.guest,
                    length: 0,
                    buffer: take(&self.spares).ok_or(Err(QueueClosed))?,
                },
            };
            let output = &mut chunk.buffer[chunk.length..chunk.length + self.cluster];
            self.codec
                .unpack(job.input.bytes(), output)
                .map_err(|defect| Ok(defect.at(job.host)))?;
            chunk.length += self.cluster;
            open = Some(chunk);
        }
        match open {
            Some(chunk) => self.send(chunk),
            None => Ok(()),
        }
    }

    fn send(&self, chunk: Chunk) -> Result<(), Result<Qcow2Error, QueueClosed>> {
        self.done
            .send(WorkerReport::Chunk(chunk))
            .map_err(|_| Err(QueueClosed))
    }
}

fn take<T>(queue: &Mutex<Receiver<T>>) -> Option<T> {
    let queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    queue.recv().ok()
}

/// What unpacks one cluster after the other.
enum Codec {
    /// A third faster than a decoder of streams: cluster and room for it are there at once.
    Deflate(Decompressor),
    Zstd(zstd_safe::DCtx<'static>),
}

impl Codec {
    fn new(compression: Compression) -> Self {
        match compression {
            Compression::Deflate => Self::Deflate(Decompressor::new()),
            Compression::Zstd => Self::Zstd(zstd_safe::DCtx::create()),
        }
    }

    /// Fills `output`, which is one cluster, exactly. Bytes behind the compressed ones are
    /// the next cluster's.
    fn unpack(&mut self, input: &[u8], output: &mut [u8]) -> Result<(), Defect> {
        let needed = output.len();
        let found = match self {
            Self::Deflate(inflate) => {
                inflate
                    .deflate_decompress(input, output)
                    .map_err(|error| match error {
                        DecompressionError::BadData => {
                            Defect::Compressed("its deflate stream is damaged or cut off")
                        }
                        DecompressionError::InsufficientSpace => {
                            Defect::Compressed("it is longer than a cluster")
                        }
                    })?
            }
            Self::Zstd(context) => {
                let length = zstd_safe::find_frame_compressed_size(input)
                    .map_err(|_| Defect::Compressed("it is not a whole zstd frame"))?;
                context
                    .decompress(output, &input[..length.min(input.len())])
                    .map_err(|_| {
                        Defect::Compressed("its zstd frame is damaged or longer than a cluster")
                    })?
            }
        };
        if found == needed {
            Ok(())
        } else {
            Err(Defect::CompressedLength { found, needed })
        }
    }
}
