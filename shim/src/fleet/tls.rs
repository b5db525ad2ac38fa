//! TLS of the listener of the fleet, whose files are read again while it serves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ironic_transport::grpc::{
    self, ClientCertificates, ServerConfigError, ServerTls, ServerTlsError, TlsFiles,
    TlsOptionNames,
};
use ironic_transport::tls::HalfPair;
use rustls::ServerConfig;
use rustls::server::VerifierBuilderError;
use rustls::sign::SingleCertAndKey;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::error;

use super::clock::time_until;
use crate::config::ShimConfig;

/// The options of the files.
const FLEET_TLS: TlsOptionNames = TlsOptionNames {
    certificate: "fleet_tls_cert_file",
    key: "fleet_tls_key_file",
    authorities: "fleet_tls_ca_file",
};
const REVOKED: &str = "fleet_tls_crl_file";

/// How often a list that has ended is named, and how long the wait for its end is at most: a clock
/// may be set.
const DAY: Duration = Duration::from_secs(24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);

/// TLS of the listener, and the files that it is made from. Cheap to clone; all clones change
/// together.
#[derive(Debug, Clone)]
pub struct FleetTls {
    tls: ServerTls,
    /// When the first of the lists of revoked certificates ends, in seconds since 1970.
    lists_end: watch::Sender<Option<i64>>,
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
        let Some(loaded) = source.read()? else {
            return Ok(None);
        };
        Ok(Some(Self {
            tls: ServerTls::new(loaded.config),
            lists_end: watch::Sender::new(loaded.lists_end),
            source: Arc::new(source),
        }))
    }

    /// Says that a list of revoked certificates has ended, once a day until it is replaced: it lets
    /// nobody of its authority in. Never returns.
    pub async fn name_ended_lists(self) {
        let mut ends = self.lists_end.subscribe();
        loop {
            let Some(end) = *ends.borrow_and_update() else {
                // The sender is ours.
                let _ = ends.changed().await;
                continue;
            };
            let left = time_until(end);
            if left.is_zero() {
                error!(
                    file = ?self.source.revoked.as_deref(),
                    "option fleet_tls_crl_file: a list is past its next update, and lets no caller of its CA in: write a newer one and send SIGHUP"
                );
                let _ = timeout(DAY, ends.changed()).await;
                continue;
            }
            tokio::select! {
                _ = ends.changed() => {}
                () = sleep(left.min(HOUR)) => {}
            }
        }
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
    pub fn read_again(&self) -> Result<LoadedFleetTls, ServerTlsError> {
        // The names of the files do not change, so that there is a certificate.
        let half = HalfPair {
            given: FLEET_TLS.key,
            missing: FLEET_TLS.certificate,
        };
        let loaded = self.source.read()?;
        loaded.ok_or_else(|| half.into())
    }

    /// Handshakes get this from now on; connections that are open stay.
    pub fn apply(&self, loaded: LoadedFleetTls) {
        self.tls.replace(loaded.config);
        self.lists_end.send_replace(loaded.lists_end);
    }
}

/// What the files hold.
#[derive(Debug)]
pub struct LoadedFleetTls {
    config: ServerConfig,
    lists_end: Option<i64>,
}

impl FleetTlsSource {
    fn read(&self) -> Result<Option<LoadedFleetTls>, ServerTlsError> {
        let Some(certificate) = grpc::server_certificate(&self.files, &FLEET_TLS)? else {
            return Ok(None);
        };
        let clients = clients(&self.files, self.revoked.as_deref())?;
        let lists_end = match &clients {
            ClientCertificates::RequiredUnrevoked(_, lists) => {
                lists.iter().filter_map(grpc::next_update).min()
            }
            _ => None,
        };
        let certificate = Arc::new(SingleCertAndKey::from(certificate));
        let mut config = grpc::server_config(certificate, clients).map_err(by_option)?;
        config.alpn_protocols = self.protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Some(LoadedFleetTls { config, lists_end }))
    }
}

/// A list that cannot be understood is named by its option.
fn by_option(error: ServerConfigError) -> ServerTlsError {
    match error {
        ServerConfigError::Authorities(VerifierBuilderError::InvalidCrl(source)) => {
            ServerTlsError::Unfit {
                option: REVOKED,
                source: source.into(),
            }
        }
        other => other.into(),
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
