//! One request: find the resource, check the token, answer.
//!
//! ```text
//! request line ─▶ agent ─▶ route ─▶ token ─▶ body ─▶ handler
//!      400         404    404 405   401     400 413    ...
//!                           308             408
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, EXPECT, HOST, LOCATION, SERVER};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Body;
use hyper::ext::ReasonPhrase;
use ironic_text::Secret;
use ironic_transport::listener::Slot;
use thiserror::Error;
use tracing::{info, warn};

use super::ShutdownReason;
use super::body::{self, Limits, Memory};
use super::commands;
use super::error::RestError;
use super::html;
use super::query::Query;
use super::renewal::Renewal;
use super::route::{self, Outcome, Route};
use crate::agents::{Agent, Generation, Place, Record, Roster};

/// The name of the server that the Python agent gives.
const NAME: &str = "ironic-python-agent";

const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain";

/// How much of a path a log line shows.
const LONGEST_LOGGED_PATH: usize = 200;

/// The agent's door is shut: the connection ends without an answer, because the conductor
/// waits for the moment when nobody answers any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the door of this agent is shut")]
pub struct ServiceClosed;

/// The connection that a request came over.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// Who called.
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
pub struct Service {
    /// The agents.
    pub roster: Roster,
    /// What bodies may cost.
    pub limits: Limits,
    /// What bodies may cost that nobody wants.
    pub refused: Limits,
    /// What all bodies may cost together.
    pub memory: Memory,
    /// How a token that the agent got from others is learned.
    pub renewal: Renewal,
    /// Announces that the door of the root closes.
    pub closing: tokio::sync::watch::Sender<Option<ShutdownReason>>,
}

/// An answer, and whether the request was read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The answer.
    pub response: Response<Full<Bytes>>,
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
    place: Place,
    /// The path below the agent's own root.
    path: &'a str,
    query: Query,
    /// The head of the request.
    parts: &'a Parts,
    /// The connection that it came over.
    connection: &'a ConnectionInfo,
}

impl Service {
    /// Answers a request.
    ///
    /// # Errors
    /// The agent's door is shut.
    pub async fn answer<B>(
        self: &Arc<Self>,
        request: Request<B>,
        connection: &ConnectionInfo,
    ) -> Result<Answer, ServiceClosed>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let reply = self.reply(&parts, body, connection).await?;
        let path = parts.uri.path();
        let shown = path.get(..LONGEST_LOGGED_PATH).unwrap_or(path);
        info!(
            peer = %connection.peer,
            method = %parts.method,
            path = %shown,
            status = reply.status.as_u16(),
            ms = started.elapsed().as_millis(),
            "request"
        );
        Ok(finished(reply, &parts.headers))
    }

    async fn reply<B>(
        self: &Arc<Self>,
        parts: &Parts,
        body: B,
        connection: &ConnectionInfo,
    ) -> Result<Reply, ServiceClosed>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if let Some(sentence) = malformed(parts) {
            return Ok(Reply::malformed(sentence));
        }
        let path = route::decoded(parts.uri.path());
        let to = match self.addressed(&path, parts, connection) {
            Ok(to) => to,
            Err(error) => return Ok(self.unread(error.into(), parts, body, connection).await),
        };
        if to.agent.closed {
            return Err(ServiceClosed);
        }
        let route = match route::find(&parts.method, to.path) {
            Outcome::Found(route) => route,
            Outcome::Redirect(path) => {
                let query = parts
                    .uri
                    .query()
                    .map_or_else(String::new, |q| format!("?{q}"));
                let location = format!("{}{path}{query}", base(parts, connection, &to.place));
                return Ok(self
                    .unread(Reply::redirect(&location), parts, body, connection)
                    .await);
            }
            Outcome::WrongMethod(allowed) => {
                let mut reply = Reply::from(RestError::wrong_method());
                reply.allow = Some(allowed);
                return Ok(self.unread(reply, parts, body, connection).await);
            }
            Outcome::NotFound => {
                let reply = RestError::not_found().into();
                return Ok(self.unread(reply, parts, body, connection).await);
            }
        };
        if let Route::Run = route {
            return Ok(self.run(to, body).await);
        }
        let document = self.read(route, &to).await;
        let reply = document.map_or_else(Reply::from, Reply::document);
        Ok(self.unread(reply, parts, body, connection).await)
    }

    /// The agent that a path is addressed to.
    fn addressed<'a>(
        &self,
        path: &'a str,
        parts: &'a Parts,
        connection: &'a ConnectionInfo,
    ) -> Result<Addressed<'a>, RestError> {
        let (place, path) = match route::node(path) {
            Some((uuid, below)) => (Place::Node(uuid.to_ascii_lowercase()), below),
            None => (Place::Root, path),
        };
        match (self.roster.find(&place), place) {
            (Some((agent, generation)), place) => Ok(Addressed {
                agent,
                generation,
                place,
                path,
                query: Query::parse(parts.uri.query().unwrap_or_default()),
                parts,
                connection,
            }),
            (None, Place::Node(uuid)) => Err(RestError::no_node(&uuid)),
            (None, Place::Root) => Err(RestError::not_found()),
        }
    }

    /// GET and HEAD.
    async fn read(&self, route: Route, to: &Addressed<'_>) -> Result<Vec<u8>, RestError> {
        let base = || base(to.parts, to.connection, &to.place);
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
    async fn run<B>(self: &Arc<Self>, to: Addressed<'_>, body: B) -> Reply
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let token = match self.admit(&to).await {
            Ok(token) => token,
            Err(error) => {
                return self
                    .unread(error.into(), to.parts, body, to.connection)
                    .await;
            }
        };
        let body = match body::read(body, self.limits, &self.memory).await {
            Ok(body) => body,
            Err(error) => {
                return Reply {
                    whole: false,
                    ..error.into()
                };
            }
        };
        let service = Arc::clone(self);
        let (place, generation) = (to.place, to.generation);
        let ended = move |record: &Record, token: Option<Secret>| {
            if let Some(reason) = commands::shutdown_reason(record) {
                service.close(&place, generation, reason);
            }
            if let Some(token) = token {
                service.roster.set_token(&place, generation, token);
            }
        };
        commands::run(&to.agent.client, token, body, to.query.wait, ended)
            .await
            .map_or_else(Reply::from, Reply::document)
    }

    /// Shuts the door of one agent.
    fn close(&self, place: &Place, generation: Generation, reason: ShutdownReason) {
        warn!(%place, farewell = ?reason, "the door of this agent closes");
        match place {
            Place::Root => {
                self.closing.send_replace(Some(reason));
            }
            Place::Node(_) => {
                self.roster.close(place, generation);
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
        // Who asks before sending need not send.
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
        let shown = to.query.token.as_deref().unwrap_or_default();
        let held = to.agent.token.as_ref();
        let held = held.filter(|held| !held.reveal().is_empty());
        let held = held.ok_or_else(RestError::token)?;
        if !held.matches(shown) {
            // The agent may have another one by now, of which we have not heard.
            let candidate = Secret::new(shown);
            let client = &to.agent.client;
            let renewal = self.renewal.accepts(&to.place, client, held, &candidate);
            if shown.is_empty() || !renewal.await {
                return Err(RestError::token());
            }
            info!(place = %to.place, peer = %connection.peer, "the agent has a new token");
            self.roster
                .set_token(&to.place, to.generation, candidate.clone());
            connection.slot.authenticated();
            return Ok(candidate);
        }
        connection.slot.authenticated();
        Ok(held.clone())
    }
}

/// What is wrong with a request line that is HTTP all the same.
fn malformed(parts: &Parts) -> Option<&'static str> {
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
fn base(parts: &Parts, connection: &ConnectionInfo, place: &Place) -> String {
    let scheme = if connection.secure { "https" } else { "http" };
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.map_or_else(|| format!("{NAME}:{}", connection.port), str::to_owned);
    match place {
        Place::Root => format!("{scheme}://{host}"),
        Place::Node(_) => format!("{scheme}://{host}{place}"),
    }
}

fn finished(reply: Reply, request: &HeaderMap) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(reply.body)));
    *response.status_mut() = reply.status;
    if let Some(phrase) = phrase(reply.status) {
        response.extensions_mut().insert(phrase);
    }
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static(NAME));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.kind));
    if let Some(allow) = reply.allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if let Some(location) = reply.location {
        headers.insert(LOCATION, location);
    }
    let says_close = |value: &HeaderValue| {
        let words = value.as_bytes().split(|byte| *byte == b',');
        words
            .into_iter()
            .any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"))
    };
    if !reply.whole || request.get_all(CONNECTION).iter().any(says_close) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Answer {
        response,
        whole: reply.whole,
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
