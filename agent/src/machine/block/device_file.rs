//! A block device, or a file that plays one, opened to be read.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use ironic_ondisk::Source;

/// A device that is open for reading. It may be in use.
#[derive(Debug)]
pub struct DeviceFile {
    file: File,
    size: u64,
}

impl DeviceFile {
    /// Opens a device. Its size is where its end is: the directory entry of a device has none.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let size = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, size })
    }

    /// Opens a device whose size in bytes is known.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn with_size(path: &Path, size: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        Ok(Self { file, size })
    }
}

impl Source for DeviceFile {
    type Error = io::Error;

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}
