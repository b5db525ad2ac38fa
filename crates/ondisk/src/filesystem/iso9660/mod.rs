//! ISO 9660 (CD), with the label of Joliet where there is one, and High Sierra.

use crate::identity::FormatIdentity;
use crate::text;
use crate::window::Window;

mod tree;

pub use tree::{IsoContent, IsoEntry, IsoError, MAX_DIRECTORY_DEPTH, visit_tree};

/// What a descriptor of the standard begins with, behind its kind.
pub(crate) const STANDARD: &[u8] = b"CD001";

/// Where the descriptors begin, their size, and how many are looked at.
const FIRST: u64 = 32 << 10;
const DESCRIPTOR: u64 = 2 << 10;
const MAX_DESCRIPTORS: u64 = 16;
/// Kinds of descriptors.
const BOOT: u8 = 0;
const PRIMARY: u8 = 1;
const SUPPLEMENTARY: u8 = 2;
const END: u8 = 255;
/// What a Joliet descriptor says about its characters, at three levels.
const JOLIET: [&[u8]; 3] = [b"%/@", b"%/C", b"%/E"];

/// A label is upper case ASCII in one descriptor and any text, of half the length, in the
/// other. Where one begins like the other, it is put together of both.
pub(crate) fn probe(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    let (mut has_boot, mut primary, mut joliet) = (false, None, None);
    for index in 0..MAX_DESCRIPTORS {
        if has_boot && primary.is_some() && joliet.is_some() {
            break;
        }
        let Some(descriptor) = window.bytes(FIRST + index * DESCRIPTOR, DESCRIPTOR) else {
            break;
        };
        match descriptor[0] {
            END => break,
            BOOT => has_boot = true,
            PRIMARY if primary.is_none() => primary = Some(descriptor),
            SUPPLEMENTARY if joliet.is_none() && JOLIET.contains(&&descriptor[88..91]) => {
                joliet = Some(descriptor);
            }
            _ => {}
        }
    }
    let primary = primary?;
    let ascii = &primary[40..72];
    let label = match &joliet {
        Some(joliet) => match merged(&joliet[40..72], ascii) {
            Some(units) => text::utf16_units(&units),
            None => text::utf16_be(&joliet[40..72]),
        },
        None => text::label(ascii),
    };
    // Modified, or else created.
    let uuid = date(&primary[830..847]).or_else(|| date(&primary[813..830]));
    Some(FormatIdentity { uuid, label })
}

pub(crate) fn high_sierra(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    let descriptor = window.bytes(FIRST, DESCRIPTOR)?;
    Some(FormatIdentity {
        uuid: None,
        label: text::label(&descriptor[48..80]),
    })
}

/// Sixteen digits and a time zone: the digits, in groups.
fn date(field: &[u8]) -> Option<String> {
    let (digits, zone) = field.split_at_checked(16)?;
    if digits.iter().all(|digit| *digit == b'0') && zone == [0] {
        return None;
    }
    let mut text = String::new();
    for (index, digit) in digits.iter().enumerate() {
        if index >= 4 && index.is_multiple_of(2) {
            text.push('-');
        }
        text.push(char::from(*digit));
    }
    Some(text)
}

fn merged(wide: &[u8], ascii: &[u8]) -> Option<Vec<u16>> {
    let (pairs, _) = wide.as_chunks::<2>();
    let mut wide = pairs
        .iter()
        .map(|pair| u16::from_be_bytes(*pair))
        .peekable();
    let mut units = Vec::new();
    let mut rest = ascii.iter().copied();
    // As long as both have something.
    while wide.peek().is_some() {
        let Some(narrow) = rest.next() else { break };
        let mut unit = wide.next()?;
        // Two units stand for one character that ASCII cannot have.
        if (0xd800..0xdc00).contains(&unit)
            && wide
                .peek()
                .is_some_and(|low| (0xdc00..0xe000).contains(low))
        {
            units.push(unit);
            unit = wide.next()?;
        }
        let upper = |byte: u8| byte.to_ascii_uppercase();
        match u8::try_from(unit) {
            // It stands for what ASCII cannot have.
            _ if narrow == b'_' => units.push(unit),
            Ok(b'_') => units.push(narrow.into()),
            Ok(byte) if upper(byte) == upper(narrow) => {
                let is_capital = narrow.is_ascii_uppercase();
                units.push(if is_capital { unit } else { narrow.into() });
            }
            _ => return None,
        }
    }
    units.extend(rest.map(u16::from));
    Some(units)
}
