//! Expected digests, computing digests, and the proof that the two are the same.

use md5::Md5;
use sha1::Sha1;
use sha2::digest::{Digest, DynDigest};
use sha2::{Sha224, Sha256, Sha384, Sha512, Sha512_224, Sha512_256};

use super::error::{ChecksumError, DigestError, Mismatch};
use crate::system::memory::prefetch;

/// While so much is hashed, the next of that length is fetched.
const PIECE: usize = 4096;

/// The bytes that went through a [`Hasher`] have the expected digest: the disk that holds them may
/// boot.
#[derive(Debug)]
pub(in crate::image) struct Verified(());

/// A hash that image services use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::image) enum HashAlgorithm {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha512Over224,
    Sha512Over256,
}

impl HashAlgorithm {
    /// The algorithm, its name without punctuation, and the digest's hexadecimal digits.
    pub(super) const ALL: [(Self, &'static str, usize); 8] = [
        (Self::Md5, "md5", 32),
        (Self::Sha1, "sha1", 40),
        (Self::Sha224, "sha224", 56),
        (Self::Sha256, "sha256", 64),
        (Self::Sha384, "sha384", 96),
        (Self::Sha512, "sha512", 128),
        (Self::Sha512Over224, "sha512224", 56),
        (Self::Sha512Over256, "sha512256", 64),
    ];

    /// By a name of Python's hashlib or of OpenSSL: `sha256`, `SHA-256`, `SHA2-256`,
    /// `sha512_256`, `SHA512/256`. What else those know (SHA-3, BLAKE2, SM3, RIPEMD) is not
    /// what images come with.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        let plain = name.to_ascii_lowercase().replace("sha2-", "sha");
        let plain = plain.replace(['-', '_', '/'], "");
        Self::ALL
            .iter()
            .find(|(_, known, _)| *known == plain)
            .map(|(algorithm, ..)| *algorithm)
    }

    /// The algorithm of a digest without a name. The Python agent knows these three.
    pub(super) fn from_digits(digits: usize) -> Option<Self> {
        [Self::Md5, Self::Sha256, Self::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.row().2 == digits)
    }

    pub(super) fn hash(self) -> Box<dyn DynDigest + Send> {
        match self {
            Self::Md5 => Box::new(Md5::new()),
            Self::Sha1 => Box::new(Sha1::new()),
            Self::Sha224 => Box::new(Sha224::new()),
            Self::Sha256 => Box::new(Sha256::new()),
            Self::Sha384 => Box::new(Sha384::new()),
            Self::Sha512 => Box::new(Sha512::new()),
            Self::Sha512Over224 => Box::new(Sha512_224::new()),
            Self::Sha512Over256 => Box::new(Sha512_256::new()),
        }
    }

    pub(super) fn row(self) -> (Self, &'static str, usize) {
        Self::ALL[self as usize]
    }
}

/// What the digest must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::image) struct Expected {
    algorithm: HashAlgorithm,
    /// Lower-case hexadecimal digits, as many as the algorithm has.
    digest: String,
    /// Another digest that it must have, too.
    also: Option<Box<Expected>>,
}

impl Expected {
    /// A digest that was given.
    pub(super) fn new(algorithm: HashAlgorithm, digest: &str) -> Result<Self, DigestError> {
        let (_, name, digits) = algorithm.row();
        if digest.len() != digits || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let digest = digest.to_owned();
            return Err(DigestError::Malformed {
                digest,
                name,
                digits,
            });
        }
        Ok(Self {
            algorithm,
            digest: digest.to_ascii_lowercase(),
            also: None,
        })
    }

    /// The digest by which a registry names a blob, `sha256:<digits>`.
    pub(super) fn of_blob(digest: &str) -> Result<Self, ChecksumError> {
        let (name, digits) = digest.split_once(':').unwrap_or((digest, ""));
        match HashAlgorithm::from_name(name) {
            Some(algorithm) => Ok(Self::new(algorithm, digits)?),
            None => Err(ChecksumError::UnknownHash(name.to_owned())),
        }
    }

    /// Both must hold.
    pub(super) fn and(mut self, other: Self) -> Result<Self, ChecksumError> {
        if self.algorithm == other.algorithm {
            return if self.digest == other.digest {
                Ok(self)
            } else {
                Err(ChecksumError::Contradiction {
                    expected: self.digest,
                    named: other.digest,
                })
            };
        }
        self.also = Some(Box::new(other));
        Ok(self)
    }
}

/// Whether a registry's name of a document (`sha256:<digits>`) is that of these bytes. This
/// proves nothing about a disk.
pub(in crate::image) fn is_digest_of(name: &str, bytes: &[u8]) -> bool {
    Expected::of_blob(name).is_ok_and(|expected| {
        let mut hasher = Hasher::new(&expected);
        hasher.update(bytes);
        hasher.verify(&expected).is_ok()
    })
}

/// Computes the digests that are expected.
pub(in crate::image) struct Hasher(Vec<Box<dyn DynDigest + Send>>);

impl Hasher {
    pub(in crate::image) fn new(expected: &Expected) -> Self {
        let mut hashes = Vec::new();
        let mut next = Some(expected);
        while let Some(expected) = next {
            hashes.push(expected.algorithm.hash());
            next = expected.also.as_deref();
        }
        Self(hashes)
    }

    pub(in crate::image) fn update(&mut self, bytes: &[u8]) {
        let mut pieces = bytes.chunks(PIECE).peekable();
        while let Some(piece) = pieces.next() {
            // The bytes come from another core: fetching them takes as long as hashing.
            if let Some(next) = pieces.peek() {
                prefetch(next);
            }
            for hash in &mut self.0 {
                hash.update(piece);
            }
        }
    }

    /// Ends the computation. `expected` is what the computation was begun for.
    pub(in crate::image) fn verify(self, expected: &Expected) -> Result<Verified, Mismatch> {
        let mut next = Some(expected);
        for hash in self.0 {
            let found = hex::encode(hash.finalize());
            let digest = next.map(|expected| &expected.digest);
            if digest != Some(&found) {
                return Err(Mismatch {
                    expected: digest.cloned().unwrap_or_default(),
                    found,
                });
            }
            next = next.and_then(|expected| expected.also.as_deref());
        }
        match next {
            None => Ok(Verified(())),
            Some(unproved) => Err(Mismatch {
                expected: unproved.digest.clone(),
                found: String::new(),
            }),
        }
    }
}

/// The proof that nothing is nothing.
#[cfg(test)]
pub(in crate::image) fn verified() -> Verified {
    Verified(())
}
