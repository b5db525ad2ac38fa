//! The gRPC `ConductorService`, which agents call.
//!
//! A lookup is one attempt at Ironic. A heartbeat session begins with a `Hello`, which beside an
//! agent starts the REST server; each beat after it is one POST, answered with Ironic's verdict.
//! An [`attachment`] is how a gateway reaches an agent that listens nowhere.

use std::sync::Arc;
use std::time::Duration;

use ironic_transport::Listen;
use ironic_transport::grpc::bounds::{Bounds, MessageSizes, Rule};
use ironic_transport::grpc::{self, BindError};
use ironic_transport::listener::{ConnectionLimits, DescriptorShare};
use ironic_transport::socket;

use ironic_agent_protocol::v1::conductor_service_server::ConductorServiceServer;
use ironic_agent_protocol::v1::identity_service_server::IdentityServiceServer;
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tracing::{info, warn};
use uuid::Uuid;

use crate::config::{GatewayUrl, NodeCertificates, ShimConfig};
use crate::descriptors;
use crate::gateway::Gateway;
use crate::identity::Enrolment;

mod agent_peer;
mod attachment;
mod begun_attachment;
mod context;
mod convert;
mod identity_service;
mod listener_tls;
mod observation;
mod placement;
mod refusal;
mod service;
mod session;
mod upstream;
mod weighed;

use agent_peer::CertificateGate;
pub use context::Relay;
use identity_service::IdentityApi;
pub use listener_tls::{ListenerTls, ListenerTlsError, LoadedTls};
pub use observation::GatewayObserver;
pub use placement::Placement;
pub use upstream::Upstream;
use weighed::WeighedReports;

/// An inspection report with a log archive is the largest message.
const MAX_REQUEST_BYTES: usize = 64 * 1024 * 1024;
/// The largest first message of a session or an attachment, which says who calls: nobody knows yet
/// whether that is true, and its buffer is kept for as long as the call lasts.
const MAX_FIRST_MESSAGE_BYTES: usize = 64 * 1024;
/// The largest other message of an attachment: a chunk, and what is around it.
const MAX_CHUNK_MESSAGE_BYTES: usize = ironic_tunnel::CHUNK + 1024;
/// The longest token that a caller may name, in bytes. Those of Ironic have some fifty.
const MAX_TOKEN_BYTES: usize = 1024;
/// The longest of the other texts by which a caller says who it is, in bytes.
const MAX_TEXT_BYTES: usize = 255;
/// How long a session or an attachment may go on whose token is not proved. An agent that Ironic
/// knows proves it by its next heartbeat.
const PROOF_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// Four streams that nobody reads: one stalled upload must not block the heartbeats beside it.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// A lookup, a heartbeat session, an inspection: an agent has few calls at once.
const STREAMS: u32 = 16;
/// A proxy in front of a gateway puts the calls of many agents on one connection.
const GATEWAY_STREAMS: u32 = 200;
const PING_PERIOD: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Of a gateway: an agent that is gone is noticed within 30 s, because requests for it wait.
const GATEWAY_PING_PERIOD: Duration = Duration::from_secs(20);
const GATEWAY_PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections of a gateway. A proxy in front of it has all of them.
const GATEWAY_LIMITS: ConnectionLimits = ConnectionLimits {
    authenticated: 65_536,
    unauthenticated: 4096,
    per_peer: 4096,
    ..grpc::LIMITS
};

/// Inspection reports that a gateway reads at once. The others come back after seconds.
const REPORTS: usize = 8;

/// What unauthenticated callers may cost: on a loopback address, before their session is proved.
const UNAUTHENTICATED: [Rule; 6] = [
    // A proof and a request for a certificate, each at once.
    Rule {
        prefix: "/ironic.agent.v1.IdentityService/",
        largest: 64 * 1024,
        largest_messages: None,
        at_once: 32,
        bounds_all: false,
        deadline: Some(Duration::from_secs(60)),
    },
    Rule {
        prefix: "/ironic.agent.v1.ConductorService/Lookup",
        largest: 64 * 1024,
        largest_messages: None,
        at_once: 32,
        bounds_all: false,
        deadline: Some(Duration::from_secs(60)),
    },
    // A beat has some twenty bytes: this is enough for weeks, and then the session is opened
    // anew.
    Rule {
        prefix: "/ironic.agent.v1.ConductorService/Heartbeat",
        largest: 1024 * 1024,
        largest_messages: Some(MessageSizes {
            first: MAX_FIRST_MESSAGE_BYTES,
            later: None,
        }),
        at_once: 32,
        bounds_all: false,
        deadline: None,
    },
    // Of an unproved attachment only empty messages are taken after the first one; of a proved one
    // all that a tunnel sends.
    Rule {
        prefix: "/ironic.agent.v1.ConductorService/Attach",
        largest: usize::MAX,
        largest_messages: Some(MessageSizes {
            first: MAX_FIRST_MESSAGE_BYTES,
            later: Some(MAX_CHUNK_MESSAGE_BYTES),
        }),
        at_once: 32,
        bounds_all: false,
        deadline: None,
    },
    Rule {
        prefix: "/ironic.agent.v1.ConductorService/",
        largest: MAX_REQUEST_BYTES,
        largest_messages: None,
        at_once: 2,
        bounds_all: false,
        deadline: Some(Duration::from_secs(120)),
    },
    Rule {
        prefix: "/grpc.health.v1.Health/",
        largest: 64 * 1024,
        largest_messages: None,
        at_once: 64,
        bounds_all: false,
        deadline: None,
    },
];

/// The same before a gateway: whole halls are powered on at once, and each agent has one call of
/// each kind.
fn gateway_rules() -> [Rule; 6] {
    UNAUTHENTICATED.map(|rule| match rule.prefix {
        // Reports: each may have the size of the largest request, whoever sends it.
        "/ironic.agent.v1.ConductorService/" => Rule {
            at_once: REPORTS,
            bounds_all: true,
            ..rule
        },
        "/grpc.health.v1.Health/" => rule,
        _ => Rule {
            at_once: 16_384,
            bounds_all: false,
            ..rule
        },
    })
}

/// The service name under which `grpc.health.v1` says whether Ironic answered the last
/// request: this service itself is served all the same.
pub const IRONIC: &str = "ironic";

/// Why the shim cannot serve agents.
#[derive(Debug, Error)]
pub enum RelayError {
    /// The address cannot be used.
    #[error(transparent)]
    Listen(#[from] BindError),
    /// Strangers could call.
    #[error(
        "option conductor_listen = {0} can be reached from other machines, and callers need no \
         certificate: any of them would be given the agent's token by a lookup. Listen at a \
         unix: socket or a loopback address, demand client certificates by grpc_tls_cert_file, \
         grpc_tls_key_file and grpc_tls_ca_file, or accept it by --insecure_conductor_listen"
    )]
    Open(Listen),
    /// Certificates need TLS, which a socket has not.
    #[error("option node_certificates needs a conductor_listen of the form ADDRESS:PORT, not {0}")]
    NoTls(Listen),
    /// The TLS options are unusable.
    #[error(transparent)]
    Tls(#[from] ListenerTlsError),
    /// The transport failed.
    #[error("cannot serve gRPC")]
    Transport(#[from] tonic::transport::Error),
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    relay: Relay,
    bound: grpc::Bound,
    /// Where it listens; the port is the real one.
    pub listen: Listen,
    tls: Option<ListenerTls>,
    gate: CertificateGate,
    enrolment: Option<Enrolment>,
}

/// Keeps the health of [`IRONIC`] up to date.
async fn watch_ironic(mut reachable: watch::Receiver<Option<bool>>, health: HealthReporter) {
    loop {
        let status = match *reachable.borrow_and_update() {
            None => ServingStatus::Unknown,
            Some(true) => ServingStatus::Serving,
            Some(false) => ServingStatus::NotServing,
        };
        health.set_service_status(IRONIC, status).await;
        if reachable.changed().await.is_err() {
            return;
        }
    }
}

/// Says that the whole serves no more once the gateway is draining.
async fn watch_drain(gateway: Gateway, health: HealthReporter) {
    gateway.draining().await;
    health
        .set_service_status("", ServingStatus::NotServing)
        .await;
    health
        .set_not_serving::<ConductorServiceServer<Relay>>()
        .await;
}

/// Opens the listener that `config` names. Certificates are issued by `enrolment`.
///
/// # Errors
/// The address is taken or not ours, or a certificate is missing.
pub async fn bind(
    relay: Relay,
    config: &ShimConfig,
    enrolment: Option<Enrolment>,
) -> Result<Server, RelayError> {
    if let (Listen::Unix(_), Some(_)) = (&config.conductor_listen, &enrolment) {
        return Err(RelayError::NoTls(config.conductor_listen.clone()));
    }
    let files = config.common.grpc_tls();
    let host = config
        .gateway_url
        .as_ref()
        .map_or("localhost", GatewayUrl::host);
    let mut tls = ListenerTls::load(files, enrolment.clone(), host)?;
    if let Placement::Gateway(gateway) = &relay.placement {
        let metrics = gateway.agents().metrics().clone();
        let heard = Arc::new(move |outcome| metrics.handshake(convert::handshake_result(outcome)));
        tls = tls.map(|tls| tls.observed(heard));
        if let Some(tls) = tls.clone() {
            tokio::spawn(tls.renew(gateway.stopping()));
        }
    }
    warn_or_refuse_strangers(config, tls.is_some())?;
    let limits = match &relay.placement {
        // The REST server has connections, too.
        Placement::Beside(_) => grpc::LIMITS.within_descriptors(DescriptorShare::HALF),
        Placement::Gateway(_) => gateway_limits(),
    };
    let (bound, listen) = grpc::bind(&config.conductor_listen, "ConductorService", limits).await?;
    let issued = enrolment
        .as_ref()
        .map(|enrolment| enrolment.authority().trust_domain().clone());
    // Without certificates of its own, a gateway looks at the names of others' where it is asked to.
    let domain = issued.or_else(|| config.trust_domain.as_deref()?.parse().ok());
    Ok(Server {
        relay,
        bound,
        listen,
        tls,
        gate: CertificateGate::new(domain, config.node_certificates),
        enrolment,
    })
}

/// How many agents a gateway takes, which operators see at its start.
fn gateway_limits() -> ConnectionLimits {
    let limits = GATEWAY_LIMITS.within_descriptors(descriptors::AGENTS);
    let (agents, open_files) = (limits.authenticated, socket::descriptor_limit());
    info!(agents, open_files, "most agents that may be connected");
    limits
}

/// Clients of a listener that other machines reach must present a certificate for a lookup, unless the operator wants
/// it otherwise.
fn warn_or_refuse_strangers(config: &ShimConfig, has_tls: bool) -> Result<(), RelayError> {
    let demands_certificates = match config.node_certificates {
        NodeCertificates::None => has_tls && config.common.grpc_tls_ca_file.is_some(),
        NodeCertificates::JoinToken => true,
        NodeCertificates::AgentToken => false,
    };
    if !config.conductor_listen.is_open_to_other_machines() || demands_certificates {
        return Ok(());
    }
    let listen = &config.conductor_listen;
    if config.node_certificates == NodeCertificates::AgentToken {
        warn!(%listen, "any machine that reaches this address may look nodes up, as at Ironic: node_certificates = agent_token");
        return Ok(());
    }
    if !config.insecure_conductor_listen {
        return Err(RelayError::Open(listen.clone()));
    }
    warn!(%listen, "any machine that reaches this address may look nodes up: insecure_conductor_listen");
    Ok(())
}

impl Server {
    /// TLS of the listener, if it has any.
    #[must_use]
    pub fn tls(&self) -> Option<&ListenerTls> {
        self.tls.as_ref()
    }

    /// What operators see of this gateway.
    #[must_use]
    pub fn observer(&self) -> GatewayObserver {
        GatewayObserver::new(self.relay.clone(), self.tls.clone())
    }

    /// Serves until `stop` is cancelled.
    ///
    /// # Errors
    /// The certificate is unusable, or the transport failed.
    pub async fn run(self, stop: CancellationToken) -> Result<(), RelayError> {
        let is_gateway = matches!(self.relay.placement, Placement::Gateway(_));
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<ConductorServiceServer<Relay>>().await;
        if let Some(gateway) = self.relay.placement.gateway().cloned() {
            let watching = watch_drain(gateway, health.clone());
            tokio::spawn(stop.clone().run_until_cancelled_owned(watching));
        }
        if let Some(reachable) = self.relay.reachable() {
            let watching = watch_ironic(reachable, health);
            tokio::spawn(stop.clone().run_until_cancelled_owned(watching));
        }
        let service =
            ConductorServiceServer::new(self.relay).max_decoding_message_size(MAX_REQUEST_BYTES);
        let server = tonic::transport::Server::builder()
            .initial_stream_window_size(ironic_tunnel::STREAM_WINDOW);
        let (server, bounds) = if is_gateway {
            let server = server
                .initial_connection_window_size(ironic_tunnel::CONNECTION_WINDOW)
                .max_concurrent_streams(GATEWAY_STREAMS)
                .http2_keepalive_interval(Some(GATEWAY_PING_PERIOD))
                .http2_keepalive_timeout(Some(GATEWAY_PING_TIMEOUT));
            (server, Bounds::new(&gateway_rules()))
        } else {
            let server = server
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_concurrent_streams(STREAMS)
                .http2_keepalive_interval(Some(PING_PERIOD))
                .http2_keepalive_timeout(Some(PING_TIMEOUT));
            (server, Bounds::new(&UNAUTHENTICATED))
        };
        let identity = self.enrolment.map(IdentityApi);
        let router = server
            .layer(bounds)
            .layer(self.gate)
            .add_service(health_service)
            .add_service(WeighedReports(service))
            .add_optional_service(identity.map(IdentityServiceServer::new));
        let stopped = stop.cancelled_owned();
        let tls = self.tls.map(|tls| tls.server_tls());
        self.bound.serve(router, tls, stopped).await?;
        Ok(())
    }
}

/// A node's UUID as an agent says it, in its usual form.
fn node_uuid(text: &str, field: &str) -> Result<String, Status> {
    if text.is_empty() {
        let text = format!("{field} is empty: look up the node first");
        return Err(Status::invalid_argument(text));
    }
    let uuid = Uuid::try_parse(text);
    let uuid = uuid.map_err(|_| Status::invalid_argument(format!("{field} is not a UUID")))?;
    Ok(uuid.hyphenated().to_string())
}

/// Refuses a text that would be kept for as long as a caller likes.
fn check_length(text: &str, most: usize, field: &str) -> Result<(), Status> {
    if text.len() <= most {
        return Ok(());
    }
    let length = text.len();
    let text = format!("{field} has {length} bytes, and may have {most}");
    Err(Status::invalid_argument(text))
}
