//! Whether a partition image brings boot loaders for UEFI, looked up in its file system before
//! anything is written: a few reads of a server that sends parts, in an image of ext2, ext3 or
//! ext4 that is not packed. Of all others it is known only when they are on the disk.

use std::ops::Range;

use ironic_ondisk::filesystem::ext::layout::{
    ExtInode, ExtLayout, ExtentNode, MAX_EXTENT_DEPTH, ROOT, directory_entries,
};

use crate::image::decode::qcow2::ReadRanges;

/// Where images keep the files that go onto an EFI system partition.
const EFI_DIRECTORY: [&str; 3] = ["boot", "efi", "EFI"];
/// Directories are read so far; larger ones are left to the end of the deployment.
const MAX_BLOCKS: usize = 64;

/// Whether the image whose first bytes are `head` has anything below `/boot/efi/EFI`. `None`:
/// that cannot be decided.
pub(in crate::image) async fn is_there<P: ReadRanges>(head: &[u8], parts: &P) -> Option<bool> {
    let layout = ExtLayout::read(head)?;
    let image = Ext4Image {
        head,
        parts,
        layout,
    };
    let mut inode = image.inode(ROOT).await?;
    for name in EFI_DIRECTORY {
        let entries = image.entries(&inode).await?;
        let Some((_, number)) = entries.iter().find(|(entry, _)| entry == name.as_bytes()) else {
            return Some(false);
        };
        inode = image.inode(*number).await?;
        if !inode.is_directory {
            // A link may lead anywhere.
            return None;
        }
    }
    let entries = image.entries(&inode).await?;
    Some(
        entries
            .iter()
            .any(|(name, _)| name != b"." && name != b".."),
    )
}

/// An image whose beginning is here, and the rest on a server.
struct Ext4Image<'a, P> {
    head: &'a [u8],
    parts: &'a P,
    layout: ExtLayout,
}

impl<P: ReadRanges> Ext4Image<'_, P> {
    async fn read(&self, range: Range<u64>) -> Option<Vec<u8>> {
        let here = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
        if let Some(known) = self.head.get(here) {
            return Some(known.to_vec());
        }
        let length = range.end - range.start;
        let bytes = self.parts.part(range.start, length).await.ok()?;
        (bytes.len() as u64 == length).then(|| bytes.to_vec())
    }

    async fn inode(&self, number: u32) -> Option<ExtInode> {
        let descriptor = self.read(self.layout.descriptor(number)?).await?;
        let range = self.layout.inode(number, &descriptor)?;
        ExtInode::read(&self.read(range).await?)
    }

    /// Names and inodes of a directory.
    async fn entries(&self, inode: &ExtInode) -> Option<Vec<(Vec<u8>, u32)>> {
        let count = inode.size.div_ceil(self.layout.block_size());
        let count = usize::try_from(count)
            .ok()
            .filter(|count| *count <= MAX_BLOCKS)?;
        let blocks = match inode.extents() {
            Some(root) => self.blocks(root, count).await?,
            None => inode.direct_blocks(count)?,
        };
        let mut entries = Vec::new();
        for number in blocks {
            let block = self.read(self.layout.block(number)?).await?;
            let found = directory_entries(&block)?.into_iter();
            entries.extend(found.map(|(name, inode)| (name.to_vec(), inode)));
        }
        Some(entries)
    }

    /// The blocks of a tree of extents, whose root is in the inode.
    async fn blocks(&self, root: &[u8], count: usize) -> Option<Vec<u64>> {
        let mut blocks = Vec::new();
        let mut left = MAX_BLOCKS;
        let mut nodes = vec![(root.to_vec(), MAX_EXTENT_DEPTH)];
        while let Some((node, limit)) = nodes.pop() {
            match ExtentNode::read(&node, limit)? {
                ExtentNode::Index { depth, children } => {
                    for child in children {
                        left = left.checked_sub(1)?;
                        let child = self.read(self.layout.block(child)?).await?;
                        nodes.push((child, depth - 1));
                    }
                }
                ExtentNode::Leaf(runs) => {
                    for run in runs {
                        let length = run.end - run.start;
                        if blocks.len() as u64 + length > MAX_BLOCKS as u64 {
                            return None;
                        }
                        blocks.extend(run);
                    }
                }
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
        put(1024 + 0x38, &0xef53_u16.to_le_bytes());
        put(1024 + 0x60, &0x42_u32.to_le_bytes());
        put(2048 + 8, &3_u32.to_le_bytes()); // the table of inodes
        let root = 3 * 1024 + 128;
        put(root, &0x41ed_u16.to_le_bytes());
        put(root + 4, &1024_u32.to_le_bytes());
        put(root + 0x20, &0x8_0000_u32.to_le_bytes());
        // A node of depth 5 that leads to block 20, which leads to itself.
        for (offset, entries) in [(root + 0x28, 4_u16), (20 * 1024, 84)] {
            put(offset, &0xf30a_u16.to_le_bytes());
            put(offset + 2, &entries.to_le_bytes());
            put(offset + 6, &5_u16.to_le_bytes());
            for number in 0..usize::from(entries) {
                put(offset + 12 + 12 * number + 4, &20_u32.to_le_bytes());
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
