//! A part of a disk as a disk of its own, for example one partition.

use std::path::PathBuf;

use crate::system::disk::{Disk, DiskError, Geometry};

/// Where an image goes on a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::image) struct DiskExtent {
    pub(in crate::image) start: u64,
    pub(in crate::image) length: u64,
}

impl DiskExtent {
    /// All of a disk.
    pub(in crate::image) fn whole(disk: &dyn Disk) -> Self {
        Self {
            start: 0,
            length: disk.geometry().size,
        }
    }

    /// The extent of a disk as a disk.
    pub(super) fn of(self, disk: Box<dyn Disk>) -> Box<dyn Disk> {
        if self == Self::whole(disk.as_ref()) {
            disk
        } else {
            Box::new(PartitionView { disk, extent: self })
        }
    }
}

#[derive(Debug)]
struct PartitionView {
    disk: Box<dyn Disk>,
    extent: DiskExtent,
}

impl PartitionView {
    /// Where an access begins on the whole disk.
    fn locate(&self, offset: u64, length: u64) -> Result<u64, DiskError> {
        let end = offset.saturating_add(length);
        if end > self.extent.length {
            return Err(DiskError::BeyondEnd {
                path: PathBuf::from("the partition"),
                size: self.extent.length,
                end,
            });
        }
        Ok(self.extent.start + offset)
    }
}

impl Disk for PartitionView {
    fn geometry(&self) -> Geometry {
        Geometry {
            size: self.extent.length,
            ..self.disk.geometry()
        }
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        let offset = self.locate(offset, buffer.len() as u64)?;
        self.disk.read_at(offset, buffer)
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        let offset = self.locate(offset, data.len() as u64)?;
        self.disk.write_at(offset, data)
    }

    fn zero(&mut self, offset: u64, length: u64) -> Result<(), DiskError> {
        let offset = self.locate(offset, length)?;
        self.disk.zero(offset, length)
    }

    fn punch(&mut self, offset: u64, length: u64) -> Result<bool, DiskError> {
        let offset = self.locate(offset, length)?;
        self.disk.punch(offset, length)
    }

    fn sync(&mut self) -> Result<(), DiskError> {
        self.disk.sync()
    }

    fn twin(&self) -> Option<Box<dyn Disk>> {
        let (disk, extent) = (self.disk.twin()?, self.extent);
        Some(Box::new(Self { disk, extent }))
    }

    fn reread_table(&mut self) -> Result<(), DiskError> {
        // A partition has no table of its own, and that of the disk did not change.
        Ok(())
    }
}
