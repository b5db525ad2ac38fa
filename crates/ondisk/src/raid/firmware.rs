//! Members of arrays that firmware made: IMSM (Intel) and DDF (SNIA). Their metadata is at the
//! end of the disk.

use crate::identity::FormatIdentity;
use crate::read::be_u64;
use crate::window::Window;

/// In the last sector but one.
pub(crate) fn imsm(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    let sector = window.sector();
    let at = (window.size() / sector).checked_sub(2)? * sector;
    window
        .has(at, b"Intel Raid ISM Cfg Sig. ")
        .then(FormatIdentity::default)
}

/// The anchor in the last sector, or where some controllers put it; it names the place of the
/// header.
pub(crate) fn ddf(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    const MAGIC: &[u8] = &[0xde, 0x11, 0xde, 0x11];
    let sectors = window.size() / 512;
    let anchors = [1, 257]
        .into_iter()
        .filter_map(|back| sectors.checked_sub(back));
    for at in anchors {
        let Some(anchor) = window.bytes(at * 512, 512) else {
            continue;
        };
        if anchor.starts_with(MAGIC) {
            let header = be_u64(&anchor, 96)?;
            let is_there = header == 0 || window.has(header.checked_mul(512)?, MAGIC);
            return is_there.then(FormatIdentity::default);
        }
    }
    None
}
