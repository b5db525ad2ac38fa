//! `CommandService` of every node at one address.
//!
//! A call goes to the agent as it is: its bytes, its streams, its deadline and its cancellation.
//! Only the metadata change: `node-uuid` is taken off, and `agent-token` is the token that the
//! node's session has proved ([`attached`]). Of an order the gateway reads what it is before it is
//! passed on ([`order`]), and notes who gave it and what became of it ([`audit`]). The call of a
//! node that another gateway holds goes there ([`elsewhere`]).

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response};
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command_service_server::SERVICE_NAME;
use tokio::time::{Instant, timeout};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use super::access::{FleetAccess, FleetCaller, FleetRequest, RequestTarget};
use super::error::FleetError;
use super::handle::Fleet;
use crate::peers::Peers;

mod attached;
mod audit;
mod elsewhere;
mod order;

pub use attached::AttachedAgents;
use audit::OrderAudit;
pub(in crate::fleet) use elsewhere::calls_of_gateways;
use order::{MAX_ORDER_BYTES, Order};

/// The metadata key of the node that is meant.
const NODE: &str = "node-uuid";

/// The largest order that is read of a caller who may give none, in bytes, and the longest time.
const SMALL: usize = 64 * 1024;
const REFUSED_TIMEOUT: Duration = Duration::from_secs(1);

/// A call whose node is known.
struct NodeCall {
    node_uuid: String,
    request: Request<Body>,
    /// When it came: its deadline counts from then on.
    begun: Instant,
}

/// Answers the calls of `CommandService` that callers may make. Cheap to clone.
#[derive(Debug, Clone)]
pub struct NodeProxy {
    fleet: Fleet,
    access: FleetAccess,
    agents: AttachedAgents,
    /// The gateways that share the nodes; empty if there are none.
    peers: Arc<OnceLock<Peers>>,
}

impl NodeProxy {
    /// Passes calls to these agents, which are the nodes of this fleet, and to the gateways that
    /// share them.
    #[must_use]
    pub fn new(
        fleet: Fleet,
        access: FleetAccess,
        agents: AttachedAgents,
        peers: Arc<OnceLock<Peers>>,
    ) -> Self {
        Self {
            fleet,
            access,
            agents,
            peers,
        }
    }

    /// Answers a call of a node.
    async fn answer(self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let begun = Instant::now();
        let caller = FleetCaller::in_extensions(request.extensions());
        let view = self.access.view(&caller, request.uri().path())?;
        let node = self.fleet.resolve_for(node_of(request.headers())?, &view)?;
        if !Order::is_given_by(request.uri().path()) {
            self.admit(&caller, request.uri().path(), &node, None)?;
            let node_uuid = node.uuid.clone();
            let call = NodeCall {
                node_uuid,
                request,
                begun,
            };
            return Ok(self.pass(call).await?);
        }
        let mut audit = OrderAudit::new(&self.fleet, &node.uuid, &caller);
        let answer = self
            .order(&caller, &node, (request, begun), &mut audit)
            .await;
        match answer {
            Ok(answer) => Ok(audit.follow(answer)),
            Err(error) => {
                let status = Status::from(error);
                audit.ended(&status);
                Err(status)
            }
        }
    }

    /// Passes an order on, if the caller may give it.
    async fn order(
        &self,
        caller: &FleetCaller,
        node: &v1::Node,
        (request, begun): (Request<Body>, Instant),
        audit: &mut OrderAudit,
    ) -> Result<Response<Body>, FleetError> {
        let method = request.uri().path().to_owned();
        let (head, body) = request.into_parts();
        if let Err(refused) = self.admit(caller, &method, node, None) {
            // It is read for the audit, as far as that costs little.
            let reading = Order::read(&method, body, SMALL);
            if let Ok(Ok((order, _))) = timeout(REFUSED_TIMEOUT, reading).await {
                audit.note(&order);
            }
            return Err(refused);
        }
        let (order, body) = Order::read(&method, body, MAX_ORDER_BYTES).await?;
        audit.note(&order);
        self.admit(caller, &method, node, Some(&order))?;
        let call = NodeCall {
            node_uuid: node.uuid.clone(),
            request: Request::from_parts(head, body),
            begun,
        };
        self.pass(call).await
    }

    fn admit(
        &self,
        caller: &FleetCaller,
        method: &str,
        node: &v1::Node,
        order: Option<&Order>,
    ) -> Result<(), FleetError> {
        self.access.admit(FleetRequest {
            caller,
            method,
            target: RequestTarget::Node(node),
            ordered: order.map(Order::wanted),
        })
    }

    /// Passes a call that was admitted to its agent.
    async fn pass(&self, call: NodeCall) -> Result<Response<Body>, FleetError> {
        match self.peers.get() {
            Some(peers) => elsewhere::call(peers, &self.agents, call).await,
            None => self.agents.call(call).await,
        }
    }
}

impl NamedService for NodeProxy {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<Request<Body>> for NodeProxy {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.clone().answer(request);
        Box::pin(async move { Ok(answer.await.unwrap_or_else(Status::into_http)) })
    }
}

/// The node that a call means.
fn node_of(headers: &HeaderMap) -> Result<&str, FleetError> {
    let mut values = headers.get_all(NODE).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (Some(Ok(text)), None) if !text.is_empty() => Ok(text),
        _ => Err(FleetError::NodeUuidMissing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_is_named_once() {
        let headers = |values: &[&'static str]| {
            let name = http::HeaderName::from_static(NODE);
            let pairs = values
                .iter()
                .map(|value| (Some(name.clone()), HeaderValue::from_static(value)));
            HeaderMap::from_iter(pairs.filter_map(|(name, value)| Some((name?, value))))
        };
        assert_eq!(node_of(&headers(&["n"])).unwrap(), "n");
        assert!(node_of(&headers(&[])).is_err());
        assert!(node_of(&headers(&[""])).is_err());
        let mut twice = headers(&["n"]);
        twice.append(NODE, HeaderValue::from_static("m"));
        assert!(node_of(&twice).is_err());
    }
}
