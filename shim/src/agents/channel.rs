//! How an agent is reached: where it listens, or over a connection that it has opened.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use ironic_tunnel::GrpcChannel;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::Channel;
use tower::Service;

use super::attachment::{AttachmentSlot, Away};

/// Where the calls to an agent go.
#[derive(Debug, Clone)]
pub(super) enum AgentRoute {
    /// It listens. The channel connects when it is used.
    Listening(Channel),
    /// It has opened, or will open, a connection.
    Attached(AttachmentSlot),
}

/// A connection for one call.
#[derive(Debug, Clone)]
pub(super) struct AgentConnection {
    pub(super) channel: AgentChannel,
    /// Which boot of the machine is at the other end, where that is known.
    pub(super) boot_id: Option<String>,
}

impl AgentRoute {
    /// The connection as it is now, waited for if the agent has to open it.
    pub(super) async fn connect(&self) -> Result<AgentConnection, Away> {
        match self {
            Self::Listening(channel) => Ok(AgentConnection {
                channel: AgentChannel::Listening(channel.clone()),
                boot_id: None,
            }),
            Self::Attached(slot) => {
                let open = slot.channel().await?;
                Ok(AgentConnection {
                    channel: AgentChannel::Attached(open.channel),
                    boot_id: Some(open.boot_id),
                })
            }
        }
    }
}

/// A connection to an agent, for a generated client.
#[derive(Debug, Clone)]
pub(super) enum AgentChannel {
    Listening(Channel),
    Attached(GrpcChannel),
}

impl Service<Request<Body>> for AgentChannel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        match self {
            Self::Listening(channel) => channel.poll_ready(context).map_err(from_transport),
            Self::Attached(channel) => channel.poll_ready(context),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self {
            Self::Listening(channel) => {
                let answer = channel.call(request);
                Box::pin(async { answer.await.map_err(from_transport) })
            }
            Self::Attached(channel) => channel.call(request),
        }
    }
}

fn from_transport(error: tonic::transport::Error) -> Status {
    Status::from_error(Box::new(error))
}
