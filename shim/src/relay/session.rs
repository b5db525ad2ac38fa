//! One heartbeat session: a `Hello`, beats one at a time, and a `Farewell`.

use std::pin::Pin;
use std::time::Instant;

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::heartbeat_request::Message;
use tokio::sync::mpsc;
use tokio::time::Sleep;
use tonic::{Status, Streaming};
use tracing::{info, warn};

use super::agent_peer::AgentPeer;
use super::context::Relay;
use super::convert::{beat_outcome, beat_result, deferred_beat, heartbeat_response};
use super::{MAX_TEXT_BYTES, MAX_TOKEN_BYTES, PROOF_TIMEOUT, check_length, node_uuid};
use crate::agents::TokenDigest;
use crate::gateway::Gateway;
use crate::ironic::BeatAnswer;
use crate::metrics::Metrics;
use crate::pacing::{CallKind, Pacing};
use crate::rest::CloseReason;
use crate::rest_server::Advertised;

/// The longest list of cipher suites, in bytes: the names of all that OpenSSL has.
const MAX_CIPHERS_BYTES: usize = 4096;

/// The answers of a session. They are boxed because a channel has room for 32 of them from its
/// beginning, for each of thousands of agents.
pub(super) type ResponseSender = mpsc::Sender<Box<Result<v1::HeartbeatResponse, Status>>>;
/// The beat that Ironic has not answered yet.
type InFlight<'a> = Option<Pin<Box<dyn Future<Output = v1::HeartbeatResponse> + Send + 'a>>>;

/// Serves one session from its `Hello` to its end.
pub(super) async fn run(
    relay: &Relay,
    mut messages: Box<Streaming<v1::HeartbeatRequest>>,
    peer: Box<AgentPeer>,
    answers: &ResponseSender,
) -> Result<(), Status> {
    // What happens once is boxed: its place would be kept for as long as the session lasts. So are the
    // arguments, which an async function keeps twice: as they were given, and as it uses them.
    let session = Box::pin(Session::open(relay, &mut messages, *peer)).await?;
    let _counted = relay.placement.metrics().map(Metrics::heartbeat_session);
    let _drained = relay.placement.gateway().map(Gateway::session);
    let mut in_flight: InFlight<'_> = None;
    let mut heard_all = false;
    let mut proof = ProofDeadline::new(relay.placement.gateway().is_some());
    // Goal: each beat becomes one POST, one at a time, while the agent is listened to: one
    // that hangs up or takes its leave must not wait for Ironic. Exit: a Farewell, the
    // end of the agent's side once its last beat is answered, a message out of order, no proof
    // in time, or nobody there to hear a verdict.
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
            () = proof.passed(|| session.is_proved()) => return Err(session.never_proved()),
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
    checked(hello)
}

/// Validates the first message of a session and drops the fields that are not used here: the rest
/// is kept for as long as the session lasts.
fn checked(hello: v1::Hello) -> Result<v1::Hello, Status> {
    let node_uuid = node_uuid(&hello.node_uuid, "Hello.node_uuid")?;
    let config = hello.config.unwrap_or_default();
    let texts = [
        (&hello.agent_token, MAX_TOKEN_BYTES, "agent_token"),
        (&hello.agent_version, MAX_TEXT_BYTES, "agent_version"),
        (
            &config.tls_min_version,
            MAX_TEXT_BYTES,
            "config.tls_min_version",
        ),
        (
            &config.tls_cipher_suites,
            MAX_CIPHERS_BYTES,
            "config.tls_cipher_suites",
        ),
    ];
    for (text, most, field) in texts {
        check_length(text, most, &format!("Hello.{field}"))?;
    }
    let config = v1::SessionConfig {
        tls_min_version: config.tls_min_version,
        tls_cipher_suites: config.tls_cipher_suites,
        ..v1::SessionConfig::default()
    };
    Ok(v1::Hello {
        node_uuid,
        agent_token: hello.agent_token,
        agent_version: hello.agent_version,
        config: Some(config),
        callback_url: String::new(),
    })
}

/// The time within which a session must be proved. A shim beside its agent sets no limit.
struct ProofDeadline(Option<Pin<Box<Sleep>>>);

impl ProofDeadline {
    fn new(is_gateway: bool) -> Self {
        Self(is_gateway.then(|| Box::pin(tokio::time::sleep(PROOF_TIMEOUT))))
    }

    /// Completes when the time is over and the session is not proved; else never.
    async fn passed(&mut self, is_proved: impl Fn() -> bool) {
        if let Some(deadline) = &mut self.0 {
            deadline.await;
            self.0 = None;
            if !is_proved() {
                return;
            }
        }
        std::future::pending().await
    }
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
    /// Of its token, where it has one: each beat asks for it several times.
    digest: Option<TokenDigest>,
    advertised: Advertised,
    peer: AgentPeer,
}

impl<'a> Session<'a> {
    /// Hears which node it is, readies the REST API for the agent, and believes it as far as it is
    /// proved.
    async fn open(
        relay: &'a Relay,
        messages: &mut Streaming<v1::HeartbeatRequest>,
        peer: AgentPeer,
    ) -> Result<Self, Status> {
        let hello = hello(messages).await?;
        peer.speaks_for(&hello.node_uuid)?;
        let advertised = relay.placement.open(&hello).await?;
        let token = hello.agent_token.as_str();
        let session = Self {
            relay,
            digest: (!token.is_empty()).then(|| TokenDigest::of(token)),
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
        let proofs = self.relay.placement.proofs();
        let is_proved = |digest| proofs.has(&self.hello.node_uuid, digest);
        self.digest.is_some_and(is_proved)
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
            if let Some(digest) = self.digest {
                let proofs = self.relay.placement.proofs();
                proofs.prove_digest(&self.hello.node_uuid, digest);
            }
            self.believe();
        }
        answer
    }

    fn never_proved(&self) -> Status {
        warn!(node = %self.hello.node_uuid, "a session was never proved");
        Status::unauthenticated("Ironic has accepted no heartbeat of this session for 15 minutes")
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_session_that_is_never_proved_ends_and_another_goes_on() {
        let begun = tokio::time::Instant::now();
        ProofDeadline::new(true).passed(|| false).await;
        assert_eq!(begun.elapsed().as_secs(), PROOF_TIMEOUT.as_secs());
        let mut proved = ProofDeadline::new(true);
        let week = Duration::from_secs(7 * 24 * 3600);
        timeout(week, proved.passed(|| true)).await.unwrap_err();
        let mut beside = ProofDeadline::new(false);
        timeout(week, beside.passed(|| false)).await.unwrap_err();
        // What was proved once is not looked at again.
        timeout(week, proved.passed(|| false)).await.unwrap_err();
    }
    #[test]
    fn what_a_session_keeps_is_short_and_of_use() {
        let hello = v1::Hello {
            node_uuid: "1BE26C0B-03F2-4D2E-AE87-C02D7F33C123".into(),
            agent_token: "t".repeat(MAX_TOKEN_BYTES),
            agent_version: "v".repeat(MAX_TEXT_BYTES),
            callback_url: "c".repeat(60_000),
            config: Some(v1::SessionConfig {
                tls_min_version: "1.3".into(),
                agent_token: "u".repeat(60_000),
                agent_containers: Some(prost_types::Struct::default()),
                ..v1::SessionConfig::default()
            }),
        };
        let kept = checked(hello.clone()).unwrap();
        assert_eq!(kept.node_uuid, "1be26c0b-03f2-4d2e-ae87-c02d7f33c123");
        assert_eq!(kept.config.as_ref().unwrap().tls_min_version, "1.3");
        assert!(prost::Message::encoded_len(&kept) < 2048);
        let longer = |change: fn(&mut v1::Hello)| {
            let mut hello = hello.clone();
            change(&mut hello);
            checked(hello).unwrap_err().message().to_owned()
        };
        let token = longer(|hello| hello.agent_token.push('t'));
        assert!(token.starts_with("Hello.agent_token has 1025"), "{token}");
        let version = longer(|hello| hello.agent_version.push('v'));
        assert!(version.starts_with("Hello.agent_version has"), "{version}");
        let uuid = longer(|hello| hello.node_uuid.push('0'));
        assert_eq!(uuid, "Hello.node_uuid is not a UUID");
    }
}
