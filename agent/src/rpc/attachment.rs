//! `Attach` as the agent's server takes it: the call to the conductor becomes a socket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream, StreamExt};
use ironic_agent_protocol::v1;
use ironic_tunnel::{Outgoing, Tunnel, keep_alive};
use tokio::sync::{mpsc, oneshot};
use tonic::{Status, Streaming};

use super::conductor_client::ConductorCallError;
use crate::conductor::SessionLost;

/// What the agent says in an attachment after its hello.
#[derive(Debug)]
pub(super) struct RequestHalf {
    /// Takes the bytes of its server, once it is accepted.
    pub(super) bytes: oneshot::Sender<Outgoing>,
    /// Says that it is attached elsewhere.
    pub(super) moved: oneshot::Sender<()>,
}

/// An attachment that was accepted, as the wire has it.
pub(super) struct AcceptedAttachment {
    /// Completes when it ends.
    pub(super) ended: BoxFuture<'static, SessionLost>,
    /// Completes when the conductor asks the agent to attach elsewhere.
    pub(super) draining: BoxFuture<'static, ()>,
}

/// The socket of one attachment.
pub type AttachedSocket = Tunnel<AgentBytes>;

/// What the agent says in an attachment: who it is, and once that is accepted the bytes of its
/// server.
pub(super) fn requests(
    hello: v1::AttachHello,
) -> (
    impl Stream<Item = v1::AttachRequest> + Send + use<>,
    RequestHalf,
) {
    let (bytes, outgoing) = oneshot::channel::<Outgoing>();
    let (moved, has_moved) = oneshot::channel::<()>();
    let half = RequestHalf { bytes, moved };
    let hello = v1::AttachRequest {
        hello: Some(hello),
        ..v1::AttachRequest::default()
    };
    let bytes = outgoing
        .map(Result::ok)
        .into_stream()
        .filter_map(std::future::ready)
        .flatten()
        .map(|data| v1::AttachRequest {
            data,
            ..v1::AttachRequest::default()
        });
    let moved = has_moved
        .into_stream()
        .filter_map(|moved| std::future::ready(moved.ok()))
        .map(|()| v1::AttachRequest {
            moved: Some(v1::AttachMoved {}),
            ..v1::AttachRequest::default()
        });
    let rest = futures_util::stream::select(bytes, moved);
    let requests = futures_util::stream::iter([hello]).chain(rest);
    // A message without bytes says nothing to the tunnel at the other end.
    let requests = keep_alive(requests.boxed(), v1::AttachRequest::default);
    (requests, half)
}

/// Waits until the conductor accepts the attachment, and hands its socket to the server.
pub(super) async fn serve(
    mut responses: Streaming<v1::AttachResponse>,
    accepted: oneshot::Sender<Outgoing>,
    server: &mpsc::Sender<AttachedSocket>,
) -> Result<AcceptedAttachment, ConductorCallError> {
    while accepted_in(&mut responses).await?.is_none() {}
    let (ending, ended) = oneshot::channel();
    let (asking, asked) = oneshot::channel();
    let bytes = AgentBytes {
        responses,
        ending: Some(ending),
        draining: Some(asking),
    };
    let (socket, outgoing) = Tunnel::new(bytes);
    // A call that has ended in the meantime, or a server that stops, is the end of the socket.
    let _ = accepted.send(outgoing);
    server
        .send(socket)
        .await
        .map_err(|_| ConductorCallError::Stopped)?;
    let draining = async move {
        if asked.await.is_err() {
            // It ends without that.
            std::future::pending::<()>().await;
        }
    };
    Ok(AcceptedAttachment {
        ended: ended
            .map(|ended| ended.unwrap_or(ConductorCallError::Stopped).into())
            .boxed(),
        draining: draining.boxed(),
    })
}

/// Whether the next message accepts the attachment. One that keeps the call alive does not.
async fn accepted_in(
    responses: &mut Streaming<v1::AttachResponse>,
) -> Result<Option<v1::AttachAccepted>, ConductorCallError> {
    let next = responses.message().await?;
    let next = next.ok_or(ConductorCallError::Ended)?;
    if next.accepted.is_none() && !next.data.is_empty() {
        let text = "AttachResponse.data came before AttachResponse.accepted";
        return Err(Status::internal(text).into());
    }
    Ok(next.accepted)
}

/// The bytes for the agent's server.
#[derive(Debug)]
pub struct AgentBytes {
    responses: Streaming<v1::AttachResponse>,
    /// Hears why they ended. Dropped unused when the server closed the connection.
    ending: Option<oneshot::Sender<ConductorCallError>>,
    /// Hears that the conductor is draining.
    draining: Option<oneshot::Sender<()>>,
}

impl Stream for AgentBytes {
    type Item = io::Result<Bytes>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        let (error, item) = match ready!(self.responses.poll_next_unpin(context)) {
            Some(Ok(response)) => {
                if response.draining.is_some()
                    && let Some(draining) = self.draining.take()
                {
                    // Nobody waits any more when the agent stops.
                    let _ = draining.send(());
                }
                return Poll::Ready(Some(Ok(response.data)));
            }
            Some(Err(status)) => {
                let error = io::Error::new(io::ErrorKind::ConnectionReset, status.message());
                (ConductorCallError::from(status), Some(Err(error)))
            }
            None => (ConductorCallError::Ended, None),
        };
        if let Some(ending) = self.ending.take() {
            // Nobody waits any more when the agent stops.
            let _ = ending.send(error);
        }
        Poll::Ready(item)
    }
}
