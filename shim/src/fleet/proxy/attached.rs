//! Calls of the agents that are attached to this gateway.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::StreamExt;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use hyper::body::{Body as _, Frame};
use ironic_text::Secret;
use ironic_tunnel::{GrpcChannel, ORIGIN};
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use super::order::EXECUTE;
use super::{NODE, NodeCall};
use crate::agents::attachment::{Away, HoldTerms};
use crate::agents::client::TOKEN;
use crate::agents::{AgentKey, AgentRegistry};
use crate::fleet::call_timeout;
use crate::fleet::error::FleetError;
use crate::fleet::executed::AnswerReader;
use crate::fleet::follower::CommandFollower;

/// How long before its deadline a call is given up that waits for its agent, so that its caller
/// hears why.
pub(super) const MARGIN: Duration = Duration::from_millis(50);

/// The agents that are attached to this gateway. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AttachedAgents {
    agents: AgentRegistry,
    /// `None` where nobody can watch.
    follower: Option<CommandFollower>,
}

/// An agent that can be called.
struct OpenAgent {
    channel: GrpcChannel,
    token: Secret,
}

impl AttachedAgents {
    /// The agents of a registry, whose commands are followed by `follower`.
    #[must_use]
    pub fn new(agents: AgentRegistry, follower: Option<CommandFollower>) -> Self {
        Self { agents, follower }
    }

    /// Counts a call that goes to another gateway.
    pub(super) fn forwarded(&self) {
        self.agents.metrics().request_forwarded();
    }

    /// Passes a call that was admitted to its agent.
    pub(super) async fn call(&self, call: NodeCall) -> Result<Response<Body>, FleetError> {
        let NodeCall {
            node_uuid,
            request,
            begun,
        } = call;
        let time = call_timeout::get(request.headers());
        let left = time.map(|time| time.saturating_sub(begun.elapsed()));
        let agent = self.connect(&node_uuid, left).await?;
        let follower = self.follower.clone();
        let follower = follower.filter(|_| request.uri().path() == EXECUTE);
        let mut request = for_agent(request, &agent.token);
        if let Some(time) = time {
            call_timeout::set(request.headers_mut(), time.saturating_sub(begun.elapsed()));
        }
        let mut channel = agent.channel;
        let answer = channel.call(request).await;
        let answer = answer.map_err(|status| lost(&node_uuid, &status))?;
        let Some(follower) = follower else {
            return Ok(answer.map(|body| ending_with_status(body, node_uuid)));
        };
        let mut reader = AnswerReader::default();
        Ok(answer.map(|body| {
            let node = node_uuid.clone();
            let body = body.map_frame(move |frame| {
                if let Some(data) = frame.data_ref()
                    && let Some(record) = reader.read(data)
                {
                    follower.executed(&node, record);
                }
                frame
            });
            ending_with_status(Body::new(body), node_uuid)
        }))
    }

    /// The agent, which is waited for if it is not attached: up to the deadline of the call.
    async fn connect(
        &self,
        node_uuid: &str,
        time: Option<Duration>,
    ) -> Result<OpenAgent, FleetError> {
        let key = AgentKey::Node(node_uuid.to_owned());
        let (client, _) = self.agents.node(node_uuid);
        let find = || self.agents.find(&key).map(|(agent, _)| agent);
        if find().is_some_and(|agent| agent.closed) {
            return Err(FleetError::Closed(node_uuid.to_owned()));
        }
        let is_away = |away| FleetError::Away {
            node: node_uuid.to_owned(),
            away,
        };
        let slot = client.slot().ok_or_else(|| is_away(Away::TimedOut))?;
        let time = time.map_or(Duration::MAX, |time| time.saturating_sub(MARGIN));
        let open = timeout(time, slot.channel(HoldTerms::now(true))).await;
        let open = open.unwrap_or(Err(Away::TimedOut)).map_err(is_away)?;
        // A session that is attached has proved its token.
        let token = find().and_then(|agent| agent.token);
        Ok(OpenAgent {
            channel: open.channel,
            token: token.ok_or_else(|| is_away(Away::TimedOut))?,
        })
    }
}

/// The request as the agent gets it.
fn for_agent(request: Request<Body>, token: &Secret) -> Request<Body> {
    let (mut head, body) = request.into_parts();
    head.headers.remove(NODE);
    head.headers.remove(TOKEN);
    // A session whose token is no text of a header has never proved it: the agent refuses.
    if let Ok(mut value) = HeaderValue::try_from(token.reveal()) {
        value.set_sensitive(true);
        head.headers.insert(TOKEN, value);
    }
    let mut uri = Uri::from_static(ORIGIN).into_parts();
    let path = head.uri.path_and_query().cloned();
    uri.path_and_query = path.or_else(|| Some(PathAndQuery::from_static("/")));
    head.uri = Uri::from_parts(uri).unwrap_or(head.uri);
    // What the listener noted about the caller is not for the agent's connection.
    head.extensions.clear();
    Request::from_parts(head, body)
}

fn lost(node_uuid: &str, status: &Status) -> FleetError {
    FleetError::Lost {
        node: node_uuid.to_owned(),
        source: Box::new(status.clone()),
    }
}

/// The body of an answer; where the agent's connection is lost before its end, it ends with a
/// status that says so.
pub(super) fn ending_with_status(body: Body, node_uuid: String) -> Body {
    // An answer that is nothing but a status must end with its headers. gRPC's C library, which
    // Python and Ruby use, takes an empty frame of data behind them for a protocol error.
    if body.is_end_stream() {
        return body;
    }
    // A body that has failed has no more frames.
    let frames = BodyStream::new(body).map(move |frame| match frame {
        Ok(frame) => Ok::<_, Infallible>(frame),
        Err(status) => {
            let status = match status.code() {
                tonic::Code::Unavailable => lost(&node_uuid, &status).into(),
                // The agent has reset the stream.
                _ => status,
            };
            let mut trailers = HeaderMap::new();
            // A status that does not fit into trailers leaves the answer without one.
            let _ = status.add_header(&mut trailers);
            Ok(Frame::trailers(trailers))
        }
    });
    Body::new(StreamBody::new(frames))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_gets_the_gateways_token_and_the_rest_as_it_is() {
        let request = Request::builder()
            .uri("https://gw.example:9997/ironic.agent.v1.CommandService/GetCommand")
            .header("node-uuid", "n")
            .header("agent-token", "the caller's")
            .header("grpc-timeout", "1S")
            .header("x-request-id", "r")
            .body(Body::empty())
            .unwrap();
        let request = for_agent(request, &Secret::new("the node's"));
        assert_eq!(
            request.uri(),
            "http://agent/ironic.agent.v1.CommandService/GetCommand"
        );
        let header = |name| {
            request
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap())
        };
        assert_eq!(header("agent-token"), Some("the node's"));
        assert_eq!(header("node-uuid"), None);
        assert_eq!(header("grpc-timeout"), Some("1S"));
        assert_eq!(header("x-request-id"), Some("r"));
    }

    #[test]
    fn status_without_a_body_stays_without_one() {
        let body = ending_with_status(Body::empty(), "n".into());
        assert!(body.is_end_stream());
    }

    #[tokio::test]
    async fn lost_connection_is_a_status_at_the_end_of_the_answer() {
        let frames = [
            Ok(Frame::data(bytes::Bytes::from_static(b"x"))),
            Err(Status::unavailable("the connection was lost")),
        ];
        let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
        let collected = ending_with_status(body, "n".into())
            .collect()
            .await
            .unwrap();
        let trailers = collected.trailers().unwrap();
        let status = Status::from_header_map(trailers).unwrap();
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert!(
            status.message().contains("the connection was lost"),
            "{status:?}"
        );
        assert_eq!(collected.to_bytes(), "x");
    }
}
