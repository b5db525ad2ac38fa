//! BitLocker, in the three forms of its boot sector.

use crate::identity::FormatIdentity;
use crate::read::{le_u16, le_u32, le_u64};
use crate::text;
use crate::window::Window;

/// Signatures at the beginning: of the first version, of later ones, of removable media.
pub(crate) const VISTA: &[u8] = b"\xeb\x52\x90-FVE-FS-";
pub(crate) const LATER: &[u8] = b"\xeb\x58\x90-FVE-FS-";
pub(crate) const TO_GO: &[u8] = b"\xeb\x58\x90MSWIN4.1";
/// The headers of the metadata in bytes, and what the description's entry says of itself.
const BLOCK_HEADER: u64 = 64;
const HEADER: u64 = 48;
const DESCRIPTION: [u16; 2] = [7, 2];

/// Whether it is there. Its boot sector looks like FAT's or NTFS's.
pub(crate) fn is_there(window: &mut Window<'_>) -> bool {
    probe(window, 0).is_some()
}

pub(crate) fn probe(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    let sector = window.bytes(0, 512)?;
    let offset = if sector.starts_with(VISTA) {
        return Some(FormatIdentity::default());
    } else if sector.starts_with(LATER) {
        le_u64(&sector, 176)?
    } else if sector.starts_with(TO_GO) {
        le_u64(&sector, 440)?
    } else {
        return None;
    };
    if offset == 0 || offset % 64 != 0 {
        return None;
    }
    let header = window.bytes(offset, BLOCK_HEADER + HEADER)?;
    if !header.starts_with(b"-FVE-FS-") {
        return None;
    }
    let length = u64::from(le_u32(&header, 64)?);
    let metadata = window.bytes(offset + BLOCK_HEADER, length)?;
    Some(FormatIdentity {
        uuid: text::guid(&header[80..]),
        label: description(&metadata),
    })
}

fn description(metadata: &[u8]) -> Option<String> {
    let mut at = 48;
    while at + 8 < metadata.len() {
        let entry = &metadata[at..];
        let length = usize::from(le_u16(entry, 0)?);
        let content = entry.get(8..length)?;
        if [le_u16(entry, 2)?, le_u16(entry, 4)?] == DESCRIPTION {
            return text::utf16_le(content);
        }
        at += length;
    }
    None
}
