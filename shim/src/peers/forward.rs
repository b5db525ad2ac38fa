//! What goes with a request that one replica forwards to another, and what comes back with its
//! answer. A request passes as it is: method, path, headers, and its body as a stream; so does
//! the answer. Beside them go a few headers of our own, which mean something between replicas
//! only: the listeners for conductors, agents and operators neither read nor pass them.

use std::net::SocketAddr;

use http::header::{CONNECTION, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use thiserror::Error;

use super::connection::{PeerBody, Unreachable, full_body};

/// The node that a request is for.
const NODE: HeaderName = HeaderName::from_static("ironic-node");
/// The connection that a request came over: scheme, port and caller.
const ORIGIN: HeaderName = HeaderName::from_static("ironic-origin");
/// What a replica says of its answer.
const VERDICT: HeaderName = HeaderName::from_static("ironic-verdict");

/// The node is not attached to the replica that was asked.
const NOT_HERE: HeaderValue = HeaderValue::from_static("not-here");
/// The caller is to be left without an answer.
const NO_ANSWER: HeaderValue = HeaderValue::from_static("no-answer");
/// The answer came before the request was read to its end.
const UNREAD: HeaderValue = HeaderValue::from_static("unread");

/// Headers that belong to one connection of HTTP/1.1.
const HOP_BY_HOP: [HeaderName; 5] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Why there is no answer of the replica that holds a node.
#[derive(Debug, Error)]
pub enum ForwardError {
    /// Nothing was sent: the request may go elsewhere.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// The node is not attached there. Nobody has got the request.
    #[error("the node is not attached to the gateway {0} any longer")]
    NotThere(String),
    /// The caller is to be left without an answer.
    #[error("the gateway {0} leaves the request without an answer")]
    NoAnswer(String),
    /// The connection broke. The request may have reached the agent: it is not sent again.
    #[error("the connection to the gateway {url} broke after the request was sent")]
    Lost {
        /// Its `peer_url`.
        url: String,
        /// Why.
        #[source]
        source: hyper::Error,
    },
}

/// The connection over which a replica got a request that it forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestOrigin {
    /// The address of the caller.
    pub peer: SocketAddr,
    /// The port that was called.
    pub port: u16,
    /// Whether it was TLS.
    pub secure: bool,
}

impl RequestOrigin {
    fn header(self) -> Option<HeaderValue> {
        let scheme = if self.secure { "https" } else { "http" };
        HeaderValue::from_str(&format!("{scheme} {} {}", self.port, self.peer)).ok()
    }

    fn parse(value: &HeaderValue) -> Option<Self> {
        let mut words = value.to_str().ok()?.split(' ');
        let secure = match words.next()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        Some(Self {
            secure,
            port: words.next()?.parse().ok()?,
            peer: words.next()?.parse().ok()?,
        })
    }
}

/// Prepares a request for another replica.
pub(super) fn depart<B>(request: &mut Request<B>, node: &str, origin: Option<RequestOrigin>) {
    let headers = request.headers_mut();
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    // What a caller has sent under these names is replaced.
    for (name, value) in [
        (NODE, HeaderValue::from_str(node).ok()),
        (ORIGIN, origin.and_then(RequestOrigin::header)),
    ] {
        match value {
            Some(value) => headers.insert(name, value),
            None => headers.remove(name),
        };
    }
    headers.remove(VERDICT);
}

/// Takes off a request of another replica what was added to it: the node that it is for, and the
/// connection that it came over.
pub(super) fn arrive<B>(request: &mut Request<B>) -> (Option<String>, Option<RequestOrigin>) {
    let headers = request.headers_mut();
    let node = headers.remove(NODE);
    let node = node.and_then(|node| node.to_str().ok().map(str::to_owned));
    let origin = headers.remove(ORIGIN);
    (node, origin.as_ref().and_then(RequestOrigin::parse))
}

/// The answer for a node that is not attached here.
pub(super) fn not_here() -> Response<PeerBody> {
    verdict(StatusCode::MISDIRECTED_REQUEST, NOT_HERE)
}

/// The answer that leaves a caller without one.
#[must_use]
pub fn no_answer() -> Response<PeerBody> {
    verdict(StatusCode::SERVICE_UNAVAILABLE, NO_ANSWER)
}

fn verdict(status: StatusCode, verdict: HeaderValue) -> Response<PeerBody> {
    let mut response = Response::new(full_body(""));
    *response.status_mut() = status;
    response.headers_mut().insert(VERDICT, verdict);
    response
}

/// Marks an answer whose request was not read to its end.
pub fn mark_unread(headers: &mut HeaderMap) {
    headers.insert(VERDICT, UNREAD);
}

/// Whether the request of an answer was read to its end.
#[must_use]
pub fn was_read(headers: &HeaderMap) -> bool {
    headers.get(VERDICT) != Some(&UNREAD)
}

/// Whether a header of an answer means something between replicas only.
#[must_use]
pub fn is_ours(name: &HeaderName) -> bool {
    *name == VERDICT
}

/// What an answer of the replica at `url` means.
pub(super) fn judge<B>(response: Response<B>, url: &str) -> Result<Response<B>, ForwardError> {
    match response.headers().get(VERDICT) {
        Some(verdict) if verdict == NOT_HERE => Err(ForwardError::NotThere(url.to_owned())),
        Some(verdict) if verdict == NO_ANSWER => Err(ForwardError::NoAnswer(url.to_owned())),
        _ => Ok(response),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_headers_are_ours_and_leave_no_trace() {
        let origin = RequestOrigin {
            peer: "[2001:db8::1]:4711".parse().unwrap(),
            port: 9999,
            secure: true,
        };
        let mut request = Request::get("/nodes/n/v1/status")
            .header("Host", "gw.example")
            .header("Ironic-Node", "another")
            .header("Ironic-Origin", "http 1 192.0.2.9:1")
            .header("Ironic-Verdict", "unread")
            .header("Connection", "close")
            .body(())
            .unwrap();
        depart(&mut request, "n", Some(origin));
        let (node, arrived) = arrive(&mut request);
        assert_eq!(node.as_deref(), Some("n"));
        assert_eq!(arrived, Some(origin));
        let left: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["host"]);
        // What a caller sends is no origin.
        let mut request = Request::get("/")
            .header("Ironic-Origin", "http 1 192.0.2.9:1")
            .body(())
            .unwrap();
        depart(&mut request, "n", None);
        assert_eq!(arrive(&mut request).1, None);
    }

    #[test]
    fn verdicts_are_read_as_they_are_given() {
        let judged = |response| judge(response, "https://b");
        assert!(matches!(judged(not_here()), Err(ForwardError::NotThere(_))));
        assert!(matches!(
            judged(no_answer()),
            Err(ForwardError::NoAnswer(_))
        ));
        let mut answer = Response::new(full_body("x"));
        assert!(was_read(answer.headers()));
        mark_unread(answer.headers_mut());
        let answer = judged(answer).unwrap();
        assert!(!was_read(answer.headers()));
        assert!(answer.headers().keys().all(is_ours));
    }
}
