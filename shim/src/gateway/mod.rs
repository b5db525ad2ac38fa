//! This program as a gateway: one REST address for many agents, none of which listens.
//!
//! Agents call, look their nodes up, send heartbeats and attach; Ironic is given
//! `<gateway_url>/nodes/<uuid>` as the callback URL of each. [`certificate`] is what the REST
//! server shows, and the CA that Ironic is given with it.

use std::sync::Arc;

use ironic_text::Secret;
use ironic_tunnel::GrpcChannel;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::agents::{AgentKey, AgentRegistry, AttachmentId, Client, Generation, Superseded};
use crate::config::{GatewayUrl, ShimConfig};
use crate::rest::{RestListener, RestSettings};
use crate::rest_server::{self, Advertised, RestServerError};
use crate::tls::{self, TlsError};

pub mod certificate;

use certificate::{CertificateError, ServerCertificate};

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
}

/// A gateway whose REST server listens. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gateway(Arc<GatewayState>);

#[derive(Debug)]
struct GatewayState {
    url: GatewayUrl,
    certificate: Option<ServerCertificate>,
    agents: AgentRegistry,
    unproved: Arc<Semaphore>,
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
        stop: CancellationToken,
    ) -> Result<Self, GatewayError> {
        let certificate = ServerCertificate::of(&url, config)?;
        let acceptor = match &certificate {
            Some(certificate) => {
                let oldest = config.common.tls_min_version;
                let suites = config.common.tls_cipher_suites.as_deref();
                let server = tls::server_config_by(certificate.resolver(), oldest, suites)?;
                Some(TlsAcceptor::from(server))
            }
            None => None,
        };
        let listener = rest_server::listen(&config.listen_host, config.listen_port).await?;
        let server = RestListener::new(agents.clone(), RestSettings::default());
        info!(event = %"rest_door_open", %url, "milestone");
        let stopping = stop.child_token();
        tokio::spawn(async move { server.serve(listener, acceptor, stopping).await });
        if let Some(certificate) = &certificate {
            tokio::spawn(certificate.clone().renew_until(stop.clone()));
        }
        Ok(Self(Arc::new(GatewayState {
            url,
            certificate,
            agents,
            unproved: Arc::new(Semaphore::new(UNPROVED)),
            stop,
        })))
    }

    /// The agents that are known.
    #[must_use]
    pub fn agents(&self) -> &AgentRegistry {
        &self.0.agents
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

    /// Reads the operator's certificate and key again.
    ///
    /// # Errors
    /// They cannot be used; the earlier ones are shown as before.
    pub fn reload(&self) -> Result<(), CertificateError> {
        match &self.0.certificate {
            Some(certificate) => certificate.reload(),
            None => Ok(()),
        }
    }

    /// Leave for one more attachment to wait for the proof of its token. `None`: too many do.
    #[must_use]
    pub fn wait_for_proof(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.unproved).try_acquire_owned().ok()
    }

    /// Calls of this node's callers go over `channel` from now on. The token that it answers is
    /// cancelled when a later attachment takes its place.
    ///
    /// # Errors
    /// A later attachment is here already.
    pub fn attach(
        &self,
        node_uuid: &str,
        id: AttachmentId,
        channel: GrpcChannel,
    ) -> Result<CancellationToken, Superseded> {
        let (client, generation) = self.node(node_uuid);
        let slot = client.slot().ok_or(Superseded)?;
        let displaced = slot.attach(id, channel)?;
        // A rescued or locked down machine attaches again when it has booted anew.
        let key = AgentKey::Node(node_uuid.to_owned());
        self.0.agents.reopen(&key, generation);
        Ok(displaced)
    }

    /// Whether an attachment would take its place.
    #[must_use]
    pub fn is_superseded(&self, node_uuid: &str, id: &AttachmentId) -> bool {
        let (client, _) = self.node(node_uuid);
        client.slot().is_none_or(|slot| slot.is_superseded(id))
    }

    /// An attachment has ended.
    pub fn detach(&self, node_uuid: &str, id: &AttachmentId) {
        let (client, _) = self.node(node_uuid);
        if let Some(slot) = client.slot() {
            slot.detach(id);
        }
    }

    /// From now on callers pass with this token, which was proved.
    pub fn trust(&self, node_uuid: &str, token: Secret, version: &str) {
        let (_, generation) = self.node(node_uuid);
        let key = AgentKey::Node(node_uuid.to_owned());
        self.0.agents.set_token(&key, generation, token);
        self.0.agents.seen(&key, generation, version);
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
