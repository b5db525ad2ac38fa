//! What udev found out about a block device, from its database in `/run/udev/data`.

use std::collections::HashMap;

use crate::system::PathPrefix;

/// The properties of one device; empty when there is no udev.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties(HashMap<String, String>);

impl Properties {
    /// Reads the properties of the block device with this number (`8:0`).
    #[must_use]
    pub fn of_block(root: &PathPrefix, number: &str) -> Self {
        let path = root.path(format!("/run/udev/data/b{number}"));
        // Properties are what devices say of themselves: any bytes.
        let text = std::fs::read(path).unwrap_or_default();
        Self::parse(&String::from_utf8_lossy(&text))
    }

    /// Reads the lines `E:KEY=VALUE`; others are links, tags and times.
    fn parse(text: &str) -> Self {
        let properties = text
            .lines()
            .filter_map(|line| line.strip_prefix("E:")?.split_once('='));
        Self(
            properties
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    /// The first of these properties that is not empty.
    #[must_use]
    pub fn first(&self, keys: &[&str]) -> Option<&str> {
        keys.iter()
            .filter_map(|key| self.0.get(*key))
            .map(|value| value.trim())
            .find(|value| !value.is_empty())
    }

    /// All properties, sorted by name.
    #[must_use]
    pub fn sorted(&self) -> Vec<(&str, &str)> {
        let mut all: Vec<_> = self
            .0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        all.sort_unstable();
        all
    }
}

/// Undoes udev's encoding, in which `\x20` stands for a blank.
pub(crate) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let escaped = others
            .strip_prefix(b"x")
            .and_then(|hex| std::str::from_utf8(hex.get(..2)?).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match escaped {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &others[3..];
            }
            _ => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_properties_and_nothing_else() {
        let properties = Properties::parse("S:disk/by-id/x\nI:99\nE:ID_SERIAL=a=b\nE:EMPTY=\nG:x");
        assert_eq!(properties.sorted(), [("EMPTY", ""), ("ID_SERIAL", "a=b")]);
        assert_eq!(
            properties.first(&["MISSING", "EMPTY", "ID_SERIAL"]),
            Some("a=b")
        );
    }

    #[test]
    fn decodes() {
        let cases = [
            (r"Samsung\x20SSD\x20860", "Samsung SSD 860"),
            (r"a\x", r"a\x"),
            (r"a\xzz\x41", r"a\xzzA"),
            ("x20", "x20"),
            ("", ""),
        ];
        for (encoded, decoded) in cases {
            assert_eq!(decode(encoded), decoded);
        }
    }
}
