//! Disks that lose power, for tests.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::{Disk, DiskError, Disks, Geometry};

/// What a disk's cache loses of the changes since it was last flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheLoss {
    Nothing,
    Everything,
    /// Some, chosen by this number: a cache keeps no order.
    Some(u64),
}

impl CacheLoss {
    pub(crate) const KINDS: [Self; 4] = [
        Self::Nothing,
        Self::Everything,
        Self::Some(1),
        Self::Some(2),
    ];

    fn takes(self, index: usize) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Some(seed) => {
                let mixed = (index as u64 + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                mixed >> 63 == 0
            }
        }
    }
}

/// Disks of which every write hangs, as on a controller that is lost, until they are let go.
#[derive(Debug)]
pub(crate) struct HangingDisks {
    inner: super::LinuxDisks,
    gate: Arc<(Mutex<Gate>, std::sync::Condvar)>,
}

#[derive(Debug, Default)]
struct Gate {
    /// Writes that wait.
    waiting: usize,
    is_open: bool,
}

impl HangingDisks {
    pub(crate) fn new() -> Self {
        Self {
            inner: super::LinuxDisks,
            gate: Arc::default(),
        }
    }

    /// Whether a write hangs.
    pub(crate) fn hangs(&self) -> bool {
        self.gate.0.lock().unwrap().waiting > 0
    }

    /// Lets all writes go on.
    pub(crate) fn let_go(&self) {
        self.gate.0.lock().unwrap().is_open = true;
        self.gate.1.notify_all();
    }
}

impl Disks for HangingDisks {
    fn open(&self, name: &Path) -> Result<Box<dyn Disk>, DiskError> {
        let (disk, gate) = (self.inner.open(name)?, Arc::clone(&self.gate));
        Ok(Box::new(Hanging { disk, gate }))
    }

    fn open_shared(&self, name: &Path) -> Result<Box<dyn Disk>, DiskError> {
        self.open(name)
    }

    fn open_to_read(&self, name: &Path) -> Result<Box<dyn Disk>, DiskError> {
        self.open(name)
    }
}

#[derive(Debug)]
struct Hanging {
    disk: Box<dyn Disk>,
    gate: Arc<(Mutex<Gate>, std::sync::Condvar)>,
}

impl Hanging {
    fn hang(&self) {
        let mut gate = self.gate.0.lock().unwrap();
        gate.waiting += 1;
        while !gate.is_open {
            gate = self.gate.1.wait(gate).unwrap();
        }
        gate.waiting -= 1;
    }
}

impl Disk for Hanging {
    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        self.disk.read_at(offset, buffer)
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.hang();
        self.disk.write_at(offset, data)
    }

    fn zero(&mut self, offset: u64, length: u64) -> Result<(), DiskError> {
        self.hang();
        self.disk.zero(offset, length)
    }

    fn punch(&mut self, offset: u64, length: u64) -> Result<bool, DiskError> {
        self.hang();
        self.disk.punch(offset, length)
    }

    fn sync(&mut self) -> Result<(), DiskError> {
        self.disk.sync()
    }

    fn reread_table(&mut self) -> Result<(), DiskError> {
        self.disk.reread_table()
    }
}

/// Where something was changed, and what was there.
type Before = (u64, Vec<u8>);

/// The power of a disk: after so many changes nothing arrives any more.
#[derive(Debug, Clone)]
pub(crate) struct PowerCut {
    changes_left: Arc<AtomicUsize>,
    /// Whether the device can make zeros without being sent them.
    punches: bool,
    loss: CacheLoss,
    /// What was there before each change that is only in the disk's cache.
    cached: Arc<Mutex<Vec<Before>>>,
}

impl PowerCut {
    pub(crate) fn after(changes: usize, punches: bool) -> Self {
        Self {
            changes_left: Arc::new(AtomicUsize::new(changes)),
            punches,
            loss: CacheLoss::Nothing,
            cached: Arc::default(),
        }
    }

    pub(crate) fn losing(self, loss: CacheLoss) -> Self {
        Self { loss, ..self }
    }

    /// A disk that has this power.
    pub(crate) fn feed(&self, disk: Box<dyn Disk>) -> Box<dyn Disk> {
        let power = self.clone();
        Box::new(Fed { disk, power })
    }

    /// Before a change of these bytes.
    fn spend(&self, disk: &mut dyn Disk, offset: u64, length: u64) -> Result<(), DiskError> {
        let less = |left: usize| left.checked_sub(1);
        let spent = self
            .changes_left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        let mut cached = self.cached.lock().unwrap();
        if spent.is_ok() {
            if self.loss != CacheLoss::Nothing && length > 0 {
                let mut before = vec![0; usize::try_from(length).unwrap()];
                disk.read_at(offset, &mut before)?;
                cached.push((offset, before));
            }
            return Ok(());
        }
        for (index, (offset, before)) in cached.drain(..).enumerate().rev() {
            if self.loss.takes(index) {
                disk.write_at(offset, &before)?;
            }
        }
        Err(DiskError::Busy {
            path: "/dev/power-cut".into(),
        })
    }
}

#[derive(Debug)]
struct Fed {
    disk: Box<dyn Disk>,
    power: PowerCut,
}

impl Disk for Fed {
    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        self.disk.read_at(offset, buffer)
    }
    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.power
            .spend(self.disk.as_mut(), offset, data.len() as u64)?;
        self.disk.write_at(offset, data)
    }
    fn zero(&mut self, offset: u64, length: u64) -> Result<(), DiskError> {
        self.power.spend(self.disk.as_mut(), offset, length)?;
        self.disk.zero(offset, length)
    }
    fn punch(&mut self, offset: u64, length: u64) -> Result<bool, DiskError> {
        if !self.power.punches {
            return Ok(false);
        }
        self.power.spend(self.disk.as_mut(), offset, length)?;
        self.disk.punch(offset, length)
    }
    fn sync(&mut self) -> Result<(), DiskError> {
        self.power.spend(self.disk.as_mut(), 0, 0)?;
        self.power.cached.lock().unwrap().clear();
        self.disk.sync()
    }
    fn reread_table(&mut self) -> Result<(), DiskError> {
        self.disk.reread_table()
    }
}

/// Disks that all have the same power.
#[derive(Debug)]
pub(crate) struct FedDisks {
    pub(crate) disks: Arc<dyn Disks>,
    pub(crate) power: PowerCut,
}

impl Disks for FedDisks {
    fn open(&self, name: &Path) -> Result<Box<dyn Disk>, DiskError> {
        self.disks.open(name).map(|disk| self.power.feed(disk))
    }

    fn open_shared(&self, name: &Path) -> Result<Box<dyn Disk>, DiskError> {
        self.open(name)
    }

    fn open_to_read(&self, name: &Path) -> Result<Box<dyn Disk>, DiskError> {
        self.open(name)
    }
}
