//! What calls may cost that have shown no token: how much of them is read, how many run at
//! once, and for how long.
//!
//! The layer also tells the listener whose turn it is: a connection without calls makes its
//! server wait, and ends when it has for too long.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, BodyStream, Limited, StreamBody};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tonic::transport::server::{Connected, TlsConnectInfo};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tower::{Layer, Service};

use super::first_message;
pub use super::first_message::MessageSizes;
use crate::listener::{Connection, Slot};

/// Calls at once on a connection that has shown no token.
const CALLS_PER_CONNECTION: usize = 16;
/// Calls at once on any connection of those that take much memory: who has few of them cannot keep
/// the others out.
const LARGE_CALLS_PER_CONNECTION: usize = 2;

/// Who calls: what a request's extensions hold.
#[derive(Debug, Clone)]
pub struct Caller {
    slot: Slot,
    /// The address; `None` over a socket in the file system.
    pub peer: Option<SocketAddr>,
    /// Calls of this connection that have not ended.
    calls: Arc<AtomicUsize>,
    /// Turns for those of its calls that take much memory.
    large_calls: Arc<Semaphore>,
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

fn large_calls() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(LARGE_CALLS_PER_CONNECTION))
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
            large_calls: large_calls(),
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
    /// The largest messages, where the request may be larger.
    pub largest_messages: Option<MessageSizes>,
    /// How many of them run at once, of all callers.
    pub at_once: usize,
    /// Whether `at_once` and `deadline` also bound callers that have shown a token: each call takes
    /// much memory. A connection has two of them at once.
    pub bounds_all: bool,
    /// After this time nothing more of the request is read.
    pub deadline: Option<Duration>,
}

/// Holds calls to their rules.
#[derive(Clone)]
pub struct Bounds {
    rules: Arc<[(Rule, Arc<Semaphore>)]>,
    retry_after: Arc<RetrySpread>,
}

/// When callers that are refused come back: each after another time, so that they do not come
/// together.
#[derive(Debug, Default)]
struct RetrySpread(AtomicU32);

impl RetrySpread {
    const MIN_DELAY: Duration = Duration::from_secs(5);
    const MAX_DELAY: Duration = Duration::from_secs(15);
    /// The golden ratio in parts of 2^32: its multiples, without their whole parts, fill the
    /// interval evenly.
    const STEP: u32 = 0x9E37_79B9;

    fn next(&self) -> Duration {
        let at = self.0.fetch_add(Self::STEP, Ordering::Relaxed);
        let share = f64::from(at) / f64::from(u32::MAX);
        Self::MIN_DELAY + (Self::MAX_DELAY - Self::MIN_DELAY).mul_f64(share)
    }
}

impl fmt::Debug for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.rules.iter().map(|(rule, _)| rule))
            .finish()
    }
}

impl Bounds {
    /// The first rule whose prefix fits counts; calls without a rule are not limited here.
    #[must_use]
    pub fn new(rules: &[Rule]) -> Self {
        let with_turns = |rule: &Rule| (*rule, Arc::new(Semaphore::new(rule.at_once)));
        Self {
            rules: rules.iter().map(with_turns).collect(),
            retry_after: Arc::default(),
        }
    }

    /// What a request may cost.
    ///
    /// # Errors
    /// Too many run already.
    fn admit(
        &self,
        path: &str,
        caller: Option<&Caller>,
    ) -> Result<Option<(Rule, CallTurn)>, Status> {
        let Some((rule, turns)) = self
            .rules
            .iter()
            .find(|(rule, _)| path.starts_with(rule.prefix))
        else {
            return Ok(None);
        };
        let busy = |what| {
            let retry_after = Some(self.retry_after.next());
            Status::with_error_details(
                Code::ResourceExhausted,
                format!("too many calls {what}: try later"),
                ErrorDetails::with_retry_info(retry_after),
            )
        };
        let is_authenticated = caller.is_some_and(|caller| caller.slot.is_authenticated());
        if is_authenticated && !rule.bounds_all {
            let rule = Rule {
                deadline: None,
                ..*rule
            };
            return Ok(Some((rule, CallTurn::default())));
        }
        let has_many =
            |caller: &Caller| caller.calls.load(Ordering::Relaxed) > CALLS_PER_CONNECTION;
        if !is_authenticated && caller.is_some_and(has_many) {
            return Err(busy("on this connection"));
        }
        let acquire = |turns: &Arc<Semaphore>| Arc::clone(turns).try_acquire_owned();
        let of_connection = caller.filter(|_| rule.bounds_all);
        let of_connection = of_connection.map(|caller| acquire(&caller.large_calls));
        let turn = CallTurn {
            _of_connection: of_connection
                .transpose()
                .map_err(|_| busy("on this connection"))?,
            _of_all: Some(acquire(turns).map_err(|_| busy("at once"))?),
        };
        Ok(Some((*rule, turn)))
    }
}

/// Leave for a call, until it is dropped.
#[derive(Debug, Default)]
struct CallTurn {
    _of_connection: Option<OwnedSemaphorePermit>,
    _of_all: Option<OwnedSemaphorePermit>,
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
            Ok(Some((rule, permit))) => (request.map(|body| limited(body, rule)), Some(permit)),
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
    let body = match rule.largest_messages {
        Some(sizes) => first_message::bounded(body, sizes),
        None => body,
    };
    let body = Limited::new(body, rule.largest);
    match rule.deadline {
        None => Body::new(body),
        Some(deadline) => {
            let frames = BodyStream::new(body).take_until(Box::pin(tokio::time::sleep(deadline)));
            Body::new(StreamBody::new(frames))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule {
        prefix: "/a.B/",
        largest: 1024,
        largest_messages: None,
        at_once: 1,
        bounds_all: true,
        deadline: None,
    };

    fn authenticated() -> Caller {
        let slot = Slot::unlimited();
        slot.authenticated();
        Caller {
            slot,
            peer: None,
            calls: Arc::default(),
            large_calls: large_calls(),
        }
    }

    #[test]
    fn a_refused_call_hears_when_to_come_back_and_each_comes_at_another_time() {
        let caller = authenticated();
        let bounds = Bounds::new(&[RULE]);
        let running = bounds.admit("/a.B/C", Some(&caller)).unwrap();
        let mut seconds = [0; 10];
        for _ in 0..100 {
            let status = bounds.admit("/a.B/C", Some(&caller)).unwrap_err();
            assert_eq!(status.code(), Code::ResourceExhausted);
            let wait = status
                .get_details_retry_info()
                .unwrap()
                .retry_delay
                .unwrap();
            let past = wait.as_secs().checked_sub(5).unwrap();
            seconds[usize::try_from(past).unwrap().min(9)] += 1;
        }
        assert!(
            seconds.iter().all(|count| (8..=12).contains(count)),
            "{seconds:?}"
        );
        drop(running);
        bounds.admit("/a.B/C", Some(&caller)).unwrap();
    }

    #[test]
    fn who_has_shown_a_token_is_not_counted_where_calls_are_small() {
        let caller = authenticated();
        let bounds = Bounds::new(&[Rule {
            bounds_all: false,
            ..RULE
        }]);
        let admitted: Result<Vec<_>, _> = (0..50)
            .map(|_| bounds.admit("/a.B/C", Some(&caller)))
            .collect();
        assert!(admitted.is_ok());
        let stranger = Caller {
            slot: Slot::unlimited(),
            ..caller
        };
        let _running = bounds.admit("/a.B/C", Some(&stranger)).unwrap();
        bounds.admit("/a.B/C", Some(&stranger)).unwrap_err();
    }
    #[test]
    fn large_calls_have_a_deadline_and_few_of_them_a_connection_whoever_calls() {
        let deadline = Some(Duration::from_secs(120));
        let bounds = Bounds::new(&[Rule {
            at_once: 3,
            deadline,
            ..RULE
        }]);
        let (one, other) = (authenticated(), authenticated());
        let mut running: Vec<_> = (0..2)
            .map(|_| bounds.admit("/a.B/C", Some(&one)).unwrap().unwrap())
            .collect();
        assert!(running.iter().all(|(rule, _)| rule.deadline == deadline));
        let status = bounds.admit("/a.B/C", Some(&one)).unwrap_err();
        assert!(
            status.message().contains("on this connection"),
            "{status:?}"
        );
        running.push(bounds.admit("/a.B/C", Some(&other)).unwrap().unwrap());
        let status = bounds.admit("/a.B/C", Some(&other)).unwrap_err();
        assert!(status.message().contains("at once"), "{status:?}");
        // A turn of the connection that was not used up is given back.
        running.clear();
        for _ in 0..2 {
            running.push(bounds.admit("/a.B/C", Some(&other)).unwrap().unwrap());
        }
    }
}
