//! TLS of a gRPC server, whose certificate and authorities can be replaced while it serves.
//!
//! The handshakes are done here and not by tonic, which reads one certificate when it starts.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::{RootCertStore, ServerConfig};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::debug;

/// How long TLS may take. The bounds of the listener end a slower one sooner when there is no room.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether clients show certificates.
#[derive(Debug, Clone)]
pub enum ClientCertificates {
    /// They are not asked.
    NotAsked,
    /// They may: who shows one must have it from these authorities.
    Optional(Arc<RootCertStore>),
    /// They must.
    Required(Arc<RootCertStore>),
}

/// Why a server has no TLS.
#[derive(Debug, Error)]
pub enum ServerConfigError {
    /// The library refuses the versions.
    #[error("TLS cannot be set up")]
    Library(#[from] rustls::Error),
    /// The library refuses the authorities.
    #[error("no client could be verified with these authorities")]
    Authorities(#[from] rustls::server::VerifierBuilderError),
}

/// The TLS of a gRPC server that shows what `certificates` says at each handshake.
///
/// Sessions are not resumed: a resumed one would keep a client certificate whose time is over.
///
/// # Errors
/// The authorities cannot be used.
pub fn server_config(
    certificates: Arc<dyn ResolvesServerCert>,
    clients: ClientCertificates,
) -> Result<ServerConfig, ServerConfigError> {
    server_config_at(certificates, clients, Arc::new(DefaultTimeProvider))
}

/// The same with a clock of its own, which the client certificates are checked against.
///
/// # Errors
/// The authorities cannot be used.
pub fn server_config_at(
    certificates: Arc<dyn ResolvesServerCert>,
    clients: ClientCertificates,
    clock: Arc<dyn TimeProvider>,
) -> Result<ServerConfig, ServerConfigError> {
    // The provider is named: a default for the process is set only where programs start.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_details(Arc::clone(&provider), clock)
        .with_safe_default_protocol_versions()?;
    let verifier = |roots| WebPkiClientVerifier::builder_with_provider(roots, provider);
    let builder = match clients {
        ClientCertificates::NotAsked => builder.with_no_client_auth(),
        ClientCertificates::Optional(roots) => {
            builder.with_client_cert_verifier(verifier(roots).allow_unauthenticated().build()?)
        }
        ClientCertificates::Required(roots) => {
            builder.with_client_cert_verifier(verifier(roots).build()?)
        }
    };
    let mut config = builder.with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The TLS that handshakes get from now on. Cheap to clone; all clones share it.
#[derive(Debug, Clone)]
pub struct ServerTls(Arc<RwLock<Arc<ServerConfig>>>);

impl ServerTls {
    /// Begins with this.
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(config))))
    }

    /// Handshakes that begin from now on get this; connections that are open stay.
    pub fn replace(&self, config: ServerConfig) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(config);
    }

    fn acceptor(&self) -> TlsAcceptor {
        // Every change is one assignment.
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&current))
    }
}

/// The connections whose handshakes succeed, in the order in which they do.
pub(super) fn handshakes<C>(
    connections: impl Stream<Item = io::Result<C>> + Unpin + Send,
    tls: ServerTls,
) -> impl Stream<Item = io::Result<TlsStream<C>>> + Send
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let state = (connections, tls, JoinSet::new());
    futures_util::stream::unfold(state, |(mut connections, tls, mut running)| async move {
        // Goal: the next connection with TLS. Exit: there is one, or the listener has failed. A new
        // connection never waits for the handshake of another.
        loop {
            tokio::select! {
                connection = connections.next() => match connection? {
                    Ok(connection) => {
                        let handshake = tls.acceptor().accept(connection);
                        running.spawn(tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake));
                    }
                    Err(error) => return Some((Err(error), (connections, tls, running))),
                },
                Some(ended) = running.join_next() => match ended {
                    Ok(Ok(Ok(stream))) => return Some((Ok(stream), (connections, tls, running))),
                    Ok(Ok(Err(error))) => debug!(%error, "a handshake failed"),
                    Ok(Err(_)) => debug!("a handshake took too long"),
                    Err(error) => debug!(%error, "a handshake ended early"),
                },
            }
        }
    })
}
