//! Which program answers a request: this one, or of several gateways that share their nodes the
//! one that holds the node. What others forward is answered here and never forwarded again.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE};
use http::request::Parts;
use http::{HeaderName, Request, Response};
use http_body_util::{Either, Full};
use hyper::body::Body;
use ironic_text::error_chain;
use ironic_transport::listener::Slot;
use tokio::time::Instant;
use tracing::info;

use super::body;
use super::query::Query;
use super::route;
use super::service::{Answer, ConnectionInfo, RestService, Unanswered, malformed};
use crate::agents::attachment::HOLD;
use crate::metrics::labels::DropReason;
use crate::peers::connection::{BoxError, PeerBody, full_body, passing_body};
use crate::peers::forward::{self, ForwardError, RequestOrigin};
use crate::peers::route::{NodeRoute, NotFound, Search};
use crate::peers::{PeerConnection, Peers};

/// Bodies up to this size are read before they are forwarded, so that they can go elsewhere if
/// the node has just moved. Larger ones pass as they come.
const SMALL_BODY: u64 = 64 * 1024;

/// How much of a path a log line shows.
const MAX_LOGGED_PATH_BYTES: usize = 200;

/// What became of a request.
enum Routed<B> {
    /// It is for this program.
    Here(Either<B, Full<Bytes>>),
    /// Another gateway has answered.
    Answered(Answer),
}

/// The body of a request that is to be forwarded.
enum ForwardedBody<B> {
    Unread(B),
    /// It can be sent more than once.
    InMemory(Bytes),
}

impl RestService {
    /// Answers a request, or has the gateway answer it that holds the node.
    ///
    /// # Errors
    /// The connection is to end without an answer.
    pub async fn answer<B>(
        self: &Arc<Self>,
        request: Request<B>,
        connection: &ConnectionInfo,
    ) -> Result<Answer, Unanswered>
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let started = Instant::now();
        let until = started + HOLD;
        let (parts, body) = request.into_parts();
        let answer = match self.route(&parts, body, connection).await? {
            Routed::Here(body) => self.answer_here(&parts, body, connection, until).await?,
            Routed::Answered(answer) => answer,
        };
        let path = parts.uri.path();
        let shown = path.get(..MAX_LOGGED_PATH_BYTES).unwrap_or(path);
        info!(
            peer = %connection.peer,
            method = %parts.method,
            path = %shown,
            status = answer.response.status().as_u16(),
            ms = started.elapsed().as_millis(),
            "request"
        );
        Ok(answer)
    }

    /// Finds who answers a request, and has another gateway answer it if it is not this one.
    ///
    /// # Errors
    /// The connection is to end without an answer: nobody has the node, or the answer was lost.
    async fn route<B>(
        self: &Arc<Self>,
        parts: &Parts,
        body: B,
        connection: &ConnectionInfo,
    ) -> Result<Routed<B>, Unanswered>
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let path = route::decoded(parts.uri.path());
        let node = match (&self.peers, route::node(&path)) {
            (Some(peers), Some((uuid, _))) if malformed(parts).is_none() => {
                Some((peers, uuid.to_ascii_lowercase()))
            }
            _ => None,
        };
        let Some((peers, node)) = node else {
            return Ok(Routed::Here(Either::Left(body)));
        };
        let mut outgoing = ForwardedBody::Unread(body);
        let token = Query::parse(parts.uri.query().unwrap_or_default()).token;
        let is_proved = || {
            let token = token.as_deref();
            token.is_some_and(|token| peers.is_proved(&node, token))
        };
        // Before it may wait: strangers have few places.
        let mut search = peers.search(&node, is_proved());
        // Goal: an answer. Exit: there is one, or the search has ended, or nobody may be asked
        // again.
        loop {
            let (replica, peer) = match self.next(peers, &node, &mut search).await? {
                Some(found) => found,
                None => return Ok(Routed::Here(outgoing.into_body())),
            };
            if is_proved() {
                connection.slot.authenticated();
            }
            outgoing = match self.collected(outgoing).await {
                Ok(outgoing) => outgoing,
                Err(error) => {
                    let answer = Self::refused(error, false, &parts.headers);
                    return Ok(Routed::Answered(answer));
                }
            };
            let (body, spare) = outgoing.split();
            self.agents.metrics().request_forwarded();
            let request = Request::from_parts(parts.clone(), body);
            match (peer.send(request, Some(connection.origin())).await, spare) {
                (Ok(response), _) => return Ok(Routed::Answered(passed(response, parts))),
                (Err(ForwardError::NotThere(_)), Some(spare)) => {
                    search.failed(&replica);
                    outgoing = ForwardedBody::InMemory(spare);
                }
                (Err(error), _) => return Err(self.unanswered(&error)),
            }
        }
    }

    /// The next gateway that may hold the node, and a connection to it; nothing if the request is
    /// for this one.
    async fn next(
        &self,
        peers: &Peers,
        node: &str,
        search: &mut Search<'_>,
    ) -> Result<Option<(Arc<str>, PeerConnection)>, Unanswered> {
        loop {
            match search.route().await {
                Ok(NodeRoute::Here | NodeRoute::Unknown) => return Ok(None),
                Ok(NodeRoute::Closed) => return Err(self.drop_request(DropReason::NodeClosed)),
                Err(NotFound(away)) => {
                    info!(reason = %away, "a request gets no answer");
                    return Err(self.drop_request(away.drop_reason()));
                }
                Ok(NodeRoute::At(replica)) => match peers.connect(node, &replica).await {
                    Ok(peer) => return Ok(Some((replica, peer))),
                    Err(_) => search.failed(&replica),
                },
            }
        }
    }

    fn unanswered(&self, error: &ForwardError) -> Unanswered {
        info!(reason = %error_chain(error), "a request gets no answer");
        match error {
            // Counted by the gateway that decided it.
            ForwardError::NoAnswer(_) => Unanswered,
            _ => self.drop_request(DropReason::GatewayLost),
        }
    }

    /// Reads a small body.
    async fn collected<B>(
        &self,
        outgoing: ForwardedBody<B>,
    ) -> Result<ForwardedBody<B>, super::error::RestError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        match outgoing {
            ForwardedBody::Unread(body) if is_small(&body) => {
                let read = body::read(body, self.limits, &self.memory, None).await?;
                Ok(ForwardedBody::InMemory(Bytes::from(read.bytes)))
            }
            outgoing => Ok(outgoing),
        }
    }

    /// Answers a request that another gateway has forwarded. It is never forwarded again.
    pub(super) async fn answer_forwarded(
        self: Arc<Self>,
        request: Request<PeerBody>,
        origin: RequestOrigin,
        slot: Slot,
    ) -> Response<PeerBody> {
        let connection = ConnectionInfo {
            peer: origin.peer,
            port: origin.port,
            secure: origin.secure,
            slot,
        };
        let (parts, body) = request.into_parts();
        let until = Instant::now() + HOLD;
        let answer = self.answer_here(&parts, body, &connection, until);
        let Ok(answer) = answer.await else {
            return forward::no_answer();
        };
        let Answer {
            mut response,
            whole,
        } = answer;
        // It belongs to the connection of the caller, which the other gateway has.
        response.headers_mut().remove(CONNECTION);
        if !whole {
            forward::mark_unread(response.headers_mut());
        }
        response
    }
}

impl<B> ForwardedBody<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn into_body(self) -> Either<B, Full<Bytes>> {
        match self {
            Self::Unread(body) => Either::Left(body),
            Self::InMemory(bytes) => Either::Right(Full::new(bytes)),
        }
    }

    /// The body to send, and what it takes to send it once more.
    fn split(self) -> (PeerBody, Option<Bytes>) {
        match self {
            Self::Unread(body) => (passing_body(body), None),
            Self::InMemory(bytes) => (full_body(bytes.clone()), Some(bytes)),
        }
    }
}

impl ConnectionInfo {
    fn origin(&self) -> RequestOrigin {
        RequestOrigin {
            peer: self.peer,
            port: self.port,
            secure: self.secure,
        }
    }
}

fn is_small<B: Body>(body: &B) -> bool {
    body.size_hint()
        .upper()
        .is_some_and(|size| size <= SMALL_BODY)
}

/// The answer of another gateway, on the connection of the caller. The headers keep the order in
/// which this program writes them.
fn passed(mut response: Response<PeerBody>, parts: &Parts) -> Answer {
    let received = std::mem::take(response.headers_mut());
    *response.version_mut() = http::Version::HTTP_11;
    let is_last = |name: &HeaderName| *name == CONTENT_LENGTH || *name == DATE;
    let of_the_answer = |(name, _): &(&HeaderName, _)| !forward::is_ours(name);
    let (last, first): (Vec<_>, Vec<_>) = received
        .iter()
        .filter(of_the_answer)
        .partition(|(name, _)| is_last(name));
    for (name, value) in first {
        response.headers_mut().append(name, value.clone());
    }
    let mut answer = Answer::new(response, forward::was_read(&received), &parts.headers);
    for (name, value) in last {
        answer.response.headers_mut().append(name, value.clone());
    }
    answer
}
