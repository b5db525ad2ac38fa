//! The memory of the certificate across a restart of the process.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ironic_program::state_file;
use serde::{Deserialize, Serialize};

use super::HeldCertificate;
use crate::system::PathPrefix;

/// One file in the state directory that only root can read. What another boot has left is not
/// taken: its key may have been copied with the disk that it lay on.
#[derive(Debug, Clone)]
pub struct CertificateMemory {
    file: PathBuf,
    boot: String,
}

#[derive(Serialize, Deserialize)]
struct StoredCertificate {
    boot_id: String,
    certificate: HeldCertificate,
}

impl CertificateMemory {
    /// The memory in a state directory, for the boot that `root` is in.
    #[must_use]
    pub fn new(state_dir: &Path, root: &PathPrefix) -> Self {
        Self {
            file: state_dir.join("node-certificate.json"),
            boot: root.boot_id().unwrap_or_default(),
        }
    }

    /// What this boot's earlier process held.
    #[must_use]
    pub fn recall(&self) -> Option<HeldCertificate> {
        let text = fs::read(&self.file).ok()?;
        let stored: StoredCertificate = serde_json::from_slice(&text).ok()?;
        (stored.boot_id == self.boot).then_some(stored.certificate)
    }

    /// Remembers a certificate and its key.
    ///
    /// # Errors
    /// Those of writing; the old memory is whole then.
    pub fn keep(&self, certificate: &HeldCertificate) -> io::Result<()> {
        let stored = StoredCertificate {
            boot_id: self.boot.clone(),
            certificate: certificate.clone(),
        };
        state_file::replace(&self.file, &serde_json::to_vec(&stored)?)
    }
}
