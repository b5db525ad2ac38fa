//! GUIDs as they lie on a disk.

use std::fmt;

/// A GUID as it lies on the disk: the first three fields little endian.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// The one that is written with these digits.
    pub(crate) const fn of_text(digits: u128) -> Self {
        let [a, b, c, d, e, f, g, h, rest @ ..] = digits.to_be_bytes();
        let [i, j, k, l, m, n, o, p] = rest;
        Self([d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p])
    }

    /// Its first four bytes, which serve as a small identity.
    #[must_use]
    pub fn identifier(self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_le_bytes([a, b, c, d])
    }

    /// One that begins with a small identity.
    #[must_use]
    pub fn of_identifier(identifier: u32) -> Self {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&identifier.to_le_bytes());
        Self(bytes)
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes_le(self.0).fmt(f)
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_text() {
        let guid = Guid::of_text(0x37affc90_ef7d_4e96_91c3_2d7ae055b174);
        assert_eq!(guid.to_string(), "37affc90-ef7d-4e96-91c3-2d7ae055b174");
    }
}
