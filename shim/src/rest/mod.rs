//! The REST API of ironic-python-agent, which the conductor calls.
//!
//! A [`RestListener`] accepts connections, [`connection`] speaks HTTP over them and [`service`]
//! answers requests: [`route`] and [`query`] say what is asked, [`call`] and [`parameters`]
//! read commands, [`commands`] passes them to the agent, [`answer`], [`html`] and [`error`]
//! write the answers. Bytes of bodies are those of the Python agent; [`memory`] bounds what they
//! hold. [`forwarded`] decides which of several gateways answers.

pub mod answer;
pub mod body;
pub mod call;
pub mod commands;
pub mod connection;
pub mod error;
mod forwarded;
pub mod given_token;
pub mod html;
pub mod json;
pub mod memory;
pub mod parameters;
pub mod query;
pub mod renewal;
pub mod route;
pub mod service;

use std::sync::Arc;
use std::time::Duration;

use ironic_transport::listener;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::agents::AgentRegistry;
use crate::peers::Peers;
use crate::peers::listener::NodeHandler;
use body::BodyLimits;
use connection::{HttpServer, Timeouts};
use memory::Memory;
use renewal::Renewal;
use service::{ConnectionInfo, RestService};

/// How the listener behaves. The defaults are those of the Python agent where it has any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestSettings {
    /// The largest body in bytes. The default of 160 MiB lets a config drive of 64 MiB pass
    /// in base64, twice over.
    pub body_limit: usize,
    /// How long a body may stall.
    pub body_stall: Duration,
    /// How long a body may take.
    pub body_whole: Duration,
    /// How long a body may take that nobody wants: of a request that was refused, so that its
    /// sender gets to read why.
    pub refused_whole: Duration,
    /// What the bodies of all requests may take together. Those for one node of a gateway take no
    /// more of it than the largest body.
    pub bodies: usize,
    /// How long a connection may take for a request's head, or be idle.
    pub head: Duration,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// Connections at once.
    pub connections: listener::ConnectionLimits,
    /// Of these, as many as this part of the descriptors allows.
    pub descriptors: listener::DescriptorShare,
    /// After the last command was answered, the time until the listener closes.
    pub farewell: Duration,
    /// How long requests may go on when the listener closes.
    pub closing: Duration,
}

impl Default for RestSettings {
    fn default() -> Self {
        Self {
            body_limit: 160 * 1024 * 1024,
            body_stall: Duration::from_secs(10),
            body_whole: Duration::from_secs(600),
            refused_whole: Duration::from_secs(10),
            bodies: 320 * 1024 * 1024,
            head: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            connections: listener::ConnectionLimits {
                authenticated: 512,
                unauthenticated: 512,
                per_peer: 256,
                // Longer than a head may take, whose end is an answer.
                wait: Duration::from_secs(15),
                stall: Duration::from_secs(15),
            },
            // The agents' listener may need as many.
            descriptors: listener::DescriptorShare::HALF,
            farewell: Duration::from_millis(100),
            closing: Duration::from_secs(5),
        }
    }
}

/// Why the service of an agent ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The shim or the agent stops.
    Stopped,
    /// The machine was handed over to a rescuer.
    Rescued,
    /// The machine leaves the network.
    LockedDown,
}

/// The REST API of one or many agents.
#[derive(Debug, Clone)]
pub struct RestListener {
    service: Arc<RestService>,
    settings: RestSettings,
}

impl RestListener {
    /// Serves the agents of a registry, present and future.
    #[must_use]
    pub fn new(agents: AgentRegistry, settings: RestSettings) -> Self {
        Self::among(None, agents, settings)
    }

    /// The same as one of several gateways, if there are others.
    #[must_use]
    pub fn among(peers: Option<Peers>, agents: AgentRegistry, settings: RestSettings) -> Self {
        let limits = BodyLimits {
            size: settings.body_limit,
            stall: settings.body_stall,
            whole: settings.body_whole,
        };
        let refused = BodyLimits {
            whole: settings.refused_whole,
            ..limits
        };
        let service = RestService {
            agents,
            peers,
            limits,
            refused,
            memory: Memory::of(settings.bodies, settings.body_limit),
            renewal: Renewal::default(),
            closing: watch::channel(None).0,
        };
        Self {
            service: Arc::new(service),
            settings,
        }
    }

    /// Answers what other gateways forward.
    #[must_use]
    pub fn node_handler(&self) -> NodeHandler {
        let service = Arc::clone(&self.service);
        Arc::new(move |request, origin, slot| {
            let service = Arc::clone(&service);
            Box::pin(service.answer_forwarded(request, origin, slot))
        })
    }

    /// Accepts connections until `stop`, or until the agent at the root has said farewell.
    /// The listener is gone first; requests at hand are answered before this returns, as far
    /// as they end within [`RestSettings::closing`].
    pub async fn serve(
        &self,
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        stop: CancellationToken,
    ) -> CloseReason {
        let port = listener.local_addr().map_or(0, |address| address.port());
        let timeouts = Timeouts {
            head: self.settings.head,
            handshake: self.settings.handshake,
        };
        let secure = tls.is_some();
        let (limits, share) = (self.settings.connections, self.settings.descriptors);
        let limits = limits.within_descriptors(share);
        let mut listener = listener::Listener::new(listener, "REST", limits);
        let closed = CancellationToken::new();
        let server = HttpServer {
            service: Arc::clone(&self.service),
            timeouts,
            stop: closed.clone(),
        };
        let mut connections = JoinSet::new();
        let ending = self.ending(stop);
        tokio::pin!(ending);
        // Goal: a task per connection. Exit: the listener is to close.
        let ending = loop {
            tokio::select! {
                biased;
                ending = &mut ending => break ending,
                Some(ended) = connections.join_next() => report(ended),
                connection = listener.accept() => {
                    let Some(peer) = connection.peer() else { continue };
                    let slot = connection.slot().clone();
                    let info = ConnectionInfo { peer, port, secure, slot };
                    let (server, tls) = (server.clone(), tls.clone());
                    connections.spawn(connection::serve_tcp(server, connection, info, tls));
                }
            }
        };
        drop(listener);
        closed.cancel();
        let finishing = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        };
        // Those that are still at it are dropped with the set.
        let _ = tokio::time::timeout(self.settings.closing, finishing).await;
        ending
    }

    /// When and why to close.
    async fn ending(&self, stop: CancellationToken) -> CloseReason {
        let mut closing = self.service.closing.subscribe();
        let last_command = async {
            match closing.wait_for(Option::is_some).await.map(|said| *said) {
                Ok(Some(reason)) => {
                    tokio::time::sleep(self.settings.farewell).await;
                    reason
                }
                // The service outlives this, so the last command can still come.
                Ok(None) | Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => CloseReason::Stopped,
            reason = last_command => reason,
        }
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        error!(%error, "a connection's task ended early");
    }
}
