//! TLS of a gRPC server, whose certificate and authorities can be replaced while it serves.
//!
//! The handshakes are done here and not by tonic, which reads one certificate when it starts.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::CertificateRevocationListDer;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::boxed_stream::BoxedStream;
use crate::listener::Connection;

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
    /// They must, and the list of their authority must not name theirs. An authority without a
    /// list, or whose list is past its next update, vouches for nobody.
    RequiredUnrevoked(
        Arc<RootCertStore>,
        Vec<CertificateRevocationListDer<'static>>,
    ),
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
        ClientCertificates::RequiredUnrevoked(roots, lists) => {
            let verifier = verifier(roots).with_crls(lists);
            let verifier = verifier.only_check_end_entity_revocation();
            // As OpenSSL does, and so nginx, HAProxy and Envoy: what an old list does not name may
            // have been revoked since.
            let verifier = verifier.enforce_revocation_expiration();
            builder.with_client_cert_verifier(verifier.build()?)
        }
    };
    let mut config = builder.with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// How a handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeOutcome {
    /// Both sides trust each other.
    Done,
    /// It took too long.
    TimedOut,
    /// The client showed no certificate, or one that is not accepted.
    ClientCertificate,
    /// The client does not accept our certificate, or went away.
    RefusedByClient,
    /// The client speaks something else, or breaks the protocol.
    Failed,
}

impl HandshakeOutcome {
    fn of_error(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::TimedOut {
            return Self::TimedOut;
        }
        let tls = error.get_ref().and_then(|error| error.downcast_ref());
        match tls {
            Some(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_)) => {
                Self::ClientCertificate
            }
            Some(rustls::Error::AlertReceived(_)) => Self::RefusedByClient,
            Some(_) => Self::Failed,
            // The connection ended.
            None => Self::RefusedByClient,
        }
    }
}

/// Hears of every handshake.
pub type OnHandshake = Arc<dyn Fn(HandshakeOutcome) + Send + Sync>;

/// The TLS that handshakes get from now on. Cheap to clone; all clones share it.
#[derive(Clone)]
pub struct ServerTls {
    current: Arc<RwLock<Arc<ServerConfig>>>,
    heard: OnHandshake,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Begins with this.
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        Self {
            current: Arc::new(RwLock::new(Arc::new(config))),
            heard: Arc::new(|_| {}),
        }
    }

    /// The same, and `heard` is called with the outcome of every handshake.
    #[must_use]
    pub fn observed(self, heard: OnHandshake) -> Self {
        Self { heard, ..self }
    }

    /// Handshakes that begin from now on get this; connections that are open stay.
    pub fn replace(&self, config: ServerConfig) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(config);
    }

    fn acceptor(&self) -> TlsAcceptor {
        // Every change is one assignment.
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&current))
    }

    /// One handshake, whose outcome is heard of. A client with a certificate from the authorities
    /// is no stranger: its connection makes way for nobody.
    ///
    /// # Errors
    /// The sides do not trust each other, or it took too long.
    pub async fn handshake<S>(
        self,
        connection: Connection<S>,
    ) -> io::Result<TlsStream<Connection<S>>>
    where
        S: AsFd,
        Connection<S>: AsyncRead + AsyncWrite + Unpin,
    {
        let shaking = self.acceptor().accept(connection);
        let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, shaking).await;
        let shaken = shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let outcome = shaken
            .as_ref()
            .map_or_else(HandshakeOutcome::of_error, |_| HandshakeOutcome::Done);
        (self.heard)(outcome);
        if let Ok(stream) = &shaken {
            let (connection, tls) = stream.get_ref();
            if tls.peer_certificates().is_some() {
                connection.slot().authenticated();
            }
        }
        shaken
    }
}

/// The connections whose handshakes succeed, in the order in which they do.
pub(super) fn handshakes<S>(
    connections: impl Stream<Item = io::Result<Connection<S>>> + Unpin + Send,
    tls: ServerTls,
) -> impl Stream<Item = io::Result<BoxedStream<TlsStream<Connection<S>>>>> + Send
where
    S: AsFd + Send + 'static,
    Connection<S>: AsyncRead + AsyncWrite + Unpin,
{
    let state = (connections, tls, JoinSet::new());
    futures_util::stream::unfold(state, |(mut connections, tls, mut running)| async move {
        // Goal: the next connection with TLS. Exit: there is one, or the listener has failed. A new
        // connection never waits for the handshake of another.
        loop {
            tokio::select! {
                connection = connections.next() => match connection? {
                    Ok(connection) => {
                        running.spawn(tls.clone().handshake(connection));
                    }
                    Err(error) => return Some((Err(error), (connections, tls, running))),
                },
                Some(ended) = running.join_next() => match ended {
                    Ok(Ok(stream)) => {
                        let stream = BoxedStream::new(stream);
                        return Some((Ok(stream), (connections, tls, running)));
                    }
                    Ok(Err(error)) => debug!(%error, "a handshake failed"),
                    Err(error) => debug!(%error, "a handshake ended early"),
                },
            }
        }
    })
}
