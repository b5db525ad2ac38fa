//! Disks: opened for writing by one owner, read and written at offsets.
//!
//! Everything here blocks; callers in async code use a blocking thread. Offsets and lengths
//! are bytes and need no alignment: what is not aligned to sectors is read, changed and
//! written back, so that only the bulk of an image has to care (see [`AlignedBuffer`]).

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use ironic_ondisk::Source;
pub use ironic_ondisk::size::Geometry;
use thiserror::Error;

mod linux;
#[cfg(test)]
pub(crate) mod testing;

pub use linux::LinuxDisks;

/// Memory of this alignment suits direct I/O on every block device.
const ALIGNMENT: usize = 4096;

/// Opens disks.
pub trait Disks: fmt::Debug + Send + Sync {
    /// Opens a disk for reading and writing; no one else may be using it. The name is
    /// absolute, for example `/dev/sda`; a regular file is a disk, too.
    ///
    /// # Errors
    /// No such disk, or it is in use.
    fn open(&self, name: &Path) -> Result<Box<dyn Disk>, DiskError>;

    /// Opens a disk that may be in use: to look at it, or to add to its table while an array
    /// works on its partitions.
    ///
    /// # Errors
    /// No such disk.
    fn open_shared(&self, name: &Path) -> Result<Box<dyn Disk>, DiskError>;

    /// Opens a disk for reading only. It may be in use or write-protected, and its users do not
    /// notice: what only looks never claims a disk.
    ///
    /// # Errors
    /// No such disk.
    fn open_to_read(&self, name: &Path) -> Result<Box<dyn Disk>, DiskError>;
}

/// An open disk.
pub trait Disk: fmt::Debug + Send {
    /// Its size and sectors.
    fn geometry(&self) -> Geometry;

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// Reading beyond the end, or what the kernel said.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError>;

    /// Writes all of `data` at `offset`. It is on the medium only after [`Disk::sync`].
    ///
    /// # Errors
    /// Writing beyond the end, or what the kernel said.
    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), DiskError>;

    /// Makes a range read as zeros: cheaply where the device can, else by writing.
    ///
    /// # Errors
    /// A range beyond the end, or what the kernel said. The range may be half done.
    fn zero(&mut self, offset: u64, length: u64) -> Result<(), DiskError>;

    /// Makes a range read as zeros if the device can do that without being sent them.
    /// `false`: it cannot, and the range is as it was.
    ///
    /// # Errors
    /// A range beyond the end, or what the kernel said. The range may be half done.
    fn punch(&mut self, offset: u64, length: u64) -> Result<bool, DiskError>;

    /// Waits until everything written is on the medium.
    ///
    /// # Errors
    /// What the kernel said; earlier writes may be lost.
    fn sync(&mut self) -> Result<(), DiskError>;

    /// Makes the kernel look at the partition table again, so that the partitions' device
    /// nodes appear. Nothing to do for a file.
    ///
    /// # Errors
    /// A partition that is in use keeps the old table alive.
    fn reread_table(&mut self) -> Result<(), DiskError>;

    /// The same disk for another thread, so that two accesses may be under way at once. Only
    /// accesses of whole sectors may be; [`Disk::sync`] of one covers what both have written.
    /// `None`: it can do only one thing at a time.
    fn twin(&self) -> Option<Box<dyn Disk>> {
        None
    }
}

impl Source for dyn Disk + '_ {
    type Error = DiskError;

    fn size(&self) -> u64 {
        self.geometry().size
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        Disk::read_at(self, offset, buffer)
    }
}

/// Why a disk did not do what it was asked for.
#[derive(Debug, Error)]
pub enum DiskError {
    /// There is no such disk, or it is not a disk.
    #[error("{path} is not a disk: {reason}", path = path.display())]
    NotADisk {
        /// The name.
        path: PathBuf,
        /// Why not.
        reason: NotADiskReason,
    },
    /// Someone else uses it: a mounted file system, RAID, LVM, multipath.
    #[error("{path} is in use (mounted, or part of RAID, LVM or multipath)", path = path.display())]
    Busy {
        /// The name.
        path: PathBuf,
    },
    /// The offset and length do not lie inside the disk.
    #[error("{path} has {size} bytes, {end} were needed", path = path.display())]
    BeyondEnd {
        /// The name.
        path: PathBuf,
        /// The disk's size in bytes.
        size: u64,
        /// Where the access would have ended.
        end: u64,
    },
    /// The kernel refused.
    #[error("could not {action} {path} at byte {offset}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The name.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Why a name is not that of a disk.
#[derive(Debug, Error)]
pub enum NotADiskReason {
    /// The kernel refuses to look at it or to open it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is a directory, a terminal, ...
    #[error("it is neither a block device nor a file")]
    OtherFile,
    /// It is a disk, but not one of the simulation.
    #[error("the disks of this simulation are the files in {}", directory.display())]
    NotSimulated {
        /// Where the disks of the simulation are.
        directory: PathBuf,
    },
}

/// Memory aligned for direct I/O. Its contents start as zeros.
pub struct AlignedBuffer {
    storage: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    /// `length` bytes of zeros.
    #[must_use]
    pub fn new(length: usize) -> Self {
        let storage = vec![0; length + ALIGNMENT];
        // The bytes of a Vec stay where they are for as long as it does not grow.
        let start = storage.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self {
            storage,
            start,
            length,
        }
    }

    /// Whether `data` starts at an address that direct I/O accepts.
    #[must_use]
    pub fn is_aligned(data: &[u8]) -> bool {
        data.as_ptr().align_offset(ALIGNMENT) == 0
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.storage[self.start..self.start + self.length]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.start + self.length]
    }
}

impl fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuffer")
            .field("length", &self.length)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_zero() {
        for length in [0, 1, 512, 1 << 20] {
            let mut buffer = AlignedBuffer::new(length);
            assert_eq!(buffer.len(), length);
            assert!(AlignedBuffer::is_aligned(&buffer));
            assert!(buffer.iter().all(|byte| *byte == 0));
            buffer.fill(7);
            assert!(buffer.iter().all(|byte| *byte == 7));
        }
    }
}
