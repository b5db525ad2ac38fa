//! Physical volumes of LVM.

use crate::checksum::crc32_le;
use crate::identity::FormatIdentity;
use crate::read::{le_u16, le_u32, le_u64};
use crate::window::Window;

/// The type, in a label of one sector.
const TYPE: u64 = 24;
/// What the checksum of a label begins with.
const SEED: u32 = 0xf597_a6cf;

pub(crate) fn second(window: &mut Window<'_>, at: u64) -> Option<FormatIdentity> {
    let start = at.checked_sub(TYPE)?;
    let label = window.bytes(start, 512)?;
    let is_possible = label.starts_with(b"LABELONE")
        && le_u64(&label, 8)? == start / 512
        && le_u32(&label, 16)? == crc32_le(SEED, &label[20..]);
    is_possible.then(|| identity(&label[32..64]))
}

pub(crate) fn first(window: &mut Window<'_>, at: u64) -> Option<FormatIdentity> {
    let block = window.bytes(at, 172)?;
    matches!(le_u16(&block, 2)?, 1 | 2).then(|| identity(&block[44..76]))
}

/// Thirty-two letters in seven groups.
fn identity(letters: &[u8]) -> FormatIdentity {
    let mut text = String::new();
    for (index, letter) in letters.iter().enumerate() {
        if matches!(index, 6 | 10 | 14 | 18 | 22 | 26) {
            text.push('-');
        }
        text.push(char::from(*letter));
    }
    FormatIdentity {
        uuid: Some(text),
        label: None,
    }
}
