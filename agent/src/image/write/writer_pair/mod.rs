//! The two writers of one disk: a device that has the next write before the last one is done
//! never waits for us.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::JoinHandle;

use super::Written;
use super::data_ref::DataRef;
use crate::system::disk::{AlignedBuffer, Disk, DiskError};

/// A disk that is written from here and, where it has a twin, by one more thread.
pub(super) struct WriterPair {
    disk: Box<dyn Disk>,
    second: Option<SecondWriter>,
    context: WriterContext,
}

impl WriterPair {
    /// Buffers that are free again go to `free`.
    pub(super) fn new(
        disk: Box<dyn Disk>,
        free: Sender<AlignedBuffer>,
        abandoned: Arc<AtomicBool>,
        written: Written,
    ) -> Self {
        let context = WriterContext {
            free,
            abandoned,
            written,
        };
        let twin = disk.twin();
        Self {
            disk,
            second: twin.and_then(|twin| SecondWriter::new(twin, context.clone())),
            context,
        }
    }

    /// Whether anything may still be written.
    pub(super) fn is_wanted(&self) -> bool {
        self.context.is_wanted()
    }

    /// Counts bytes that were made zeros.
    pub(super) fn count(&self, bytes: u64) {
        self.context.written.add(bytes);
    }

    /// Writes, perhaps after the return; the error may be that of an earlier write.
    pub(super) fn write(&mut self, offset: u64, data: DataRef) -> Result<(), DiskError> {
        // A write of less than whole sectors reads and changes them: its neighbours must be there.
        let sector = u64::from(self.disk.geometry().sector_size);
        let is_whole = offset.is_multiple_of(sector) && (data.len() as u64).is_multiple_of(sector);
        if !is_whole || !AlignedBuffer::is_aligned(&data) {
            self.rest()?;
        } else if let Some(second) = &mut self.second
            && second.is_idle()?
        {
            second.begin(offset, data);
            return Ok(());
        }
        self.context.write(self.disk.as_mut(), offset, data)
    }

    /// The disk, with all that was written before.
    pub(super) fn disk(&mut self) -> Result<&mut dyn Disk, DiskError> {
        self.rest()?;
        Ok(self.disk.as_mut())
    }

    /// Gives the disk back, with all that was written.
    pub(super) fn end(mut self) -> Result<Box<dyn Disk>, DiskError> {
        self.rest()?;
        Ok(self.disk)
    }

    fn rest(&mut self) -> Result<(), DiskError> {
        self.second.as_mut().map_or(Ok(()), SecondWriter::rest)
    }
}

/// What both writers share.
#[derive(Clone)]
struct WriterContext {
    free: Sender<AlignedBuffer>,
    abandoned: Arc<AtomicBool>,
    written: Written,
}

impl WriterContext {
    fn is_wanted(&self) -> bool {
        !self.abandoned.load(Ordering::Acquire)
    }

    fn write(&self, disk: &mut dyn Disk, offset: u64, data: DataRef) -> Result<(), DiskError> {
        if self.is_wanted() {
            disk.write_at(offset, &data)?;
            if !matches!(data, DataRef::Staged(..)) {
                self.written.add(data.len() as u64);
            }
        }
        if let DataRef::Owned(buffer, _) | DataRef::Staged(buffer, _) = data {
            // Nobody needs the memory once the writer is gone.
            let _ = self.free.send(buffer);
        }
        Ok(())
    }
}

/// The second writer, on its own thread. Dropping it waits for what it has begun.
struct SecondWriter {
    writes: Option<SyncSender<(u64, DataRef)>>,
    done: Receiver<Result<(), DiskError>>,
    /// Where it writes.
    busy_at: Option<u64>,
    thread: Option<JoinHandle<()>>,
}

impl SecondWriter {
    /// `None`: there is no thread for it, and one writer does it all.
    fn new(mut twin: Box<dyn Disk>, context: WriterContext) -> Option<Self> {
        let (writes, queue) = sync_channel::<(u64, DataRef)>(1);
        let (report, done) = channel();
        let thread = std::thread::Builder::new().name("disk".to_owned());
        let thread = thread.spawn(move || {
            while let Ok((offset, data)) = queue.recv() {
                let written = context.write(twin.as_mut(), offset, data);
                if report.send(written).is_err() {
                    return;
                }
            }
        });
        Some(Self {
            writes: Some(writes),
            done,
            busy_at: None,
            thread: Some(thread.ok()?),
        })
    }

    /// Whether it can take a write.
    fn is_idle(&mut self) -> Result<bool, DiskError> {
        match self.done.try_recv() {
            Ok(written) => {
                self.busy_at = None;
                written?;
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Err(self.lost()),
        }
        Ok(self.busy_at.is_none())
    }

    fn begin(&mut self, offset: u64, data: DataRef) {
        self.busy_at = Some(offset);
        if let Some(writes) = &self.writes {
            // If the thread has ended, the next question answers it: the write is not done.
            let _ = writes.send((offset, data));
        }
    }

    /// Waits until it is idle.
    fn rest(&mut self) -> Result<(), DiskError> {
        if self.busy_at.is_some() {
            let written = self.done.recv().map_err(|_| self.lost())?;
            self.busy_at = None;
            written?;
        }
        Ok(())
    }

    /// Its thread has ended with a panic, so it is unknown what of its write was done.
    fn lost(&self) -> DiskError {
        DiskError::Io {
            action: "write",
            path: "the disk".into(),
            offset: self.busy_at.unwrap_or_default(),
            source: std::io::Error::other("the thread that writes has ended"),
        }
    }
}

impl Drop for SecondWriter {
    fn drop(&mut self) {
        self.writes = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a thread that writes to the disk panicked");
        }
    }
}

#[cfg(test)]
mod tests;
