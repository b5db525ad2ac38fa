//! The client of `ConductorService`: what `conductor` decides to say, over gRPC.
//!
//! One HTTP/2 connection carries everything; a call that fails condemns it. Every call has a
//! limit that includes connecting, because the transport's own covers TCP only: a server
//! that accepts and stays mute would hold the agent forever.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use ironic_agent_protocol::v1;
use ironic_document::JsonObject;
use ironic_transport::Endpoints;
use ironic_transport::grpc::{ClientTls, InvalidEndpoint};
use ironic_transport::tls::ServerClock;
use ironic_tunnel::keep_alive;
use prost::Message;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::attachment::{self, AttachedSocket};
use crate::conductor::{
    AttachHello, Conductor, Heartbeat, HeartbeatSession, InspectionOutcome, LookupOutcome,
    LookupRequest, OpenAttachment, SessionLost, SessionOpen, Verdict, call_deadline,
};
use crate::config::AgentConfig;
use crate::shutdown::ShutdownReason;

mod callback_url;
mod connection;
mod error;
mod identity;
mod messages;

use callback_url::CallbackUrl;
use connection::{Connections, OpenConnection};
pub(super) use error::ConductorCallError;

/// The largest message: an inspection report carries the machine's logs.
const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// How long the other end may take to close a session after our farewell.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// Why there is no client. All of it is configuration.
#[derive(Debug, Error)]
#[error("option conductor = {conductor} cannot be used")]
pub struct ClientError {
    conductor: Endpoints,
    source: InvalidEndpoint,
}

/// A client of the configured conductor. Connects when it is used.
pub struct ConductorClient {
    conductor: Endpoints,
    /// Limit for a unary call, and for opening a session.
    deadline: Duration,
    connections: Arc<Connections>,
    /// Shared with the connections: what they show, and the conductor's time.
    tls: ClientTls,
    callback_url: CallbackUrl,
    /// The machine's, which goes with inspection reports.
    system_uuid: String,
    /// Where the sockets of attachments go. `None`: the agent listens, and never attaches.
    attachments: Option<mpsc::Sender<AttachedSocket>>,
}

impl fmt::Debug for ConductorClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConductorClient")
            .field("conductor", &self.conductor)
            .finish_non_exhaustive()
    }
}

impl ConductorClient {
    /// Prepares a client; reads certificates. The agent's server takes the sockets of
    /// `attachments`.
    ///
    /// # Errors
    /// The configuration is unusable.
    pub fn new(
        config: &AgentConfig,
        attachments: Option<mpsc::Sender<AttachedSocket>>,
    ) -> Result<Self, ClientError> {
        let conductor = config.conductor.clone();
        let tls = config.conductor_tls();
        let connections = Connections::new(&conductor, &tls);
        let connections = connections.map_err(|source| ClientError {
            conductor: conductor.clone(),
            source,
        })?;
        Ok(Self {
            conductor,
            deadline: call_deadline(config),
            connections: Arc::new(connections),
            tls,
            callback_url: CallbackUrl::of(config),
            system_uuid: String::new(),
            attachments,
        })
    }

    /// The same for the machine with this UUID of SMBIOS, which goes with inspection reports.
    #[must_use]
    pub fn of_machine(self, system_uuid: String) -> Self {
        Self {
            system_uuid,
            ..self
        }
    }

    /// The conductor's time, as far as it is known.
    #[must_use]
    pub fn clock(&self) -> ServerClock {
        self.tls.clock.clone()
    }

    /// Makes one call, with a limit for connecting and answering.
    async fn call<T>(
        &self,
        call: impl AsyncFnOnce(OpenConnection) -> Result<tonic::Response<T>, Status>,
    ) -> Result<T, ConductorCallError> {
        let (answer, _) = self.call_over(call).await?;
        Ok(answer)
    }

    /// The same; also answers over which connection.
    async fn call_over<T>(
        &self,
        call: impl AsyncFnOnce(OpenConnection) -> Result<tonic::Response<T>, Status>,
    ) -> Result<(T, OpenConnection), ConductorCallError> {
        let mut used = None;
        let whole = async {
            let connection = self.connections.get().await?;
            used = Some(connection.clone());
            let answer = call(connection.clone()).await?;
            Ok((answer.into_inner(), connection))
        };
        let result = tokio::time::timeout(self.deadline, whole).await;
        let result = result.unwrap_or_else(|_| {
            Err(ConductorCallError::NoAnswer {
                conductor: self.conductor.clone(),
                timeout: self.deadline,
            })
        });
        if let (Err(error), Some(used)) = (&result, &used)
            && error.condemns_connection()
        {
            self.connections.condemn(used).await;
        }
        result
    }
}

impl Conductor for ConductorClient {
    fn lookup(&self, request: LookupRequest) -> BoxFuture<'_, LookupOutcome> {
        Box::pin(async move {
            let request = messages::lookup_request(request);
            let response = self
                .call(async |mut open| open.client.lookup(request).await)
                .await;
            match response {
                Ok(response) => messages::answer(response),
                Err(error) => match error.deferral() {
                    Some(deferral) => LookupOutcome::Deferred(deferral),
                    None => LookupOutcome::Retry {
                        conflict: false,
                        error: error.into(),
                    },
                },
            }
        })
    }

    fn submit_inspection(&self, report: JsonObject) -> BoxFuture<'_, InspectionOutcome> {
        Box::pin(async move {
            let request = match messages::inspection_request(&report, &self.system_uuid) {
                Ok(request) => request,
                Err(error) => {
                    return InspectionOutcome::Refused(ConductorCallError::from(error).into());
                }
            };
            let (size, limit) = (request.encoded_len(), MAX_MESSAGE_BYTES);
            if size > limit {
                return InspectionOutcome::Refused(
                    ConductorCallError::TooLarge { size, limit }.into(),
                );
            }
            let call =
                async |mut open: OpenConnection| open.client.submit_inspection(request).await;
            match self.call(call).await {
                Ok(response) => messages::submission(response),
                Err(error) => match error.deferral() {
                    Some(deferral) => InspectionOutcome::Deferred(deferral),
                    None => InspectionOutcome::Retry(error.into()),
                },
            }
        })
    }

    fn open(
        &self,
        hello: SessionOpen,
    ) -> BoxFuture<'_, Result<Box<dyn HeartbeatSession>, SessionLost>> {
        Box::pin(async move {
            // One beat is in flight at most; the hello and a farewell need no more.
            let (requests, outgoing) = mpsc::channel(2);
            let source = match self.callback_url {
                CallbackUrl::OnRoute { .. } => self.connections.source_address().await,
                _ => None,
            };
            let hello = messages::hello(hello, self.callback_url.with_source(source))
                .map_err(ConductorCallError::from)?;
            let sender = SessionSender::new(requests, hello)?;
            let outgoing = keep_alive(ReceiverStream::new(outgoing), messages::keep_alive);
            let call = async |mut open: OpenConnection| open.client.heartbeat(outgoing).await;
            let (responses, connection) = self.call_over(call).await?;
            let session: Box<dyn HeartbeatSession> = Box::new(GrpcSession {
                sender,
                responses,
                retired: connection.retired(),
            });
            Ok(session)
        })
    }

    fn attach(&self, hello: AttachHello) -> BoxFuture<'_, Result<OpenAttachment, SessionLost>> {
        Box::pin(async move {
            let server = self.attachments.as_ref().ok_or(SessionLost::Closed)?;
            let (requests, half) = attachment::requests(messages::attach_hello(hello));
            let call = async |mut open: OpenConnection| open.client.attach(requests).await;
            let (responses, connection) = self.call_over(call).await?;
            // Until a heartbeat is accepted nothing is answered, however long that takes.
            let accepted = attachment::serve(responses, half.bytes, server).await?;
            let (connections, drained) = (Arc::clone(&self.connections), connection);
            let draining = async move {
                accepted.draining.await;
                // Whatever is asked next is asked elsewhere, and heartbeats go there: they prove
                // to the next gateway whose attachment it is.
                connections.condemn(&drained).await;
                drained.retire();
            };
            let moved = move || {
                // An attachment that has ended in the meantime hears nothing.
                let _ = half.moved.send(());
            };
            Ok(OpenAttachment {
                ended: accepted.ended,
                draining: Box::pin(draining),
                moved: Box::new(moved),
            })
        })
    }
}

/// The sending half of a heartbeat session.
#[derive(Debug)]
struct SessionSender {
    requests: mpsc::Sender<v1::HeartbeatRequest>,
    sequence: u64,
}

impl SessionSender {
    fn new(
        requests: mpsc::Sender<v1::HeartbeatRequest>,
        hello: v1::Hello,
    ) -> Result<Self, ConductorCallError> {
        let hello = messages::heartbeat(v1::heartbeat_request::Message::Hello(hello));
        requests
            .try_send(hello)
            .map_err(|_| ConductorCallError::Ended)?;
        Ok(Self {
            requests,
            sequence: 0,
        })
    }

    async fn beat(&mut self, beat: Heartbeat) -> Result<u64, ConductorCallError> {
        self.sequence += 1;
        let sequence = self.sequence;
        let beat = v1::Beat {
            sequence,
            forced: beat.forced,
            status_message: beat.status_message,
        };
        let beat = messages::heartbeat(v1::heartbeat_request::Message::Beat(beat));
        self.requests
            .send(beat)
            .await
            .map_err(|_| ConductorCallError::Ended)?;
        Ok(sequence)
    }
}

struct GrpcSession {
    sender: SessionSender,
    responses: Streaming<v1::HeartbeatResponse>,
    /// Cancelled when the conductor is draining.
    retired: CancellationToken,
}

impl fmt::Debug for GrpcSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcSession")
            .field("sender", &self.sender)
            .finish_non_exhaustive()
    }
}

impl HeartbeatSession for GrpcSession {
    fn beat(&mut self, beat: Heartbeat) -> BoxFuture<'_, Result<Verdict, SessionLost>> {
        Box::pin(async move {
            let sequence = self.sender.beat(beat).await?;
            loop {
                let response = self.responses.message().await;
                let response = response
                    .map_err(ConductorCallError::from)?
                    .ok_or(ConductorCallError::Ended)?;
                // A verdict on an earlier beat says nothing about this one.
                if response.sequence == sequence {
                    return Ok(messages::verdict(response));
                }
                tracing::debug!(
                    sequence,
                    answered = response.sequence,
                    "a verdict on another beat is ignored"
                );
            }
        })
    }

    fn lost(&mut self) -> BoxFuture<'_, SessionLost> {
        Box::pin(async move {
            loop {
                let message = tokio::select! {
                    message = self.responses.message() => message,
                    () = self.retired.cancelled() => return SessionLost::Draining,
                };
                match message {
                    // It keeps the call alive, or is a verdict that nobody asked for.
                    Ok(Some(_)) => {}
                    Ok(None) => return ConductorCallError::Ended.into(),
                    Err(status) => return ConductorCallError::from(status).into(),
                }
            }
        })
    }

    fn farewell(self: Box<Self>, reason: ShutdownReason) -> BoxFuture<'static, ()> {
        let Self {
            sender,
            mut responses,
            ..
        } = *self;
        Box::pin(async move {
            let farewell = messages::farewell(reason);
            if sender.requests.send(farewell).await.is_err() {
                return;
            }
            drop(sender);
            // Leaving at once would cut the connection before the farewell has left.
            let closing = async { while let Ok(Some(_)) = responses.message().await {} };
            let _ = tokio::time::timeout(FAREWELL_TIMEOUT, closing).await;
        })
    }
}

#[cfg(test)]
mod tests;
