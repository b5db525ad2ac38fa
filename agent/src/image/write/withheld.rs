//! What is written but not released: the last step before a disk boots.

use super::WriteError;
use crate::system::disk::{AlignedBuffer, Disk, DiskError, Geometry};

/// A disk whose beginning is still in memory. Reading sees it, writing changes it, and only
/// [`Withheld::release`] puts it on the medium, after everything else.
#[derive(Debug)]
pub(in crate::image) struct Withheld {
    pub(super) disk: Box<dyn Disk>,
    pub(super) first: AlignedBuffer,
}

impl Withheld {
    /// Lets the disk boot: everything else is on the medium before the beginning is written.
    pub(in crate::image) fn release(mut self) -> Result<(), WriteError> {
        self.disk.sync()?;
        self.disk.write_at(0, &self.first)?;
        self.disk.sync()?;
        // What is on the disk is right, whether the kernel sees it or not.
        if let Err(error) = self.disk.reread_table() {
            tracing::warn!(%error, "the new partitions are not known yet");
        }
        Ok(())
    }

    /// How many of `length` bytes from `offset` are in memory, and where they start there.
    fn split(&self, offset: u64, length: usize) -> (usize, usize) {
        // Offsets within the memory fit into memory.
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        (start, length.min(self.first.len().saturating_sub(start)))
    }
}

impl Disk for Withheld {
    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        let (start, count) = self.split(offset, buffer.len());
        let (known, rest) = buffer.split_at_mut(count);
        if count > 0 {
            known.copy_from_slice(&self.first[start..start + count]);
        }
        if rest.is_empty() {
            return Ok(());
        }
        self.disk.read_at(offset + count as u64, rest)
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        let (start, count) = self.split(offset, data.len());
        let (known, rest) = data.split_at(count);
        if count > 0 {
            self.first[start..start + count].copy_from_slice(known);
        }
        if rest.is_empty() {
            return Ok(());
        }
        self.disk.write_at(offset + count as u64, rest)
    }

    fn zero(&mut self, offset: u64, length: u64) -> Result<(), DiskError> {
        let in_memory = usize::try_from(length).unwrap_or(usize::MAX);
        let (start, count) = self.split(offset, in_memory);
        if count > 0 {
            self.first[start..start + count].fill(0);
        }
        let count = count as u64;
        if length == count {
            return Ok(());
        }
        self.disk.zero(offset + count, length - count)
    }

    fn punch(&mut self, offset: u64, length: u64) -> Result<bool, DiskError> {
        let in_memory = usize::try_from(length).unwrap_or(usize::MAX);
        let (start, count) = self.split(offset, in_memory);
        let rest = length - count as u64;
        if rest > 0 && !self.disk.punch(offset + count as u64, rest)? {
            return Ok(false);
        }
        if count > 0 {
            self.first[start..start + count].fill(0);
        }
        Ok(true)
    }

    fn sync(&mut self) -> Result<(), DiskError> {
        self.disk.sync()
    }

    fn reread_table(&mut self) -> Result<(), DiskError> {
        self.disk.reread_table()
    }
}
