//! Disks that lose power, for tests.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Disk, DiskError, Disks, Geometry};

/// The power of one or more disks: after so many changes nothing arrives any more.
#[derive(Debug, Clone)]
pub(crate) struct PowerCut {
    changes_left: Arc<AtomicUsize>,
    /// Whether the device can make zeros without being sent them.
    punches: bool,
}

impl PowerCut {
    pub(crate) fn after(changes: usize, punches: bool) -> Self {
        Self {
            changes_left: Arc::new(AtomicUsize::new(changes)),
            punches,
        }
    }

    /// A disk that has this power.
    pub(crate) fn feed(&self, disk: Box<dyn Disk>) -> Box<dyn Disk> {
        let power = self.clone();
        Box::new(Fed { disk, power })
    }

    fn spend(&self) -> Result<(), DiskError> {
        let less = |left: usize| left.checked_sub(1);
        let spent = self
            .changes_left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        spent.map(drop).map_err(|_| DiskError::Busy {
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
        self.power.spend()?;
        self.disk.write_at(offset, data)
    }
    fn zero(&mut self, offset: u64, length: u64) -> Result<(), DiskError> {
        self.power.spend()?;
        self.disk.zero(offset, length)
    }
    fn punch(&mut self, offset: u64, length: u64) -> Result<bool, DiskError> {
        if !self.power.punches {
            return Ok(false);
        }
        self.power.spend()?;
        self.disk.punch(offset, length)
    }
    fn sync(&mut self) -> Result<(), DiskError> {
        self.power.spend()?;
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
}
