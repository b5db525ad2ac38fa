//! TLS of the listener of the fleet, whose files are read again while it serves.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ironic_transport::grpc::{
    self, ClientCertificates, ServerTls, ServerTlsError, TlsFiles, TlsOptionNames,
};
use ironic_transport::tls::HalfPair;
use rustls::ServerConfig;
use rustls::sign::SingleCertAndKey;

use crate::config::ShimConfig;

/// The options of the files.
pub const FLEET_TLS: TlsOptionNames = TlsOptionNames {
    certificate: "fleet_tls_cert_file",
    key: "fleet_tls_key_file",
    authorities: "fleet_tls_ca_file",
};
const REVOKED: &str = "fleet_tls_crl_file";

/// TLS of the listener, and the files that it is made from. Cheap to clone; all clones change
/// together.
#[derive(Debug, Clone)]
pub struct FleetTls {
    tls: ServerTls,
    source: Arc<FleetTlsSource>,
}

#[derive(Debug)]
struct FleetTlsSource {
    files: TlsFiles,
    revoked: Option<PathBuf>,
}

impl FleetTls {
    /// TLS by the files that the options name; none without a certificate.
    pub(super) fn load(config: &ShimConfig) -> Result<Option<Self>, ServerTlsError> {
        let source = FleetTlsSource {
            files: TlsFiles {
                certificate: config.fleet_tls_cert_file.clone(),
                key: config.fleet_tls_key_file.clone(),
                authorities: config.fleet_tls_ca_file.clone(),
            },
            revoked: config.fleet_tls_crl_file.clone(),
        };
        let tls = source.read()?;
        Ok(tls.map(|tls| Self {
            tls: ServerTls::new(tls),
            source: Arc::new(source),
        }))
    }

    /// For the server.
    pub(super) fn server_tls(&self) -> ServerTls {
        self.tls.clone()
    }

    /// Reads the files again. [`apply`](Self::apply) makes what it answers count.
    ///
    /// # Errors
    /// They cannot be used.
    pub fn read_again(&self) -> Result<ServerConfig, ServerTlsError> {
        // The names of the files do not change, so that there is a certificate.
        let half = HalfPair {
            given: FLEET_TLS.key,
            missing: FLEET_TLS.certificate,
        };
        let config = self.source.read()?;
        config.ok_or_else(|| half.into())
    }

    /// Handshakes get this from now on; connections that are open stay.
    pub fn apply(&self, config: ServerConfig) {
        self.tls.replace(config);
    }
}

impl FleetTlsSource {
    fn read(&self) -> Result<Option<ServerConfig>, ServerTlsError> {
        let Some(certificate) = grpc::server_certificate(&self.files, &FLEET_TLS)? else {
            return Ok(None);
        };
        let clients = clients(&self.files, self.revoked.as_deref())?;
        let certificate = Arc::new(SingleCertAndKey::from(certificate));
        Ok(Some(grpc::server_config(certificate, clients)?))
    }
}

/// Which certificates callers must show, by the files that the options name.
///
/// # Errors
/// A file cannot be used.
pub fn client_certificates(config: &ShimConfig) -> Result<ClientCertificates, ServerTlsError> {
    let files = TlsFiles {
        authorities: config.fleet_tls_ca_file.clone(),
        ..TlsFiles::default()
    };
    clients(&files, config.fleet_tls_crl_file.as_deref())
}

fn clients(files: &TlsFiles, revoked: Option<&Path>) -> Result<ClientCertificates, ServerTlsError> {
    let authorities = grpc::authorities(files, &FLEET_TLS)?.map(Arc::new);
    let revoked = revoked.map(|path| grpc::revocation_lists(REVOKED, path));
    match (authorities, revoked.transpose()?) {
        (None, None) => Ok(ClientCertificates::NotAsked),
        (Some(roots), None) => Ok(ClientCertificates::Required(roots)),
        (Some(roots), Some(lists)) => Ok(ClientCertificates::RequiredUnrevoked(roots, lists)),
        (None, Some(_)) => {
            let half = HalfPair {
                given: REVOKED,
                missing: FLEET_TLS.authorities,
            };
            Err(half.into())
        }
    }
}
