//! NILFS2: the newer of two superblocks counts.

use crate::checksum::crc32_le;
use crate::identity::FormatIdentity;
use crate::read::{le_u16, le_u32, le_u64};
use crate::text;
use crate::window::Window;

const PRIMARY: u64 = 1024;
/// From the end, in sectors of 512 bytes.
const BACKUP: u64 = 8;
const MAGIC: u16 = 0x3434;
/// The place of the checksum.
const SUM: usize = 16;

pub(crate) fn probe(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    let backup = (window.size() / 512).checked_sub(BACKUP)? * 512;
    let mut read = |at: u64| {
        window
            .bytes(at, 1024)
            .filter(|block| is_valid(block) == Some(true))
    };
    let block = match (read(PRIMARY), read(backup)) {
        (Some(primary), Some(backup)) => {
            let last = |block: &[u8]| le_u64(block, 48);
            if last(&primary) > last(&backup) {
                backup
            } else {
                primary
            }
        }
        (primary, backup) => primary.or(backup)?,
    };
    Some(FormatIdentity {
        uuid: text::uuid(&block[0x98..]),
        label: text::label(&block[0xa8..0xf8]),
    })
}

fn is_valid(block: &[u8]) -> Option<bool> {
    let length = usize::from(le_u16(block, 8)?);
    if le_u16(block, 6)? != MAGIC || length < SUM + 4 || length > block.len() {
        return Some(false);
    }
    let sum = crc32_le(le_u32(block, 12)?, &block[..SUM]);
    let sum = crc32_le(sum, &[0; 4]);
    let sum = crc32_le(sum, &block[SUM + 4..length]);
    Some(sum == le_u32(block, SUM)?)
}
