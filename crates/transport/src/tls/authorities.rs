//! The certificates that clients trust.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject};

use super::{TlsSettingsError, UnusableFile};

/// Where distributions keep their bundle of authorities, the newest place of each first; a
/// ramdisk may have none.
const SYSTEM_BUNDLES: [&str; 7] = [
    // Debian, Ubuntu, Arch, Gentoo, Alpine
    "etc/ssl/certs/ca-certificates.crt",
    // RHEL, CentOS, Fedora
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "etc/pki/tls/certs/ca-bundle.crt",
    // SUSE
    "var/lib/ca-certificates/ca-bundle.pem",
    "etc/ssl/ca-bundle.pem",
    // Alpine without the package of authorities, and what links there
    "etc/ssl/cert.pem",
    "etc/pki/tls/cert.pem",
];

/// The machine's bundle of authorities; `None` when it has none. Links without a target and
/// empty files do not count.
fn system_bundle(root: &Path) -> Option<PathBuf> {
    let is_bundle = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0)
    };
    SYSTEM_BUNDLES
        .iter()
        .map(|path| root.join(path))
        .find(is_bundle)
}

/// The authorities in `file`, else in the system's bundle, else Mozilla's.
pub(super) fn trusted(file: Option<&Path>) -> Result<RootCertStore, TlsSettingsError> {
    let Some(path) = file
        .map(Path::to_owned)
        .or_else(|| system_bundle(Path::new("/")))
    else {
        return Ok(RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        });
    };
    usable(&path).map_err(|source| TlsSettingsError::Authorities { path, source })
}

fn usable(path: &Path) -> Result<RootCertStore, UnusableFile> {
    let mut store = RootCertStore::empty();
    // Bundles hold a few certificates that no library accepts; those are left out.
    let (added, _) = store.add_parsable_certificates(certificates(path)?);
    if added == 0 {
        return Err(UnusableFile::Empty);
    }
    Ok(store)
}

/// The certificates in a PEM file.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    CertificateDer::pem_file_iter(path).and_then(Iterator::collect)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_found_where_distributions_keep_them() {
        for bundle in SYSTEM_BUNDLES {
            let root = tempfile::tempdir().unwrap();
            assert_eq!(system_bundle(root.path()), None);
            let path = root.path().join(bundle);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            // A link whose target was not installed, and an empty file.
            std::os::unix::fs::symlink("nowhere", &path).unwrap();
            assert_eq!(system_bundle(root.path()), None);
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, "").unwrap();
            assert_eq!(system_bundle(root.path()), None);
            std::fs::write(&path, "PEM").unwrap();
            assert_eq!(system_bundle(root.path()), Some(path));
        }
    }
}
