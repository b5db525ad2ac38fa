//! `Attach`: the bytes of the call become a connection on which the agent is the server.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt};
use ironic_agent_protocol::v1;
use ironic_text::Secret;
use ironic_tunnel::{ConnectionDriver, Outgoing, Pings, Tunnel, keep_alive};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::{info, warn};

use super::agent_peer::AgentPeer;
use super::begun_attachment::BegunAttachment;
use super::{MAX_TEXT_BYTES, MAX_TOKEN_BYTES, PROOF_TIMEOUT, check_length};
use crate::agents::{AttachmentId, AttachmentSignals, Superseded};
use crate::gateway::Gateway;
use crate::metrics::labels::AttachOutcome;

/// How long the first message may take.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Messages of an attachment that may come before it is accepted. In the time that it may wait, an agent
/// says some forty times that it lives.
const MAX_UNPROVED_MESSAGES: usize = 1000;

/// What the gateway says in one call of `Attach`: that the agent is attached, and the bytes for
/// its server; or why not, or not any longer.
pub(super) fn responses(
    verdict: oneshot::Receiver<Result<Attached, Status>>,
) -> impl Stream<Item = Result<v1::AttachResponse, Status>> + Send {
    let verdict = verdict.map(|verdict| match verdict {
        Ok(Ok(attached)) => attached.responses().boxed(),
        Ok(Err(status)) => futures_util::stream::iter([Err(status)]).boxed(),
        // The task that decides has ended early: the program stops.
        Err(_) => futures_util::stream::iter([Err(Status::unavailable("stopping"))]).boxed(),
    });
    // A message without bytes says nothing to the tunnel at the other end.
    keep_alive(verdict.into_stream().flatten().boxed(), || {
        Ok(v1::AttachResponse::default())
    })
}

/// An attachment that was accepted.
#[derive(Debug)]
pub(super) struct Attached {
    outgoing: Outgoing,
    /// Asks the agent to attach elsewhere.
    leaving: oneshot::Receiver<v1::AttachDraining>,
    /// Why it ends, if the gateway ends it.
    ending: oneshot::Receiver<Status>,
}

impl Attached {
    fn responses(self) -> impl Stream<Item = Result<v1::AttachResponse, Status>> + Send {
        let accepted = v1::AttachResponse {
            accepted: Some(v1::AttachAccepted {}),
            ..v1::AttachResponse::default()
        };
        let bytes = self.outgoing.map(|data| {
            Ok(v1::AttachResponse {
                data,
                ..v1::AttachResponse::default()
            })
        });
        let leaving = self.leaving.into_stream();
        let leaving = leaving.filter_map(|asked| {
            let asked = asked.ok().map(|draining| v1::AttachResponse {
                draining: Some(draining),
                ..v1::AttachResponse::default()
            });
            std::future::ready(asked.map(Ok))
        });
        let ending = self.ending.map(Result::ok).into_stream();
        let ending = ending.filter_map(|status| std::future::ready(status.map(Err)));
        futures_util::stream::iter([Ok(accepted)])
            .chain(futures_util::stream::select(bytes, leaving))
            .chain(ending)
    }
}

/// Serves one call from its first message to its end. The arguments are boxed, because an async
/// function keeps them twice: as they were given, and as it uses them.
pub(super) async fn run(
    gateway: &Gateway,
    mut requests: Box<Streaming<v1::AttachRequest>>,
    peer: Box<AgentPeer>,
    mut verdict: oneshot::Sender<Result<Attached, Status>>,
) {
    let admitted = tokio::select! {
        // The agent has hung up.
        () = verdict.closed() => return,
        // It is boxed, because its place would be kept for as long as the attachment lasts.
        admitted = Box::pin(admit(gateway, &mut requests, &peer)) => admitted,
    };
    match admitted {
        Ok(hello) => {
            let peer = peer.caller.and_then(|caller| caller.peer);
            serve(gateway, hello, peer, requests, verdict).await;
        }
        Err(refusal) => refuse(gateway, verdict, refusal),
    }
}

/// Why an attachment is refused: as it is counted, and as the agent hears it.
struct AttachRefusal(AttachOutcome, Status);

/// What the agent sent makes no sense, or nothing came.
impl From<Status> for AttachRefusal {
    fn from(status: Status) -> Self {
        Self(AttachOutcome::Invalid, status)
    }
}

impl AttachRefusal {
    fn superseded(superseded: Superseded) -> Self {
        let status = Status::already_exists(superseded.to_string());
        Self(AttachOutcome::Superseded, status)
    }
}

fn refuse(
    gateway: &Gateway,
    verdict: oneshot::Sender<Result<Attached, Status>>,
    AttachRefusal(outcome, status): AttachRefusal,
) {
    gateway.agents().metrics().attach(outcome);
    // An agent that has hung up does not hear why.
    drop(verdict.send(Err(status)));
}

/// The caller of Attach, checked: what it says of itself may be kept for minutes before it is
/// proved.
fn checked(hello: v1::AttachHello, peer: &AgentPeer) -> Result<v1::AttachHello, Status> {
    let node_uuid = super::node_uuid(&hello.node_uuid, "AttachHello.node_uuid")?;
    if hello.agent_token.is_empty() {
        let text = "AttachHello.agent_token is empty: look up the node first";
        return Err(Status::invalid_argument(text));
    }
    let texts = [
        (&hello.agent_token, MAX_TOKEN_BYTES, "agent_token"),
        (&hello.agent_version, MAX_TEXT_BYTES, "agent_version"),
        (&hello.boot_id, MAX_TEXT_BYTES, "boot_id"),
    ];
    for (text, most, field) in texts {
        check_length(text, most, &format!("AttachHello.{field}"))?;
    }
    peer.speaks_for(&node_uuid)?;
    Ok(v1::AttachHello { node_uuid, ..hello })
}

/// Waits until the token of an attachment is proved. What the agent sends meanwhile is read: unread it
/// would be kept, a window of it for each of thousands.
async fn wait_for_proof(
    gateway: &Gateway,
    requests: &mut Streaming<v1::AttachRequest>,
    hello: &v1::AttachHello,
    peer: Option<SocketAddr>,
) -> Result<(), AttachRefusal> {
    info!(node = %hello.node_uuid, ?peer, "an attachment waits for the proof of its token");
    let waiting = gateway.wait_for_proof();
    let _waiting = waiting.ok_or_else(|| {
        let text = "too many attachments wait for the proof of their tokens";
        AttachRefusal(AttachOutcome::TooMany, Status::resource_exhausted(text))
    })?;
    let _counted = gateway.agents().metrics().waits_for_proof();
    let token = Secret::new(hello.agent_token.as_str());
    let proved = gateway.agents().proofs().wait(&hello.node_uuid, &token);
    let proved = tokio::select! {
        biased;
        proved = tokio::time::timeout(PROOF_TIMEOUT, proved) => proved,
        ended = ended_unproved(requests) => return Err(ended.into()),
    };
    proved.map_err(|_| {
        warn!(node = %hello.node_uuid, ?peer, "an attachment was never proved");
        let text = "Ironic has accepted no heartbeat of this node with this token";
        AttachRefusal(AttachOutcome::Unproved, Status::unauthenticated(text))
    })
}

/// Why the call of an attachment ends that was not accepted yet: until then an agent only says that
/// it lives.
async fn ended_unproved(requests: &mut Streaming<v1::AttachRequest>) -> Status {
    for _ in 0..MAX_UNPROVED_MESSAGES {
        match requests.message().await {
            Ok(Some(request)) if request == v1::AttachRequest::default() => {}
            Ok(Some(_)) => {
                let text = "AttachRequest.data came before AttachResponse.accepted";
                return Status::failed_precondition(text);
            }
            Ok(None) => return Status::cancelled("the agent has ended the call"),
            Err(status) => return status,
        }
    }
    Status::resource_exhausted("too many messages came before AttachResponse.accepted")
}

/// Reads who attaches, and waits until that is proved.
async fn admit(
    gateway: &Gateway,
    requests: &mut Streaming<v1::AttachRequest>,
    peer: &AgentPeer,
) -> Result<Box<v1::AttachHello>, AttachRefusal> {
    let first = tokio::time::timeout(HELLO_TIMEOUT, requests.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no AttachHello came"))??;
    let hello = first.and_then(|request| request.hello);
    let hello = hello.ok_or_else(|| Status::failed_precondition("Attach begins with a hello"))?;
    let hello = checked(hello, peer)?;
    let caller = peer.caller.as_ref();
    let proofs = gateway.agents().proofs();
    if !proofs.is_proved(&hello.node_uuid, &hello.agent_token) {
        let peer = caller.and_then(|caller| caller.peer);
        wait_for_proof(gateway, requests, &hello, peer).await?;
    }
    if let Some(caller) = caller {
        caller.authenticated();
    }
    Ok(Box::new(hello))
}

/// The bytes of the agent, until the attachment has ended. The agent may be silent then, because
/// its machine has booted again, and the connection would wait for it. `moved` is cancelled when
/// the agent says that it is attached elsewhere.
fn incoming(
    requests: Box<Streaming<v1::AttachRequest>>,
    moved: CancellationToken,
    ended: CancellationToken,
) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static {
    let reset = |reason: &str| Err(io::Error::new(io::ErrorKind::ConnectionReset, reason));
    let bytes = requests.map(move |request| match request {
        Ok(request) => {
            if request.moved.is_some() {
                moved.cancel();
            }
            Ok(request.data)
        }
        Err(status) => reset(status.message()),
    });
    let end = futures_util::stream::iter([reset("the attachment has ended")]);
    let until_ended = bytes.take_until(ended.cancelled_owned());
    until_ended.chain(end).boxed()
}

/// Makes the bytes of an attachment the connection by which its agent is called.
async fn connect(
    gateway: &Gateway,
    hello: &v1::AttachHello,
    id: &AttachmentId,
    socket: Tunnel<impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static>,
) -> Result<(AttachmentSignals, ConnectionDriver), AttachRefusal> {
    let node = hello.node_uuid.as_str();
    // A caller that finds the attachment must find its token. Until then the end of an earlier
    // attachment must not remove the node.
    let _known = gateway.agents().node(node);
    gateway.trust(node, &hello.agent_token, &hello.agent_version);
    let connected = ironic_tunnel::connect(socket, Pings::Never).await;
    let (channel, driver) = connected.map_err(|error| {
        info!(%node, %error, "an attachment ended before it had begun");
        let status = Status::unavailable("the attachment ended before it had begun");
        AttachRefusal(AttachOutcome::Failed, status)
    })?;
    // A later one may have come in the meantime.
    let signals = gateway.attach(node, id.clone(), channel);
    let signals = signals.map_err(AttachRefusal::superseded)?;
    Ok((signals, driver))
}

/// Serves an attachment that was admitted, until it ends.
async fn serve(
    gateway: &Gateway,
    hello: Box<v1::AttachHello>,
    peer: Option<SocketAddr>,
    requests: Box<Streaming<v1::AttachRequest>>,
    verdict: oneshot::Sender<Result<Attached, Status>>,
) {
    let metrics = gateway.agents().metrics();
    let (node, id) = (hello.node_uuid.clone(), attachment_id(&hello));
    if gateway.is_superseded(&node, &id) {
        info!(%node, reason = %Superseded, "an attachment is refused");
        return refuse(gateway, verdict, AttachRefusal::superseded(Superseded));
    }
    let (moved, ended) = (CancellationToken::new(), CancellationToken::new());
    let (socket, outgoing) = Tunnel::new(incoming(requests, moved.clone(), ended.clone()));
    // However this ends, the calls that wait for the agent hear of it.
    let _ended = ended.drop_guard();
    let (leave, leaving) = oneshot::channel();
    let (end, ending) = oneshot::channel();
    let attached = Attached {
        outgoing,
        leaving,
        ending,
    };
    if verdict.send(Ok(attached)).is_err() {
        return;
    }
    // Needed once, and large: it must not stay in the state of every attachment.
    let (signals, driver) = match Box::pin(connect(gateway, &hello, &id, socket)).await {
        Ok(connected) => connected,
        Err(AttachRefusal(outcome, status)) => {
            metrics.attach(outcome);
            return drop(end.send(status));
        }
    };
    metrics.attach(AttachOutcome::Accepted);
    let counted = (metrics.attached(), gateway.session());
    let shown = gateway.fleet().attached(&node, attachment(&hello, peer));
    // Token and version are not needed for as long as the attachment lasts.
    drop(hello);
    info!(event = %"agent_attached", %node, "milestone");
    let begun = BegunAttachment {
        gateway,
        node: &node,
        id: &id,
        shown,
        signals,
        moved,
    };
    let (cause, status) = begun.until_it_ends(driver, leave).await;
    gateway.detach(&node, &id);
    gateway.fleet().lost(&node, shown);
    drop(counted);
    metrics.detached(cause);
    if let Some(status) = status {
        // The stream of answers may have ended with the connection.
        let _ = end.send(status);
    }
}

fn attachment_id(hello: &v1::AttachHello) -> AttachmentId {
    AttachmentId {
        boot_id: hello.boot_id.clone(),
        counter: hello.counter,
    }
}

/// What the fleet shows of an attachment.
fn attachment(hello: &v1::AttachHello, peer: Option<SocketAddr>) -> v1::NodeAttachment {
    v1::NodeAttachment {
        boot_id: hello.boot_id.clone(),
        agent_version: hello.agent_version.clone(),
        peer: peer.map(|peer| peer.to_string()).unwrap_or_default(),
        ..v1::NodeAttachment::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_proof_is_short() {
        let hello = v1::AttachHello {
            node_uuid: "1be26c0b-03f2-4d2e-ae87-c02d7f33c123".into(),
            agent_token: "t".repeat(MAX_TOKEN_BYTES),
            agent_version: "v".repeat(MAX_TEXT_BYTES),
            boot_id: "b".repeat(MAX_TEXT_BYTES),
            counter: 1,
        };
        let peer = AgentPeer::default();
        checked(hello.clone(), &peer).unwrap();
        let refusal = |change: fn(&mut v1::AttachHello)| {
            let mut hello = hello.clone();
            change(&mut hello);
            checked(hello, &peer).unwrap_err().message().to_owned()
        };
        for (reason, refusal) in [
            (
                "node_uuid is no",
                refusal(|hello| hello.node_uuid.push('0')),
            ),
            ("token is empty", refusal(|hello| hello.agent_token.clear())),
            (
                "token has 1025",
                refusal(|hello| hello.agent_token.push('t')),
            ),
            (
                "version has 256",
                refusal(|hello| hello.agent_version.push('v')),
            ),
            ("boot_id has 256", refusal(|hello| hello.boot_id.push('b'))),
        ] {
            assert!(refusal.contains(reason), "{refusal}");
        }
    }
}
