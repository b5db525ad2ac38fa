//! Swap areas, and what a system that was suspended to disk left in them.

use crate::identity::FormatIdentity;
use crate::read::{be_u32, le_u32};
use crate::text;
use crate::window::Window;

/// `TuxOnIce` keeps a swap area's mark where it was.
pub(crate) const TUX_ON_ICE: &[u8] = &[0xed, 0xc3, 0x02, 0xe9, 0x98, 0x56, 0xe5, 0x0c];
/// Where the header begins, whatever the size of pages.
const HEADER: u64 = 1024;

/// The old kind has no header.
pub(crate) fn old(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    (!window.has(0, TUX_ON_ICE)).then(FormatIdentity::default)
}

/// A version of one in either order of bytes, and at least one page.
pub(crate) fn new(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    let header = window.bytes(HEADER, 512)?;
    let is_possible = (le_u32(&header, 0)? == 1 || be_u32(&header, 0)? == 1)
        && le_u32(&header, 4)? != 0
        && !window.has(0, TUX_ON_ICE);
    is_possible.then(|| identity(&header))?
}

pub(crate) fn suspended(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    identity(&window.bytes(HEADER, 512)?)
}

fn identity(header: &[u8]) -> Option<FormatIdentity> {
    // What lies behind the header is free; of an area that is used otherwise it is not.
    let is_clean = le_u32(header, 44 + 32 * 4)? == 0 && le_u32(header, 44 + 33 * 4)? == 0;
    Some(if is_clean {
        FormatIdentity {
            uuid: text::uuid(&header[12..]),
            label: text::label(&header[28..44]),
        }
    } else {
        FormatIdentity::default()
    })
}
