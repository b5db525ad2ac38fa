//! Formats of which little is checked.

use crate::identity::FormatIdentity;
use crate::read::{be_u16, be_u32, le_u16, le_u32};
use crate::text;
use crate::window::Window;

/// `log_blocksize` and the like agree with each other.
pub(crate) fn jfs(window: &mut Window<'_>, at: u64) -> Option<FormatIdentity> {
    let block = window.bytes(at, 184)?;
    let (block_log, sector_log) = (le_u16(&block, 20)?, le_u16(&block, 28)?);
    let is_power = |size: u32, log: u16| 1_u32.checked_shl(log.into()) == Some(size);
    let is_possible = is_power(le_u32(&block, 16)?, block_log)
        && is_power(le_u32(&block, 24)?, sector_log)
        && block_log.checked_sub(sector_log) == Some(le_u16(&block, 22)?);
    is_possible.then(|| FormatIdentity {
        uuid: text::uuid(&block[136..]),
        label: text::label(&block[152..168]),
    })
}

/// The first of the 3.6 formats' marks is in the middle of the superblock.
pub(crate) fn reiserfs(window: &mut Window<'_>, at: u64) -> Option<FormatIdentity> {
    let start = at / 1024 * 1024;
    let block = window.bytes(start, 116)?;
    let block_size = u64::from(le_u16(&block, 44)?);
    let journal = u64::from(le_u32(&block, 12)?);
    // What lies inside the journal is another's superblock.
    if block_size < 512 || start / 1024 / (block_size / 512) > journal / 2 {
        return None;
    }
    let is_named = matches!(block.get(58), Some(b'2' | b'3'));
    Some(if is_named {
        FormatIdentity {
            uuid: text::uuid(&block[84..]),
            label: text::label(&block[100..116]),
        }
    } else {
        FormatIdentity::default()
    })
}

pub(crate) fn gfs1(window: &mut Window<'_>, at: u64) -> Option<FormatIdentity> {
    gfs(window, at, |format, hosts| format == 1309 && hosts == 1401)
}

pub(crate) fn gfs2(window: &mut Window<'_>, at: u64) -> Option<FormatIdentity> {
    gfs(window, at, |format, hosts| {
        (1800..1900).contains(&format) && (1900..2000).contains(&hosts)
    })
}

fn gfs(
    window: &mut Window<'_>,
    at: u64,
    is_wanted: impl FnOnce(u32, u32) -> bool,
) -> Option<FormatIdentity> {
    let block = window.bytes(at, 272)?;
    let is_wanted = is_wanted(be_u32(&block, 24)?, be_u32(&block, 28)?);
    is_wanted.then(|| FormatIdentity {
        uuid: text::uuid(&block[256..]),
        label: text::label(&block[160..224]),
    })
}

/// Of the first version nobody knows the layout.
pub(crate) fn f2fs(window: &mut Window<'_>, at: u64) -> Option<FormatIdentity> {
    let block = window.bytes(at, 124 + 1024)?;
    if (le_u16(&block, 4)?, le_u16(&block, 6)?) == (1, 0) {
        return Some(FormatIdentity::default());
    }
    Some(FormatIdentity {
        uuid: text::uuid(&block[108..]),
        label: text::utf16_le(&block[124..]),
    })
}

/// Version 4; earlier ones are another format.
pub(crate) fn squashfs(window: &mut Window<'_>, at: u64) -> Option<FormatIdentity> {
    let block = window.bytes(at, 96)?;
    (le_u16(&block, 28)? >= 4).then(FormatIdentity::default)
}

pub(crate) fn squashfs3(window: &mut Window<'_>, at: u64) -> Option<FormatIdentity> {
    let block = window.bytes(at, 96)?;
    let version = if block.starts_with(b"sqsh") {
        be_u16
    } else {
        le_u16
    };
    (version(&block, 28)? <= 3).then(FormatIdentity::default)
}

pub(crate) fn apfs(window: &mut Window<'_>, at: u64) -> Option<FormatIdentity> {
    let block = window.bytes(at.checked_sub(32)?, 88)?;
    let is_container = (
        le_u16(&block, 24)?,
        le_u16(&block, 28)?,
        le_u16(&block, 30)?,
    );
    let is_possible = is_container == (1, 0, 0) && le_u32(&block, 36)? == 4096;
    is_possible.then(|| FormatIdentity {
        uuid: text::uuid(&block[72..]),
        label: None,
    })
}

/// The three versions in either order of bytes; the area of the maps must fit.
pub(crate) fn minix(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    const START: u64 = 1024;
    let block = window.bytes(START, 32)?;
    let is_big = |at: usize, marks: &[u16]| {
        let number = |read: fn(&[u8], usize) -> Option<u16>| read(&block, at);
        [(number(le_u16), false), (number(be_u16), true)]
            .into_iter()
            .find_map(|(mark, is_big)| marks.contains(&mark?).then_some(is_big))
    };
    let (is_big, version) = match (
        is_big(16, &[0x137f, 0x138f]),
        is_big(16, &[0x2468, 0x2478]),
        is_big(24, &[0x4d5a]),
    ) {
        (Some(big), ..) => (big, 1),
        (_, Some(big), _) => (big, 2),
        (.., Some(big)) => (big, 3),
        _ => return None,
    };
    let short = |at| {
        u64::from(
            if is_big {
                be_u16(&block, at)
            } else {
                le_u16(&block, at)
            }
            .unwrap_or(0),
        )
    };
    let long = |at| {
        u64::from(
            if is_big {
                be_u32(&block, at)
            } else {
                le_u32(&block, at)
            }
            .unwrap_or(0),
        )
    };
    let (zones, inodes, maps, first, block_size) = match version {
        3 => (
            long(20),
            long(0),
            [short(6), short(8)],
            short(10),
            short(28),
        ),
        _ if short(18) & !3 != 0 => return None,
        2 => (long(20), short(0), [short(4), short(6)], short(8), 1024),
        _ => (short(2), short(0), [short(4), short(6)], short(8), 1024),
    };
    let bits = |blocks: u64| blocks * block_size * 8;
    let is_possible = first < zones
        && zones != u64::from(u32::MAX)
        && inodes != u64::from(u32::MAX)
        && bits(maps[0]) > inodes
        && bits(maps[1]) > zones.saturating_sub(first);
    is_possible.then(FormatIdentity::default)
}

/// An identity of two numbers in the order of bytes of the machine that made it.
pub(crate) fn ufs(window: &mut Window<'_>, at: u64) -> Option<FormatIdentity> {
    /// Where the mark lies in the superblock.
    const MARK: u64 = 1372;
    let block = window.bytes(at.checked_sub(MARK)?, 1376)?;
    let mark = &block[1372..];
    let read = if matches!(mark[0], 0x00 | 0x19) && mark != [0x19, 0x01, 0x54, 0x19] {
        be_u32
    } else {
        le_u32
    };
    let (high, low) = (read(&block, 144)?, read(&block, 148)?);
    let is_second = [[0x19, 0x01, 0x54, 0x19], [0x19, 0x54, 0x01, 0x19]]
        .contains(&[mark[0], mark[1], mark[2], mark[3]]);
    Some(FormatIdentity {
        uuid: (high != 0 || low != 0).then(|| format!("{high:08x}{low:08x}")),
        label: is_second.then(|| text::label(&block[680..712])).flatten(),
    })
}
