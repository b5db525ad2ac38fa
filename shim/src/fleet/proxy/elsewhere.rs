//! Calls of agents that are attached to another gateway that shares the nodes: the call goes to
//! that gateway as it is, and so does the answer come back.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use ironic_text::error_chain;
use tokio::time::{Instant, sleep};
use tonic::Status;
use tonic::body::Body;
use tower::service_fn;

use super::attached::{AttachedAgents, MARGIN, ending_with_status};
use super::{NODE, NodeCall, node_of, order};
use crate::agents::attachment::{Away, HOLD};
use crate::agents::client::TOKEN;
use crate::fleet::call_timeout;
use crate::fleet::error::FleetError;
use crate::peers::Peers;
use crate::peers::connection::{PeerBody, full_body, passing_body};
use crate::peers::forward::ForwardError;
use crate::peers::listener::GrpcHandler;
use crate::peers::route::{NodeRoute, NotFound};

/// After this time a node is looked for again that has gone while a call waited for it.
const PAUSE: Duration = Duration::from_millis(100);

/// A call that can be made more than once.
struct WholeCall {
    node_uuid: String,
    head: Parts,
    body: Bytes,
    begun: Instant,
    /// How long its caller waits.
    time: Option<Duration>,
}

/// Passes a call that was admitted to its agent, wherever that is attached.
pub(super) async fn call(
    peers: &Peers,
    agents: &AttachedAgents,
    call: NodeCall,
) -> Result<Response<Body>, FleetError> {
    let call = WholeCall::read(call).await?;
    let node = call.node_uuid.as_str();
    let mut search = peers.search_until(node, call.waits_until());
    // Goal: an answer. Exit: there is one, or the search has ended, or the call may have reached
    // the agent.
    loop {
        let replica = match search.route().await {
            Ok(NodeRoute::Here | NodeRoute::Unknown) => {
                match agents.call(call.for_agent()).await {
                    // It has attached there while this call waited for it here. Where nobody knows
                    // of that yet, somebody soon does.
                    Err(FleetError::Away {
                        away: Away::Elsewhere,
                        ..
                    }) if Instant::now() < call.waits_until() => sleep(PAUSE).await,
                    answered => return answered,
                }
                continue;
            }
            Ok(NodeRoute::Closed) => return Err(FleetError::Closed(node.to_owned())),
            Ok(NodeRoute::At(replica)) => replica,
            Err(NotFound(away)) => {
                let node = node.to_owned();
                return Err(FleetError::Away { node, away });
            }
        };
        let Ok(peer) = peers.connect(node, &replica).await else {
            search.failed(&replica);
            continue;
        };
        agents.forwarded();
        match peer.send(call.for_replica(), None).await {
            Ok(answer) if answer.status() == StatusCode::OK => {
                let node = node.to_owned();
                return Ok(answer.map(|body| ending_with_status(from_replica(body), node)));
            }
            // It does not take calls, or not yet: nothing was done.
            Ok(_) | Err(ForwardError::NotThere(_) | ForwardError::Unreachable(_)) => {
                search.failed(&replica);
            }
            Err(error @ (ForwardError::NoAnswer(_) | ForwardError::Lost { .. })) => {
                return Err(FleetError::Lost {
                    node: node.to_owned(),
                    source: Box::new(error),
                });
            }
        }
    }
}

impl WholeCall {
    async fn read(call: NodeCall) -> Result<Self, FleetError> {
        let (mut head, body) = call.request.into_parts();
        head.extensions.clear();
        Ok(Self {
            node_uuid: call.node_uuid,
            body: order::whole(head.uri.path(), body, order::MAX_ORDER_BYTES).await?,
            time: call_timeout::get(&head.headers),
            begun: call.begun,
            head,
        })
    }

    /// Until when it waits for its agent.
    fn waits_until(&self) -> Instant {
        let time = self.time.map(|time| time.saturating_sub(MARGIN));
        self.begun + time.map_or(HOLD, |time| time.min(HOLD))
    }

    fn for_agent(&self) -> NodeCall {
        let body = Body::new(Full::new(self.body.clone()));
        NodeCall {
            node_uuid: self.node_uuid.clone(),
            request: Request::from_parts(self.head.clone(), body),
            begun: self.begun,
        }
    }

    fn for_replica(&self) -> Request<PeerBody> {
        let mut head = self.head.clone();
        head.headers.remove(TOKEN);
        set_node(&mut head.headers, &self.node_uuid);
        if let Some(time) = self.time {
            call_timeout::set(&mut head.headers, time.saturating_sub(self.begun.elapsed()));
        }
        Request::from_parts(head, full_body(self.body.clone()))
    }
}

fn set_node(headers: &mut HeaderMap, node_uuid: &str) {
    // A UUID is a text of a header.
    if let Ok(node) = HeaderValue::from_str(node_uuid) {
        headers.insert(NODE, node);
    }
}

/// A body of another gateway, which breaks off with a status.
fn from_replica(body: PeerBody) -> Body {
    Body::new(body.map_err(|error| Status::unavailable(error_chain(&error))))
}

/// Answers the calls that other gateways pass on, which have admitted them.
pub(in crate::fleet) fn calls_of_gateways(agents: AttachedAgents) -> GrpcHandler {
    GrpcHandler::new(service_fn(move |request: Request<PeerBody>| {
        let agents = agents.clone();
        async move { Ok::<_, Infallible>(answer(&agents, request).await) }
    }))
}

async fn answer(agents: &AttachedAgents, request: Request<PeerBody>) -> Response<PeerBody> {
    let begun = Instant::now();
    let node_uuid = node_of(request.headers()).map(ToOwned::to_owned);
    let answered = match node_uuid {
        Ok(node_uuid) => {
            let request = request.map(from_replica);
            let call = NodeCall {
                node_uuid,
                request,
                begun,
            };
            agents.call(call).await
        }
        Err(error) => Err(error),
    };
    let answer = answered.unwrap_or_else(|error| Status::from(error).into_http());
    answer.map(passing_body)
}
