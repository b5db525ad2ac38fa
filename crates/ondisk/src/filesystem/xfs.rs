//! XFS and its external logs.

use crate::identity::FormatIdentity;
use crate::read::{be_u16, be_u32, be_u64};
use crate::text;
use crate::window::Window;

pub(crate) fn probe(window: &mut Window<'_>, at: u64) -> Option<FormatIdentity> {
    let block = window.bytes(at, 512)?;
    is_possible(&block)?.then(|| FormatIdentity {
        uuid: text::uuid(&block[32..]),
        label: text::label(&block[108..120]),
    })
}

/// Four letters may be anybody's: the sizes must agree with each other.
fn is_possible(block: &[u8]) -> Option<bool> {
    let byte = |at: usize| block.get(at).copied().map(u32::from);
    let is_power = |size: u32, log: u32, least: u32, most: u32| {
        (least..=most).contains(&log) && 1_u32.checked_shl(log) == Some(size)
    };
    let block_size = be_u32(block, 4)?;
    let blocks = be_u64(block, 8)?;
    let group_blocks = u64::from(be_u32(block, 84)?);
    let groups = u64::from(be_u32(block, 88)?);
    let (block_log, sector_log, inode_log) = (byte(120)?, byte(121)?, byte(122)?);
    let inodes_log = byte(123)?;
    let extent = u64::from(be_u32(block, 80)?) * u64::from(block_size);
    let least_blocks = groups.saturating_sub(1) * group_blocks + 64;
    Some(
        groups > 0
            && is_power(u32::from(be_u16(block, 102)?), sector_log, 9, 15)
            && is_power(block_size, block_log, 9, 16)
            && is_power(u32::from(be_u16(block, 104)?), inode_log, 8, 11)
            && block_log.checked_sub(inode_log) == Some(inodes_log)
            && (4 << 10..=1 << 30).contains(&extent)
            && byte(127)? <= 100
            && (least_blocks..=groups * group_blocks).contains(&blocks),
    )
}

/// A log record in one of the first 512 sectors.
pub(crate) fn log(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    const LENGTH: u64 = 256 << 10;
    let head = window.bytes(0, LENGTH)?;
    for sector in head.chunks_exact(512) {
        if sector.starts_with(b"XFSB") {
            return None;
        }
        let version = be_u32(sector, 4)?;
        let length = be_u32(sector, 12)?;
        let format = be_u32(sector, 300)?;
        if sector.starts_with(&[0xfe, 0xed, 0xba, 0xbe])
            && matches!(version, 1..=3)
            && (1..=0x7fff_ffff).contains(&length)
            && matches!(format, 1..=3)
        {
            return Some(FormatIdentity::default());
        }
    }
    None
}
