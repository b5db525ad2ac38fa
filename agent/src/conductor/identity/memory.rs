//! The memory of the certificate across a restart of the process.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::HeldCertificate;
use crate::conductor::boot_file::BootFile;
use crate::system::PathPrefix;

/// One file in the state directory that only root can read.
#[derive(Debug, Clone)]
pub struct CertificateMemory(BootFile);

#[derive(Serialize, Deserialize)]
struct StoredCertificate {
    certificate: HeldCertificate,
}

impl CertificateMemory {
    /// The memory in a state directory, for the boot that `root` is in.
    #[must_use]
    pub fn new(state_dir: &Path, root: &PathPrefix) -> Self {
        Self(BootFile::new(state_dir.join("node-certificate.json"), root))
    }

    /// What this boot's earlier process held.
    #[must_use]
    pub fn recall(&self) -> Option<HeldCertificate> {
        let stored: StoredCertificate = self.0.recall()?;
        Some(stored.certificate)
    }

    /// Remembers a certificate and its key.
    ///
    /// # Errors
    /// Those of writing; the old memory is whole then.
    pub fn keep(&self, certificate: &HeldCertificate) -> io::Result<()> {
        self.0.keep(&StoredCertificate {
            certificate: certificate.clone(),
        })
    }
}
