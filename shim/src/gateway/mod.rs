//! This program as a gateway: one REST address for many agents, none of which listens.
//!
//! Agents call, look their nodes up, send heartbeats and attach; Ironic is given
//! `<gateway_url>/nodes/<uuid>` as the callback URL of each. [`certificate`] is what the REST
//! server shows, and the CA that Ironic is given with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ironic_tunnel::GrpcChannel;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::info;

use crate::agents::{
    AgentKey, AgentRegistry, AttachmentId, AttachmentSignals, Client, Generation, Superseded,
};
use crate::config::{GatewayUrl, ShimConfig};
use crate::descriptors;
use crate::fleet::Fleet;
use crate::metrics::CertificateEnd;
use crate::peers::Peers;
use crate::peers::options::{PeersError, PeersSettings};
use crate::rest::{RestListener, RestSettings};
use crate::rest_server::{self, Advertised, RestServerError};
use crate::tls::{self, TlsError};

pub mod certificate;
mod drain;
mod memory;

use certificate::{CertificateError, ServerCertificate};
pub use drain::DrainPlan;
use drain::SessionDrain;

/// Attachments whose tokens are not proved, all together. Each is a call that waits.
const UNPROVED: usize = 16_384;

/// Why there is no gateway.
#[derive(Debug, Error)]
pub enum GatewayError {
    /// The certificate cannot be used or made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address cannot be listened at.
    #[error(transparent)]
    Listen(#[from] RestServerError),
    /// Other gateways cannot share the nodes.
    #[error(transparent)]
    Peers(#[from] PeersError),
}

/// A gateway whose REST server listens. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gateway(Arc<GatewayState>);

#[derive(Debug)]
struct GatewayState {
    url: GatewayUrl,
    certificate: Option<ServerCertificate>,
    agents: AgentRegistry,
    peers: Option<Peers>,
    fleet: Fleet,
    unproved: Arc<Semaphore>,
    /// Attachments that have ended.
    ended: Arc<AtomicU64>,
    drain: SessionDrain,
    /// The task of the REST server.
    serving: TaskTracker,
    stop: CancellationToken,
}

impl Gateway {
    /// Starts the REST server for the agents of a registry. It stops with `stop`.
    ///
    /// # Errors
    /// Certificate and key cannot be used, or the address cannot be listened at.
    pub async fn start(
        url: GatewayUrl,
        config: &ShimConfig,
        agents: AgentRegistry,
        fleet: Fleet,
        stop: CancellationToken,
    ) -> Result<Self, GatewayError> {
        descriptors::raise_limit();
        memory::keep_pages_small();
        let peers = PeersSettings::of(config)?;
        let certificate = ServerCertificate::of(&url, config)?;
        if let (Some(certificate), Some(_)) = (&certificate, &peers) {
            certificate.warn_if_unshared();
        }
        let acceptor = certificate.as_ref().map(|shown| acceptor(shown, config));
        let acceptor = acceptor.transpose()?;
        let listener = rest_server::listen(&config.listen_host, config.listen_port).await?;
        let (server, peers) = match peers {
            Some(settings) => {
                let verify_ca = certificate.as_ref().and_then(ServerCertificate::verify_ca);
                let open = settings.open(
                    url.to_string(),
                    verify_ca.as_deref(),
                    agents.clone(),
                    stop.clone(),
                );
                let open = open.await?;
                let peers = Some(open.peers.clone());
                let server = RestListener::among(peers.clone(), agents.clone(), rest_settings());
                open.join(server.node_handler()).await?;
                (server, peers)
            }
            None => (RestListener::new(agents.clone(), rest_settings()), None),
        };
        info!(event = %"rest_listener_open", %url, "milestone");
        let stopping = stop.child_token();
        let serving = TaskTracker::new();
        serving.spawn(async move { server.serve(listener, acceptor, stopping).await });
        serving.close();
        if let Some(certificate) = &certificate {
            tokio::spawn(certificate.clone().renew_until(stop.clone()));
        }
        let gateway = Self(Arc::new(GatewayState {
            url,
            certificate,
            agents,
            peers,
            fleet,
            unproved: Arc::new(Semaphore::new(UNPROVED)),
            ended: Arc::default(),
            drain: SessionDrain::new(config.drain_timeout),
            serving,
            stop,
        }));
        let ended = Arc::clone(&gateway.0.ended);
        tokio::spawn(memory::give_memory_back(gateway.stopping(), ended));
        Ok(gateway)
    }

    /// The gateways that share the nodes with this one, if there are any.
    #[must_use]
    pub fn peers(&self) -> Option<&Peers> {
        self.0.peers.as_ref()
    }

    /// The agents that are known.
    #[must_use]
    pub fn agents(&self) -> &AgentRegistry {
        &self.0.agents
    }

    /// What is known of the nodes.
    #[must_use]
    pub fn fleet(&self) -> &Fleet {
        &self.0.fleet
    }

    /// What Ironic is given about a node. It is the same for as long as the options are: Ironic
    /// refuses a node that changes its callback URL or its CA.
    #[must_use]
    pub fn advertised(&self, node_uuid: &str) -> Advertised {
        let certificate = self.0.certificate.as_ref();
        Advertised {
            callback_url: format!("{}/nodes/{node_uuid}", self.0.url),
            verify_ca: certificate.and_then(|certificate| certificate.verify_ca()),
        }
    }

    /// Reads the certificate and key of the REST listener again, and those among gateways.
    ///
    /// # Errors
    /// A file cannot be used: nothing changes.
    pub fn reload(&self) -> Result<(), GatewayError> {
        let rest = self.0.certificate.as_ref();
        let rest = rest.map(|rest| Ok::<_, CertificateError>((rest, rest.issue()?)));
        let rest = rest.transpose()?;
        if let Some(peers) = &self.0.peers {
            peers.reload().map_err(PeersError::from)?;
        }
        if let Some((rest, new)) = rest {
            rest.apply(new);
        }
        Ok(())
    }

    /// When what the REST listener shows ends.
    #[must_use]
    pub fn certificate_ends(&self) -> Vec<CertificateEnd> {
        let rest = self.0.certificate.as_ref();
        rest.map(ServerCertificate::ends).unwrap_or_default()
    }

    /// Leave for one more attachment to wait for the proof of its token. `None`: too many do.
    #[must_use]
    pub fn wait_for_proof(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.unproved).try_acquire_owned().ok()
    }

    /// Calls of this node's callers go over `channel` from now on. What it answers says when the
    /// attachment is to end.
    ///
    /// # Errors
    /// A later attachment is here already.
    pub fn attach(
        &self,
        node_uuid: &str,
        id: AttachmentId,
        channel: GrpcChannel,
    ) -> Result<AttachmentSignals, Superseded> {
        let (client, generation) = self.node(node_uuid);
        let slot = client.slot().ok_or(Superseded)?;
        let signals = slot.attach(id.clone(), channel)?;
        // A rescued or locked down machine attaches again when it has booted anew.
        let key = AgentKey::Node(node_uuid.to_owned());
        self.0.agents.reopen(&key, generation);
        if let Some(peers) = &self.0.peers {
            peers.attached(node_uuid, &id);
        }
        Ok(signals)
    }

    /// Whether an attachment would take its place.
    #[must_use]
    pub fn is_superseded(&self, node_uuid: &str, id: &AttachmentId) -> bool {
        let (client, _) = self.node(node_uuid);
        let peers = self.0.peers.as_ref();
        client.slot().is_none_or(|slot| slot.is_superseded(id))
            || peers.is_some_and(|peers| peers.is_superseded(node_uuid, id))
    }

    /// An attachment has ended.
    pub fn detach(&self, node_uuid: &str, id: &AttachmentId) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
        let (client, _) = self.node(node_uuid);
        if let Some(slot) = client.slot() {
            slot.detach(id);
        }
        drop(client);
        if let Some(peers) = &self.0.peers {
            peers.detached(node_uuid, id, self.0.agents.is_closed(node_uuid));
        }
        self.0.agents.forget_if_idle(node_uuid);
    }

    /// From now on callers pass with this token, which was proved.
    pub fn trust(&self, node_uuid: &str, token: &str, version: &str) {
        self.0.agents.trust(node_uuid, token, version);
        self.0.fleet.heard(node_uuid);
    }

    /// Ends the service of a node whose machine was handed over or locked down.
    pub fn close(&self, node_uuid: &str) {
        let (_, generation) = self.node(node_uuid);
        let key = AgentKey::Node(node_uuid.to_owned());
        self.0.agents.close(&key, generation);
        self.0.fleet.closed(node_uuid);
    }

    /// Begins to empty this gateway, which then stops: no new sessions are accepted, and agents
    /// are asked to attach elsewhere.
    pub fn drain(&self) {
        self.0.drain.begin();
    }

    /// Whether it is being emptied.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.drain.has_begun()
    }

    /// Completes when [`drain`](Self::drain) is called.
    pub async fn draining(&self) -> DrainPlan {
        self.0.drain.begun().await
    }

    /// Completes when it was emptied, or the time for that is over.
    pub async fn drained(&self) {
        self.0.drain.finished().await;
    }

    /// Completes when the REST server has stopped, which answers the requests at hand first.
    pub async fn stopped(&self) {
        self.0.serving.wait().await;
    }

    /// A session that a drain waits for, for as long as the token lives.
    pub fn session(&self) -> TaskTrackerToken {
        self.0.drain.session()
    }

    /// Cancelled when this program stops.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.0.stop.clone()
    }

    fn node(&self, node_uuid: &str) -> (Arc<Client>, Generation) {
        self.0.agents.node(node_uuid)
    }
}

/// REST connections have their share of the descriptors.
fn rest_settings() -> RestSettings {
    RestSettings {
        descriptors: descriptors::REST,
        ..RestSettings::default()
    }
}

/// TLS of the REST listener.
fn acceptor(shown: &ServerCertificate, config: &ShimConfig) -> Result<TlsAcceptor, TlsError> {
    let oldest = config.common.tls_min_version;
    let suites = config.common.tls_cipher_suites.as_deref();
    let server = tls::server_config_by(shown.resolver(), oldest, suites)?;
    Ok(TlsAcceptor::from(server))
}
