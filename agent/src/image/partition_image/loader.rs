//! Whether a partition image brings boot loaders for UEFI, looked up in its file system before
//! anything is written: a few reads of a server that sends parts, in an image of ext2, ext3 or
//! ext4 that is not packed. Of all others it is known only when they are on the disk.
//!
//! The layout is that of the kernel's documentation (`Documentation/filesystems/ext4`).

use ironic_ondisk::read::{le_u16, le_u32};

use crate::image::decode::qcow2::ReadRanges;

/// Where images keep the files that go onto an EFI system partition.
const PLACE: [&str; 3] = ["boot", "efi", "EFI"];
/// The superblock.
const SUPERBLOCK: usize = 1024;
const MAGIC: u16 = 0xef53;
/// The inode of the root directory.
const ROOT: u32 = 2;
/// Directories are read so far; larger ones are left to the end of the deployment.
const MOST_BLOCKS: usize = 64;
/// Levels of a tree of extents. Five reach any file.
const DEEPEST: u16 = 5;
/// What is understood: names with types, extents, 64-bit block numbers, flexible groups, large
/// directories, and seeds of checksums, which are not computed here.
const UNDERSTOOD: u32 = 0x2 | 0x40 | 0x80 | 0x200 | 0x2000 | 0x4000 | 0x2_0000;
/// An inode that is a tree of extents; one whose content is within it, or encrypted.
const HAS_EXTENTS: u32 = 0x8_0000;
const IS_SPECIAL: u32 = 0x1000_0000 | 0x800;
const DIRECTORY: u16 = 0x4000;
const TYPE: u16 = 0xf000;

/// Whether the image whose first bytes are `head` has anything below `/boot/efi/EFI`. `None`:
/// that cannot be decided.
pub(in crate::image) async fn is_there<P: ReadRanges>(head: &[u8], parts: &P) -> Option<bool> {
    let volume = Ext4Image::new(head, parts)?;
    let mut inode = volume.inode(ROOT).await?;
    for name in PLACE {
        let entries = volume.entries(&inode).await?;
        let Some((_, number)) = entries.iter().find(|(entry, _)| entry == name.as_bytes()) else {
            return Some(false);
        };
        inode = volume.inode(*number).await?;
        if inode.kind != DIRECTORY {
            // A link may lead anywhere.
            return None;
        }
    }
    let entries = volume.entries(&inode).await?;
    Some(
        entries
            .iter()
            .any(|(name, _)| name != b"." && name != b".."),
    )
}

/// A file system, as far as it is needed.
struct Ext4Image<'a, P> {
    head: &'a [u8],
    parts: &'a P,
    block: u64,
    first_block: u64,
    inodes: u32,
    inodes_per_group: u32,
    inode_size: u64,
    /// Size of a group's descriptor.
    descriptor: u64,
}

struct Ext4Inode {
    kind: u16,
    size: u64,
    has_extents: bool,
    /// Where its blocks are.
    map: Vec<u8>,
}

impl<'a, P: ReadRanges> Ext4Image<'a, P> {
    fn new(head: &'a [u8], parts: &'a P) -> Option<Self> {
        let superblock = head.get(SUPERBLOCK..SUPERBLOCK + 1024)?;
        if le_u16(superblock, 0x38)? != MAGIC {
            return None;
        }
        let features = le_u32(superblock, 0x60)?;
        if features & !UNDERSTOOD != 0 {
            return None;
        }
        let block = 1024_u64.checked_shl(le_u32(superblock, 0x18)?)?;
        let is_old = le_u32(superblock, 0x4c)? == 0;
        let inode_size = if is_old {
            128
        } else {
            le_u16(superblock, 0x58)?.into()
        };
        let descriptor = if features & 0x80 != 0 {
            le_u16(superblock, 0xfe)?.into()
        } else {
            32
        };
        let volume = Self {
            head,
            parts,
            block,
            first_block: le_u32(superblock, 0x14)?.into(),
            inodes: le_u32(superblock, 0)?,
            inodes_per_group: le_u32(superblock, 0x28)?,
            inode_size,
            descriptor,
        };
        let is_sane = (1024..=65_536).contains(&volume.block)
            && (128..=volume.block).contains(&volume.inode_size)
            && (32..=1024).contains(&volume.descriptor)
            && volume.inodes_per_group > 0;
        is_sane.then_some(volume)
    }

    async fn read(&self, first: u64, length: u64) -> Option<Vec<u8>> {
        let end = first.checked_add(length)?;
        let here = usize::try_from(first).ok()?..usize::try_from(end).ok()?;
        if let Some(known) = self.head.get(here) {
            return Some(known.to_vec());
        }
        let bytes = self.parts.part(first, length).await.ok()?;
        (bytes.len() as u64 == length).then(|| bytes.to_vec())
    }

    async fn block(&self, number: u64) -> Option<Vec<u8>> {
        self.read(number.checked_mul(self.block)?, self.block).await
    }

    async fn inode(&self, number: u32) -> Option<Ext4Inode> {
        let index = number.checked_sub(1).filter(|_| number <= self.inodes)?;
        let (group, index) = (index / self.inodes_per_group, index % self.inodes_per_group);
        let table = (self.first_block + 1).checked_mul(self.block)?;
        let place = table.checked_add(u64::from(group) * self.descriptor)?;
        let descriptor = self.read(place, self.descriptor).await?;
        let high = le_u32(&descriptor, 0x28).unwrap_or(0);
        let inodes = u64::from(high) << 32 | u64::from(le_u32(&descriptor, 8)?);
        let place = inodes.checked_mul(self.block)?;
        let place = place.checked_add(u64::from(index) * self.inode_size)?;
        let inode = self.read(place, self.inode_size).await?;
        let flags = le_u32(&inode, 0x20)?;
        (flags & IS_SPECIAL == 0).then_some(())?;
        Some(Ext4Inode {
            kind: le_u16(&inode, 0)? & TYPE,
            size: le_u32(&inode, 4)?.into(),
            has_extents: flags & HAS_EXTENTS != 0,
            map: inode.get(0x28..0x28 + 60)?.to_vec(),
        })
    }

    /// Names and inodes of a directory. One with an index looks like one without to those who
    /// read all of it.
    async fn entries(&self, inode: &Ext4Inode) -> Option<Vec<(Vec<u8>, u32)>> {
        let count = usize::try_from(inode.size.div_ceil(self.block)).ok()?;
        let blocks = if count > MOST_BLOCKS {
            return None;
        } else if inode.has_extents {
            self.extents(&inode.map, count).await?
        } else {
            // Twelve, before the blocks that hold numbers of blocks.
            let direct = inode
                .map
                .get(..count.checked_mul(4).filter(|end| *end <= 48)?)?;
            let numbers = direct.chunks_exact(4).map(|chunk| le_u32(chunk, 0));
            numbers
                .map(|number| number.map(u64::from))
                .collect::<Option<_>>()?
        };
        let mut entries = Vec::new();
        for number in blocks {
            let block = self.block(number).await?;
            let mut at = 0;
            while at + 8 <= block.len() {
                let length = usize::from(le_u16(&block, at + 4)?);
                let name = usize::from(*block.get(at + 6)?);
                // Of a block of 64 KiB the length may be written as 0.
                if length < 8 || !length.is_multiple_of(4) {
                    return None;
                }
                let inode = le_u32(&block, at)?;
                if inode != 0 {
                    entries.push((block.get(at + 8..at + 8 + name)?.to_vec(), inode));
                }
                at += length;
            }
        }
        Some(entries)
    }

    /// The blocks of a tree of extents, whose root is in the inode.
    async fn extents(&self, root: &[u8], count: usize) -> Option<Vec<u64>> {
        let mut blocks = Vec::new();
        let mut left = MOST_BLOCKS;
        let mut nodes = vec![(root.to_vec(), DEEPEST)];
        while let Some((node, limit)) = nodes.pop() {
            let (magic, used, depth) = (le_u16(&node, 0)?, le_u16(&node, 2)?, le_u16(&node, 6)?);
            if magic != 0xf30a || depth > limit {
                return None;
            }
            for number in 0..usize::from(used) {
                let entry = node.get(12 + 12 * number..24 + 12 * number)?;
                if depth > 0 {
                    left = left.checked_sub(1)?;
                    let high = u64::from(le_u16(entry, 8)?) << 32;
                    let child = self.block(high | u64::from(le_u32(entry, 4)?)).await?;
                    nodes.push((child, depth - 1));
                    continue;
                }
                let length = u64::from(le_u16(entry, 4)?);
                let first = u64::from(le_u16(entry, 6)?) << 32 | u64::from(le_u32(entry, 8)?);
                // More are not written yet, which no directory's are.
                if length > 32_768 || blocks.len() as u64 + length > MOST_BLOCKS as u64 {
                    return None;
                }
                blocks.extend(first..first + length);
            }
        }
        (blocks.len() >= count).then_some(blocks)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::image::source::PartError;

    /// An image in memory that counts how often it is asked.
    struct Memory(Vec<u8>, AtomicUsize);

    impl ReadRanges for Memory {
        const AT_ONCE: usize = 1;

        async fn part(&self, first: u64, length: u64) -> Result<Bytes, PartError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            let part = usize::try_from(first)
                .ok()
                .zip(usize::try_from(first + length).ok())
                .and_then(|(start, end)| self.0.get(start..end));
            part.map(Bytes::copy_from_slice)
                .ok_or(PartError::Ended(first))
        }
    }

    /// A file system whose root directory holds itself under every name, by a tree of extents
    /// whose nodes are all the same block.
    fn ring() -> Vec<u8> {
        let mut image = vec![0; 64 << 10];
        let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
        put(1024, &64_u32.to_le_bytes()); // inodes
        put(1024 + 0x14, &1_u32.to_le_bytes()); // first block
        put(1024 + 0x28, &64_u32.to_le_bytes()); // inodes in a group
        put(1024 + 0x38, &MAGIC.to_le_bytes());
        put(1024 + 0x60, &0x42_u32.to_le_bytes());
        put(2048 + 8, &3_u32.to_le_bytes()); // the table of inodes
        let root = 3 * 1024 + 128;
        put(root, &0x41ed_u16.to_le_bytes());
        put(root + 4, &1024_u32.to_le_bytes());
        put(root + 0x20, &HAS_EXTENTS.to_le_bytes());
        // A node of depth 5 that leads to block 20, which leads to itself.
        for (place, entries) in [(root + 0x28, 4_u16), (20 * 1024, 84)] {
            put(place, &0xf30a_u16.to_le_bytes());
            put(place + 2, &entries.to_le_bytes());
            put(place + 6, &5_u16.to_le_bytes());
            for number in 0..usize::from(entries) {
                put(place + 12 + 12 * number + 4, &20_u32.to_le_bytes());
            }
        }
        image
    }

    #[tokio::test]
    async fn damage_and_rings_have_an_end() {
        let whole = ring();
        for seed in 0..3000 {
            let mut random = SmallRng::seed_from_u64(seed);
            let mut image = whole.clone();
            for _ in 0..random.random_range(0..6) {
                let at = random.random_range(1024..24 << 10);
                image[at] = random.random();
            }
            let head = image[..8 << 10].to_vec();
            let parts = Memory(image, AtomicUsize::new(0));
            is_there(&head, &parts).await;
            let asked = parts.1.load(Ordering::Relaxed);
            assert!(asked < 1000, "seed {seed}: {asked} parts");
        }
    }
}
