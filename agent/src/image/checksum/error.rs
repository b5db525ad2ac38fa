//! Why an image is not verified.

use thiserror::Error;

use crate::image::source::SourceError;

const MD5_DISABLED: &str =
    "MD5 support is disabled, use a SHA-256 or SHA-512 checksum, or enable option md5_enabled";

/// Why an image is not verified.
#[derive(Debug, Error)]
pub enum ChecksumError {
    /// What should say the digest could not be had.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A checksum file does not help.
    #[error("Download of image {file} failed: {source}")]
    File {
        /// The file's URL as it may be shown.
        file: String,
        /// What is wrong with it.
        source: ListError,
    },
    /// The digest that is expected cannot be one.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// The same of an entry in a checksum file.
    #[error(transparent)]
    Listed(DigestError),
    /// None of the checksums is of a kind that may be used.
    #[error(
        "Unable to verify image {id} with available checksums. Please make sure the specified \
         'os_hash_algo' ({name}) is supported by this ramdisk: {}",
        if *is_refused {
            MD5_DISABLED
        } else {
            "md5, sha1, sha224, sha256, sha384, sha512, sha512_224 and sha512_256 are."
        }
    )]
    Unsupported {
        /// The image.
        id: String,
        /// The hash that was named.
        name: String,
        /// It is known and not permitted.
        is_refused: bool,
    },
    /// The checksum does not tell which hash it is of.
    #[error(
        "Unable to proceed with image {id} as the checksum indicator has been used but the \
         algorithm could not be identified. Error: {source}"
    )]
    Unidentified {
        /// The image.
        id: String,
        /// What is wrong with it.
        source: DigestError,
    },
    /// A registry's name of the image says nothing here.
    #[error("the registry names the image by a hash ({0}) that is not known here")]
    UnknownHash(String),
    /// Request and registry name different digests.
    #[error("the expected checksum is {expected}, but the registry names the image {named}")]
    Contradiction {
        /// The request's.
        expected: String,
        /// The registry's.
        named: String,
    },
    /// The bytes are not those of the image.
    #[error(
        "Image failed to verify against checksum. location: {device}; image ID: {id}; image \
         checksum: {}; verification checksum: {}",
        source.expected,
        source.found
    )]
    Mismatch {
        /// The disk.
        device: String,
        /// The image.
        id: String,
        /// The two digests.
        source: Mismatch,
    },
}

/// Why a text is not the digest that is expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DigestError {
    /// Its length is that of MD5, which is not permitted.
    #[error("{MD5_DISABLED}")]
    Md5Disabled,
    /// Its length is that of no hash.
    #[error("a checksum of {0} characters is neither MD5 (32), SHA-256 (64) nor SHA-512 (128)")]
    Length(usize),
    /// It could never match, so nothing is downloaded for it.
    #[error(
        "the expected checksum \"{digest}\" is no {name} digest of {digits} hexadecimal digits"
    )]
    Malformed {
        /// What was given.
        digest: String,
        /// The hash.
        name: &'static str,
        /// Digits that such a digest has.
        digits: usize,
    },
}

/// Why a checksum file does not name the image's digest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ListError {
    /// It has no lines.
    #[error("Empty checksum file")]
    Empty,
    /// Its only line is something else.
    #[error("Invalid checksum file (No valid checksum found) ['{0}']")]
    NotADigest(String),
    /// Other files are in it.
    #[error("Checksum file does not contain name {}", .0.join(", "))]
    NotListed(Vec<String>),
}

/// The digest is not the expected one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the digest is {found}, expected was {expected}")]
pub struct Mismatch {
    /// The digest that the image must have.
    pub expected: String,
    /// The digest of what came.
    pub found: String,
}
