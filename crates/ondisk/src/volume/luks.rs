//! LUKS: an identity in text, and in version 2 a label.

use crate::identity::FormatIdentity;
use crate::read::{be_u16, be_u64};
use crate::text;
use crate::window::Window;

/// What a header begins with.
pub(crate) const MAGIC: &[u8] = b"LUKS\xba\xbe";

/// The version that a header names; `None` if it ends before.
pub(crate) fn version(header: &[u8]) -> Option<u16> {
    be_u16(header, 6)
}

pub(crate) fn probe(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    let header = window.bytes(0, 512)?;
    let version = version(&header)?;
    // The second version knows its own place.
    if version == 2 && be_u64(&header, 256)? != 0 {
        return None;
    }
    let is_known = matches!(version, 1 | 2);
    Some(FormatIdentity {
        uuid: is_known.then(|| text::label(&header[168..208])).flatten(),
        label: (version == 2)
            .then(|| text::label(&header[24..72]))
            .flatten(),
    })
}
