//! The disk's own thread: whoever decodes goes on while the disk works.
//!
//! Orders are carried out in their order; only writes of whole sectors may be two at a time
//! ([`Hands`]). Dropping [`Behind`] abandons what has not begun and waits for what has.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use super::writer_pair::Hands;
use super::{BLOCK, Block, LONGEST_RUN, WriteError, Written};
use crate::system::disk::{AlignedBuffer, Disk, DiskError};

/// Orders that may wait.
const QUEUE: usize = 4;
/// Buffers for bytes that are not in a block of the download: in the queue, in both hands and
/// held back.
const BUFFERS: usize = QUEUE + 4;

/// Bytes on their way to the disk, without copying them.
#[derive(Debug)]
pub(super) enum Data {
    /// Part of a block of the download.
    Shared(Arc<Block>, Range<usize>),
    /// Part of a buffer of [`Behind::buffer`].
    Owned(AlignedBuffer, Range<usize>),
    /// The same, for a place where it does not stay.
    Staged(AlignedBuffer, Range<usize>),
}

impl Data {
    /// Only these of the bytes.
    pub(super) fn part(self, part: Range<usize>) -> Self {
        let within = |range: Range<usize>| range.start + part.start..range.start + part.end;
        match self {
            Self::Shared(block, range) => Self::Shared(block, within(range)),
            Self::Owned(buffer, range) => Self::Owned(buffer, within(range)),
            Self::Staged(buffer, range) => Self::Staged(buffer, within(range)),
        }
    }
}

impl std::ops::Deref for Data {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Shared(block, range) => &block[range.clone()],
            Self::Owned(buffer, range) | Self::Staged(buffer, range) => &buffer[range.clone()],
        }
    }
}

#[derive(Debug)]
enum Order {
    Write(u64, Data),
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
pub(super) struct Behind {
    /// `None` once the thread was told to end.
    orders: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<Result<Box<dyn Disk>, DiskError>>>,
    abandoned: Arc<AtomicBool>,
    spare: Receiver<AlignedBuffer>,
    /// Buffers that came back without going to the disk.
    unused: Vec<AlignedBuffer>,
    /// Memory is taken only when it is needed.
    unborn: usize,
}

impl Behind {
    pub(super) fn new(disk: Box<dyn Disk>, written: Written) -> Result<Self, WriteError> {
        let (orders, queue) = sync_channel(QUEUE);
        let (home, spare) = channel();
        let abandoned = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&abandoned);
        let thread = std::thread::Builder::new()
            .name("disk".to_owned())
            .spawn(move || work(Hands::new(disk, home, told, written), &queue))
            .map_err(|error| WriteError::Stopped(error.to_string()))?;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
            abandoned,
            spare,
            unused: Vec::new(),
            unborn: BUFFERS,
        })
    }

    /// Memory of [`BLOCK`] bytes for [`Data::Owned`], as soon as some is free. It may hold
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
    pub(super) fn recycle(&mut self, data: Data) {
        if let Data::Owned(buffer, _) = data {
            self.unused.push(buffer);
        }
    }

    pub(super) fn write(&mut self, offset: u64, data: Data) -> Result<(), WriteError> {
        self.order(Order::Write(offset, data))
    }

    pub(super) fn zero(&mut self, offset: u64, length: u64) -> Result<(), WriteError> {
        self.order(Order::Zero(offset, length))
    }

    /// Zeros that the image does not ask for: before it, or where something was staged.
    pub(super) fn clear(&mut self, offset: u64, length: u64) -> Result<(), WriteError> {
        self.order(Order::Clear(offset, length))
    }

    /// Whether the device makes the range zeros without being sent them. `false`: it does
    /// not, and some of the range may be as it was.
    pub(super) fn punch(&mut self, offset: u64, length: u64) -> Result<bool, WriteError> {
        let (answer, answered) = channel();
        self.order(Order::Punch(offset, length, answer))?;
        answered.recv().map_err(|_| self.reason())
    }

    /// What is on the disk after all orders before.
    pub(super) fn read(&mut self, offset: u64, length: usize) -> Result<Vec<u8>, WriteError> {
        let (answer, answered) = channel();
        self.order(Order::Read(offset, length, answer))?;
        answered.recv().map_err(|_| self.reason())
    }

    fn order(&mut self, order: Order) -> Result<(), WriteError> {
        let sent = self
            .orders
            .as_ref()
            .is_some_and(|orders| orders.send(order).is_ok());
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
            Ok(_) => WriteError::Stopped("the disk's thread ended early".to_owned()),
        }
    }

    fn join(&mut self) -> Result<Box<dyn Disk>, WriteError> {
        self.orders = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => Ok(ended?),
            Some(Err(_)) => Err(WriteError::Stopped("the disk's thread failed".to_owned())),
            None => Err(WriteError::Stopped("the disk failed before".to_owned())),
        }
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::Release);
        // Only the end counts: nothing is written any more.
        let _ = self.join();
    }
}

fn work(mut hands: Hands, queue: &Receiver<Order>) -> Result<Box<dyn Disk>, DiskError> {
    while let Ok(order) = queue.recv() {
        match order {
            Order::Write(offset, data) => hands.write(offset, data)?,
            Order::Zero(offset, length) => {
                for (offset, length) in runs(offset, length) {
                    if hands.is_wanted() {
                        hands.disk()?.zero(offset, length)?;
                        hands.count(length);
                    }
                }
            }
            Order::Clear(offset, length) => {
                for (offset, length) in runs(offset, length) {
                    if hands.is_wanted() {
                        hands.disk()?.zero(offset, length)?;
                    }
                }
            }
            Order::Read(offset, length, answer) => {
                let mut bytes = AlignedBuffer::new(length);
                hands.disk()?.read_at(offset, &mut bytes)?;
                // Whoever asked may be gone.
                let _ = answer.send(bytes.to_vec());
            }
            Order::Punch(offset, length, answer) => {
                let mut can = true;
                for (offset, length) in runs(offset, length) {
                    can = hands.is_wanted() && hands.disk()?.punch(offset, length)?;
                    if !can {
                        break;
                    }
                }
                // Whoever asked may be gone.
                let _ = answer.send(can);
            }
        }
    }
    hands.end()
}

/// Long work in pieces, so that a dropped writer stops soon.
fn runs(offset: u64, length: u64) -> impl Iterator<Item = (u64, u64)> {
    let starts = (0..length.div_ceil(LONGEST_RUN)).map(|index| index * LONGEST_RUN);
    starts.map(move |start| (offset + start, (length - start).min(LONGEST_RUN)))
}
