//! The proof that the bytes are the image: which digest is expected, computing it, and
//! [`Verified`], which nothing else makes.

mod digest;
mod error;
mod expected;
mod list;
mod select;

pub(super) use digest::{Expected, Hasher, Verified, is_digest_of};
pub use error::{ChecksumError, DigestError, ListError};
pub(super) use expected::expected;

#[cfg(test)]
pub(super) use digest::verified;

#[cfg(test)]
mod tests;
