//! What tells two requests apart without keeping either.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::arguments::GivenArguments;
use super::descriptor::VerbDescriptor;

/// A digest of a request's verb and arguments.
///
/// The requests themselves are not kept: they hold credentials and config drives of many MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of a request that is no longer known: no request has it.
    pub const LOST: Self = Self([0; 32]);

    pub(super) fn of(verb: &VerbDescriptor, given: &GivenArguments) -> Self {
        let mut digest = Sha256::new();
        feed(&mut digest, &verb.name);
        feed(&mut digest, &given.unexpected);
        feed(&mut digest, &given.named);
        feed(&mut digest, &given.further);
        Self(digest.finalize().into())
    }
}

/// Each item is followed by a byte that JSON text cannot hold, so two different lists of
/// items never read the same.
fn feed(digest: &mut Sha256, item: &impl Serialize) {
    // A digest takes every byte, and no item has a key that is not a string.
    let _ = serde_json::to_writer(DigestWriter(digest), item);
    digest.update([0]);
}

struct DigestWriter<'a>(&'a mut Sha256);

impl std::io::Write for DigestWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
