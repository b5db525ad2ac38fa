//! TLS of the agents' listener.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ironic_transport::grpc::{
    self, ClientCertificates, OnHandshake, ServerConfigError, ServerTls, ServerTlsError, TlsFiles,
};
use ironic_transport::tls::{AuthorityPin, HalfPair};
use rustls::RootCertStore;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::{CertificateDer, UnixTime};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::identity::{AuthorityError, Enrolment, SERVER_LIFETIME};
use crate::metrics::CertificateEnd;
use crate::tls;

/// What is left of the certificate of the own authority when it is replaced: it is a day old.
const LEFT: Duration = SERVER_LIFETIME.saturating_sub(Duration::from_secs(24 * 3600));

/// Why the listener has no TLS.
#[derive(Debug, Error)]
pub enum ListenerTlsError {
    /// The operator's files cannot be used.
    #[error(transparent)]
    Files(#[from] ServerTlsError),
    /// The nodes' authority cannot be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// TLS cannot be set up with them.
    #[error(transparent)]
    Config(#[from] ServerConfigError),
}

/// TLS of the listener, and what it is made from. Cheap to clone; all clones change together.
#[derive(Debug, Clone)]
pub struct ListenerTls {
    tls: ServerTls,
    source: Arc<TlsSource>,
    /// The certificate that is shown.
    leaf: Arc<RwLock<CertificateDer<'static>>>,
}

#[derive(Debug)]
struct TlsSource {
    files: TlsFiles,
    enrolment: Option<Enrolment>,
    host: String,
}

/// What the files hold now, complete and checked.
#[derive(Debug)]
pub struct LoadedTls {
    config: rustls::ServerConfig,
    leaf: CertificateDer<'static>,
    /// By what agents may know this gateway: the authority behind the certificate, if it is shown.
    pin: Option<AuthorityPin>,
}

impl LoadedTls {
    /// Says by what agents may know this gateway.
    fn log_pin(&self) {
        match self.pin {
            Some(sha256) => {
                info!(%sha256, "agents may know this gateway by option conductor_ca_sha256");
            }
            None => warn!(
                "grpc_tls_cert_file holds no authority behind the certificate: no agent can know it by conductor_ca_sha256"
            ),
        }
    }
}

impl ListenerTls {
    /// TLS by the operator's files; none without a certificate. Where certificates are issued,
    /// there always is TLS: it takes nodes' certificates, too, and demands none.
    pub(super) fn load(
        files: TlsFiles,
        enrolment: Option<Enrolment>,
        host: &str,
    ) -> Result<Option<Self>, ListenerTlsError> {
        let source = TlsSource {
            files,
            enrolment,
            host: host.to_owned(),
        };
        let Some(loaded) = source.read()? else {
            return Ok(None);
        };
        if source.enrolment.is_some() {
            loaded.log_pin();
        }
        Ok(Some(Self {
            tls: ServerTls::new(loaded.config),
            source: Arc::new(source),
            leaf: Arc::new(RwLock::new(loaded.leaf)),
        }))
    }

    /// Counts handshakes.
    pub(super) fn observed(self, heard: OnHandshake) -> Self {
        Self {
            tls: self.tls.observed(heard),
            ..self
        }
    }

    /// For the server.
    pub(super) fn server_tls(&self) -> ServerTls {
        self.tls.clone()
    }

    /// Reads the files again. [`apply`](Self::apply) makes what it answers count.
    ///
    /// # Errors
    /// They cannot be used.
    pub fn read_again(&self) -> Result<LoadedTls, ListenerTlsError> {
        // The names of the files do not change, so that there is a certificate.
        let half = HalfPair {
            given: "grpc_tls_key_file",
            missing: "grpc_tls_cert_file",
        };
        let loaded = self.source.read()?;
        loaded.ok_or_else(|| ServerTlsError::from(half).into())
    }

    /// Handshakes get this from now on; connections that are open stay.
    pub fn apply(&self, loaded: LoadedTls) {
        self.tls.replace(loaded.config);
        *self.leaf.write().unwrap_or_else(PoisonError::into_inner) = loaded.leaf;
    }

    /// When the certificate ends that is shown.
    pub(super) fn end(&self) -> Option<CertificateEnd> {
        tls::end("grpc", &self.leaf())
    }

    /// Replaces the certificate of the own authority every day, and soon when the clock was set. One
    /// of the operator stays.
    pub(super) async fn renew(self, stop: CancellationToken) {
        if self.source.enrolment.is_none() || self.source.files.certificate.is_some() {
            return;
        }
        let renew = || match self.read_again() {
            Ok(loaded) => self.apply(loaded),
            Err(error) => warn!(
                error = &error as &dyn std::error::Error,
                "agents are shown the earlier certificate"
            ),
        };
        let keeping = tls::keep_valid(LEFT, || Some(self.leaf()), renew);
        stop.run_until_cancelled(keeping).await;
    }

    /// The certificate that is shown.
    fn leaf(&self) -> CertificateDer<'static> {
        let leaf = self.leaf.read().unwrap_or_else(PoisonError::into_inner);
        leaf.clone()
    }
}

impl TlsSource {
    fn read(&self) -> Result<Option<LoadedTls>, ListenerTlsError> {
        let Some(enrolment) = &self.enrolment else {
            let Some(shown) = grpc::server_certificate(&self.files, &grpc::GRPC_TLS)? else {
                return Ok(None);
            };
            let clients = match grpc::authorities(&self.files, &grpc::GRPC_TLS)? {
                Some(roots) => ClientCertificates::Required(Arc::new(roots)),
                None => ClientCertificates::NotAsked,
            };
            return loaded(&shown, clients).map(Some);
        };
        let shown = shown(&self.files, enrolment, &self.host)?;
        let operators = grpc::authorities(&self.files, &grpc::GRPC_TLS)?;
        let mut roots = operators.unwrap_or_else(RootCertStore::empty);
        roots.roots.extend(enrolment.authority().roots()?.roots);
        let clients = ClientCertificates::Optional(Arc::new(roots));
        loaded(&shown, clients).map(Some)
    }
}

/// The operator's certificate, or one of the nodes' authority for `host`.
fn shown(
    files: &TlsFiles,
    enrolment: &Enrolment,
    host: &str,
) -> Result<Arc<CertifiedKey>, ListenerTlsError> {
    match grpc::server_certificate(files, &grpc::GRPC_TLS)? {
        Some(certificate) => Ok(Arc::new(certificate)),
        None => Ok(enrolment.authority().sign_server(host, UnixTime::now())?),
    }
}

fn loaded(
    shown: &CertifiedKey,
    clients: ClientCertificates,
) -> Result<LoadedTls, ListenerTlsError> {
    let leaf = shown.end_entity_cert().map_err(ServerConfigError::from)?;
    let authority = shown.cert.split_first().and_then(|(_, rest)| rest.last());
    let certificate = SingleCertAndKey::from(shown.clone());
    Ok(LoadedTls {
        leaf: leaf.clone().into_owned(),
        pin: authority.map(AuthorityPin::of),
        config: grpc::server_config(Arc::new(certificate), clients)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::Proofs;
    use crate::config::{NodeCertificates, ShimConfig};
    use crate::fleet::Fleet;
    use crate::identity::NodeAuthority;
    use crate::identity::join_token::JoinTokens;

    const HOST: &str = "gw.example";

    /// The clock was a week ahead when the gateway started, and was set since.
    #[tokio::test(start_paused = true)]
    async fn a_certificate_that_is_not_valid_yet_is_replaced_within_the_hour() {
        let state = tempfile::tempdir().unwrap();
        let config = ShimConfig {
            state_dir: state.path().to_owned(),
            ..ShimConfig::default()
        };
        let enrolment = Enrolment::new(
            NodeAuthority::load(&config, HOST.parse().unwrap()).unwrap(),
            NodeCertificates::JoinToken,
            JoinTokens::new(state.path()),
            Proofs::new(state.path()),
            Arc::new(Fleet::unlisted()),
        );
        let listener = ListenerTls::load(TlsFiles::default(), Some(enrolment.clone()), HOST);
        let listener = listener.unwrap().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(listener.clone().renew(stop.clone()));
        let (hour, week) = (
            Duration::from_secs(3600),
            Duration::from_secs(7 * 24 * 3600),
        );
        let first = listener.leaf();
        tokio::time::sleep(10 * hour).await;
        assert_eq!(listener.leaf(), first, "it is valid");

        let ahead = Duration::from_secs(UnixTime::now().as_secs()) + week;
        let ahead = UnixTime::since_unix_epoch(ahead);
        let early = enrolment.authority().sign_server(HOST, ahead).unwrap();
        listener.apply(loaded(&early, ClientCertificates::NotAsked).unwrap());
        assert_eq!(&listener.leaf(), early.end_entity_cert().unwrap());
        tokio::time::sleep(2 * hour).await;
        let validity = tls::validity(&listener.leaf()).unwrap();
        assert!(validity.contains(&time::OffsetDateTime::now_utc()));
        stop.cancel();
    }
}
