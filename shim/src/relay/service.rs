//! `ConductorService`, answered with what Ironic says.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use ironic_agent::config::Secret;
use ironic_agent::rpc::convert;
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::conductor_service_server::ConductorService;
use ironic_agent_protocol::v1::heartbeat_request::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{info, warn};

use super::convert::{heartbeat_response, inspection_response, lookup_response};
use crate::doorway::{Advertised, Doorway, DoorwayError, Guest};
use crate::ironic::{Beat, BeatAnswer, Ironic, LookupAnswer};
use crate::rest::Ending;

/// The service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Relay {
    ironic: Arc<Ironic>,
    doorway: Doorway,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Relay {
    /// Answers for `ironic`; the first session opens `doorway`.
    #[must_use]
    pub fn new(ironic: Arc<Ironic>, doorway: Doorway) -> Self {
        Self { ironic, doorway }
    }

    /// One heartbeat session, from its `Hello` to its end.
    async fn session(
        self,
        mut messages: Streaming<v1::HeartbeatRequest>,
        answers: mpsc::Sender<Result<v1::HeartbeatResponse, Status>>,
    ) -> Result<(), Status> {
        let hello = match messages
            .message()
            .await?
            .and_then(|request| request.message)
        {
            Some(Message::Hello(hello)) => hello,
            _ => return Err(Status::failed_precondition("a session begins with a Hello")),
        };
        if hello.node_uuid.is_empty() {
            return Err(Status::invalid_argument(
                "Hello.node_uuid is empty: look up the node first",
            ));
        }
        let advertised = self.doorway.open(&guest(&hello)).await.map_err(closed)?;
        info!(node = %hello.node_uuid, url = %advertised.callback_url, "heartbeat session");

        // Goal: each beat becomes one POST, one at a time. Exit: the agent ends the session,
        // or nobody hears the verdict.
        while let Some(request) = messages.message().await? {
            match request.message {
                Some(Message::Beat(beat)) => {
                    let answer = self.beat(&hello, &advertised).await;
                    let verdict = heartbeat_response(beat.sequence, answer);
                    if answers.send(Ok(verdict)).await.is_err() {
                        break;
                    }
                }
                Some(Message::Farewell(farewell)) => {
                    if let Some(ending) = ending(farewell.reason()) {
                        self.doorway.close(ending);
                    }
                    break;
                }
                Some(Message::Hello(_)) => {
                    return Err(Status::failed_precondition("a session has one Hello"));
                }
                None => {
                    return Err(Status::invalid_argument(
                        "HeartbeatRequest.message is empty",
                    ));
                }
            }
        }
        Ok(())
    }

    async fn beat(&self, hello: &v1::Hello, advertised: &Advertised) -> BeatAnswer {
        let answer = self
            .ironic
            .heartbeat(Beat {
                node_uuid: &hello.node_uuid,
                callback_url: &advertised.callback_url,
                agent_token: Some(hello.agent_token.as_str()).filter(|token| !token.is_empty()),
                agent_version: &hello.agent_version,
                agent_verify_ca: advertised.verify_ca.as_deref(),
            })
            .await;
        match &answer {
            BeatAnswer::Accepted => info!(node = %hello.node_uuid, "Ironic accepted a heartbeat"),
            BeatAnswer::Conflict(reason)
            | BeatAnswer::Refused { reason, .. }
            | BeatAnswer::Unreachable(reason) => {
                warn!(node = %hello.node_uuid, %reason, "Ironic did not accept a heartbeat");
            }
        }
        answer
    }
}

fn guest(hello: &v1::Hello) -> Guest {
    let config = hello.config.clone().unwrap_or_default();
    Guest {
        token: Some(hello.agent_token.as_str())
            .filter(|token| !token.is_empty())
            .map(Secret::new),
        version: hello.agent_version.clone(),
        tls_min_version: config.tls_min_version,
        tls_cipher_suites: config.tls_cipher_suites,
    }
}

fn ending(reason: v1::FarewellReason) -> Option<Ending> {
    match reason {
        v1::FarewellReason::Rescued => Some(Ending::Rescued),
        v1::FarewellReason::LockedDown => Some(Ending::LockedDown),
        v1::FarewellReason::Unspecified => None,
    }
}

fn closed(error: DoorwayError) -> Status {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    warn!(error = %text, "the REST door stays closed");
    match error {
        DoorwayError::Advertise(_) => Status::unavailable(text),
        _ => Status::failed_precondition(text),
    }
}

#[tonic::async_trait]
impl ConductorService for Relay {
    async fn lookup(
        &self,
        request: Request<v1::LookupRequest>,
    ) -> Result<Response<v1::LookupResponse>, Status> {
        let request = request.into_inner();
        let uuid = Some(request.node_uuid.as_str()).filter(|uuid| !uuid.is_empty());
        let answer = self.ironic.lookup(&request.addresses, uuid).await;
        match &answer {
            LookupAnswer::Found(found) => info!(node = %found.node_uuid, "Ironic knows the node"),
            LookupAnswer::Retry { reason, .. } => info!(%reason, "the lookup has no answer yet"),
        }
        Ok(Response::new(lookup_response(answer)))
    }

    type HeartbeatStream = Answers<v1::HeartbeatResponse>;

    async fn heartbeat(
        &self,
        request: Request<Streaming<v1::HeartbeatRequest>>,
    ) -> Result<Response<Self::HeartbeatStream>, Status> {
        let (answers, verdicts) = mpsc::channel(4);
        let relay = self.clone();
        tokio::spawn(async move {
            if let Err(status) = relay.session(request.into_inner(), answers.clone()).await {
                // An agent that hung up does not hear why.
                let _ = answers.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(verdicts))))
    }

    async fn submit_inspection(
        &self,
        request: Request<v1::SubmitInspectionRequest>,
    ) -> Result<Response<v1::SubmitInspectionResponse>, Status> {
        let report = request
            .into_inner()
            .report
            .ok_or_else(|| Status::invalid_argument("SubmitInspectionRequest.report is missing"))?;
        let report = convert::object(report, "report")
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let answer = self.ironic.submit_inspection(&report.into()).await;
        info!(?answer, "inspection report");
        Ok(Response::new(inspection_response(answer)))
    }

    type AttachStream = Answers<v1::AttachResponse>;

    async fn attach(
        &self,
        _request: Request<Streaming<v1::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        Err(Status::unimplemented(
            "this shim reaches its agent at the address of option agent; Attach is not built yet",
        ))
    }
}
