//! gRPC servers on bounded listeners, and connections to gRPC servers.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use crate::tls::{HalfPair, certificate_and_key};

mod bind;
pub mod bounds;
mod dial;

pub use bind::{BindError, Bound, LIMITS, bind};
pub use dial::{Dialer, InvalidEndpoint, Socket};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

const CERT: &str = "grpc_tls_cert_file";
const KEY: &str = "grpc_tls_key_file";
const CA: &str = "grpc_tls_ca_file";

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

impl TlsFiles {
    /// The files of certificate and key; `None` when neither option is set.
    ///
    /// # Errors
    /// Only one of them is set.
    pub fn identity(&self) -> Result<Option<(&Path, &Path)>, HalfPair> {
        let certificate = (CERT, self.certificate.as_deref());
        certificate_and_key(certificate, (KEY, self.key.as_deref()))
    }
}

/// A file with a certificate or key that cannot be read.
#[derive(Debug, Error)]
#[error("cannot read {path}, named by option {option}")]
pub struct UnreadableTlsFile {
    option: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Why a server has no TLS.
#[derive(Debug, Error)]
pub enum ServerTlsError {
    /// A file with a certificate or key cannot be read.
    #[error(transparent)]
    File(#[from] UnreadableTlsFile),
    /// One half of certificate and key is configured.
    #[error(transparent)]
    Half(#[from] HalfPair),
}

/// The TLS of a gRPC server; none without a certificate.
///
/// # Errors
/// A file cannot be read, or half of a pair is missing.
pub fn server_tls(files: &TlsFiles) -> Result<Option<ServerTlsConfig>, ServerTlsError> {
    let Some((certificate, key)) = files.identity()? else {
        // Authorities alone are how a client trusts its server.
        return Ok(None);
    };
    let identity = Identity::from_pem(read_tls_file(CERT, certificate)?, read_tls_file(KEY, key)?);
    let mut tls = ServerTlsConfig::new()
        .identity(identity)
        .timeout(HANDSHAKE_TIMEOUT);
    if let Some(authorities) = &files.authorities {
        // With authorities the other end needs a certificate from them: mutual TLS.
        tls = tls.client_ca_root(Certificate::from_pem(read_tls_file(CA, authorities)?));
    }
    Ok(Some(tls))
}

/// Reads a file of [`TlsFiles`], which `option` names.
///
/// # Errors
/// It cannot be read.
pub fn read_tls_file(option: &'static str, path: &Path) -> Result<Vec<u8>, UnreadableTlsFile> {
    fs::read(path).map_err(|source| UnreadableTlsFile {
        option,
        path: path.to_owned(),
        source,
    })
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
            "cannot read /nonexistent/cert.pem, named by option grpc_tls_cert_file"
        );
        assert!(server_tls(&TlsFiles::default()).unwrap().is_none());
    }
}
