//! GUIDs as they lie on a disk.

use std::fmt;

/// A GUID as it lies on the disk: the first three fields little endian.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Guid(pub [u8; 16]);

impl Guid {
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
