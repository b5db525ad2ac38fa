//! The client of `ConductorService`: what `conductor` decides to say, over gRPC.
//!
//! One HTTP/2 connection carries everything; a call that fails condemns it. Every call has a
//! limit that includes connecting, because the transport's own covers TCP only: a server
//! that accepts and stays mute would hold the agent forever.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper_util::rt::TokioIo;
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::conductor_service_client::ConductorServiceClient;
use ironic_document::JsonObject;
use ironic_transport::Endpoint;
use ironic_transport::grpc::{UnreadableTlsFile, read_tls_file};
use prost::Message;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Status, Streaming};

use crate::conductor::{
    Conductor, Heartbeat, HeartbeatSession, InspectionOutcome, LookupOutcome, LookupRequest,
    SessionLost, SessionOpen, Verdict, call_deadline,
};
use crate::config::Config;
use crate::shutdown::ShutdownReason;

mod error;
mod messages;

use error::ConductorCallError;

/// The largest message: an inspection report carries the machine's logs.
const LARGEST_MESSAGE: usize = 64 * 1024 * 1024;

/// The timeout for TCP, TLS and HTTP/2 together. Long, because a shim that ten thousand agents
/// dial at once is slow, and every handshake that is given up costs it another one.
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the other end may take to close a session after our farewell.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// Not more often than every 20 s: proxies answer faster pings with GOAWAY.
const PING_PERIOD: Duration = Duration::from_secs(25);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// A stream that is not read must not stop the others on the connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Why there is no client. All of it is configuration.
#[derive(Debug, Error)]
pub enum ClientError {
    /// A file with a certificate or key cannot be read.
    #[error(transparent)]
    File(#[from] UnreadableTlsFile),
    /// TLS without anything to check the other end against.
    #[error("conductor is https: option grpc_tls_ca_file must name what its certificate chains to")]
    NoAuthority,
    /// The address or the certificates are unusable.
    #[error("conductor {conductor} cannot be used: check it and the grpc_tls_* options")]
    Unusable {
        /// The address.
        conductor: Endpoint,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
}

/// A client of the configured conductor. Connects when it is used.
pub struct ConductorClient {
    conductor: Endpoint,
    endpoint: tonic::transport::Endpoint,
    /// Limit for a unary call, and for opening a session.
    deadline: Duration,
    connection: Mutex<Option<ConductorStub>>,
}

type ConductorStub = ConductorServiceClient<Channel>;

impl fmt::Debug for ConductorClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConductorClient")
            .field("conductor", &self.conductor)
            .finish_non_exhaustive()
    }
}

impl ConductorClient {
    /// Prepares a client; reads certificates.
    ///
    /// # Errors
    /// The configuration is unusable.
    pub fn new(config: &Config) -> Result<Self, ClientError> {
        let conductor = config.conductor.clone();
        let unusable = |source| ClientError::Unusable {
            conductor: conductor.clone(),
            source,
        };
        let endpoint = match &conductor {
            Endpoint::Http(url) => endpoint(url).map_err(unusable)?,
            Endpoint::Https(url) => {
                let tls = tls(config)?;
                let endpoint = endpoint(url).map_err(unusable)?;
                endpoint.tls_config(tls).map_err(unusable)?
            }
            // HTTP needs some authority; the socket is what is dialled.
            Endpoint::Unix(_) => endpoint("http://localhost").map_err(unusable)?,
        };
        Ok(Self {
            endpoint,
            conductor,
            deadline: call_deadline(config),
            connection: Mutex::new(None),
        })
    }

    /// The connection, made now if it is not open.
    async fn client(&self) -> Result<ConductorStub, ConductorCallError> {
        let mut connection = self.connection.lock().await;
        if let Some(client) = &*connection {
            return Ok(client.clone());
        }
        let dialled = tokio::time::timeout(DIAL_TIMEOUT, self.dial()).await;
        let dialled = dialled.map_err(|_| ConductorCallError::DialTimeout {
            conductor: self.conductor.clone(),
            timeout: DIAL_TIMEOUT,
        })?;
        let channel = dialled.map_err(|source| ConductorCallError::Dial {
            conductor: self.conductor.clone(),
            source,
        })?;
        let client = ConductorServiceClient::new(channel)
            .max_decoding_message_size(LARGEST_MESSAGE)
            .max_encoding_message_size(LARGEST_MESSAGE);
        *connection = Some(client.clone());
        Ok(client)
    }

    async fn dial(&self) -> Result<Channel, tonic::transport::Error> {
        match &self.conductor {
            Endpoint::Unix(path) => {
                let path = path.clone();
                let connector = tower::service_fn(move |_| {
                    let path = path.clone();
                    async move { UnixStream::connect(path).await.map(TokioIo::new) }
                });
                self.endpoint.connect_with_connector(connector).await
            }
            Endpoint::Http(_) | Endpoint::Https(_) => self.endpoint.connect().await,
        }
    }

    /// Makes one call, with a limit for connecting and answering. A call that got no answer
    /// condemns the connection.
    async fn call<T>(
        &self,
        call: impl AsyncFnOnce(ConductorStub) -> Result<tonic::Response<T>, Status>,
    ) -> Result<T, ConductorCallError> {
        let whole = async {
            let client = self.client().await?;
            Ok(call(client).await?)
        };
        let result = tokio::time::timeout(self.deadline, whole).await;
        let result = result.unwrap_or_else(|_| {
            Err(ConductorCallError::NoAnswer {
                conductor: self.conductor.clone(),
                timeout: self.deadline,
            })
        });
        if result.is_err() {
            *self.connection.lock().await = None;
        }
        result.map(tonic::Response::into_inner)
    }
}

impl Conductor for ConductorClient {
    fn lookup(&self, request: LookupRequest) -> BoxFuture<'_, LookupOutcome> {
        Box::pin(async move {
            let request = messages::lookup_request(request);
            let response = self
                .call(async |mut client| client.lookup(request).await)
                .await;
            match response {
                Ok(response) => messages::answer(response),
                Err(error) => LookupOutcome::Retry {
                    conflict: false,
                    error: error.into(),
                },
            }
        })
    }

    fn submit_inspection(&self, report: JsonObject) -> BoxFuture<'_, InspectionOutcome> {
        Box::pin(async move {
            let request = match messages::inspection_request(&report) {
                Ok(request) => request,
                Err(error) => {
                    return InspectionOutcome::Refused(ConductorCallError::from(error).into());
                }
            };
            let (size, limit) = (request.encoded_len(), LARGEST_MESSAGE);
            if size > limit {
                return InspectionOutcome::Refused(
                    ConductorCallError::TooLarge { size, limit }.into(),
                );
            }
            let call = async |mut client: ConductorStub| client.submit_inspection(request).await;
            match self.call(call).await {
                Ok(response) => messages::submission(response),
                Err(error) => InspectionOutcome::Retry(error.into()),
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
            let hello = messages::hello(hello).map_err(ConductorCallError::from)?;
            let sender = SessionSender::new(requests, hello)?;
            let outgoing = ReceiverStream::new(outgoing);
            let call = async |mut client: ConductorStub| client.heartbeat(outgoing).await;
            let responses = self.call(call).await?;
            let session: Box<dyn HeartbeatSession> = Box::new(GrpcSession { sender, responses });
            Ok(session)
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
                match self.responses.message().await {
                    Ok(Some(_)) => tracing::debug!("a verdict that nobody asked for is ignored"),
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

fn endpoint(url: &str) -> Result<tonic::transport::Endpoint, tonic::transport::Error> {
    let endpoint = tonic::transport::Endpoint::from_shared(url.to_owned())?;
    Ok(endpoint
        .connect_timeout(DIAL_TIMEOUT)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(PING_PERIOD))
        .http2_keep_alive_interval(PING_PERIOD)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW))
}

/// TLS towards the conductor, mutual when the agent has a certificate.
fn tls(config: &Config) -> Result<ClientTlsConfig, ClientError> {
    let ca = config
        .common
        .grpc_tls_ca_file
        .as_ref()
        .ok_or(ClientError::NoAuthority)?;
    let mut tls =
        ClientTlsConfig::new()
            .timeout(DIAL_TIMEOUT)
            .ca_certificate(Certificate::from_pem(read_tls_file(
                "grpc_tls_ca_file",
                ca,
            )?));
    if let (Some(cert), Some(key)) = (
        &config.common.grpc_tls_cert_file,
        &config.common.grpc_tls_key_file,
    ) {
        let cert = read_tls_file("grpc_tls_cert_file", cert)?;
        let key = read_tls_file("grpc_tls_key_file", key)?;
        tls = tls.identity(Identity::from_pem(cert, key));
    }
    Ok(tls)
}

#[cfg(test)]
mod tests;
