//! A conductor for tests, scripted and watched.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use ironic_document::JsonObject;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{
    AttachHello, Conductor, ConnectionError, Heartbeat, HeartbeatSession, InspectionOutcome,
    LookupOutcome, LookupRequest, OpenAttachment, SessionLost, SessionOpen, Verdict,
};
use crate::shutdown::ShutdownReason;

/// What happens to one beat.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Now(Verdict),
    After(Duration, Verdict),
    Never,
    Lost,
}

/// What the conductor saw.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    Lookup(LookupRequest),
    Submission,
    Open(String),
    Beat { forced: bool },
    Farewell(ShutdownReason),
    Attach(AttachHello),
    Moved,
}

#[derive(Debug, Clone)]
pub(crate) struct FakeConductor(Arc<ConductorScript>);

#[derive(Debug)]
struct ConductorScript {
    start: Instant,
    /// Dropping a session is heard by the one that is open.
    drop: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<(Duration, Event)>,
    /// Replies to beats; afterwards every beat is accepted.
    replies: VecDeque<Reply>,
    /// Answers to lookups; the last one is repeated.
    answers: VecDeque<LookupOutcome>,
    /// Answers to inspection reports; the last one is repeated.
    submissions: VecDeque<InspectionOutcome>,
    /// How long attachments last; an error is one that is refused.
    attachments: VecDeque<Result<Duration, ()>>,
    /// When each attachment is asked to move elsewhere.
    drains: VecDeque<Option<Duration>>,
    refuses: bool,
    /// What the beats said.
    status_messages: Vec<String>,
}

impl FakeConductor {
    pub(crate) fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        let state = State {
            replies: replies.into_iter().collect(),
            ..State::default()
        };
        Self::with(state)
    }

    pub(crate) fn accepting() -> Self {
        Self::new([])
    }

    pub(crate) fn answering(answers: impl IntoIterator<Item = LookupOutcome>) -> Self {
        Self::with(State {
            answers: answers.into_iter().collect(),
            ..State::default()
        })
    }

    pub(crate) fn taking(submissions: impl IntoIterator<Item = InspectionOutcome>) -> Self {
        Self::with(State {
            submissions: submissions.into_iter().collect(),
            ..State::default()
        })
    }

    pub(crate) fn attached_for(
        attachments: impl IntoIterator<Item = Result<Duration, ()>>,
    ) -> Self {
        Self::with(State {
            attachments: attachments.into_iter().collect(),
            ..State::default()
        })
    }

    /// After so long, each attachment is asked to move elsewhere.
    pub(crate) fn draining_after(self, drains: impl IntoIterator<Item = Option<Duration>>) -> Self {
        self.state().drains = drains.into_iter().collect();
        self
    }

    fn with(state: State) -> Self {
        Self(Arc::new(ConductorScript {
            start: Instant::now(),
            drop: Notify::new(),
            state: Mutex::new(state),
        }))
    }

    /// What was seen, with the time since this conductor was made.
    pub(crate) fn events(&self) -> Vec<(Duration, Event)> {
        self.state().events.clone()
    }

    pub(crate) fn status_messages(&self) -> Vec<String> {
        self.state().status_messages.clone()
    }

    pub(crate) fn drop_session(&self) {
        self.0.drop.notify_waiters();
    }

    pub(crate) fn refuse_sessions(&self, refuses: bool) {
        self.state().refuses = refuses;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    fn saw(&self, event: Event) {
        let at = self.0.start.elapsed();
        self.state().events.push((at, event));
    }
}

/// The next of a script whose last line is repeated.
fn next<T: Clone>(script: &mut VecDeque<T>) -> T {
    if script.len() > 1 {
        script.pop_front().unwrap()
    } else {
        script.front().expect("a script").clone()
    }
}

impl Conductor for FakeConductor {
    fn lookup(&self, question: LookupRequest) -> BoxFuture<'_, LookupOutcome> {
        self.saw(Event::Lookup(question));
        let answer = next(&mut self.state().answers);
        Box::pin(std::future::ready(answer))
    }

    fn submit_inspection(&self, _report: JsonObject) -> BoxFuture<'_, InspectionOutcome> {
        self.saw(Event::Submission);
        let submission = next(&mut self.state().submissions);
        Box::pin(std::future::ready(submission))
    }

    fn attach(&self, hello: AttachHello) -> BoxFuture<'_, Result<OpenAttachment, SessionLost>> {
        self.saw(Event::Attach(hello));
        let lasts = next(&mut self.state().attachments);
        let drains = self.state().drains.pop_front().flatten();
        let conductor = self.clone();
        Box::pin(async move {
            let lasts = lasts.map_err(|()| lost("refused"))?;
            Ok(OpenAttachment {
                ended: Box::pin(async move {
                    tokio::time::sleep(lasts).await;
                    lost("ended")
                }),
                draining: Box::pin(async move {
                    match drains {
                        Some(after) => tokio::time::sleep(after).await,
                        None => std::future::pending().await,
                    }
                }),
                moved: Box::new(move || conductor.saw(Event::Moved)),
            })
        })
    }

    fn open(
        &self,
        hello: SessionOpen,
    ) -> BoxFuture<'_, Result<Box<dyn HeartbeatSession>, SessionLost>> {
        let refuses = self.state().refuses;
        let result: Result<Box<dyn HeartbeatSession>, SessionLost> = if refuses {
            Err(lost("refused"))
        } else {
            self.saw(Event::Open(hello.node_uuid));
            Ok(Box::new(FakeSession(self.clone())))
        };
        Box::pin(std::future::ready(result))
    }
}

#[derive(Debug)]
struct FakeSession(FakeConductor);

impl HeartbeatSession for FakeSession {
    fn beat(&mut self, beat: Heartbeat) -> BoxFuture<'_, Result<Verdict, SessionLost>> {
        let forced = beat.forced;
        self.0.saw(Event::Beat { forced });
        self.0.state().status_messages.push(beat.status_message);
        let reply = self.0.state().replies.pop_front();
        Box::pin(async move {
            match reply.unwrap_or(Reply::Now(Verdict::Accepted)) {
                Reply::Now(verdict) => Ok(verdict),
                Reply::After(pause, verdict) => {
                    tokio::time::sleep(pause).await;
                    Ok(verdict)
                }
                Reply::Never => std::future::pending().await,
                Reply::Lost => Err(lost("dropped")),
            }
        })
    }

    fn lost(&mut self) -> BoxFuture<'_, SessionLost> {
        Box::pin(async {
            self.0.0.drop.notified().await;
            lost("dropped")
        })
    }

    fn farewell(self: Box<Self>, reason: ShutdownReason) -> BoxFuture<'static, ()> {
        self.0.saw(Event::Farewell(reason));
        Box::pin(std::future::ready(()))
    }
}

fn lost(why: &'static str) -> SessionLost {
    ConnectionError::new(std::io::Error::other(why)).into()
}
