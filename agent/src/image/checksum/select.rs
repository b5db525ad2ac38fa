//! Which of the checksums of a request counts, and which digest that is.

use super::digest::{Expected, HashAlgorithm};
use super::error::{ChecksumError, DigestError};
use crate::image::request::{Checksums, is_url};

/// Where the expected digest is to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selected {
    /// It was given.
    Known(Expected),
    /// It stands in a checksum file; the algorithm is that of its length unless named.
    Listed {
        url: String,
        algorithm: Option<HashAlgorithm>,
    },
}

/// Chooses among the checksums of a request: the named pair if its hash is known here, else
/// the checksum, whose length tells the hash.
pub(super) fn select(
    checksums: &Checksums,
    id: &str,
    md5_enabled: bool,
) -> Result<Selected, ChecksumError> {
    let name = checksums.os_hash_algo.as_deref().unwrap_or_default();
    let named = HashAlgorithm::from_name(name);
    let is_refused = named == Some(HashAlgorithm::Md5) && !md5_enabled;
    if let (Some(algorithm), Some(value)) = (named, &checksums.os_hash_value)
        && !is_refused
    {
        return if is_url(value) {
            Ok(Selected::Listed {
                url: value.clone(),
                algorithm: Some(algorithm),
            })
        } else {
            Ok(Selected::Known(Expected::new(algorithm, value)?))
        };
    }
    let Some(checksum) = &checksums.checksum else {
        return Err(ChecksumError::Unsupported {
            id: id.to_owned(),
            name: name.to_owned(),
            is_refused,
        });
    };
    if is_url(checksum) {
        return Ok(Selected::Listed {
            url: checksum.clone(),
            algorithm: None,
        });
    }
    let known = by_length(checksum, md5_enabled);
    known
        .map(Selected::Known)
        .map_err(|source| ChecksumError::Unidentified {
            id: id.to_owned(),
            source,
        })
}

/// The expected digest of a checksum file's entry.
pub(super) fn listed(
    digest: &str,
    algorithm: Option<HashAlgorithm>,
    md5_enabled: bool,
) -> Result<Expected, ChecksumError> {
    match algorithm {
        Some(algorithm) => Ok(Expected::new(algorithm, digest)?),
        None => by_length(digest, md5_enabled).map_err(ChecksumError::Listed),
    }
}

fn by_length(digest: &str, md5_enabled: bool) -> Result<Expected, DigestError> {
    match HashAlgorithm::from_digits(digest.len()) {
        Some(HashAlgorithm::Md5) if !md5_enabled => Err(DigestError::Md5Disabled),
        Some(algorithm) => Expected::new(algorithm, digest),
        None => Err(DigestError::Length(digest.len())),
    }
}
