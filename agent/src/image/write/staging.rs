//! Room behind a declared image for what has come before its place is known.
//!
//! It is on the disk only until the image is whole: [`ImageWriter::finish`] makes it zeros, and
//! [`ImageWriter::unstage`] where the image will not be whole. The last block of the disk is never
//! used, so that nothing there can be taken for a backup table.

use std::ops::Range;

use super::data_ref::DataRef;
use super::{BLOCK, ImageWriter, WriteError};

/// What is staged takes whole pieces of this size: sectors, whatever the disk's are.
const SECTORS: usize = 4096;

impl ImageWriter {
    /// Keeps at most a block of bytes behind the image. Answers where, or `None` where the disk
    /// ends before.
    pub(in crate::image) fn stage(&mut self, bytes: &[u8]) -> Result<Option<u64>, WriteError> {
        let block = BLOCK as u64;
        if self.staged.is_empty() {
            let start = self.end.next_multiple_of(block);
            self.staged = start..start;
        }
        let at = self.staged.end;
        let length = bytes.len().next_multiple_of(SECTORS);
        let end = at + length as u64;
        if bytes.len() > BLOCK || end > self.geometry.size.saturating_sub(block) {
            return Ok(None);
        }
        let mut buffer = self.disk.buffer()?;
        buffer[..bytes.len()].copy_from_slice(bytes);
        self.disk.write(at, DataRef::Staged(buffer, 0..length))?;
        self.staged.end = end;
        Ok(Some(at))
    }

    /// What was staged from `at` on.
    pub(in crate::image) fn staged(
        &mut self,
        at: u64,
        length: usize,
    ) -> Result<Vec<u8>, WriteError> {
        self.disk.read(at, length)
    }

    /// Makes zeros of what was staged and waits for them: the pass is given up, and a writer that
    /// is dropped abandons what has not begun.
    pub(in crate::image) fn unstage(&mut self) -> Result<(), WriteError> {
        let Range { start, end } = self.staged;
        if start < end {
            self.forget_staged()?;
            // It is answered when all before it is done.
            self.disk.read(start, SECTORS)?;
        }
        Ok(())
    }

    /// Makes zeros of what is not needed any more.
    pub(super) fn forget_staged(&mut self) -> Result<(), WriteError> {
        let staged = std::mem::take(&mut self.staged);
        if !staged.is_empty() {
            self.disk.clear(staged.start, staged.end - staged.start)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::image::checksum::verified;
    use crate::image::progress::Written;
    use crate::image::write::DiskExtent;
    use crate::system::Disks;
    use crate::system::disk::LinuxDisks;

    const MIB: usize = 1 << 20;

    /// A disk of eight mebibytes that is to get an image of two and a half.
    fn begin(path: &Path) -> ImageWriter {
        std::fs::write(path, vec![0xaa; 8 * MIB]).unwrap();
        let disk = LinuxDisks.open(path).unwrap();
        let extent = DiskExtent::whole(disk.as_ref());
        let mut writer = ImageWriter::begin(disk, extent, Written::default()).unwrap();
        writer.declare(5 * MIB as u64 / 2).unwrap();
        writer
    }

    #[test]
    fn what_waits_behind_the_image_comes_back_and_leaves_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = begin(file.path());
        let parts = [(MIB, 1_u8), (100, 2), (MIB, 3)];
        let places: Vec<_> = parts
            .iter()
            .map(|(length, byte)| writer.stage(&vec![*byte; *length]).unwrap().unwrap())
            .collect();
        assert!(places[0] >= 5 * MIB as u64 / 2, "not in the image");
        for ((length, byte), at) in parts.into_iter().zip(places) {
            assert_eq!(writer.staged(at, length).unwrap(), vec![byte; length]);
        }
        writer.zero(0, 5 * MIB as u64 / 2).unwrap();
        writer.finish(verified()).unwrap().release().unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        assert!(bytes[..2 * MIB].iter().all(|byte| *byte == 0));
        let left = bytes.iter().filter(|byte| [1, 2, 3].contains(*byte));
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn what_is_unstaged_is_gone_when_the_writer_is_dropped() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = begin(file.path());
        for length in [MIB, 100, MIB] {
            assert!(writer.stage(&vec![7; length]).unwrap().is_some());
        }
        writer.unstage().unwrap();
        drop(writer);
        assert!(!std::fs::read(file.path()).unwrap().contains(&7));
    }

    #[test]
    fn the_end_of_the_disk_is_never_used() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = begin(file.path());
        let mut room = 0;
        while writer.stage(&vec![7; MIB]).unwrap().is_some() {
            room += 1;
        }
        // From the third mebibyte to the last one, which is not used.
        assert_eq!(room, 4);
        assert!(writer.stage(&vec![7; MIB + 1]).unwrap().is_none());
        drop(writer);
        let bytes = std::fs::read(file.path()).unwrap();
        assert!(bytes[7 * MIB..].iter().all(|byte| *byte == 0));
        assert!(bytes[..MIB].iter().all(|byte| *byte == 0));
    }
}
