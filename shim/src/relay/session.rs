//! One heartbeat session: a `Hello`, beats one at a time, and a `Farewell`.

use std::pin::Pin;
use std::time::Instant;

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::heartbeat_request::Message;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};
use tracing::{info, warn};

use super::agent_peer::AgentPeer;
use super::context::Relay;
use super::convert::{beat_outcome, beat_result, deferred_beat, heartbeat_response};
use super::node_uuid;
use crate::gateway::Gateway;
use crate::ironic::BeatAnswer;
use crate::metrics::Metrics;
use crate::pacing::{CallKind, Pacing};
use crate::rest::CloseReason;
use crate::rest_server::Advertised;

/// The answers of a session. They are boxed because a channel has room for 32 of them from its
/// beginning, for each of thousands of agents.
pub(super) type ResponseSender = mpsc::Sender<Box<Result<v1::HeartbeatResponse, Status>>>;
/// The beat that Ironic has not answered yet.
type InFlight<'a> = Option<Pin<Box<dyn Future<Output = v1::HeartbeatResponse> + Send + 'a>>>;

/// Serves one session from its `Hello` to its end.
pub(super) async fn run(
    relay: &Relay,
    mut messages: Streaming<v1::HeartbeatRequest>,
    peer: AgentPeer,
    answers: &ResponseSender,
) -> Result<(), Status> {
    // What happens once is boxed: its place would be kept for as long as the session lasts.
    let hello = Box::pin(hello(&mut messages)).await?;
    peer.speaks_for(&hello.node_uuid)?;
    let session = Box::pin(Session::open(relay, hello, peer)).await?;
    let _counted = relay.placement.metrics().map(Metrics::heartbeat_session);
    let _drained = relay.placement.gateway().map(Gateway::session);
    let mut in_flight: InFlight<'_> = None;
    let mut heard_all = false;
    // Goal: each beat becomes one POST, one at a time, while the agent is listened to: one
    // that hangs up or takes its leave must not wait for Ironic. Exit: a Farewell, the
    // end of the agent's side once its last beat is answered, a message out of order, or
    // nobody there to hear a verdict.
    while !(heard_all && in_flight.is_none()) {
        let request = tokio::select! {
            biased;
            () = answers.closed() => return Ok(()),
            verdict = completed(&mut in_flight) => {
                in_flight = None;
                // A receiver that is gone ends the loop above.
                let _ = answers.send(Box::new(Ok(verdict))).await;
                continue;
            }
            request = messages.message(), if !heard_all => request?,
        };
        let Some(request) = request else {
            heard_all = true;
            continue;
        };
        match request.message {
            Some(Message::Beat(_)) if in_flight.is_some() => {
                let text = "a beat was sent before the last one was answered";
                return Err(Status::failed_precondition(text));
            }
            Some(Message::Beat(beat)) => {
                in_flight = Some(Box::pin(session.answer(beat)));
            }
            Some(Message::KeepAlive(_)) => {}
            Some(Message::Farewell(farewell)) => return session.farewell(&farewell),
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

/// The first message, which must be a `Hello` of a node.
async fn hello(messages: &mut Streaming<v1::HeartbeatRequest>) -> Result<v1::Hello, Status> {
    let first = messages.message().await?;
    let Some(Message::Hello(hello)) = first.and_then(|request| request.message) else {
        return Err(Status::failed_precondition("a session begins with a Hello"));
    };
    let node_uuid = node_uuid(&hello.node_uuid, "Hello.node_uuid")?;
    Ok(v1::Hello { node_uuid, ..hello })
}

/// The verdict of the beat in flight; without one, never.
async fn completed(in_flight: &mut InFlight<'_>) -> v1::HeartbeatResponse {
    match in_flight {
        Some(beat) => beat.await,
        None => std::future::pending().await,
    }
}

/// An open session.
struct Session<'a> {
    relay: &'a Relay,
    hello: v1::Hello,
    advertised: Advertised,
    peer: AgentPeer,
}

impl<'a> Session<'a> {
    /// Readies the REST API for the agent, and believes it as far as it is proved.
    async fn open(relay: &'a Relay, hello: v1::Hello, peer: AgentPeer) -> Result<Self, Status> {
        let advertised = relay.placement.open(&hello).await?;
        let session = Self {
            relay,
            hello,
            advertised,
            peer,
        };
        if session.is_proved() {
            session.believe();
        }
        let hello = &session.hello;
        info!(node = %hello.node_uuid, url = %session.advertised.callback_url, "heartbeat session");
        Ok(session)
    }

    fn is_proved(&self) -> bool {
        self.relay.placement.is_proved(&self.hello)
    }

    fn believe(&self) {
        self.relay.placement.believe(&self.hello);
        // Its connection makes way for nobody from now on.
        if let Some(caller) = &self.peer.caller {
            caller.authenticated();
        }
    }

    /// One beat, in its turn. Beside an agent the turns are those of its own connections.
    async fn answer(&self, beat: v1::Beat) -> v1::HeartbeatResponse {
        let arrived = Instant::now();
        let response = if let Some(pacing) = &self.relay.pacing {
            self.paced_beat(pacing, &beat).await
        } else {
            let lock = self.relay.locks.of(&self.hello.node_uuid);
            let _turn = lock.lock().await;
            heartbeat_response(beat.sequence, self.beat(&beat).await)
        };
        if let Some(metrics) = self.relay.placement.metrics() {
            metrics.beat(beat_result(&response), arrived);
        }
        response
    }

    /// One beat among those of many agents.
    async fn paced_beat(&self, pacing: &Pacing, beat: &v1::Beat) -> v1::HeartbeatResponse {
        let kind = CallKind::Beat {
            node_uuid: &self.hello.node_uuid,
            is_forced: beat.forced,
            is_proved: self.is_proved(),
        };
        let permit = match pacing.acquire(kind).await {
            Ok(permit) => permit,
            Err(retry_after) => return deferred_beat(beat.sequence, retry_after, None),
        };
        let answer = self.beat(beat).await;
        match permit.finish(beat_outcome(&answer)) {
            Some(retry_after) => deferred_beat(beat.sequence, retry_after, Some(answer)),
            None => heartbeat_response(beat.sequence, answer),
        }
    }

    async fn beat(&self, beat: &v1::Beat) -> BeatAnswer {
        let answer = self.relay.beat(&self.hello, &self.advertised, beat).await;
        if answer == BeatAnswer::Accepted {
            let proofs = self.relay.placement.proofs();
            proofs.prove(&self.hello.node_uuid, &self.hello.agent_token);
            self.believe();
        }
        answer
    }

    fn farewell(&self, farewell: &v1::Farewell) -> Result<(), Status> {
        if !self.is_proved() {
            warn!(node = %self.hello.node_uuid, "the farewell of an unproved session is ignored");
            return Err(Status::permission_denied(
                "Ironic has accepted no heartbeat with this token: the farewell is ignored",
            ));
        }
        if let Some(reason) = close_reason(farewell.reason()) {
            self.relay.placement.close(&self.hello, reason);
        }
        Ok(())
    }
}

fn close_reason(reason: v1::FarewellReason) -> Option<CloseReason> {
    match reason {
        v1::FarewellReason::Rescued => Some(CloseReason::Rescued),
        v1::FarewellReason::LockedDown => Some(CloseReason::LockedDown),
        v1::FarewellReason::Unspecified => None,
    }
}
