//! The conductor's door: the REST API of ironic-python-agent.
//!
//! A [`Door`] accepts connections, [`connection`] speaks HTTP over them and [`service`]
//! answers requests: [`route`] and [`query`] say what is asked, [`call`] and [`parameters`]
//! read commands, [`commands`] passes them to the agent, [`answer`], [`page`] and [`fault`]
//! write the answers. Bytes of bodies are those of the Python agent.

pub mod answer;
pub mod body;
pub mod call;
pub mod commands;
pub mod connection;
pub mod fault;
pub mod json;
pub mod page;
pub mod parameters;
pub mod query;
pub mod route;
pub mod service;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::agents::Roster;
use body::Limits;
pub use commands::Farewell;
use connection::Patience;
use service::{Line, Service};

/// How the door behaves. The defaults are those of the Python agent where it has any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The largest body in bytes. The default of 160 MiB lets a config drive of 64 MiB pass
    /// in base64, twice over.
    pub body_limit: usize,
    /// How long a body may stall.
    pub body_stall: Duration,
    /// How long a body may take.
    pub body_whole: Duration,
    /// How long a connection may take for a request's head, or be idle.
    pub head: Duration,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// Connections at once. More wait until others end.
    pub connections: usize,
    /// After the last command was answered, the time until the door closes.
    pub farewell: Duration,
    /// How long requests may go on when the door closes.
    pub closing: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body_limit: 160 * 1024 * 1024,
            body_stall: Duration::from_secs(10),
            body_whole: Duration::from_secs(600),
            head: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            connections: 1024,
            farewell: Duration::from_millis(100),
            closing: Duration::from_secs(5),
        }
    }
}

/// Why the door was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was told to.
    Stopped,
    /// The machine was handed over to a rescuer.
    Rescued,
    /// The machine leaves the network.
    LockedDown,
}

impl From<Farewell> for Ending {
    fn from(farewell: Farewell) -> Self {
        match farewell {
            Farewell::Rescued => Self::Rescued,
            Farewell::LockedDown => Self::LockedDown,
        }
    }
}

/// The REST door of one or many agents.
#[derive(Debug, Clone)]
pub struct Door {
    service: Arc<Service>,
    settings: Settings,
}

impl Door {
    /// A door to the agents of a roster, present and future.
    #[must_use]
    pub fn new(roster: Roster, settings: Settings) -> Self {
        let limits = Limits {
            size: settings.body_limit,
            stall: settings.body_stall,
            whole: settings.body_whole,
        };
        let service = Service {
            roster,
            limits,
            closing: watch::channel(None).0,
        };
        Self {
            service: Arc::new(service),
            settings,
        }
    }

    /// Accepts connections until `stop`, or until the agent at the root has said farewell.
    /// The listener is gone first; requests at hand are answered before this returns, as far
    /// as they end within [`Settings::closing`].
    pub async fn serve(
        &self,
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        stop: CancellationToken,
    ) -> Ending {
        let port = listener.local_addr().map_or(0, |address| address.port());
        let patience = Patience {
            head: self.settings.head,
            handshake: self.settings.handshake,
        };
        let secure = tls.is_some();
        let slots = Arc::new(Semaphore::new(self.settings.connections));
        let closed = CancellationToken::new();
        let mut connections = JoinSet::new();
        let ending = self.ending(stop);
        tokio::pin!(ending);
        // Goal: a task per connection. Exit: the door is told to close.
        let ending = loop {
            let accepting = async {
                let slot = Arc::clone(&slots).acquire_owned().await;
                (slot, listener.accept().await)
            };
            tokio::select! {
                biased;
                ending = &mut ending => break ending,
                Some(ended) = connections.join_next() => report(ended),
                (slot, accepted) = accepting => match accepted {
                    Ok((stream, peer)) => {
                        let line = Line { peer, port, secure };
                        let serving = connection::serve_tcp(
                            Arc::clone(&self.service),
                            stream,
                            line,
                            tls.clone(),
                            patience,
                            closed.clone(),
                        );
                        connections.spawn(async move {
                            let _slot = slot;
                            serving.await;
                        });
                    }
                    Err(error) => {
                        // Out of file descriptors, most likely: let some connections end.
                        warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
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
    async fn ending(&self, stop: CancellationToken) -> Ending {
        let mut closing = self.service.closing.subscribe();
        let farewell = async {
            match closing.wait_for(Option::is_some).await.map(|said| *said) {
                Ok(Some(farewell)) => {
                    tokio::time::sleep(self.settings.farewell).await;
                    farewell.into()
                }
                // The service outlives this, so somebody can always say farewell.
                Ok(None) | Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => Ending::Stopped,
            ending = farewell => ending,
        }
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        error!(%error, "a connection's task ended early");
    }
}
