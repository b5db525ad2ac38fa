//! What calls may cost that have shown no token: how much of them is read, how many run at
//! once, and for how long.
//!
//! The layer also tells the listener whose turn it is: a connection without calls makes its
//! server wait, and ends when it has for too long.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, BodyStream, Limited, StreamBody};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body;
use tonic::transport::server::{Connected, TlsConnectInfo};
use tower::{Layer, Service};

use crate::listener::{Connection, Slot};

/// Calls at once on a connection that has shown no token.
const CALLS_PER_CONNECTION: usize = 16;

/// Who calls: what a request's extensions hold.
#[derive(Debug, Clone)]
pub struct Caller {
    slot: Slot,
    /// The address; `None` over a socket in the file system.
    pub peer: Option<SocketAddr>,
    /// Calls of this connection that have not ended.
    calls: Arc<AtomicUsize>,
}

impl Caller {
    /// The caller of a request that came over one of our listeners.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Option<Self> {
        Self::in_extensions(request.extensions())
    }

    /// The same, of a request's extensions.
    #[must_use]
    pub fn in_extensions(extensions: &http::Extensions) -> Option<Self> {
        if let Some(tls) = extensions.get::<TlsConnectInfo<Self>>() {
            let caller = tls.get_ref().clone();
            if tls.peer_certs().is_some() {
                caller.authenticated();
            }
            return Some(caller);
        }
        extensions.get::<Self>().cloned()
    }

    /// The caller has proved who it is: its connection makes way for nobody.
    pub fn authenticated(&self) {
        self.slot.authenticated();
    }

    /// Counts a call as long as the answer lives.
    fn begin(&self) -> ActiveCall {
        if self.calls.fetch_add(1, Ordering::Relaxed) == 0 {
            self.slot.serving();
        }
        ActiveCall(self.clone())
    }
}

/// A call that has not ended.
#[derive(Debug)]
struct ActiveCall(Caller);

impl Drop for ActiveCall {
    fn drop(&mut self) {
        if self.0.calls.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.slot.waiting();
        }
    }
}

impl<S: std::os::fd::AsFd> Connected for Connection<S> {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        let slot = self.slot().clone();
        let peer = self.peer();
        if peer.is_none() {
            // The socket's mode lets nobody else in.
            slot.authenticated();
        }
        Caller {
            slot,
            peer,
            calls: Arc::default(),
        }
    }
}

/// What calls without a token may cost.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// How their paths begin.
    pub prefix: &'static str,
    /// The largest request in bytes, all its messages together.
    pub largest: usize,
    /// How many of them run at once, of all callers.
    pub at_once: usize,
    /// After this time nothing more of the request is read.
    pub deadline: Option<Duration>,
}

/// Holds calls to their rules.
#[derive(Clone)]
pub struct Bounds(Arc<[(Rule, Arc<Semaphore>)]>);

impl fmt::Debug for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(rule, _)| rule))
            .finish()
    }
}

impl Bounds {
    /// The first rule whose prefix fits counts; calls without a rule are not limited here.
    #[must_use]
    pub fn new(rules: &[Rule]) -> Self {
        let with_turns = |rule: &Rule| (*rule, Arc::new(Semaphore::new(rule.at_once)));
        Self(rules.iter().map(with_turns).collect())
    }

    /// What a request may cost.
    ///
    /// # Errors
    /// Too many run already.
    fn admit(
        &self,
        path: &str,
        caller: Option<&Caller>,
    ) -> Result<Option<(Rule, Option<OwnedSemaphorePermit>)>, Status> {
        let Some((rule, turns)) = self
            .0
            .iter()
            .find(|(rule, _)| path.starts_with(rule.prefix))
        else {
            return Ok(None);
        };
        if caller.is_some_and(|caller| caller.slot.is_authenticated()) {
            return Ok(Some((
                Rule {
                    deadline: None,
                    ..*rule
                },
                None,
            )));
        }
        let busy = |what| {
            Status::resource_exhausted(format!("too many calls without a token {what}: try later"))
        };
        if caller.is_some_and(|caller| caller.calls.load(Ordering::Relaxed) > CALLS_PER_CONNECTION)
        {
            return Err(busy("on this connection"));
        }
        let turn = Arc::clone(turns).try_acquire_owned();
        let turn = turn.map_err(|_| busy("at once"))?;
        Ok(Some((*rule, Some(turn))))
    }
}

impl<S> Layer<S> for Bounds {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded {
            bounds: self.clone(),
            inner,
        }
    }
}

/// A service behind [`Bounds`].
#[derive(Debug, Clone)]
pub struct Bounded<S> {
    bounds: Bounds,
    inner: S,
}

impl<S> Service<Request<Body>> for Bounded<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let caller = Caller::of(&request);
        let turn = caller.as_ref().map(Caller::begin);
        let admitted = self.bounds.admit(request.uri().path(), caller.as_ref());
        let (request, permit) = match admitted {
            Err(busy) => return Box::pin(std::future::ready(Ok(busy.into_http()))),
            Ok(None) => (request, None),
            Ok(Some((rule, permit))) => (request.map(|body| limited(body, rule)), permit),
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            // The call ends with its answer's body.
            Ok(answer.map(move |body| {
                Body::new(body.map_frame(move |frame| {
                    let _held = (&turn, &permit);
                    frame
                }))
            }))
        })
    }
}

fn limited(body: Body, rule: Rule) -> Body {
    let body = Limited::new(body, rule.largest);
    match rule.deadline {
        None => Body::new(body),
        Some(deadline) => {
            let frames = BodyStream::new(body).take_until(Box::pin(tokio::time::sleep(deadline)));
            Body::new(StreamBody::new(frames))
        }
    }
}
