//! Metadata of device-mapper targets and their like.

use crate::identity::FormatIdentity;
use crate::read::{be_u32, be_u64, le_u32, le_u64};
use crate::text;
use crate::window::Window;

pub(crate) fn verity(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    let block = window.bytes(0, 32)?;
    (le_u32(&block, 8)? == 1).then(|| FormatIdentity {
        uuid: text::uuid(&block[16..]),
        label: None,
    })
}

pub(crate) fn integrity(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    let block = window.bytes(0, 16)?;
    (block[8] != 0).then(FormatIdentity::default)
}

/// It knows its own place.
pub(crate) fn bcache(window: &mut Window<'_>, at: u64) -> Option<FormatIdentity> {
    let start = at.checked_sub(24)?;
    let block = window.bytes(start, 64)?;
    (le_u64(&block, 8)? == start / 512).then(|| FormatIdentity {
        uuid: text::uuid(&block[40..]),
        label: None,
    })
}

/// Thirty-two digits without the strokes.
pub(crate) fn stratis(window: &mut Window<'_>, at: u64) -> Option<FormatIdentity> {
    let block = window.bytes(at.checked_sub(4)?, 128)?;
    let digits = String::from_utf8_lossy(&block[64..96]).into_owned();
    let ends = [0, 8, 12, 16, 20, 32];
    let groups: Option<Vec<_>> = ends
        .windows(2)
        .map(|ends| digits.get(ends[0]..ends[1]))
        .collect();
    Some(FormatIdentity {
        uuid: Some(groups?.join("-")),
        label: None,
    })
}

/// In the last 4 KiB; its numbers are big endian. The newest version has its identity eight
/// bytes further.
pub(crate) fn drbd(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    const MAGIC: u32 = 0x8374_0267;
    let block = window.bytes(window.size().checked_sub(4096)?, 64)?;
    let at = match be_u32(&block, 60)?.checked_sub(MAGIC)? {
        4 | 5 => 40,
        6 => 48,
        _ => return None,
    };
    Some(FormatIdentity {
        uuid: be_u64(&block, at)
            .filter(|number| *number != 0)
            .map(|number| format!("{number:x}")),
        label: None,
    })
}

/// The number of the image.
pub(crate) fn ubi(window: &mut Window<'_>, at: u64) -> Option<FormatIdentity> {
    let block = window.bytes(at, 64)?;
    Some(FormatIdentity {
        uuid: be_u32(&block, 24)
            .filter(|number| *number != 0)
            .map(|number| number.to_string()),
        label: None,
    })
}
