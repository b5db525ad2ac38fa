//! The two writers of one disk: a device that has the next write before the last one is done
//! never waits for us.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::JoinHandle;

use super::Written;
use super::write_behind::DataRef;
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

    /// Its thread has ended with a panic, so nobody knows what of its write was done.
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
mod tests {
    use std::sync::{Condvar, Mutex, PoisonError};

    use super::*;
    use crate::system::disk::Geometry;

    const SECTOR: usize = 512;

    /// What both writers see of a disk in memory.
    #[derive(Debug, Default)]
    struct Shared {
        state: Mutex<State>,
        opened: Condvar,
    }

    #[derive(Debug, Default)]
    struct State {
        bytes: Vec<u8>,
        /// The second writer's writes end once this is set.
        is_open: bool,
        is_twin_busy: bool,
    }

    #[derive(Debug)]
    struct Paper {
        shared: Arc<Shared>,
        is_twin: bool,
        is_broken: bool,
    }

    impl Disk for Paper {
        fn geometry(&self) -> Geometry {
            Geometry {
                size: 1 << 20,
                sector_size: 512,
            }
        }
        fn read_at(&mut self, _: u64, _: &mut [u8]) -> Result<(), DiskError> {
            unreachable!("nothing is read")
        }
        fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
            let mut state = self.shared.state.lock().unwrap();
            if self.is_twin {
                state.is_twin_busy = true;
                let is_closed = |state: &mut State| !state.is_open;
                state = self.shared.opened.wait_while(state, is_closed).unwrap();
                state.is_twin_busy = false;
                if self.is_broken {
                    return Err(DiskError::Busy {
                        path: "/dev/broken".into(),
                    });
                }
            } else if !data.len().is_multiple_of(SECTOR) {
                assert!(!state.is_twin_busy, "a neighbour may be missing");
            }
            let start = usize::try_from(offset).unwrap();
            state.bytes[start..start + data.len()].copy_from_slice(data);
            Ok(())
        }
        fn zero(&mut self, _: u64, _: u64) -> Result<(), DiskError> {
            unreachable!("nothing is made zeros")
        }
        fn punch(&mut self, _: u64, _: u64) -> Result<bool, DiskError> {
            Ok(false)
        }
        fn sync(&mut self) -> Result<(), DiskError> {
            Ok(())
        }
        fn reread_table(&mut self) -> Result<(), DiskError> {
            Ok(())
        }
        fn twin(&self) -> Option<Box<dyn Disk>> {
            Some(Box::new(Self {
                shared: Arc::clone(&self.shared),
                is_twin: true,
                is_broken: self.is_broken,
            }))
        }
    }

    fn pair(is_broken: bool) -> (Arc<Shared>, WriterPair, Receiver<AlignedBuffer>) {
        let shared = Arc::<Shared>::default();
        shared.state.lock().unwrap().bytes = vec![0; 1 << 20];
        let disk = Paper {
            shared: Arc::clone(&shared),
            is_twin: false,
            is_broken,
        };
        let (sender, free) = channel();
        (
            shared,
            WriterPair::new(Box::new(disk), sender, Arc::default(), Written::default()),
            free,
        )
    }

    fn sectors(byte: u8, length: usize) -> DataRef {
        let mut buffer = AlignedBuffer::new(4096);
        buffer.fill(byte);
        DataRef::Owned(buffer, 0..length)
    }

    fn bytes_at(shared: &Shared, offsets: &[usize]) -> Vec<u8> {
        let state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        offsets.iter().map(|offset| state.bytes[*offset]).collect()
    }

    /// Lets the second writer end, soon.
    fn open(shared: &Arc<Shared>) -> JoinHandle<()> {
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            while !shared.state.lock().unwrap().is_twin_busy {
                std::thread::yield_now();
            }
            shared.state.lock().unwrap().is_open = true;
            shared.opened.notify_all();
        })
    }

    #[test]
    fn a_write_need_not_wait_for_the_one_before() {
        let (shared, mut pair, free) = pair(false);
        pair.write(0, sectors(1, 4096)).unwrap();
        pair.write(4096, sectors(2, 4096)).unwrap();
        pair.write(8192, sectors(3, 4096)).unwrap();
        assert_eq!(bytes_at(&shared, &[0, 4096, 8192]), [0, 2, 3]);
        let opener = open(&shared);
        pair.disk().unwrap();
        assert_eq!(bytes_at(&shared, &[0, 4096, 8192]), [1, 2, 3]);
        opener.join().unwrap();
        pair.end().unwrap();
        assert_eq!(free.iter().count(), 3, "all memory came back");
    }

    #[test]
    fn a_write_of_less_than_whole_sectors_waits_for_its_neighbours() {
        let (shared, mut pair, _free) = pair(false);
        pair.write(0, sectors(1, SECTOR)).unwrap();
        let opener = open(&shared);
        pair.write(SECTOR as u64, sectors(2, 100)).unwrap();
        assert_eq!(bytes_at(&shared, &[0, SECTOR]), [1, 2]);
        opener.join().unwrap();
    }

    #[test]
    fn an_error_of_the_second_writer_is_returned() {
        let (shared, mut pair, _free) = pair(true);
        pair.write(0, sectors(1, 4096)).unwrap();
        let opener = open(&shared);
        assert!(matches!(pair.disk(), Err(DiskError::Busy { .. })));
        opener.join().unwrap();
        // It is returned once, and the second writer goes on.
        pair.write(0, sectors(1, 4096)).unwrap();
        assert!(matches!(pair.end(), Err(DiskError::Busy { .. })));
    }

    #[test]
    fn a_write_of_a_writer_that_ended_is_not_taken_for_done() {
        for is_last in [true, false] {
            let (shared, mut pair, _free) = pair(false);
            // The lock is poisoned, so that the second writer panics.
            let poisoner = Arc::clone(&shared);
            let poisoned = std::thread::spawn(move || {
                let _guard = poisoner.state.lock().unwrap();
                panic!("on purpose");
            });
            assert!(poisoned.join().is_err());
            pair.write(0, sectors(1, 4096)).unwrap();
            let ended = if is_last {
                pair.end().map(drop)
            } else {
                pair.disk().map(drop)
            };
            assert!(matches!(ended, Err(DiskError::Io { offset: 0, .. })));
        }
    }

    #[test]
    fn what_was_abandoned_is_not_written() {
        let (shared, mut pair, _free) = pair(false);
        pair.context.abandoned.store(true, Ordering::Release);
        for offset in [0, 4096] {
            pair.write(offset, sectors(1, 4096)).unwrap();
        }
        pair.end().unwrap();
        assert_eq!(bytes_at(&shared, &[0, 4096]), [0, 0]);
    }
}
