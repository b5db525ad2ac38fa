//! A file system that is made in memory and written in one go: only what is not zero takes
//! memory, so an empty one of any size costs its tables' first pages.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::system::disk::{Disk, DiskError};

/// Bytes per page: a multiple of every sector size.
const PAGE: usize = 4096;
/// Pages written in one go.
const RUN: usize = 256;

/// The bytes of a partition, zeros at first.
#[derive(Debug, Default)]
pub struct Volume {
    size: u64,
    position: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
}

impl Volume {
    /// A volume of `size` bytes.
    #[must_use]
    pub fn new(size: u64) -> Self {
        Self {
            size,
            ..Self::default()
        }
    }

    /// Writes what is not zero to the disk, where the volume starts at `offset`. The rest of
    /// the place is taken to be zeros already.
    ///
    /// # Errors
    /// What the disk said.
    pub fn write_to(&self, disk: &mut dyn Disk, offset: u64) -> Result<(), DiskError> {
        let mut run: Vec<u8> = Vec::new();
        let mut start = 0;
        for (&page, bytes) in &self.pages {
            let at = page * PAGE as u64;
            if !run.is_empty() && (start + run.len() as u64 != at || run.len() >= RUN * PAGE) {
                disk.write_at(offset + start, &run)?;
                run.clear();
            }
            if run.is_empty() {
                start = at;
            }
            // The last page may be larger than what is left of the volume.
            let length = usize::try_from(self.size - at).unwrap_or(PAGE).min(PAGE);
            run.extend_from_slice(&bytes[..length]);
        }
        if run.is_empty() {
            return Ok(());
        }
        disk.write_at(offset + start, &run)
    }

    /// The page at the position, where in it, and how much of `wanted` lies in it.
    fn span(&self, wanted: usize) -> (u64, usize, usize) {
        let page = self.position / PAGE as u64;
        // Less than a page.
        let within = usize::try_from(self.position % PAGE as u64).unwrap_or_default();
        let left = usize::try_from(self.size.saturating_sub(self.position)).unwrap_or(usize::MAX);
        (page, within, wanted.min(PAGE - within).min(left))
    }
}

impl Read for Volume {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (page, within, count) = self.span(buffer.len());
        match self.pages.get(&page) {
            Some(bytes) => buffer[..count].copy_from_slice(&bytes[within..within + count]),
            None => buffer[..count].fill(0),
        }
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for Volume {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let (page, within, count) = self.span(data.len());
        let is_zero = data[..count].iter().all(|byte| *byte == 0);
        if !is_zero || self.pages.contains_key(&page) {
            let bytes = self
                .pages
                .entry(page)
                .or_insert_with(|| Box::new([0; PAGE]));
            bytes[within..within + count].copy_from_slice(&data[..count]);
        }
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Volume {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;
    use crate::system::Disks;
    use crate::system::disk::LinuxDisks;

    const SIZE: usize = 3 * 1024 * 1024 + 512;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_behaves_like_memory_and_arrives_on_a_disk(
            writes in proptest::collection::vec((0..SIZE, 1..20_000_usize, any::<u8>()), 1..20)
        ) {
            let mut volume = Volume::new(SIZE as u64);
            let mut memory = Cursor::new(vec![0; SIZE]);
            for (at, length, byte) in writes {
                let data = vec![byte; length.min(SIZE - at)];
                volume.seek(SeekFrom::Start(at as u64)).unwrap();
                volume.write_all(&data).unwrap();
                memory.set_position(at as u64);
                memory.write_all(&data).unwrap();
            }
            let mut bytes = Vec::new();
            volume.rewind().unwrap();
            volume.read_to_end(&mut bytes).unwrap();
            prop_assert!(&bytes == memory.get_ref());

            let file = tempfile::NamedTempFile::new().unwrap();
            file.as_file().set_len(SIZE as u64 + 8192).unwrap();
            let mut disk = LinuxDisks.open(file.path()).unwrap();
            volume.write_to(disk.as_mut(), 4096).unwrap();
            let disk = std::fs::read(file.path()).unwrap();
            prop_assert!(disk[4096..4096 + SIZE] == bytes[..]);
            prop_assert!(disk[..4096].iter().chain(&disk[4096 + SIZE..]).all(|byte| *byte == 0));
        }
    }

    #[test]
    fn nothing_is_written_beyond_the_end() {
        let mut volume = Volume::new(1000);
        volume.seek(SeekFrom::End(-10)).unwrap();
        assert_eq!(volume.write(&[1; 20]).unwrap(), 10);
        assert!(volume.write_all(&[1]).is_err());
        assert!(volume.seek(SeekFrom::Current(-2000)).is_err());
    }
}
