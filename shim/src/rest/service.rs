//! One request: find the resource, check the token, answer.
//!
//! ```text
//! request line ─▶ agent ─▶ route ─▶ token ─▶ body ─▶ handler
//!      400         404    404 405   401     400 413    ...
//!                           308             408
//! ```

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, EXPECT, HOST, LOCATION, SERVER};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::body::Body;
use hyper::ext::ReasonPhrase;
use ironic_text::Secret;
use ironic_transport::listener::Slot;
use thiserror::Error;
use tokio::time::Instant;
use tracing::{info, warn};

use super::CloseReason;
use super::body::{self, BodyLimits};
use super::commands::{self, RestOrder};
use super::error::RestError;
use super::html;
use super::memory::Memory;
use super::query::Query;
use super::renewal::Renewal;
use super::route::{self, Route, RouteMatch};
use crate::agents::{Agent, AgentKey, AgentRegistry, CommandResult, Generation};
use crate::metrics::labels::DropReason;
use crate::peers::Peers;
use crate::peers::connection::{PeerBody, full_body};

/// The name of the server that the Python agent gives.
const NAME: &str = "ironic-python-agent";

const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain";

/// The connection ends without an answer: the agent is served no more, and the conductor waits
/// for the moment when nobody answers; or the agent is away, and the conductor is to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the connection is closed without an answer")]
pub struct Unanswered;

/// The connection that a request came over.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// The address of the caller.
    pub peer: SocketAddr,
    /// The port that was called: for links, when the caller names no host.
    pub port: u16,
    /// Whether it is TLS.
    pub secure: bool,
    /// Its place among all of them.
    pub slot: Slot,
}

/// What answers requests.
#[derive(Debug)]
pub struct RestService {
    /// The agents.
    pub agents: AgentRegistry,
    /// The gateways that share the agents with this one, if there are any.
    pub peers: Option<Peers>,
    /// What bodies may cost.
    pub limits: BodyLimits,
    /// What bodies may cost that nobody wants.
    pub refused: BodyLimits,
    /// What all bodies may cost together.
    pub memory: Memory,
    /// How a token that the agent got from others is learned.
    pub renewal: Renewal,
    /// Announces that the agent at the root is served no more.
    pub closing: tokio::sync::watch::Sender<Option<CloseReason>>,
}

/// An answer, and whether the request was read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The answer.
    pub response: Response<PeerBody>,
    /// The connection can take another request.
    pub whole: bool,
}

/// An answer in the making.
struct Reply {
    status: StatusCode,
    kind: &'static str,
    body: Vec<u8>,
    allow: Option<&'static str>,
    location: Option<HeaderValue>,
    whole: bool,
}

impl Reply {
    fn document(body: Vec<u8>) -> Self {
        Self {
            status: StatusCode::OK,
            kind: JSON,
            body,
            allow: None,
            location: None,
            whole: true,
        }
    }

    fn redirect(location: &str) -> Self {
        Self {
            status: StatusCode::PERMANENT_REDIRECT,
            kind: HTML,
            location: HeaderValue::from_str(location).ok(),
            ..Self::document(html::redirect(location))
        }
    }

    fn malformed(sentence: &str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: TEXT,
            whole: false,
            ..Self::document(sentence.into())
        }
    }
}

impl From<RestError> for Reply {
    fn from(error: RestError) -> Self {
        Self {
            status: error.status,
            ..Self::document(error.body())
        }
    }
}

/// Where a request is addressed to.
struct Addressed<'a> {
    agent: Agent,
    generation: Generation,
    key: AgentKey,
    /// The path below the agent's own root.
    path: &'a str,
    query: Query,
    /// The head of the request.
    parts: &'a Parts,
    /// The connection that it came over.
    connection: &'a ConnectionInfo,
    /// Until when it may wait for the agent.
    until: Instant,
}

impl RestService {
    /// Answers a request for an agent of this program, which may be waited for until then.
    ///
    /// # Errors
    /// The connection is to end without an answer.
    pub async fn answer_here<B>(
        self: &Arc<Self>,
        parts: &Parts,
        body: B,
        connection: &ConnectionInfo,
        until: Instant,
    ) -> Result<Answer, Unanswered>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let reply = self.reply(parts, body, connection, until).await?;
        Ok(finished(reply, &parts.headers))
    }

    /// An answer that is this error.
    pub(super) fn refused(error: RestError, whole: bool, request: &HeaderMap) -> Answer {
        let reply = Reply {
            whole,
            ..error.into()
        };
        finished(reply, request)
    }

    async fn reply<B>(
        self: &Arc<Self>,
        parts: &Parts,
        body: B,
        connection: &ConnectionInfo,
        until: Instant,
    ) -> Result<Reply, Unanswered>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if let Some(sentence) = malformed(parts) {
            return Ok(Reply::malformed(sentence));
        }
        let path = route::decoded(parts.uri.path());
        let to = match self.addressed(&path, parts, connection, until) {
            Ok(to) => to,
            Err(error) => return Ok(self.unread(error.into(), parts, body, connection).await),
        };
        if to.agent.closed {
            return Err(self.drop_request(DropReason::NodeClosed));
        }
        let route = match route::find(&parts.method, to.path) {
            RouteMatch::Found(route) => route,
            RouteMatch::Redirect(path) => {
                let query = parts
                    .uri
                    .query()
                    .map_or_else(String::new, |q| format!("?{q}"));
                let location = format!("{}{path}{query}", base(parts, connection, &to.key));
                return Ok(self
                    .unread(Reply::redirect(&location), parts, body, connection)
                    .await);
            }
            RouteMatch::WrongMethod(allowed) => {
                let mut reply = Reply::from(RestError::wrong_method());
                reply.allow = Some(allowed);
                return Ok(self.unread(reply, parts, body, connection).await);
            }
            RouteMatch::NotFound => {
                let reply = RestError::not_found().into();
                return Ok(self.unread(reply, parts, body, connection).await);
            }
        };
        if let Route::Run = route {
            return self.run(to, body).await;
        }
        let reply = self.replied(self.read(route, &to).await)?;
        Ok(self.unread(reply, parts, body, connection).await)
    }

    /// The agent that a path is addressed to.
    fn addressed<'a>(
        &self,
        path: &'a str,
        parts: &'a Parts,
        connection: &'a ConnectionInfo,
        until: Instant,
    ) -> Result<Addressed<'a>, RestError> {
        let (key, path) = match route::node(path) {
            Some((uuid, below)) => (AgentKey::Node(uuid.to_ascii_lowercase()), below),
            None => (AgentKey::Root, path),
        };
        match (self.agents.find(&key), key) {
            (Some((agent, generation)), key) => Ok(Addressed {
                agent,
                generation,
                key,
                path,
                query: Query::parse(parts.uri.query().unwrap_or_default()),
                parts,
                connection,
                until,
            }),
            (None, AgentKey::Node(uuid)) => Err(RestError::no_node(&uuid)),
            (None, AgentKey::Root) => Err(RestError::not_found()),
        }
    }

    /// GET and HEAD.
    async fn read(&self, route: Route, to: &Addressed<'_>) -> Result<Vec<u8>, RestError> {
        let base = || base(to.parts, to.connection, &to.key);
        let client = &to.agent.client;
        match route {
            Route::Root => Ok(html::root(&base())),
            Route::Version => Ok(html::version_one(&base())),
            Route::Status => match client.status().await {
                Ok(status) => Ok(html::status(&status)),
                Err(error) => Err(RestError::call(&error)),
            },
            Route::List => commands::list(client, &self.admit(to).await?).await,
            Route::Get(id) => {
                let token = self.admit(to).await?;
                commands::get(client, &token, &id, to.query.wait).await
            }
            Route::Run => Err(RestError::internal()),
        }
    }

    /// POST to the collection of commands.
    async fn run<B>(self: &Arc<Self>, to: Addressed<'_>, body: B) -> Result<Reply, Unanswered>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let token = match self.admit(&to).await {
            Ok(token) => token,
            Err(error) => {
                return Ok(self
                    .unread(error.into(), to.parts, body, to.connection)
                    .await);
            }
        };
        let reading = Instant::now();
        let node = match &to.key {
            AgentKey::Root => None,
            AgentKey::Node(node_uuid) => Some(node_uuid.as_str()),
        };
        let body = match body::read(body, self.limits, &self.memory, node).await {
            Ok(body) => body,
            Err(error) => {
                return Ok(Reply {
                    whole: false,
                    ..self.replied(Err(error))?
                });
            }
        };
        let service = Arc::clone(self);
        let (key, generation) = (to.key, to.generation);
        let ended = move |record: &CommandResult, token: Option<Secret>| {
            if let Some(reason) = commands::close_reason(record) {
                service.close(&key, generation, reason);
            }
            if let Some(token) = token {
                service.learn(&key, generation, token);
            }
        };
        let order = RestOrder {
            token,
            body,
            wait: to.query.wait,
            // A caller waits for us only when it has sent its body.
            until: to.until + reading.elapsed(),
        };
        let document = commands::run(&to.agent.client, order, ended);
        self.replied(document.await)
    }

    /// The reply with a document, or with the error in its key.
    fn replied(&self, document: Result<Vec<u8>, RestError>) -> Result<Reply, Unanswered> {
        match document {
            Ok(document) => Ok(Reply::document(document)),
            Err(error) => match error.unanswered {
                Some(reason) => {
                    info!(reason = %error.text, "a request gets no answer");
                    Err(self.drop_request(reason))
                }
                None => Ok(error.into()),
            },
        }
    }

    /// Counts a request that gets no answer.
    pub(super) fn drop_request(&self, reason: DropReason) -> Unanswered {
        self.agents.metrics().request_dropped(reason);
        Unanswered
    }

    /// An agent has said itself, or was given, which token it takes.
    fn learn(&self, key: &AgentKey, generation: Generation, token: Secret) {
        if let AgentKey::Node(node_uuid) = key {
            self.agents.proofs().prove(node_uuid, token.reveal());
        }
        self.agents.set_token(key, generation, token);
    }

    /// Ends the service of one agent.
    fn close(&self, key: &AgentKey, generation: Generation, reason: CloseReason) {
        warn!(agent = %key, ?reason, "this agent is served no more");
        match key {
            AgentKey::Root => {
                self.closing.send_replace(Some(reason));
            }
            AgentKey::Node(_) => {
                self.agents.close(key, generation);
            }
        }
    }

    /// A reply to a request whose body nobody wants.
    async fn unread<B>(
        &self,
        reply: Reply,
        parts: &Parts,
        body: B,
        connection: &ConnectionInfo,
    ) -> Reply
    where
        B: Body<Data = Bytes> + Unpin,
    {
        // A caller that asks before it sends need not send.
        let asks = parts.headers.contains_key(EXPECT) && !body.is_end_stream();
        if !body.is_end_stream() {
            connection.slot.waiting();
        }
        let whole = !asks && body::drain(body, self.refused).await;
        Reply { whole, ..reply }
    }

    /// The token of a caller who may pass.
    async fn admit(&self, to: &Addressed<'_>) -> Result<Secret, RestError> {
        let connection = to.connection;
        let shown = Secret::new(to.query.token.as_deref().unwrap_or_default());
        let held = to.agent.token.as_ref();
        let held = held.filter(|held| !held.reveal().is_empty());
        let passes = match &to.key {
            AgentKey::Root => held.is_some_and(|held| held.matches(shown.reveal())),
            AgentKey::Node(node_uuid) => {
                let proofs = self.agents.proofs();
                proofs.is_proved(node_uuid, shown.reveal())
            }
        };
        if !passes {
            let held = held.ok_or_else(RestError::token)?;
            // The agent may have another one by now, of which we have not heard.
            let client = &to.agent.client;
            let renewal = self.renewal.accepts(&to.key, client, held, &shown);
            if shown.reveal().is_empty() || !renewal.await {
                return Err(RestError::token());
            }
            info!(agent = %to.key, peer = %connection.peer, "the agent has a new token");
            self.learn(&to.key, to.generation, shown.clone());
        }
        connection.slot.authenticated();
        Ok(shown)
    }
}

/// What is wrong with a request line that is HTTP all the same.
pub(super) fn malformed(parts: &Parts) -> Option<&'static str> {
    if parts
        .method
        .as_str()
        .bytes()
        .any(|b| b.is_ascii_lowercase())
    {
        return Some("Malformed method name");
    }
    if parts.uri.authority().is_some() || parts.uri.path().starts_with("//") {
        return Some("Absolute URI not allowed if server is not a proxy.");
    }
    None
}

/// The URL of an agent's root, without a slash at its end.
fn base(parts: &Parts, connection: &ConnectionInfo, key: &AgentKey) -> String {
    let scheme = if connection.secure { "https" } else { "http" };
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.map_or_else(|| format!("{NAME}:{}", connection.port), str::to_owned);
    match key {
        AgentKey::Root => format!("{scheme}://{host}"),
        AgentKey::Node(_) => format!("{scheme}://{host}{key}"),
    }
}

fn finished(reply: Reply, request: &HeaderMap) -> Answer {
    let mut response = Response::new(full_body(reply.body));
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static(NAME));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.kind));
    if let Some(allow) = reply.allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if let Some(location) = reply.location {
        headers.insert(LOCATION, location);
    }
    Answer::new(response, reply.whole, request)
}

impl Answer {
    /// Adds what belongs to the connection of the request.
    pub(super) fn new(mut response: Response<PeerBody>, whole: bool, request: &HeaderMap) -> Self {
        if let Some(phrase) = phrase(response.status()) {
            response.extensions_mut().insert(phrase);
        }
        let says_close = |value: &HeaderValue| {
            let words = value.as_bytes().split(|byte| *byte == b',');
            words
                .into_iter()
                .any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"))
        };
        if !whole || request.get_all(CONNECTION).iter().any(says_close) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        Self { response, whole }
    }
}

/// Reason phrases in the capitals of the Python agent.
fn phrase(status: StatusCode) -> Option<ReasonPhrase> {
    Some(ReasonPhrase::from_static(match status.as_u16() {
        308 => b"PERMANENT REDIRECT",
        400 => b"BAD REQUEST",
        401 => b"UNAUTHORIZED",
        404 => b"NOT FOUND",
        405 => b"METHOD NOT ALLOWED",
        408 => b"REQUEST TIMEOUT",
        409 => b"CONFLICT",
        413 => b"REQUEST ENTITY TOO LARGE",
        500 => b"INTERNAL SERVER ERROR",
        502 => b"BAD GATEWAY",
        503 => b"SERVICE UNAVAILABLE",
        504 => b"GATEWAY TIMEOUT",
        _ => return None,
    }))
}
