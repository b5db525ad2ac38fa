//! Where files are in an ext2, ext3 or ext4: the superblock, inodes, trees of extents and
//! directories, as the kernel's documentation describes them
//! (`Documentation/filesystems/ext4`).
//!
//! Each function reads one structure, and says where the next one is: the caller fetches it,
//! perhaps from a server, and bounds how many it fetches.

use std::ops::Range;

use crate::read::{le_u16, le_u32};

/// Where the superblock begins, and its size.
const SUPERBLOCK: usize = 1024;
/// The mark of a superblock, and of a node of a tree of extents.
const MAGIC: u16 = 0xef53;
const NODE_MAGIC: u16 = 0xf30a;
/// The inode of the root directory.
pub const ROOT: u32 = 2;
/// Levels of a tree of extents. Five reach any file.
pub const MAX_EXTENT_DEPTH: u16 = 5;
/// Incompatible features that are understood here: names with types, extents, 64-bit block
/// numbers, flexible groups, large directories, and seeds of checksums, which are not computed.
const UNDERSTOOD: u32 = 0x2 | 0x40 | WIDE | 0x200 | 0x2000 | 0x4000 | 0x2_0000;
const WIDE: u32 = 0x80;
/// An inode that is a tree of extents; one whose content is within it, or encrypted.
const HAS_EXTENTS: u32 = 0x8_0000;
const IS_SPECIAL: u32 = 0x1000_0000 | 0x800;
const DIRECTORY: u16 = 0x4000;
const TYPE: u16 = 0xf000;
/// Where an inode says which blocks it has, in 60 bytes.
const MAP: usize = 0x28;
/// An extent of more blocks is one that nothing was written to.
const MAX_WRITTEN_BLOCKS: u16 = 32_768;

/// Sizes and places of a file system's structures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtLayout {
    block_size: u64,
    first_block: u64,
    inodes: u32,
    inodes_per_group: u32,
    inode_size: u64,
    descriptor_size: u64,
}

impl ExtLayout {
    /// Reads the superblock in the first 2 KiB of a file system. `None`: it is another file
    /// system, it is damaged, or it has a feature that is not understood here.
    #[must_use]
    pub fn read(head: &[u8]) -> Option<Self> {
        let superblock = head.get(SUPERBLOCK..2 * SUPERBLOCK)?;
        let features = le_u32(superblock, 0x60)?;
        if le_u16(superblock, 0x38)? != MAGIC || features & !UNDERSTOOD != 0 {
            return None;
        }
        let is_old = le_u32(superblock, 0x4c)? == 0;
        let layout = Self {
            block_size: 1024_u64.checked_shl(le_u32(superblock, 0x18)?)?,
            first_block: le_u32(superblock, 0x14)?.into(),
            inodes: le_u32(superblock, 0)?,
            inodes_per_group: le_u32(superblock, 0x28)?,
            inode_size: if is_old {
                128
            } else {
                le_u16(superblock, 0x58)?.into()
            },
            descriptor_size: if features & WIDE != 0 {
                le_u16(superblock, 0xfe)?.into()
            } else {
                32
            },
        };
        let is_sane = (1024..=65_536).contains(&layout.block_size)
            && (128..=layout.block_size).contains(&layout.inode_size)
            && (32..=1024).contains(&layout.descriptor_size)
            && layout.inodes_per_group > 0;
        is_sane.then_some(layout)
    }

    /// The size of a block in bytes.
    #[must_use]
    pub fn block_size(&self) -> u64 {
        self.block_size
    }

    /// The bytes of a block.
    #[must_use]
    pub fn block(&self, number: u64) -> Option<Range<u64>> {
        range(number.checked_mul(self.block_size)?, self.block_size)
    }

    /// The bytes of the descriptor of the group that an inode is in.
    #[must_use]
    pub fn descriptor(&self, inode: u32) -> Option<Range<u64>> {
        let group = self.index(inode)? / self.inodes_per_group;
        let table = (self.first_block + 1).checked_mul(self.block_size)?;
        let offset = table.checked_add(u64::from(group) * self.descriptor_size)?;
        range(offset, self.descriptor_size)
    }

    /// The bytes of an inode, with the descriptor of its group.
    #[must_use]
    pub fn inode(&self, inode: u32, descriptor: &[u8]) -> Option<Range<u64>> {
        let index = self.index(inode)? % self.inodes_per_group;
        let high = le_u32(descriptor, 0x28).unwrap_or(0);
        let table = u64::from(high) << 32 | u64::from(le_u32(descriptor, 8)?);
        let offset = table.checked_mul(self.block_size)?;
        let offset = offset.checked_add(u64::from(index) * self.inode_size)?;
        range(offset, self.inode_size)
    }

    /// Inodes count from 1.
    fn index(&self, inode: u32) -> Option<u32> {
        inode.checked_sub(1).filter(|_| inode <= self.inodes)
    }
}

fn range(start: u64, length: u64) -> Option<Range<u64>> {
    Some(start..start.checked_add(length)?)
}

/// A file or a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtInode {
    /// Whether it is a directory. Symbolic links are not followed.
    pub is_directory: bool,
    /// The low 32 bits of its size in bytes, which are all that a directory has.
    pub size: u64,
    has_extents: bool,
    map: Vec<u8>,
}

impl ExtInode {
    /// Reads an inode. `None`: it is encrypted, or its content is within it.
    #[must_use]
    pub fn read(inode: &[u8]) -> Option<Self> {
        let flags = le_u32(inode, 0x20)?;
        (flags & IS_SPECIAL == 0).then_some(())?;
        Some(Self {
            is_directory: le_u16(inode, 0)? & TYPE == DIRECTORY,
            size: le_u32(inode, 4)?.into(),
            has_extents: flags & HAS_EXTENTS != 0,
            map: inode.get(MAP..MAP + 60)?.to_vec(),
        })
    }

    /// The root of its tree of extents; `None` if it has a list of blocks.
    #[must_use]
    pub fn extents(&self) -> Option<&[u8]> {
        self.has_extents.then_some(self.map.as_slice())
    }

    /// Its first blocks, if it has a list of them. `None`: more than twelve are asked for, and
    /// blocks hold the numbers of the others.
    #[must_use]
    pub fn direct_blocks(&self, count: usize) -> Option<Vec<u64>> {
        let direct = self
            .map
            .get(..count.checked_mul(4).filter(|end| *end <= 48)?)?;
        let numbers = direct.chunks_exact(4).map(|chunk| le_u32(chunk, 0));
        numbers.map(|number| number.map(u64::from)).collect()
    }
}

/// A node of a tree of extents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExtentNode {
    /// The runs of blocks that hold the content.
    Leaf(Vec<Range<u64>>),
    /// The blocks of the nodes below, which have `depth - 1`.
    Index {
        /// Levels below this node.
        depth: u16,
        /// In the order of the content.
        children: Vec<u64>,
    },
}

impl ExtentNode {
    /// Reads a node that has `limit` levels below it at the most.
    #[must_use]
    pub fn read(node: &[u8], limit: u16) -> Option<Self> {
        let (magic, used, depth) = (le_u16(node, 0)?, le_u16(node, 2)?, le_u16(node, 6)?);
        if magic != NODE_MAGIC || depth > limit {
            return None;
        }
        let entries =
            (0..usize::from(used)).map(|number| node.get(12 + 12 * number..24 + 12 * number));
        if depth > 0 {
            let child = |entry: &[u8]| {
                Some(u64::from(le_u16(entry, 8)?) << 32 | u64::from(le_u32(entry, 4)?))
            };
            let children = entries
                .map(|entry| child(entry?))
                .collect::<Option<Vec<_>>>()?;
            return Some(Self::Index { depth, children });
        }
        let run = |entry: &[u8]| {
            let length = le_u16(entry, 4).filter(|length| *length <= MAX_WRITTEN_BLOCKS)?;
            let first = u64::from(le_u16(entry, 6)?) << 32 | u64::from(le_u32(entry, 8)?);
            range(first, length.into())
        };
        let runs = entries.map(|entry| run(entry?)).collect::<Option<_>>()?;
        Some(Self::Leaf(runs))
    }
}

/// Names and inodes in a block of a directory. One with an index looks like one without to those
/// who read all of it.
#[must_use]
pub fn directory_entries(block: &[u8]) -> Option<Vec<(&[u8], u32)>> {
    let mut entries = Vec::new();
    let mut at = 0;
    while at + 8 <= block.len() {
        let length = usize::from(le_u16(block, at + 4)?);
        let name = usize::from(*block.get(at + 6)?);
        // Of a block of 64 KiB the length may be written as 0.
        if length < 8 || !length.is_multiple_of(4) {
            return None;
        }
        let inode = le_u32(block, at)?;
        if inode != 0 {
            entries.push((block.get(at + 8..at + 8 + name)?, inode));
        }
        at += length;
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_superblock_with_another_feature_or_size_is_not_understood() {
        let superblock = |feature: u32, block: u32| {
            let mut head = vec![0; 2048];
            let mut put = |at: usize, number: u32| {
                head[1024 + at..1028 + at].copy_from_slice(&number.to_le_bytes());
            };
            put(0, 64); // inodes
            put(0x18, block);
            put(0x28, 64); // inodes in a group
            put(0x38, MAGIC.into());
            put(0x60, feature);
            head
        };
        let known = ExtLayout::read(&superblock(0x42, 2)).unwrap();
        assert_eq!(known.block(3), Some(12 << 10..16 << 10));
        assert_eq!(known.block(u64::MAX), None);
        assert_eq!(known.descriptor(0), None);
        assert_eq!(known.descriptor(64), Some(4096..4128));
        assert_eq!(known.descriptor(65), None);
        for (feature, block) in [(0x1, 2), (0x8, 2), (0x1_0000, 2), (0x42, 7), (0x42, 64)] {
            assert_eq!(ExtLayout::read(&superblock(feature, block)), None);
        }
        assert_eq!(ExtLayout::read(&superblock(0x42, 2)[..2047]), None);
        assert_eq!(ExtLayout::read(&[0; 2048]), None);
    }

    #[test]
    fn a_node_has_no_more_levels_than_there_may_be() {
        let mut node = vec![0; 36];
        node[..2].copy_from_slice(&NODE_MAGIC.to_le_bytes());
        node[2..4].copy_from_slice(&2_u16.to_le_bytes());
        node[6..8].copy_from_slice(&1_u16.to_le_bytes());
        node[16..20].copy_from_slice(&7_u32.to_le_bytes());
        let children = vec![7, 0];
        let index = Some(ExtentNode::Index { depth: 1, children });
        assert_eq!(ExtentNode::read(&node, 1), index);
        assert_eq!(ExtentNode::read(&node, 0), None);
        assert_eq!(ExtentNode::read(&node[..35], 1), None);
    }

    #[test]
    fn names_end_where_their_block_ends() {
        let mut block = vec![0; 24];
        block[..4].copy_from_slice(&12_u32.to_le_bytes());
        block[4..6].copy_from_slice(&24_u16.to_le_bytes());
        block[6] = 3;
        block[8..11].copy_from_slice(b"EFI");
        assert_eq!(directory_entries(&block), Some(vec![(&b"EFI"[..], 12)]));
        block[6] = 17;
        assert_eq!(directory_entries(&block), None);
        block[4..6].copy_from_slice(&0_u16.to_le_bytes());
        assert_eq!(directory_entries(&block), None);
    }
}
