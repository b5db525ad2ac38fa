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
const FLEET_TLS: TlsOptionNames = TlsOptionNames {
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
    /// The protocols of HTTP that are offered.
    protocols: &'static [&'static [u8]],
}

impl FleetTls {
    /// TLS for gRPC by the files that the options name; none without a certificate.
    pub(super) fn load(config: &ShimConfig) -> Result<Option<Self>, ServerTlsError> {
        Self::with_protocols(config, &[b"h2"])
    }

    /// The same for browsers.
    ///
    /// # Errors
    /// A file cannot be used, or half of a pair is missing.
    pub fn for_browsers(config: &ShimConfig) -> Result<Option<Self>, ServerTlsError> {
        Self::with_protocols(config, &[b"h2", b"http/1.1"])
    }

    fn with_protocols(
        config: &ShimConfig,
        protocols: &'static [&'static [u8]],
    ) -> Result<Option<Self>, ServerTlsError> {
        let source = FleetTlsSource {
            files: TlsFiles {
                certificate: config.fleet_tls_cert_file.clone(),
                key: config.fleet_tls_key_file.clone(),
                authorities: config.fleet_tls_ca_file.clone(),
            },
            revoked: config.fleet_tls_crl_file.clone(),
            protocols,
        };
        let tls = source.read()?;
        Ok(tls.map(|tls| Self {
            tls: ServerTls::new(tls),
            source: Arc::new(source),
        }))
    }

    /// For the server.
    #[must_use]
    pub fn server_tls(&self) -> ServerTls {
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
        let mut config = grpc::server_config(certificate, clients)?;
        config.alpn_protocols = self.protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Some(config))
    }
}

/// Whether the options let nobody in without a certificate.
#[must_use]
pub fn demands_certificates(config: &ShimConfig) -> bool {
    config.fleet_tls_cert_file.is_some() && config.fleet_tls_ca_file.is_some()
}

/// Which certificates callers must show.
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
