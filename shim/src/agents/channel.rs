//! How an agent is reached: where it listens, or over a connection that it has opened.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use ironic_tunnel::GrpcChannel;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::Channel;
use tower::Service;

use super::attachment::{AttachmentSlot, Away, HoldTerms};
use super::handover::{Handover, OrderMemory};

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
    /// The connection as it is now, waited for on these terms if the agent has to open it.
    pub(super) async fn connect(&self, terms: HoldTerms) -> Result<AgentConnection, Away> {
        match self {
            Self::Listening(channel) => Ok(AgentConnection {
                channel: AgentChannel::Listening(channel.clone()),
                boot_id: None,
            }),
            Self::Attached(slot) => {
                let open = slot.channel(terms).await?;
                Ok(AgentConnection {
                    channel: AgentChannel::Attached(open.channel, open.stalled),
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
    /// Beside it what ends the attachment of an agent that takes nothing.
    Attached(GrpcChannel, CancellationToken),
}

impl Service<Request<Body>> for AgentChannel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        match self {
            Self::Listening(channel) => channel.poll_ready(context).map_err(from_transport),
            Self::Attached(channel, _) => channel.poll_ready(context),
        }
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let memory = request.extensions_mut().remove::<OrderMemory>();
        let (head, body) = request.into_parts();
        let (body, handover) = Handover::of(body, memory);
        let request = Request::from_parts(head, body);
        match self {
            Self::Listening(channel) => {
                let answer = channel.call(request);
                Box::pin(async { answer.await.map_err(from_transport) })
            }
            Self::Attached(channel, stalled) => {
                let (answer, stalled) = (channel.call(request), stalled.clone());
                Box::pin(async move {
                    tokio::select! {
                        biased;
                        answer = answer => answer,
                        () = handover.stalled() => {
                            stalled.cancel();
                            Err(Status::unavailable("the agent does not take the request"))
                        }
                    }
                })
            }
        }
    }
}

fn from_transport(error: tonic::transport::Error) -> Status {
    Status::from_error(Box::new(error))
}
