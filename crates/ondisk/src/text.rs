//! Names and identities as `blkid` writes them.

/// Bytes up to the first zero, without white space at the end; `None` when nothing is left.
pub(crate) fn label(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0);
    let bytes = &bytes[..end.unwrap_or(bytes.len())];
    trimmed(&String::from_utf8_lossy(bytes))
}

/// UTF-16, little endian, up to the first zero.
pub(crate) fn utf16_le(bytes: &[u8]) -> Option<String> {
    utf16(bytes, u16::from_le_bytes)
}

/// UTF-16, big endian, up to the first zero.
pub(crate) fn utf16_be(bytes: &[u8]) -> Option<String> {
    utf16(bytes, u16::from_be_bytes)
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Option<String> {
    let (pairs, _) = bytes.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
    utf16_units(&units)
}

/// Units of UTF-16 up to the first zero.
pub(crate) fn utf16_units(units: &[u16]) -> Option<String> {
    let end = units.iter().position(|unit| *unit == 0);
    let units = &units[..end.unwrap_or(units.len())];
    trimmed(&String::from_utf16_lossy(units))
}

/// Without white space at the end; `None` when nothing is left.
pub(crate) fn trimmed(text: &str) -> Option<String> {
    let is_space = |c: char| c.is_ascii_whitespace() || c == '\u{b}';
    let text = text.trim_end_matches(is_space);
    (!text.is_empty()).then(|| text.to_owned())
}

/// Sixteen bytes in their order; `None` if there are fewer, or all are zero.
pub(crate) fn uuid(bytes: &[u8]) -> Option<String> {
    let bytes: &[u8; 16] = bytes.first_chunk()?;
    if *bytes == [0; 16] {
        return None;
    }
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&hex(*byte));
    }
    Some(text)
}

/// Sixteen bytes whose first three groups are little endian.
pub(crate) fn guid(bytes: &[u8]) -> Option<String> {
    let mut bytes: [u8; 16] = *bytes.first_chunk()?;
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    uuid(&bytes)
}

/// A byte as two digits.
pub(crate) fn hex(byte: u8) -> String {
    format!("{byte:02x}")
}

/// The serial number of FAT and exFAT: `1234-ABCD`. Zero does not identify a file
/// system to Linux, whose readers leave it out.
#[must_use]
pub fn serial_number(number: u32) -> String {
    format!("{:04X}-{:04X}", number >> 16, number & 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_end_at_zero_and_lose_the_white_space_behind_them() {
        for (bytes, text) in [
            (&b"root\0garbage"[..], Some("root")),
            (b"  two words \t\n", Some("  two words")),
            (b"\0root", None),
            (b"    ", None),
            (b"", None),
        ] {
            assert_eq!(label(bytes).as_deref(), text);
        }
        assert_eq!(utf16_le(b"a\0\xe4\0\0\0x\0").as_deref(), Some("a\u{e4}"));
        assert_eq!(utf16_be(b"\0a\0\xe4\0 x").as_deref(), Some("a\u{e4}"));
    }

    #[test]
    fn identities_are_written_in_their_order_or_backwards_in_groups() {
        let bytes: Vec<u8> = (0x10..0x20).collect();
        assert_eq!(
            uuid(&bytes).as_deref(),
            Some("10111213-1415-1617-1819-1a1b1c1d1e1f")
        );
        assert_eq!(
            guid(&bytes).as_deref(),
            Some("13121110-1514-1716-1819-1a1b1c1d1e1f")
        );
        assert_eq!(uuid(&[0; 16]), None);
        assert_eq!(uuid(&bytes[1..]), None);
        assert_eq!(serial_number(0), "0000-0000");
        assert_eq!(serial_number(0x1234_abcd), "1234-ABCD");
    }
}
