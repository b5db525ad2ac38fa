//! Whom HTTPS trusts: rustls with ring, authorities from a file or built in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tracing::warn;

use super::Tls;
use super::insecure::AnyCertificate;
use super::pinned::Pinned;

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

/// What is wrong with the TLS settings.
#[derive(Debug, Error)]
pub enum InvalidTls {
    /// The file of authorities is no use.
    #[error("cafile {}: {reason}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Our certificate or its key is no use.
    #[error("certfile {} or keyfile {}: {reason}", certificate.display(), key.display())]
    Identity {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        reason: String,
    },
    /// No TLS 1.2 suite is left.
    #[error("tls_cipher_suites: {0} names no TLS 1.2 suite that is known here")]
    CipherSuites(String),
    /// The library refuses the combination.
    #[error("TLS cannot be set up: {0}")]
    Library(#[from] rustls::Error),
}

/// The settings as rustls wants them.
///
/// # Errors
/// The option that cannot be used.
pub fn client_config(tls: &Tls) -> Result<ClientConfig, InvalidTls> {
    let provider = Arc::new(provider(tls)?);
    let versions: &[_] = if tls.only_1_3 {
        &[&rustls::version::TLS13]
    } else {
        &[&rustls::version::TLS13, &rustls::version::TLS12]
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)?;
    let builder = if tls.insecure {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    } else {
        let roots = authorities(tls.ca_file.as_deref())?;
        match &tls.ca_file {
            None => builder.with_root_certificates(roots),
            Some(file) => builder
                .dangerous()
                .with_custom_certificate_verifier(pinned(file, roots, provider)?),
        }
    };
    let Some((certificate, key)) = &tls.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let invalid = |reason: String| InvalidTls::Identity {
        certificate: certificate.clone(),
        key: key.clone(),
        reason,
    };
    let chain = certificates(certificate).map_err(&invalid)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| invalid(error.to_string()))?;
    builder
        .with_client_auth_cert(chain, secret)
        .map_err(|error| invalid(error.to_string()))
}

/// The operator's authorities, which may be the servers themselves.
fn pinned(
    file: &Path,
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<Pinned>, InvalidTls> {
    let invalid = |reason: String| InvalidTls::Authorities {
        path: file.to_owned(),
        reason,
    };
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| invalid(error.to_string()))?;
    Ok(Arc::new(Pinned::new(
        verifier,
        certificates(file).map_err(invalid)?,
    )))
}

fn provider(tls: &Tls) -> Result<CryptoProvider, InvalidTls> {
    crypto(&tls.cipher_suites, tls.only_1_3)
}

/// Ring, with only the named TLS 1.2 cipher suites (IANA or OpenSSL names; none named means
/// all of rustls, which are ECDHE with AES-GCM or ChaCha20).
///
/// # Errors
/// No named suite is known, although TLS 1.2 is wanted.
pub fn crypto(suites: &[String], only_1_3: bool) -> Result<CryptoProvider, InvalidTls> {
    let mut provider = rustls::crypto::ring::default_provider();
    if !suites.is_empty() {
        for name in suites {
            if !provider
                .cipher_suites
                .iter()
                .any(|suite| is_named(suite.suite(), name))
            {
                warn!(suite = %name, "tls_cipher_suites: this suite is not known here");
            }
        }
        provider.cipher_suites.retain(|suite| {
            // OpenSSL's list rules TLS 1.2 only; TLS 1.3 has no weak suites.
            suite.tls13().is_some() || suites.iter().any(|name| is_named(suite.suite(), name))
        });
        if !only_1_3
            && provider
                .cipher_suites
                .iter()
                .all(|suite| suite.tls13().is_some())
        {
            return Err(InvalidTls::CipherSuites(suites.join(", ")));
        }
    }
    Ok(provider)
}

/// Compares IANA's name (`TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`) with either that or
/// OpenSSL's (`ECDHE-RSA-AES128-GCM-SHA256`).
fn is_named(suite: CipherSuite, name: &str) -> bool {
    let plain = |text: &str| text.replace(['_', '-'], "").to_uppercase();
    let iana = suite.as_str().unwrap_or_default();
    let name = plain(name);
    plain(iana) == name || {
        let openssl = iana
            .trim_start_matches("TLS_")
            .replace("_WITH_", "_")
            // OpenSSL leaves out the hash that ChaCha implies.
            .replace("CHACHA20_POLY1305_SHA256", "CHACHA20_POLY1305");
        plain(&openssl) == name
    }
}

fn authorities(file: Option<&Path>) -> Result<RootCertStore, InvalidTls> {
    let Some(path) = file
        .map(Path::to_owned)
        .or_else(|| system_bundle(Path::new("/")))
    else {
        return Ok(RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        });
    };
    let invalid = |reason: String| InvalidTls::Authorities {
        path: path.clone(),
        reason,
    };
    let mut store = RootCertStore::empty();
    // Bundles hold a few certificates that no library accepts; those are left out.
    let (added, _) = store.add_parsable_certificates(certificates(&path).map_err(&invalid)?);
    if added == 0 {
        return Err(invalid("it holds no usable certificate".to_owned()));
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cipher_suites_are_known_by_both_names() {
        let suite = CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
        assert!(is_named(suite, "ECDHE-RSA-AES128-GCM-SHA256"));
        assert!(is_named(suite, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"));
        assert!(!is_named(suite, "ECDHE-RSA-AES256-GCM-SHA384"));
    }

    #[test]
    fn authorities_are_found_where_distributions_keep_them() {
        for place in SYSTEM_BUNDLES {
            let root = tempfile::tempdir().unwrap();
            assert_eq!(system_bundle(root.path()), None);
            let path = root.path().join(place);
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

    #[test]
    fn wrong_settings_name_the_option() {
        let missing = Tls {
            ca_file: Some("/nonexistent/ca.pem".into()),
            ..Tls::default()
        };
        let unknown = Tls {
            cipher_suites: vec!["ROT13".into()],
            ..Tls::default()
        };
        let identity = Tls {
            insecure: true,
            identity: Some(("/nonexistent/c.pem".into(), "/nonexistent/k.pem".into())),
            ..Tls::default()
        };
        for (tls, option) in [
            (missing, "cafile /nonexistent/ca.pem"),
            (unknown, "tls_cipher_suites: ROT13"),
            (identity, "certfile /nonexistent/c.pem"),
        ] {
            let error = client_config(&tls).unwrap_err().to_string();
            assert!(error.contains(option), "{error}");
        }
    }
}
