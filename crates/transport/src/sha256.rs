//! SHA-256 of texts and certificates, by the library that TLS is linked with anyway.

use std::fmt;
use std::str::FromStr;

use ring::digest::{SHA256, digest};
use thiserror::Error;

/// A SHA-256. It is shown as 64 hexadecimal digits, or as many of them as a precision says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sha256Digest([u8; 32]);

impl Sha256Digest {
    /// The digest of bytes.
    #[must_use]
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        let mut own = [0; 32];
        own.copy_from_slice(digest(&SHA256, bytes.as_ref()).as_ref());
        Self(own)
    }

    /// The digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A text is not a [`Sha256Digest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected 64 hexadecimal digits")]
pub struct InvalidSha256;

impl FromStr for Sha256Digest {
    type Err = InvalidSha256;

    fn from_str(text: &str) -> Result<Self, InvalidSha256> {
        let digits: Option<Vec<u32>> = text.chars().map(|letter| letter.to_digit(16)).collect();
        let digits = digits.filter(|digits| digits.len() == 64);
        let digits = digits.ok_or(InvalidSha256)?;
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::try_from(pair[0] << 4 | pair[1]).map_err(|_| InvalidSha256)?;
        }
        Ok(Self(digest))
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        f.pad(&digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standard() {
        // FIPS 180-2, appendix B.1 and B.2.
        for (text, digits) in [
            (
                "abc",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
        ] {
            let digest = Sha256Digest::of(text);
            assert_eq!(digest.to_string(), digits);
            assert_eq!(format!("{digest:.16}"), digits[..16]);
            assert_eq!(digits.to_uppercase().parse(), Ok(digest));
        }
    }
}
