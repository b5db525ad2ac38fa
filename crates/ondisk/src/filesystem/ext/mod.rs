//! ext2, ext3, ext4 and journals of their own.

use crate::identity::FormatIdentity;
use crate::read::le_u32;
use crate::text;
use crate::window::Window;

pub mod layout;

/// Where the superblock begins.
const SUPERBLOCK: u64 = 1024;
/// `has_journal` among the compatible features.
const JOURNAL: u32 = 0x4;
/// `journal_dev` among the incompatible features.
const JOURNAL_DEVICE: u32 = 0x8;
/// Read-only compatible features that ext2 and ext3 have: `sparse_super`, `large_file`,
/// `btree_dir`.
const OLD_READ_ONLY: u32 = 0x1 | 0x2 | 0x4;
/// Incompatible features that ext2 has: `filetype`, `meta_bg`; ext3 has `needs_recovery`, too.
const EXT2_INCOMPATIBLE: u32 = 0x2 | 0x10;
const EXT3_INCOMPATIBLE: u32 = EXT2_INCOMPATIBLE | 0x4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExtKind {
    Ext2,
    Ext3,
    Ext4,
    JournalDevice,
}

pub(crate) fn ext2(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    probe(window, ExtKind::Ext2)
}

pub(crate) fn ext3(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    probe(window, ExtKind::Ext3)
}

pub(crate) fn ext4(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    probe(window, ExtKind::Ext4)
}

pub(crate) fn journal(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    probe(window, ExtKind::JournalDevice)
}

fn probe(window: &mut Window<'_>, wanted: ExtKind) -> Option<FormatIdentity> {
    let block = window.bytes(SUPERBLOCK, 1024)?;
    (kind(&block)? == wanted).then(|| FormatIdentity {
        uuid: text::uuid(&block[0x68..]),
        label: text::label(&block[0x78..0x88]),
    })
}

fn kind(block: &[u8]) -> Option<ExtKind> {
    // The largest block is of 64 KiB; more is chance.
    if le_u32(block, 0x18)? >= 256 {
        return None;
    }
    let compatible = le_u32(block, 0x5c)?;
    let incompatible = le_u32(block, 0x60)?;
    let read_only = le_u32(block, 0x64)?;
    let is_old = read_only & !OLD_READ_ONLY == 0;
    if incompatible & JOURNAL_DEVICE != 0 {
        Some(ExtKind::JournalDevice)
    } else if !is_old || incompatible & !EXT3_INCOMPATIBLE != 0 {
        Some(ExtKind::Ext4)
    } else if compatible & JOURNAL != 0 {
        Some(ExtKind::Ext3)
    } else if incompatible & !EXT2_INCOMPATIBLE == 0 {
        Some(ExtKind::Ext2)
    } else {
        None
    }
}
