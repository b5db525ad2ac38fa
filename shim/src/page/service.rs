//! What is answered at which path.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use http::header::IF_NONE_MATCH;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use ironic_agent_protocol::v1;
use serde::Serialize;
use tokio::sync::Semaphore;
use tracing::error;

use super::assets::Asset;
use super::feed::{Feed, Hello};
use super::host;
use super::node_json::{EventJson, NodeJson, PageTime};
use super::response::{self, PageBody, answer, refusal};
use crate::fleet::{FleetCaller, FleetViewer, ViewError};
use crate::metrics::Metrics;

/// Viewers at once: people, each of whom costs some 20 kB and as much work as changes make.
const VIEWERS: usize = 64;

/// The last events that a viewer begins with.
const EVENTS: usize = 60;

/// The longest resume token, in bytes, that is looked at.
const MAX_TOKEN_BYTES: usize = 64;

/// Answers requests of browsers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PageService {
    fleet: FleetViewer,
    metrics: Metrics,
    viewers: Arc<Semaphore>,
    /// The host that requests without TLS may name, besides addresses.
    own_host: Arc<str>,
}

/// How a request came.
#[derive(Debug)]
pub(super) struct PageCaller {
    pub(super) caller: FleetCaller,
    /// Whether the host that it names is looked at.
    pub(super) checks_host: bool,
}

/// What a path means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PageRoute<'a> {
    Events,
    Node(&'a str),
    File,
}

impl PageRoute<'_> {
    fn of(path: &str) -> PageRoute<'_> {
        match path.strip_prefix("/nodes/") {
            Some(uuid) => PageRoute::Node(uuid),
            None if path == "/events" => PageRoute::Events,
            None => PageRoute::File,
        }
    }
}

impl PageService {
    /// Shows the nodes of this fleet. `own_host` is how operators call this gateway.
    #[must_use]
    pub fn new(fleet: FleetViewer, metrics: Metrics, own_host: &str) -> Self {
        Self {
            fleet,
            metrics,
            viewers: Arc::new(Semaphore::new(VIEWERS)),
            own_host: own_host.into(),
        }
    }

    /// Answers a request. Bodies of requests are not read.
    pub(super) fn answer<B>(
        &self,
        request: &Request<B>,
        caller: &PageCaller,
    ) -> Response<PageBody> {
        if caller.checks_host && !host::is_ours(request, &self.own_host) {
            return refusal(
                StatusCode::MISDIRECTED_REQUEST,
                "without TLS this page is opened by an address, by localhost or by the host of \
                 gateway_url: a name that somebody else chose may be an attack by DNS",
            );
        }
        let is_head = match *request.method() {
            Method::GET => false,
            Method::HEAD => true,
            _ => return response::method_not_allowed(),
        };
        let response = match PageRoute::of(request.uri().path()) {
            PageRoute::Events => self
                .events(request.headers(), &caller.caller)
                .unwrap_or_else(|error| unseen(&error)),
            PageRoute::Node(uuid) => self
                .node(uuid, &caller.caller)
                .unwrap_or_else(|error| unseen(&error)),
            PageRoute::File => match Asset::at(request.uri().path()) {
                Some(asset) => response::file(asset, request.headers().get(IF_NONE_MATCH)),
                None => refusal(StatusCode::NOT_FOUND, "the page is at /"),
            },
        };
        if is_head {
            return response::without_body(response);
        }
        response
    }

    fn events(
        &self,
        headers: &HeaderMap,
        caller: &FleetCaller,
    ) -> Result<Response<PageBody>, ViewError> {
        let Ok(permit) = Arc::clone(&self.viewers).try_acquire_owned() else {
            return Ok(refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many people look at this page: try later",
            ));
        };
        let token = headers.get("last-event-id");
        let token = token.and_then(|token| token.to_str().ok());
        let token = token.filter(|token| token.len() <= MAX_TOKEN_BYTES);
        let watch = self.fleet.watch(caller, token, permit)?;
        let events = self.fleet.latest_events(caller, EVENTS)?.into_iter();
        let events = events.map(|(uuid, entry)| EventJson::of(uuid, entry));
        let hello = Hello {
            now: PageTime::now(),
            version: format!("ironic-shim {}", ironic_program::version()),
            events: (!watch.is_resumed()).then(|| events.collect()),
        };
        let feed = Feed::new(hello, watch, self.metrics.page_viewer());
        let frames = feed.into_stream();
        let frames = frames.map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
        let kind = HeaderValue::from_static("text/event-stream");
        let mut response = answer(StatusCode::OK, kind, StreamBody::new(frames).boxed_unsync());
        // nginx would hold events back.
        let buffering = HeaderValue::from_static("no");
        response
            .headers_mut()
            .insert("x-accel-buffering", buffering);
        Ok(response)
    }

    fn node(&self, uuid: &str, caller: &FleetCaller) -> Result<Response<PageBody>, ViewError> {
        let (node, history) = self.fleet.node(caller, uuid)?;
        Ok(json(&node, &NodeJson::of(&node, history)))
    }
}

fn unseen(error: &ViewError) -> Response<PageBody> {
    let status = match error {
        ViewError::Forbidden(_) => StatusCode::FORBIDDEN,
        ViewError::NodeNotFound => StatusCode::NOT_FOUND,
    };
    refusal(status, &error.to_string())
}

fn json(node: &v1::Node, data: &impl Serialize) -> Response<PageBody> {
    match serde_json::to_vec(data) {
        Ok(bytes) => {
            let kind = HeaderValue::from_static("application/json");
            let body = Full::new(Bytes::from(bytes)).boxed_unsync();
            answer(StatusCode::OK, kind, body)
        }
        Err(error) => {
            error!(node = %node.uuid, %error, "a node cannot be written as JSON");
            refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the node cannot be shown: see the gateway's log",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{Fleet, FleetAccess};

    fn service() -> PageService {
        let fleet = Fleet::default();
        fleet.add("a");
        let fleet = FleetViewer::new(fleet, FleetAccess::default());
        PageService::new(fleet, Metrics::new(), "gw.example")
    }

    fn caller(checks_host: bool) -> PageCaller {
        PageCaller {
            caller: FleetCaller::default(),
            checks_host,
        }
    }

    fn request(method: &str, path: &str) -> Request<()> {
        let request = Request::builder().method(method).uri(path);
        request.header("host", "localhost:9995").body(()).unwrap()
    }

    /// Viewers that have left are noticed by the tasks of their watches.
    async fn wait_for_room(service: &PageService, room: usize) {
        let waiting = async {
            while service.viewers.available_permits() != room {
                tokio::task::yield_now().await;
            }
        };
        let limit = std::time::Duration::from_secs(30);
        tokio::time::timeout(limit, waiting).await.unwrap();
    }

    fn header<'a>(response: &'a Response<PageBody>, name: &str) -> &'a str {
        let value = response.headers().get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    #[tokio::test]
    async fn every_answer_has_the_headers_that_protect_it() {
        let service = service();
        for (method, path, status) in [
            ("GET", "/", 200),
            ("HEAD", "/page.js", 200),
            ("GET", "/events", 200),
            ("HEAD", "/events", 200),
            ("GET", "/nodes/a", 200),
            ("GET", "/nodes/b", 404),
            ("GET", "/nodes/", 404),
            ("GET", "/index.html", 404),
            ("GET", "/web/../page.js", 404),
            ("POST", "/", 405),
            ("DELETE", "/nodes/a", 405),
            ("OPTIONS", "/events", 405),
        ] {
            let response = service.answer(&request(method, path), &caller(true));
            assert_eq!(response.status(), status, "{method} {path}");
            let policy = header(&response, "content-security-policy");
            assert!(policy.starts_with("default-src 'none';"), "{policy}");
            assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
            assert!(!policy.contains("unsafe"), "{policy}");
            assert_eq!(header(&response, "x-content-type-options"), "nosniff");
            assert_eq!(header(&response, "referrer-policy"), "no-referrer");
            assert_eq!(header(&response, "access-control-allow-origin"), "");
            assert!(header(&response, "cache-control").starts_with("no-"));
        }
        // Viewers that ask for the head only are gone at once.
        wait_for_room(&service, VIEWERS).await;
    }

    #[tokio::test]
    async fn a_foreign_host_is_refused_where_there_is_no_tls() {
        let service = service();
        let mut request = request("GET", "/events");
        let foreign = HeaderValue::from_static("evil.example");
        request.headers_mut().insert("host", foreign);
        let refused = service.answer(&request, &caller(true));
        assert_eq!(refused.status(), StatusCode::MISDIRECTED_REQUEST);
        let answered = service.answer(&request, &caller(false));
        assert_eq!(answered.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_copy_that_is_current_is_not_sent_again() {
        let service = service();
        let first = service.answer(&request("GET", "/page.css"), &caller(true));
        let tag = first.headers()["etag"].clone();
        let mut again = request("GET", "/page.css");
        again.headers_mut().insert(IF_NONE_MATCH, tag);
        let second = service.answer(&again, &caller(true));
        assert_eq!(second.status(), StatusCode::NOT_MODIFIED);
        let other = HeaderValue::from_static("\"other\"");
        again.headers_mut().insert(IF_NONE_MATCH, other);
        let third = service.answer(&again, &caller(true));
        assert_eq!(third.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn viewers_are_bounded_and_make_room_when_they_leave() {
        let service = service();
        let look = || service.answer(&request("GET", "/events"), &caller(true));
        let mut viewers: Vec<_> = (0..VIEWERS).map(|_| look()).collect();
        assert!(viewers.iter().all(|viewer| viewer.status() == 200));
        assert_eq!(look().status(), StatusCode::SERVICE_UNAVAILABLE);
        viewers.pop();
        wait_for_room(&service, 1).await;
        assert_eq!(look().status(), StatusCode::OK);
    }
}
