//! `ConductorService`, answered with what Ironic says.

use std::collections::HashMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures_util::Stream;
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::conductor_service_server::ConductorService;
use ironic_agent_protocol::v1::heartbeat_request::Message;
use ironic_text::{Secret, error_chain};
use ironic_transport::grpc::bounds::Caller;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{info, warn};

use super::accepted::{Accepted, Standing, digest};
use super::convert::{heartbeat_response, inspection_response, lookup_response, status_message};
use crate::ironic::{Beat, BeatAnswer, Found, Ironic, LookupAnswer};
use crate::rest::ShutdownReason;
use crate::rest_server::{Advertised, AgentSession, RestServer, RestServerError};

/// The service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Relay {
    ironic: Arc<Ironic>,
    server: RestServer,
    turns: Turns,
    accepted: Arc<Accepted>,
    handed: Arc<Mutex<HashMap<String, String>>>,
}

/// What Ironic answers instead of a token that it has handed out before.
const HANDED_OUT: &str = "******";
/// Nodes whose tokens are remembered as handed out. A shim beside its agent has one.
const MOST_NODES: usize = 1024;

/// One heartbeat of a node at a time: sessions of the same node, of which all but one are
/// forgotten connections, wait for each other.
#[derive(Debug, Clone, Default)]
struct Turns(Arc<Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>>);

impl Turns {
    fn of(&self, node: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = nodes.get(node).and_then(Weak::upgrade) {
            return turns;
        }
        nodes.retain(|_, turns| turns.strong_count() > 0);
        let turns = Arc::default();
        nodes.insert(node.to_owned(), Arc::downgrade(&turns));
        turns
    }
}

/// The beat that Ironic has not answered yet.
type Flight<'a> = Option<Pin<Box<dyn Future<Output = v1::HeartbeatResponse> + Send + 'a>>>;

/// The verdict of a beat in flight; without one, never.
async fn landing(flight: &mut Flight<'_>) -> v1::HeartbeatResponse {
    match flight {
        Some(flight) => flight.await,
        None => std::future::pending().await,
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Relay {
    /// Answers for `ironic`; the first session opens `server`.
    #[must_use]
    pub fn new(ironic: Arc<Ironic>, server: RestServer, state: &Path) -> Self {
        Self {
            ironic,
            server,
            turns: Turns::default(),
            accepted: Arc::new(Accepted::new(state)),
            handed: Arc::default(),
        }
    }

    /// Hands a token out once, as Ironic does: who asks later is not who was given it.
    fn mask(&self, found: &mut Found) {
        let Some(token) = &mut found.config.agent_token else {
            return;
        };
        let mut handed = self.handed.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = digest(token);
        if handed.get(&found.node_uuid) == Some(&digest) {
            warn!(node = %found.node_uuid, "the token was handed out before: it is not told again");
            HANDED_OUT.clone_into(token);
            return;
        }
        if handed.len() >= MOST_NODES {
            handed.clear();
        }
        if token != HANDED_OUT {
            handed.insert(found.node_uuid.clone(), digest);
        }
    }

    /// Whether Ironic answered the last time.
    pub(super) fn reachable(&self) -> watch::Receiver<Option<bool>> {
        self.ironic.reachable()
    }

    /// One heartbeat session, from its `Hello` to its end.
    async fn session(
        self,
        mut messages: Streaming<v1::HeartbeatRequest>,
        caller: Option<Caller>,
        answers: &mpsc::Sender<Result<v1::HeartbeatResponse, Status>>,
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
            let text = "Hello.node_uuid is empty: look up the node first";
            return Err(Status::invalid_argument(text));
        }
        let standing = || self.accepted.standing(&hello.node_uuid, &hello.agent_token);
        if standing() == Standing::OtherNode {
            return Err(Status::permission_denied(
                "this shim is another node's, whose token Ironic has accepted: restart the shim, \
                 without its state directory, if the node has changed",
            ));
        }
        let session = agent_session(&hello);
        let advertised = self.server.start(&session).await.map_err(closed)?;
        let believe = || {
            self.server.trust(&session);
            // Its connection makes way for nobody from now on.
            if let Some(caller) = &caller {
                caller.authenticated();
            }
        };
        if standing() == Standing::Unproved && self.server.is_agents(&session).await {
            self.accepted.accept(&hello.node_uuid, &hello.agent_token);
        }
        if standing() == Standing::Proved {
            believe();
        }
        info!(node = %hello.node_uuid, url = %advertised.callback_url, "heartbeat session");
        let turns = self.turns.of(&hello.node_uuid);

        let mut flight: Flight<'_> = None;
        let mut heard_all = false;
        // Goal: each beat becomes one POST, one at a time, while the agent is listened to: one
        // that hangs up or takes its leave must not wait for Ironic. Exit: a Farewell, the
        // end of the agent's side once its last beat is answered, a message out of order, or
        // nobody there to hear a verdict.
        while !(heard_all && flight.is_none()) {
            let request = tokio::select! {
                biased;
                () = answers.closed() => return Ok(()),
                verdict = landing(&mut flight) => {
                    flight = None;
                    // A receiver that is gone ends the loop above.
                    let _ = answers.send(Ok(verdict)).await;
                    continue;
                }
                request = messages.message(), if !heard_all => request?,
            };
            match request.map(|request| request.message) {
                None => heard_all = true,
                Some(Some(Message::Beat(_))) if flight.is_some() => {
                    let text = "a beat was sent before the last one was answered";
                    return Err(Status::failed_precondition(text));
                }
                Some(Some(Message::Beat(beat))) => {
                    let (relay, hello, advertised) = (&self, &hello, &advertised);
                    let (believe, turns) = (&believe, Arc::clone(&turns));
                    flight = Some(Box::pin(async move {
                        let _turn = turns.lock().await;
                        let answer = relay.beat(hello, advertised, &beat).await;
                        if answer == BeatAnswer::Accepted {
                            relay.accepted.accept(&hello.node_uuid, &hello.agent_token);
                            believe();
                        }
                        heartbeat_response(beat.sequence, answer)
                    }));
                }
                Some(Some(Message::Farewell(_))) if standing() != Standing::Proved => {
                    warn!(node = %hello.node_uuid, "a farewell from a stranger is ignored");
                    return Err(Status::permission_denied(
                        "Ironic has accepted no heartbeat with this token: the farewell is ignored",
                    ));
                }
                Some(Some(Message::Farewell(farewell))) => {
                    if let Some(ending) = ending(farewell.reason()) {
                        self.server.close(ending);
                    }
                    return Ok(());
                }
                Some(Some(Message::Hello(_))) => {
                    return Err(Status::failed_precondition("a session has one Hello"));
                }
                Some(None) => {
                    return Err(Status::invalid_argument(
                        "HeartbeatRequest.message is empty",
                    ));
                }
            }
        }
        Ok(())
    }

    async fn beat(
        &self,
        hello: &v1::Hello,
        advertised: &Advertised,
        beat: &v1::Beat,
    ) -> BeatAnswer {
        let message = status_message(&beat.status_message);
        let answer = self
            .ironic
            .heartbeat(Beat {
                node_uuid: &hello.node_uuid,
                callback_url: &advertised.callback_url,
                agent_token: Some(hello.agent_token.as_str()).filter(|token| !token.is_empty()),
                agent_version: &hello.agent_version,
                agent_verify_ca: advertised.verify_ca.as_deref(),
                agent_status_message: message.as_deref(),
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

fn agent_session(hello: &v1::Hello) -> AgentSession {
    let config = hello.config.clone().unwrap_or_default();
    AgentSession {
        token: Some(hello.agent_token.as_str())
            .filter(|token| !token.is_empty())
            .map(Secret::new),
        version: hello.agent_version.clone(),
        tls_min_version: config.tls_min_version,
        tls_cipher_suites: config.tls_cipher_suites,
    }
}

fn ending(reason: v1::FarewellReason) -> Option<ShutdownReason> {
    match reason {
        v1::FarewellReason::Rescued => Some(ShutdownReason::Rescued),
        v1::FarewellReason::LockedDown => Some(ShutdownReason::LockedDown),
        v1::FarewellReason::Unspecified => None,
    }
}

fn closed(error: RestServerError) -> Status {
    let text = error_chain(&error);
    warn!(error = %text, "the REST door stays closed");
    match error {
        RestServerError::Advertise(_) | RestServerError::Version(_) => Status::unavailable(text),
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
        let mut answer = self.ironic.lookup(&request.addresses, uuid).await;
        if let LookupAnswer::Found(found) = &mut answer {
            self.mask(found);
        }
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
        let caller = Caller::in_extensions(request.extensions());
        let (answers, verdicts) = mpsc::channel(4);
        let relay = self.clone();
        tokio::spawn(async move {
            let session = relay.session(request.into_inner(), caller, &answers);
            if let Err(status) = session.await {
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
        let report = ironic_document::object(report, "report")
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
