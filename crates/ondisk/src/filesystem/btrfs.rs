//! btrfs.

use crate::identity::FormatIdentity;
use crate::read::le_u32;
use crate::text;
use crate::window::Window;

/// Where the magic number lies in the superblock.
const MAGIC: u64 = 0x40;

pub(crate) fn probe(window: &mut Window<'_>, at: u64) -> Option<FormatIdentity> {
    let block = window.bytes(at.checked_sub(MAGIC)?, 0x300)?;
    let sector_size = le_u32(&block, 0x90)?;
    (sector_size != 0).then(|| FormatIdentity {
        uuid: text::uuid(&block[0x20..]),
        label: text::label(&block[0x12b..0x22b]),
    })
}
