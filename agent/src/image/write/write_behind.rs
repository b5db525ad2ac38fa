//! The disk's own thread: decoding goes on while the disk works.
//!
//! Requests are carried out in their order; only writes of whole sectors may be two at a time
//! ([`WriterPair`]). Dropping [`WriteBehind`] abandons what has not begun and waits for what has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use super::data_ref::DataRef;
use super::writer_pair::WriterPair;
use super::{BLOCK, MAX_RUN_BYTES, WriteError, Written};
use crate::system::disk::{AlignedBuffer, Disk, DiskError};

/// Requests that may wait.
const QUEUE: usize = 4;
/// Buffers for bytes that are not in a block of the download: in the queue, with both writers and
/// withheld.
const BUFFERS: usize = QUEUE + 4;

#[derive(Debug)]
enum DiskRequest {
    Write(u64, DataRef),
    Zero(u64, u64),
    /// Zeros that are not the image's.
    Clear(u64, u64),
    /// Answers whether the device could.
    Punch(u64, u64, Sender<bool>),
    /// Answers so many bytes.
    Read(u64, usize, Sender<Vec<u8>>),
}

/// A disk that is written by another thread.
#[derive(Debug)]
pub(super) struct WriteBehind {
    /// `None` once the thread is to end.
    requests: Option<SyncSender<DiskRequest>>,
    thread: Option<JoinHandle<Result<Box<dyn Disk>, DiskError>>>,
    abandoned: Arc<AtomicBool>,
    spare: Receiver<AlignedBuffer>,
    /// Buffers that came back without going to the disk.
    unused: Vec<AlignedBuffer>,
    /// Memory is taken only when it is needed.
    unborn: usize,
}

impl WriteBehind {
    pub(super) fn new(disk: Box<dyn Disk>, written: Written) -> Result<Self, WriteError> {
        let (requests, queue) = sync_channel(QUEUE);
        let (free, spare) = channel();
        let abandoned = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&abandoned);
        let thread = std::thread::Builder::new()
            .name("disk".to_owned())
            .spawn(move || serve(WriterPair::new(disk, free, stop, written), &queue))
            .map_err(WriteError::Thread)?;
        Ok(Self {
            requests: Some(requests),
            thread: Some(thread),
            abandoned,
            spare,
            unused: Vec::new(),
            unborn: BUFFERS,
        })
    }

    /// Memory of [`BLOCK`] bytes for [`DataRef::Owned`], as soon as some is free. It may hold
    /// old bytes.
    pub(super) fn buffer(&mut self) -> Result<AlignedBuffer, WriteError> {
        if let Some(buffer) = self.unused.pop() {
            return Ok(buffer);
        }
        if let Ok(buffer) = self.spare.try_recv() {
            return Ok(buffer);
        }
        if self.unborn > 0 {
            self.unborn -= 1;
            return Ok(AlignedBuffer::new(BLOCK));
        }
        match self.spare.recv() {
            Ok(buffer) => Ok(buffer),
            Err(_) => Err(self.reason()),
        }
    }

    /// Takes bytes back that need not be written.
    pub(super) fn recycle(&mut self, data: DataRef) {
        if let DataRef::Owned(buffer, _) = data {
            self.unused.push(buffer);
        }
    }

    pub(super) fn write(&mut self, offset: u64, data: DataRef) -> Result<(), WriteError> {
        self.request(DiskRequest::Write(offset, data))
    }

    pub(super) fn zero(&mut self, offset: u64, length: u64) -> Result<(), WriteError> {
        self.request(DiskRequest::Zero(offset, length))
    }

    /// Zeros that the image does not ask for: before it, or where something was staged.
    pub(super) fn clear(&mut self, offset: u64, length: u64) -> Result<(), WriteError> {
        self.request(DiskRequest::Clear(offset, length))
    }

    /// Whether the device makes the range zeros without being sent them. `false`: it does
    /// not, and some of the range may be as it was.
    pub(super) fn punch(&mut self, offset: u64, length: u64) -> Result<bool, WriteError> {
        let (answer, answered) = channel();
        self.request(DiskRequest::Punch(offset, length, answer))?;
        answered.recv().map_err(|_| self.reason())
    }

    /// What is on the disk after all requests before.
    pub(super) fn read(&mut self, offset: u64, length: usize) -> Result<Vec<u8>, WriteError> {
        let (answer, answered) = channel();
        self.request(DiskRequest::Read(offset, length, answer))?;
        answered.recv().map_err(|_| self.reason())
    }

    fn request(&mut self, request: DiskRequest) -> Result<(), WriteError> {
        let sent = self
            .requests
            .as_ref()
            .is_some_and(|requests| requests.send(request).is_ok());
        if sent { Ok(()) } else { Err(self.reason()) }
    }

    /// Waits until everything is done and gives the disk back.
    pub(super) fn end(mut self) -> Result<Box<dyn Disk>, WriteError> {
        self.join()
    }

    /// Why the thread has stopped.
    fn reason(&mut self) -> WriteError {
        match self.join() {
            Err(error) => error,
            Ok(_) => WriteError::Stopped("the disk's thread ended early"),
        }
    }

    fn join(&mut self) -> Result<Box<dyn Disk>, WriteError> {
        self.requests = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => Ok(ended?),
            Some(Err(_)) => Err(WriteError::Stopped("the disk's thread failed")),
            None => Err(WriteError::Stopped("the disk failed before")),
        }
    }
}

impl Drop for WriteBehind {
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::Release);
        // Only the end counts: nothing is written any more.
        let _ = self.join();
    }
}

fn serve(mut pair: WriterPair, queue: &Receiver<DiskRequest>) -> Result<Box<dyn Disk>, DiskError> {
    while let Ok(request) = queue.recv() {
        match request {
            DiskRequest::Write(offset, data) => pair.write(offset, data)?,
            DiskRequest::Zero(offset, length) => {
                for (offset, length) in runs(offset, length) {
                    if pair.is_wanted() {
                        pair.disk()?.zero(offset, length)?;
                        pair.count(length);
                    }
                }
            }
            DiskRequest::Clear(offset, length) => {
                for (offset, length) in runs(offset, length) {
                    if pair.is_wanted() {
                        pair.disk()?.zero(offset, length)?;
                    }
                }
            }
            DiskRequest::Read(offset, length, answer) => {
                let mut bytes = AlignedBuffer::new(length);
                pair.disk()?.read_at(offset, &mut bytes)?;
                // The one who asked may be gone.
                let _ = answer.send(bytes.to_vec());
            }
            DiskRequest::Punch(offset, length, answer) => {
                let mut can = true;
                for (offset, length) in runs(offset, length) {
                    can = pair.is_wanted() && pair.disk()?.punch(offset, length)?;
                    if !can {
                        break;
                    }
                }
                // The one who asked may be gone.
                let _ = answer.send(can);
            }
        }
    }
    pair.end()
}

/// Long work in pieces, so that a dropped writer stops soon.
fn runs(offset: u64, length: u64) -> impl Iterator<Item = (u64, u64)> {
    let starts = (0..length.div_ceil(MAX_RUN_BYTES)).map(|index| index * MAX_RUN_BYTES);
    starts.map(move |start| (offset + start, (length - start).min(MAX_RUN_BYTES)))
}
