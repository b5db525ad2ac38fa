//! gRPC servers on bounded listeners, and connections to gRPC servers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use thiserror::Error;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use crate::tls::{HalfPair, certificate_and_key};

mod bind;
pub mod bounds;
mod boxed_stream;
mod dial;
mod first_message;
mod server_tls;

pub use bind::{BindError, Bound, LIMITS, bind};
pub use dial::{ClientTls, Dialer, InvalidEndpoint, Socket, client_connector};
pub use server_tls::{
    ClientCertificates, HandshakeOutcome, OnHandshake, ServerConfigError, ServerTls, server_config,
    server_config_at,
};

/// The files for TLS between agent and shim.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM certificate of this program: option `grpc_tls_cert_file`.
    pub certificate: Option<PathBuf>,
    /// PEM key of the certificate: option `grpc_tls_key_file`.
    pub key: Option<PathBuf>,
    /// PEM certificates that the other end's must chain to: option `grpc_tls_ca_file`.
    pub authorities: Option<PathBuf>,
}

/// The options that name the files of [`TlsFiles`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsOptionNames {
    /// The option of the certificate.
    pub certificate: &'static str,
    /// The option of the key.
    pub key: &'static str,
    /// The option of the authorities.
    pub authorities: &'static str,
}

impl Default for TlsOptionNames {
    /// Those between agent and shim.
    fn default() -> Self {
        GRPC_TLS
    }
}

/// The options of TLS between agent and shim.
pub const GRPC_TLS: TlsOptionNames = TlsOptionNames {
    certificate: "grpc_tls_cert_file",
    key: "grpc_tls_key_file",
    authorities: "grpc_tls_ca_file",
};

impl TlsFiles {
    /// The files of certificate and key; `None` when neither option is set.
    ///
    /// # Errors
    /// Only one of them is set.
    pub fn identity(&self, options: &TlsOptionNames) -> Result<Option<(&Path, &Path)>, HalfPair> {
        let certificate = (options.certificate, self.certificate.as_deref());
        certificate_and_key(certificate, (options.key, self.key.as_deref()))
    }
}

/// Why a server has no TLS.
#[derive(Debug, Error)]
pub enum ServerTlsError {
    /// One half of certificate and key is configured.
    #[error(transparent)]
    Half(#[from] HalfPair),
    /// A file cannot be read, or holds nothing that is needed of it.
    #[error("option {option}: {path} cannot be used")]
    File {
        /// The option that names it.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// The library refuses what the files hold.
    #[error("what the file of option {option} holds cannot be used for TLS")]
    Unfit {
        /// The option that names it.
        option: &'static str,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// TLS cannot be set up with them.
    #[error(transparent)]
    Config(#[from] ServerConfigError),
}

/// The TLS of a gRPC server between agent and shim; none without a certificate.
///
/// # Errors
/// A file cannot be used, or half of a pair is missing.
pub fn server_tls(files: &TlsFiles) -> Result<Option<ServerTls>, ServerTlsError> {
    server_tls_of(files, &GRPC_TLS)
}

/// The TLS of a gRPC server whose files are named by these options; none without a certificate.
/// With authorities the other end needs a certificate from them: mutual TLS.
///
/// # Errors
/// A file cannot be used, or half of a pair is missing.
pub fn server_tls_of(
    files: &TlsFiles,
    options: &TlsOptionNames,
) -> Result<Option<ServerTls>, ServerTlsError> {
    let Some(certificate) = server_certificate(files, options)? else {
        return Ok(None);
    };
    let clients = match authorities(files, options)? {
        Some(roots) => ClientCertificates::Required(Arc::new(roots)),
        None => ClientCertificates::NotAsked,
    };
    let certificate = Arc::new(SingleCertAndKey::from(certificate));
    Ok(Some(ServerTls::new(server_config(certificate, clients)?)))
}

/// The certificate that a server shows; `None` where no files are configured.
///
/// # Errors
/// A file cannot be used, or half of a pair is missing.
pub fn server_certificate(
    files: &TlsFiles,
    options: &TlsOptionNames,
) -> Result<Option<CertifiedKey>, ServerTlsError> {
    // Authorities alone are how a client trusts its server.
    let Some((certificate, key)) = files.identity(options)? else {
        return Ok(None);
    };
    certified_key(certificate, key, options).map(Some)
}

/// A certificate and its key from PEM files that these options name.
///
/// # Errors
/// A file cannot be used, or the key is not the certificate's.
pub fn certified_key(
    certificate: &Path,
    key: &Path,
    options: &TlsOptionNames,
) -> Result<CertifiedKey, ServerTlsError> {
    let chain = certificates(options.certificate, certificate)?;
    let key =
        PrivateKeyDer::from_pem_file(key).map_err(|source| unusable(options.key, key, source))?;
    let provider = rustls::crypto::ring::default_provider();
    let certified = CertifiedKey::from_der(chain, key, &provider);
    certified.map_err(|source| ServerTlsError::Unfit {
        option: options.key,
        source,
    })
}

/// The authorities of the other end; `None` where no file is configured.
///
/// # Errors
/// The file cannot be used.
pub fn authorities(
    files: &TlsFiles,
    options: &TlsOptionNames,
) -> Result<Option<RootCertStore>, ServerTlsError> {
    let Some(path) = &files.authorities else {
        return Ok(None);
    };
    let option = options.authorities;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(option, path)? {
        let added = roots.add(certificate);
        added.map_err(|source| ServerTlsError::Unfit { option, source })?;
    }
    Ok(Some(roots))
}

/// The certificates in a PEM file that an option names, at least one.
///
/// # Errors
/// The file cannot be read, or holds none.
pub fn certificates(
    option: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, ServerTlsError> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = found.map_err(|source| unusable(option, path, source))?;
    if found.is_empty() {
        return Err(unusable(option, path, pem::Error::NoItemsFound));
    }
    Ok(found)
}

/// The lists of revoked certificates in a PEM file that an option names, at least one.
///
/// # Errors
/// The file cannot be read, or holds none.
pub fn revocation_lists(
    option: &'static str,
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, ServerTlsError> {
    let found = CertificateRevocationListDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = found.map_err(|source| unusable(option, path, source))?;
    if found.is_empty() {
        return Err(unusable(option, path, pem::Error::NoItemsFound));
    }
    Ok(found)
}

/// When the next list of an authority is due, in seconds since 1970: then this one ends.
#[must_use]
pub fn next_update(list: &CertificateRevocationListDer<'_>) -> Option<i64> {
    let (_, list) = CertificateRevocationList::from_der(list).ok()?;
    Some(list.next_update()?.timestamp())
}

fn unusable(option: &'static str, path: &Path, source: pem::Error) -> ServerTlsError {
    ServerTlsError::File {
        option,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_certificate_is_refused_by_name() {
        let missing = PathBuf::from("/nonexistent/cert.pem");
        let half = TlsFiles {
            certificate: Some(missing.clone()),
            ..TlsFiles::default()
        };
        let error = server_tls(&half).unwrap_err().to_string();
        assert_eq!(
            error,
            "option grpc_tls_cert_file needs option grpc_tls_key_file beside it"
        );
        let unreadable = TlsFiles {
            key: Some(missing),
            ..half
        };
        let error = server_tls(&unreadable).unwrap_err().to_string();
        assert_eq!(
            error,
            "option grpc_tls_cert_file: /nonexistent/cert.pem cannot be used"
        );
        assert!(server_tls(&TlsFiles::default()).unwrap().is_none());
    }
}
