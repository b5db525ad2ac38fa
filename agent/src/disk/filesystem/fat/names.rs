//! Entries of FAT directories: a short name of eight and three capitals, and before it the
//! long name in pieces when the name is not such a short one.

use std::collections::HashSet;
use std::io;

use super::FatError;

/// Bytes of a slot; an entry takes one, and one more for each piece of its long name.
pub(super) const SLOT: usize = 32;
/// Characters (units of UTF-16) in a piece of a long name, and pieces at most.
const PIECE: usize = 13;
const MAX_NAME_UNITS: usize = 255;
/// Where the characters of a piece lie in its slot.
const NAME_FIELDS: [(usize, usize); 3] = [(1, 5), (14, 6), (28, 2)];
/// Attributes of entries.
const LABEL: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
const FILE: u8 = 0x20;
const LONG: u8 = 0x0f;
/// The first of January 1980, which is as early as it gets.
const DATE: [u8; 2] = [0x21, 0];

/// The names in one directory.
#[derive(Debug, Default)]
pub(super) struct DirectoryNames {
    short: HashSet<[u8; 11]>,
    long: HashSet<String>,
}

impl DirectoryNames {
    /// The slots of an entry.
    pub(super) fn entry(
        &mut self,
        name: &str,
        is_directory: bool,
        first: u32,
        length: u32,
    ) -> io::Result<Vec<u8>> {
        let units: Vec<u16> = name.encode_utf16().collect();
        let is_bad = |c: char| c.is_control() || "\"*/:<>?\\|".contains(c);
        if units.is_empty() || units.len() > MAX_NAME_UNITS || name.contains(is_bad) {
            return Err(FatError::Name(name.to_owned()).into());
        }
        if !self.long.insert(name.to_lowercase()) {
            return Err(FatError::SameName(name.to_owned()).into());
        }
        let mut slots = Vec::new();
        let short = match as_short(name).filter(|short| !self.short.contains(short)) {
            Some(short) => short,
            None => {
                let short = self.shorten(name)?;
                slots = pieces(&units, checksum(short));
                short
            }
        };
        self.short.insert(short);
        let attributes = if is_directory { DIRECTORY } else { FILE };
        slots.extend(slot(short, attributes, first, length));
        Ok(slots)
    }

    /// A short name that is free: what is left of the long one, and a number.
    fn shorten(&self, name: &str) -> io::Result<[u8; 11]> {
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        let capitals = |text: &str, most: usize| -> Vec<u8> {
            let plain = text.bytes().filter(u8::is_ascii_alphanumeric);
            plain
                .map(|byte| byte.to_ascii_uppercase())
                .take(most)
                .collect()
        };
        let extension = capitals(extension, 3);
        for number in 1..1_000_000_u32 {
            let number = format!("~{number}");
            let mut short = [b' '; 11];
            let stem = capitals(stem, 8 - number.len());
            let stem = stem.iter().chain(number.as_bytes());
            for (to, from) in short.iter_mut().zip(stem) {
                *to = *from;
            }
            for (to, from) in short[8..].iter_mut().zip(&extension) {
                *to = *from;
            }
            if !self.short.contains(&short) {
                return Ok(short);
            }
        }
        Err(FatError::ShortNames(name.to_owned()).into())
    }
}

/// How many slots an entry takes at most.
pub(super) fn slots(name: &str) -> usize {
    1 + name.encode_utf16().count().div_ceil(PIECE)
}

/// The label of the file system, an entry of its own in the first directory.
pub(super) fn volume_label(label: [u8; 11]) -> [u8; SLOT] {
    slot(label, LABEL, 0, 0)
}

/// A directory's entry for itself (one dot) or for what it is in (two).
pub(super) fn dot(dots: usize, cluster: u32) -> [u8; SLOT] {
    let mut name = [b' '; 11];
    name[..dots].fill(b'.');
    slot(name, DIRECTORY, cluster, 0)
}

fn slot(name: [u8; 11], attributes: u8, first: u32, length: u32) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    let cluster = first.to_le_bytes();
    slot[..11].copy_from_slice(&name);
    slot[11] = attributes;
    for at in [16, 18, 24] {
        slot[at..at + 2].copy_from_slice(&DATE);
    }
    slot[20..22].copy_from_slice(&cluster[2..]);
    slot[26..28].copy_from_slice(&cluster[..2]);
    slot[28..].copy_from_slice(&length.to_le_bytes());
    slot
}

/// A name that needs no long one.
fn as_short(name: &str) -> Option<[u8; 11]> {
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    let is_plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let fits = (1..=8).contains(&stem.len()) && extension.len() <= 3;
    if !fits || name.ends_with('.') || !stem.bytes().chain(extension.bytes()).all(is_plain) {
        return None;
    }
    let mut short = [b' '; 11];
    short[..stem.len()].copy_from_slice(stem.as_bytes());
    short[8..8 + extension.len()].copy_from_slice(extension.as_bytes());
    Some(short)
}

/// The pieces of a long name, the last first.
fn pieces(units: &[u16], checksum: u8) -> Vec<u8> {
    let count = units.len().div_ceil(PIECE);
    let mut slots = Vec::new();
    for number in (1..=count).rev() {
        let mut slot = [0; SLOT];
        slot[0] = u8::try_from(number).unwrap_or(u8::MAX);
        if number == count {
            slot[0] |= 0x40;
        }
        slot[11] = LONG;
        slot[13] = checksum;
        let mut at = (number - 1) * PIECE;
        for (start, length) in NAME_FIELDS {
            for place in 0..length {
                // A zero ends the name, and the rest is filled.
                let fill = if at == units.len() { 0 } else { 0xffff };
                let unit = units.get(at).copied().unwrap_or(fill);
                let to = start + 2 * place;
                slot[to..to + 2].copy_from_slice(&unit.to_le_bytes());
                at += 1;
            }
        }
        slots.extend(slot);
    }
    slots
}

/// What ties a long name to its short one.
fn checksum(short: [u8; 11]) -> u8 {
    let sum = |sum: u8, byte: &u8| sum.rotate_right(1).wrapping_add(*byte);
    short.iter().fold(0, sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_kept_and_others_get_a_number() {
        let mut names = DirectoryNames::default();
        let mut short = |name: &str| {
            let slots = names.entry(name, false, 5, 6).unwrap();
            let own = &slots[slots.len() - SLOT..];
            let own = String::from_utf8_lossy(&own[..11]).into_owned();
            (own, slots.len() / SLOT)
        };
        for (name, expected) in [
            ("README", ("README     ", 1)),
            ("A_1.TXT", ("A_1     TXT", 1)),
            ("meta_data.json", ("METADA~1JSO", 3)),
            ("meta_data2.json", ("METADA~2JSO", 3)),
            ("0000", ("0000       ", 1)),
            ("lower", ("LOWER~1    ", 2)),
            ("...", ("~1         ", 2)),
            ("a.", ("A~1        ", 2)),
            ("\u{e9}t\u{e9}.x", ("T~1     X  ", 2)),
            ("exactly13.abc", ("EXACTL~1ABC", 2)),
            ("exactly 14.abc", ("EXACTL~2ABC", 3)),
        ] {
            let (own, count) = short(name);
            assert_eq!((own.as_str(), count), expected, "{name}");
            assert!(slots(name) >= count);
        }
    }

    #[test]
    fn a_number_takes_room_from_the_name() {
        let mut names = DirectoryNames::default();
        for number in 0..1001 {
            names
                .entry(&format!("some file {number}"), false, 0, 0)
                .unwrap();
        }
        assert_eq!(names.short.len(), 1001);
        assert!(names.short.contains(b"SOM~1000   "));
    }

    #[test]
    fn names_that_fat_does_not_know_are_refused() {
        let long = "x".repeat(256);
        for name in ["", "a:b", "a\"b", "a\nb", "what?", long.as_str()] {
            assert!(DirectoryNames::default().entry(name, false, 0, 0).is_err());
        }
    }
}
