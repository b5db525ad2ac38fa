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
