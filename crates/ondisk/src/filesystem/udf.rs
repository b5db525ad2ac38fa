//! UDF: the label is the logical volume's, the identity is made of the volume set's.

use crate::identity::FormatIdentity;
use crate::read::{le_u16, le_u32};
use crate::text;
use crate::window::Window;

/// What the descriptor of a version of the standard begins with, behind its kind.
pub(crate) const SECOND: &[u8] = b"NSR02";
pub(crate) const THIRD: &[u8] = b"NSR03";

/// Where the volume recognition sequence begins, and how many descriptors it has at most.
const RECOGNITION: u64 = 32 << 10;
const MAX_RECOGNITION_DESCRIPTORS: u64 = 64;
/// How many volume descriptors are looked at.
const MAX_VOLUME_DESCRIPTORS: u64 = 64;
/// Kinds of descriptors.
const PRIMARY: u16 = 1;
const ANCHOR: u16 = 2;
const LOGICAL: u16 = 6;
const TERMINATING: u16 = 8;
const CHARACTERS: &[u8] = b"\0OSTA Compressed Unicode\0";
const DOMAIN: &[u8] = b"*OSTA UDF Compliant\0";

pub(crate) fn probe(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    let (block, anchor) = anchor(window)?;
    let count = u64::from(le_u32(&anchor, 16)?) / block;
    let first = u64::from(le_u32(&anchor, 20)?);
    let mut identity = FormatIdentity::default();
    let mut is_udf = false;
    for number in first..first + count.min(MAX_VOLUME_DESCRIPTORS) {
        let descriptor = window.bytes(number * block, 512)?;
        let kind = le_u16(&descriptor, 0)?;
        let is_here = u64::from(le_u32(&descriptor, 12)?) == number;
        if matches!(kind, 0 | TERMINATING) || !is_here {
            break;
        }
        if kind == PRIMARY && identity.uuid.is_none() && descriptor[200..].starts_with(CHARACTERS) {
            identity.uuid = set_identity(&descriptor[72..200]);
        }
        if kind == LOGICAL {
            is_udf |= descriptor[217..].starts_with(DOMAIN);
            if identity.label.is_none() && descriptor[20..].starts_with(CHARACTERS) {
                identity.label = text::trimmed(&string(&descriptor[84..212])?);
            }
        }
    }
    is_udf.then_some(identity)
}

/// The size of blocks and the descriptor that says where the others are.
fn anchor(window: &mut Window<'_>) -> Option<(u64, Vec<u8>)> {
    let mut sizes = vec![window.sector()];
    sizes.extend(
        [512, 1024, 2048, 4096]
            .into_iter()
            .filter(|size| *size != window.sector()),
    );
    let mut known = None;
    for block in sizes {
        let length = block.max(2048);
        let is_recognized = match known {
            Some(known) if length == 2048 => known,
            _ => is_recognized(window, length)?,
        };
        if length == 2048 {
            known = Some(is_recognized);
        }
        if !is_recognized {
            continue;
        }
        for number in [256, 512] {
            let descriptor = window.bytes(number * block, 512)?;
            let is_here = u64::from(le_u32(&descriptor, 12)?) == number;
            if is_here && le_u16(&descriptor, 0)? == ANCHOR {
                return Some((block, descriptor));
            }
        }
    }
    None
}

fn is_recognized(window: &mut Window<'_>, length: u64) -> Option<bool> {
    const OTHERS: [&[u8]; 5] = [b"BEA01", b"BOOT2", b"CD001", b"CDW02", b"TEA01"];
    for index in 0..MAX_RECOGNITION_DESCRIPTORS {
        let descriptor = window.bytes(RECOGNITION + index * length, 7)?;
        match &descriptor[1..6] {
            SECOND | THIRD => return Some(true),
            other if OTHERS.contains(&other) => {}
            _ => break,
        }
    }
    Some(false)
}

/// Sixteen characters: hexadecimal digits as they are, what follows them as the digits of its
/// bytes.
fn set_identity(field: &[u8]) -> Option<String> {
    let text = string(field)?;
    let mut bytes = text.into_bytes();
    if bytes.len() < 8 {
        return None;
    }
    bytes.resize(16, 0);
    let digits = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let plain = match digits {
        0..8 => 0,
        8..16 => 8,
        _ => 16,
    };
    let (digits, others) = bytes.split_at(plain);
    let mut uuid = String::from_utf8_lossy(digits).to_ascii_lowercase();
    for byte in others.iter().take((16 - plain) / 2) {
        uuid.push_str(&text::hex(*byte));
    }
    Some(uuid)
}

/// A text with its encoding in the first byte and its length in the last.
fn string(field: &[u8]) -> Option<String> {
    let (length, rest) = field.split_last()?;
    let (encoding, rest) = rest.split_first()?;
    let rest = &rest[..usize::from(length.saturating_sub(1)).min(rest.len())];
    let characters: String = match encoding {
        8 => rest.iter().map(|byte| char::from(*byte)).collect(),
        16 => {
            let (pairs, _) = rest.as_chunks::<2>();
            let units: Vec<_> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            String::from_utf16_lossy(&units)
        }
        _ => return None,
    };
    Some(characters.chars().take_while(|c| *c != '\0').collect())
}
