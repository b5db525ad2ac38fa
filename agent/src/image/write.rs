//! Writing what is not verified yet, so that it cannot boot.
//!
//! ```text
//! begin ──▶ both ends of the disk are zeros ──▶ append … append ──▶ finish(Verified) ──▶ Held ──▶ release
//!                                                     │
//!                                                     └ dropped: nothing more is written
//! ```
//!
//! The first megabyte (boot sector, partition table) and the last two blocks so far (where
//! an image that fills the disk keeps its backup table) stay in memory until there is a
//! [`Verified`]. So a power cut, an error or a cancelled command leaves a disk without a
//! partition table. The idea to hold back the first megabyte is coreos-installer's.

use std::collections::VecDeque;
use std::sync::Arc;

use thiserror::Error;

use super::block::{BLOCK, Block};
use super::checksum::Verified;
use crate::disk::metadata::zero_ends;
use crate::failure::{Failure, FailureKind};
use crate::system::disk::{AlignedBuffer, Disk, DiskError, Geometry};

/// Blocks held back at the end; two hold a megabyte whatever the length of the last is.
const TAIL: usize = 2;
/// Zeros are made in runs of at most this, so that a dropped writer stops soon.
const LONGEST_RUN: u64 = 64 << 20;

static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Why an image is not on the disk.
#[derive(Debug, Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(
        "the image has {needed} bytes and the disk only {available}: choose a larger disk with root device hints, or a smaller image"
    )]
    TooLarge {
        /// How much the image needs at least.
        needed: String,
        available: u64,
    },
}

impl WriteError {
    /// The failure of a command that was writing to `device`.
    pub(super) fn failure(&self, device: &str) -> Failure {
        Failure::new(
            FailureKind::ImageWrite,
            format!("Writing image to device {device} failed: {self}"),
        )
    }
}

/// Refuses an image that cannot fit.
pub(super) fn check_size(length: Option<u64>, geometry: Geometry) -> Result<(), WriteError> {
    match length {
        Some(length) if length > geometry.size => Err(WriteError::TooLarge {
            needed: length.to_string(),
            available: geometry.size,
        }),
        _ => Ok(()),
    }
}

/// Writes a disk from its beginning to the image's end.
#[derive(Debug)]
pub(super) struct Writer {
    held: Held,
    /// Where the next block goes.
    end: u64,
    /// The last blocks, not written yet, with their offsets.
    tail: VecDeque<(u64, Arc<Block>)>,
    /// Zeros to be made: start and end.
    zeros: (u64, u64),
}

impl Writer {
    /// Makes the disk unbootable: from here on its old contents are lost.
    pub(super) fn begin(mut disk: Box<dyn Disk>) -> Result<Self, WriteError> {
        zero_ends(disk.as_mut())?;
        // The nodes of the old partitions go. It may fail only where the old table is
        // harmless: nothing is mounted, or the disk would not be open.
        if let Err(error) = disk.reread_table() {
            tracing::warn!(%error, "the old partitions are still known");
        }
        // A disk smaller than a block fits into memory.
        let held = usize::try_from(disk.geometry().size)
            .unwrap_or(BLOCK)
            .min(BLOCK);
        let first = AlignedBuffer::new(held);
        Ok(Self {
            held: Held { disk, first },
            end: 0,
            tail: VecDeque::new(),
            zeros: (0, 0),
        })
    }

    /// Adds a block at the end.
    pub(super) fn append(&mut self, block: Arc<Block>) -> Result<(), WriteError> {
        let offset = self.end;
        self.end += block.len() as u64;
        let available = self.held.geometry().size;
        if self.end > available {
            return Err(WriteError::TooLarge {
                needed: format!("more than {available}"),
                available,
            });
        }
        self.tail.push_back((offset, block));
        if self.tail.len() > TAIL
            && let Some((offset, block)) = self.tail.pop_front()
        {
            self.put(offset, &block)?;
        }
        Ok(())
    }

    /// Writes what was held back at the end. The beginning follows with [`Held::release`].
    pub(super) fn finish(mut self, _: Verified) -> Result<Held, WriteError> {
        while let Some((offset, block)) = self.tail.pop_front() {
            self.put(offset, &block)?;
        }
        self.make_zeros()?;
        // The rest of the last sector is not the image's, but nobody's else either.
        let Geometry { size, sector_size } = self.held.geometry();
        let sector_end = self.end.next_multiple_of(u64::from(sector_size)).min(size);
        self.held.zero(self.end, sector_end - self.end)?;
        Ok(self.held)
    }

    fn put(&mut self, offset: u64, block: &Block) -> Result<(), WriteError> {
        let end = offset + block.len() as u64;
        if **block == ZEROS[..block.len()] {
            if self.zeros.1 != offset {
                self.make_zeros()?;
                self.zeros.0 = offset;
            }
            self.zeros.1 = end;
            if self.zeros.1 - self.zeros.0 >= LONGEST_RUN {
                self.make_zeros()?;
            }
        } else {
            self.make_zeros()?;
            self.held.write_at(offset, block)?;
        }
        Ok(())
    }

    /// The disk says whether it made the zeros; if it cannot, they are written.
    fn make_zeros(&mut self) -> Result<(), WriteError> {
        let (start, end) = std::mem::take(&mut self.zeros);
        if start < end {
            self.held.zero(start, end - start)?;
        }
        Ok(())
    }
}

/// A disk whose beginning is still in memory. Reading sees it, writing changes it, and only
/// [`Held::release`] puts it on the medium, after everything else.
#[derive(Debug)]
pub(super) struct Held {
    disk: Box<dyn Disk>,
    first: AlignedBuffer,
}

impl Held {
    /// Lets the disk boot: everything else is on the medium before the beginning is written.
    pub(super) fn release(mut self) -> Result<(), WriteError> {
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

impl Disk for Held {
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

    fn sync(&mut self) -> Result<(), DiskError> {
        self.disk.sync()
    }

    fn reread_table(&mut self) -> Result<(), DiskError> {
        self.disk.reread_table()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::block::Pool;
    use super::super::checksum::{Hasher, Selected, select};
    use super::super::request::Checksums;
    use super::*;
    use crate::system::Disks;
    use crate::system::disk::LinuxDisks;

    const MIB: usize = 1 << 20;

    /// A disk that loses power: after so many changes nothing arrives any more.
    #[derive(Debug)]
    struct Failing {
        disk: Box<dyn Disk>,
        changes_left: usize,
    }

    impl Failing {
        fn spend(&mut self) -> Result<(), DiskError> {
            self.changes_left =
                self.changes_left
                    .checked_sub(1)
                    .ok_or_else(|| DiskError::Busy {
                        path: "/dev/power-cut".into(),
                    })?;
            Ok(())
        }
    }

    impl Disk for Failing {
        fn geometry(&self) -> Geometry {
            self.disk.geometry()
        }
        fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
            self.disk.read_at(offset, buffer)
        }
        fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
            self.spend()?;
            self.disk.write_at(offset, data)
        }
        fn zero(&mut self, offset: u64, length: u64) -> Result<(), DiskError> {
            self.spend()?;
            self.disk.zero(offset, length)
        }
        fn sync(&mut self) -> Result<(), DiskError> {
            self.spend()?;
            self.disk.sync()
        }
        fn reread_table(&mut self) -> Result<(), DiskError> {
            self.disk.reread_table()
        }
    }

    fn disk(size: usize) -> (tempfile::NamedTempFile, Box<dyn Disk>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![0xAA; size]).unwrap();
        let disk = LinuxDisks.open(file.path()).unwrap();
        (file, disk)
    }

    fn verified() -> Verified {
        // SHA-256 of nothing.
        let checksums = Checksums {
            checksum: Some(
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".into(),
            ),
            ..Checksums::default()
        };
        let Ok(Selected::Known(expected)) = select(&checksums, "id", false) else {
            panic!("a digest")
        };
        Hasher::new(&expected).verify(&expected).unwrap()
    }

    /// The blocks of an image; memory of an own pool each, as these tests hold many.
    fn blocks(image: &[u8]) -> Vec<Arc<Block>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        image
            .chunks(MIB)
            .map(|bytes| {
                let mut block = runtime.block_on(Pool::new().take());
                block.fill(bytes);
                Arc::new(block)
            })
            .collect()
    }

    fn write(disk: Box<dyn Disk>, blocks: &[Arc<Block>]) -> Result<(), WriteError> {
        let mut writer = Writer::begin(disk)?;
        for block in blocks {
            writer.append(Arc::clone(block))?;
        }
        writer.finish(verified())?.release()
    }

    /// An image whose first bytes and last sector tell that it is there.
    fn image(length: usize) -> Vec<u8> {
        let mut image = vec![0x11; length];
        image[3 * MIB..5 * MIB].fill(0);
        image[510..512].copy_from_slice(&[0x55, 0xaa]);
        image[length - 512..length - 504].copy_from_slice(b"EFI PART");
        image
    }

    fn has_table(path: &Path) -> bool {
        let bytes = std::fs::read(path).unwrap();
        bytes[510..512] == [0x55, 0xaa] || bytes[bytes.len() - 512..].starts_with(b"EFI PART")
    }

    #[test]
    fn zeros_and_data_arrive_where_they_belong() {
        let (file, disk) = disk(9 * MIB);
        let image = image(8 * MIB + 100);
        write(disk, &blocks(&image)).unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        assert!(bytes[..image.len()] == image);
        assert!(
            bytes[image.len()..8 * MIB + 512]
                .iter()
                .all(|byte| *byte == 0)
        );
    }

    #[test]
    fn a_power_cut_at_any_moment_leaves_no_table_or_the_whole_image() {
        let image = image(8 * MIB);
        let blocks = blocks(&image);
        let mut was_cut = 0;
        for changes in 0.. {
            let (file, disk) = disk(8 * MIB);
            // What the disk was before: it boots.
            std::fs::write(file.path(), [0x55, 0xaa].repeat(4 * MIB)).unwrap();
            let failing = Failing {
                disk,
                changes_left: changes,
            };
            let written = write(Box::new(failing), &blocks);
            let bytes = std::fs::read(file.path()).unwrap();
            match written {
                Ok(()) => {
                    assert!(bytes == image);
                    break;
                }
                // The old contents are still whole, or gone.
                Err(_) if changes == 0 => {}
                Err(_) => {
                    was_cut += 1;
                    // Everything but the beginning may be there.
                    assert!(
                        bytes[..MIB].iter().all(|byte| *byte == 0) || bytes == image,
                        "after {changes} changes"
                    );
                }
            }
        }
        assert!(was_cut > 8, "only {was_cut} moments were tried");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn a_dropped_writer_leaves_no_table(length in 5 * MIB..8 * MIB, dropped_after in 0_usize..8) {
            let size = 8 * MIB;
            // An image that fills the disk has its backup table in the disk's last sectors.
            let length = if dropped_after.is_multiple_of(2) { size } else { length };
            let (file, disk) = disk(size);
            let mut writer = Writer::begin(disk).unwrap();
            for block in blocks(&image(length)).into_iter().take(dropped_after) {
                writer.append(block).unwrap();
            }
            drop(writer);
            prop_assert!(!has_table(file.path()));
            let bytes = std::fs::read(file.path()).unwrap();
            prop_assert!(bytes[..MIB].iter().all(|byte| *byte == 0));
            prop_assert!(bytes[size - MIB..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn an_image_that_turns_out_too_large_is_refused() {
        let (file, disk) = disk(5 * MIB);
        let failure = write(disk, &blocks(&image(6 * MIB))).unwrap_err();
        assert!(matches!(failure, WriteError::TooLarge { .. }));
        assert!(
            failure.to_string().contains("more than 5242880 bytes"),
            "{failure}"
        );
        assert!(!has_table(file.path()));
    }

    #[test]
    fn what_is_held_reads_and_changes_like_a_disk() {
        let (file, disk) = disk(3 * MIB);
        let mut writer = Writer::begin(disk).unwrap();
        writer.append(blocks(&[0x11; MIB]).remove(0)).unwrap();
        let mut held = writer.finish(verified()).unwrap();
        // Across the border of what is in memory.
        let border = MIB as u64 - 4;
        held.write_at(border, &[7; 8]).unwrap();
        held.zero(border + 2, 4).unwrap();
        let mut bytes = [1; 10];
        held.read_at(border - 1, &mut bytes).unwrap();
        assert_eq!(bytes, [0x11, 7, 7, 0, 0, 0, 0, 7, 7, 0xAA]);
        assert!(
            std::fs::read(file.path()).unwrap()[..MIB]
                .iter()
                .all(|byte| *byte == 0)
        );
        held.release().unwrap();
        let disk = std::fs::read(file.path()).unwrap();
        assert_eq!(disk[MIB - 5..MIB + 5], bytes);
    }
}
