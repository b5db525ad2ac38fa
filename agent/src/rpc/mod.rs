//! The wire: the only module that knows tonic and the generated messages.
//!
//! [`bind`] opens the agent's listener, or takes the sockets of [attachments](attachment) in its
//! place; [`GrpcServer::run`] serves `CommandService`, health and reflection there until it is
//! stopped. The token is checked in [`access`], messages become requests in [`convert`], errors
//! become statuses in [`status`].

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use ironic_agent_protocol::v1::command_service_server::CommandServiceServer;
use ironic_transport::Listen;
use ironic_transport::grpc::bounds::{Bounds, Rule};
use ironic_transport::grpc::{self, BindError, ServerTls, ServerTlsError};
use ironic_transport::listener::DescriptorShare;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::commands::Engine;
use crate::config::{AgentConfig, GrpcListen};

pub mod access;
mod attachment;
mod call_status;
pub mod command_service;
pub mod conductor_client;
pub mod convert;
mod follow_logs;
pub mod manager_client;
pub mod status;
mod watch;

pub use attachment::AttachedSocket;
pub use command_service::AgentCommandService;

/// The largest request: an `ExecuteCommand` with a config drive of 64 MiB base64, which is
/// what Ironic lets an operator give, beside the node and its ports. The token is checked
/// before a message is read, so only the conductor can make the agent hold that much.
const MAX_REQUEST_BYTES: usize = 128 * 1024 * 1024;

/// A connection may hold four unread streams before the others notice: with equal windows
/// one stalled upload would block every other call.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Calls at once on one connection; tonic's default is no limit. A shim has one call per
/// REST request that waits, and a few watchers.
const STREAMS: u32 = 256;

/// Metadata is a token and a few names; error details stay below half of this.
const HEADERS: u32 = 16 * 1024;

/// What an unauthenticated caller may ask for. The message is a name, or nothing.
const OPEN_CALLS: [Rule; 4] = [
    Rule {
        prefix: "/ironic.agent.v1.CommandService/GetStatus",
        largest: SMALL_REQUEST,
        largest_messages: None,
        at_once: 128,
        bounds_all: false,
        deadline: Some(STRANGERS_TIMEOUT),
    },
    Rule {
        prefix: "/grpc.health.v1.Health/Check",
        largest: SMALL_REQUEST,
        largest_messages: None,
        at_once: 128,
        bounds_all: false,
        deadline: Some(STRANGERS_TIMEOUT),
    },
    // A watch is one request and lives as long as its caller.
    Rule {
        prefix: "/grpc.health.v1.Health/",
        largest: SMALL_REQUEST,
        largest_messages: None,
        at_once: 64,
        bounds_all: false,
        deadline: None,
    },
    Rule {
        prefix: "/grpc.reflection.v1.ServerReflection/",
        largest: 1024 * 1024,
        largest_messages: None,
        at_once: 64,
        bounds_all: false,
        deadline: Some(STRANGERS_TIMEOUT),
    },
];
const SMALL_REQUEST: usize = 64 * 1024;
/// How long an unauthenticated caller may take for a request.
const STRANGERS_TIMEOUT: Duration = Duration::from_secs(60);

/// Time between two pings.
const PING_PERIOD: Duration = Duration::from_secs(30);
/// A peer that does not answer a ping for this long is gone.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long calls may go on after the server was asked to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the agent cannot serve, or stopped serving.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The address cannot be used.
    #[error(transparent)]
    Listen(#[from] BindError),
    /// The files for TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] ServerTlsError),
    /// The descriptors do not decode.
    #[error("cannot offer reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport failed.
    #[error("cannot serve gRPC")]
    Transport(#[from] tonic::transport::Error),
}

/// A server that can be called.
#[derive(Debug)]
pub struct GrpcServer {
    engine: Engine,
    incoming: Incoming,
    stop: CancellationToken,
}

/// Where the connections of a [`GrpcServer`] come from.
#[derive(Debug)]
enum Incoming {
    Listener {
        bound: grpc::Bound,
        listen: Listen,
        tls: Option<ServerTls>,
    },
    Attachments {
        sockets: mpsc::Receiver<AttachedSocket>,
        sender: mpsc::Sender<AttachedSocket>,
    },
}

/// Opens the listener that `config` names, or none. Connections are accepted by the system from
/// now on, and served once the server [runs](GrpcServer::run).
///
/// # Errors
/// The address is taken or not ours, or a certificate is missing.
pub async fn bind(
    engine: Engine,
    config: &AgentConfig,
    stop: CancellationToken,
) -> Result<GrpcServer, ServeError> {
    let incoming = match &config.grpc_listen {
        GrpcListen::At(listen) => {
            let tls = grpc::server_tls(&config.common.grpc_tls())?;
            let (bound, listen) = grpc::bind(
                listen,
                "gRPC",
                grpc::LIMITS.within_descriptors(DescriptorShare::WHOLE),
            )
            .await?;
            Incoming::Listener { bound, listen, tls }
        }
        GrpcListen::Nowhere => {
            let (sender, sockets) = mpsc::channel(1);
            Incoming::Attachments { sockets, sender }
        }
    };
    Ok(GrpcServer {
        engine,
        incoming,
        stop,
    })
}

impl GrpcServer {
    /// Where it listens; the port is the real one.
    #[must_use]
    pub fn listen(&self) -> GrpcListen {
        match &self.incoming {
            Incoming::Listener { listen, .. } => GrpcListen::At(listen.clone()),
            Incoming::Attachments { .. } => GrpcListen::Nowhere,
        }
    }

    /// Where the sockets of attachments go, if the server listens nowhere.
    #[must_use]
    pub fn attachments(&self) -> Option<mpsc::Sender<AttachedSocket>> {
        match &self.incoming {
            Incoming::Listener { .. } => None,
            Incoming::Attachments { sender, .. } => Some(sender.clone()),
        }
    }

    /// Serves until the token that [`bind`] was given is cancelled: then nothing new is
    /// accepted, waiting calls end as UNAVAILABLE, and the others have a few seconds.
    ///
    /// # Errors
    /// The certificate is unusable, or the transport failed.
    pub async fn run(self) -> Result<(), ServeError> {
        let Self {
            engine,
            incoming,
            stop,
        } = self;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(ironic_agent_protocol::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()?;
        let (health, health_service) = tonic_health::server::health_reporter();
        health
            .set_serving::<CommandServiceServer<AgentCommandService>>()
            .await;
        let access = access::Access::new(engine.context().config.clone());
        let commands = CommandServiceServer::new(AgentCommandService::new(engine, stop.clone()))
            .max_decoding_message_size(MAX_REQUEST_BYTES);
        let router = http2(&incoming)
            .layer(access)
            .layer(Bounds::new(&OPEN_CALLS))
            .add_service(health_service)
            .add_service(reflection)
            .add_service(commands);

        let stopped = {
            let stop = stop.clone();
            async move {
                stop.cancelled().await;
                health
                    .set_not_serving::<CommandServiceServer<AgentCommandService>>()
                    .await;
            }
        };
        let serving = async {
            match incoming {
                Incoming::Listener { bound, listen, tls } => {
                    let served = bound.serve(router, tls, stopped).await;
                    if let Listen::Unix(path) = &listen {
                        remove_socket(path);
                    }
                    served
                }
                Incoming::Attachments { sockets, sender } => {
                    // The conductor's client has one, too, and may end first.
                    let _open = sender;
                    let sockets = ReceiverStream::new(sockets).map(io::Result::Ok);
                    router.serve_with_incoming_shutdown(sockets, stopped).await
                }
            }
        };
        let timeout = async {
            stop.cancelled().await;
            tokio::time::sleep(STOP_TIMEOUT).await;
        };
        tokio::select! {
            result = serving => result.map_err(ServeError::from),
            () = timeout => Ok(()),
        }
    }
}

/// HTTP/2 for connections that come in like this.
fn http2(incoming: &Incoming) -> tonic::transport::Server {
    let server = tonic::transport::Server::builder()
        .initial_stream_window_size(ironic_tunnel::STREAM_WINDOW)
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADERS);
    match incoming {
        // The conductor that the agent called pings, on the connection that carries the attachment.
        Incoming::Attachments { .. } => {
            server.initial_connection_window_size(ironic_tunnel::CONNECTION_WINDOW)
        }
        Incoming::Listener { .. } => server
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keepalive_interval(Some(PING_PERIOD))
            .http2_keepalive_timeout(Some(PING_TIMEOUT)),
    }
}

fn remove_socket(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove the socket");
    }
}

#[cfg(test)]
mod tests;
