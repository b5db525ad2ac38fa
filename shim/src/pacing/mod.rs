//! The pace at which a gateway calls Ironic for its agents.
//!
//! Every lookup, beat and inspection report asks for leave ([`Pacing::acquire`]) and is given it
//! in its turn, at a rate that Ironic can follow ([`rate`]), or is deferred to a later time
//! ([`queue`]). Why a rate: `docs/decisions/pacing-by-rate.md`.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::QueueLengths;

mod queue;
mod rate;

pub use rate::CallOutcome;

use queue::{CallId, CallQueue, CallerKey, PacedCall, PacingDecision};

/// Which call asks for leave.
#[derive(Debug, Clone, Copy)]
pub enum CallKind<'a> {
    /// A heartbeat of a node.
    Beat {
        /// The node's UUID.
        node_uuid: &'a str,
        /// Whether it passes others: something has happened there.
        is_forced: bool,
        /// Whether its token is proved: it then takes the place of one that is not.
        is_proved: bool,
    },
    /// A lookup of a machine, by what identifies it.
    Lookup(&'a str),
    /// The inspection report of a machine, by what identifies it.
    Inspection(&'a str),
}

/// The call comes back after this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the gateway calls Ironic as fast as Ironic follows; again in {:.1} s", .0.as_secs_f64())]
pub struct RetryAfter(pub Duration);

/// The calls of one gateway. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pacing(Arc<PacingShared>);

#[derive(Debug)]
struct PacingShared {
    start: Instant,
    state: Mutex<PacingState>,
    /// The next decision is earlier than planned.
    changed: Notify,
    hasher: RandomState,
}

type PermitAnswer = Result<CallPermit, RetryAfter>;

#[derive(Debug)]
struct PacingState {
    queue: CallQueue,
    waiting: HashMap<CallId, oneshot::Sender<PermitAnswer>>,
    /// When the next decision is made if no call comes or ends before.
    planned: Option<Duration>,
}

impl Pacing {
    /// Nothing waits yet. Begins with `first_rate` calls per second. Decisions are made until `stop` is
    /// cancelled.
    #[must_use]
    pub fn start(first_rate: u32, stop: CancellationToken) -> Self {
        let pacing = Self(Arc::new(PacingShared {
            start: Instant::now(),
            state: Mutex::new(PacingState {
                queue: CallQueue::new(first_rate.into()),
                waiting: HashMap::new(),
                planned: None,
            }),
            changed: Notify::new(),
            hasher: RandomState::new(),
        }));
        let deciding = pacing.clone().decide_in_time();
        tokio::spawn(stop.run_until_cancelled_owned(deciding));
        pacing
    }

    /// Leave to call Ironic, after a few seconds at most.
    ///
    /// # Errors
    /// It is not this call's turn within that time, or another call of the node waits.
    pub async fn acquire(&self, kind: CallKind<'_>) -> Result<CallPermit, RetryAfter> {
        let call = self.call(kind);
        let (sender, answer) = oneshot::channel();
        let waiting = {
            let mut state = self.state();
            let id = state.queue.ask(self.now(), call);
            state.waiting.insert(id, sender);
            WaitingCall {
                pacing: self,
                key: call.key,
                id,
            }
        };
        self.decide();
        let answered = answer.await;
        drop(waiting);
        // Without an answer the program stops.
        answered.unwrap_or(Err(RetryAfter(Duration::from_secs(5))))
    }

    /// How many calls wait and run.
    #[must_use]
    pub fn lengths(&self) -> QueueLengths {
        self.state().queue.lengths()
    }

    fn call(&self, kind: CallKind<'_>) -> PacedCall {
        let (identity, is_forced, is_proved) = match kind {
            CallKind::Beat {
                node_uuid,
                is_forced,
                is_proved,
            } => (("beat", node_uuid), is_forced && is_proved, is_proved),
            CallKind::Lookup(machine) => (("lookup", machine), false, false),
            CallKind::Inspection(machine) => (("inspection", machine), false, false),
        };
        PacedCall {
            key: CallerKey(self.0.hasher.hash_one(identity)),
            is_forced,
            is_proved,
        }
    }

    fn now(&self) -> Duration {
        self.0.start.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, PacingState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells calls what becomes of them.
    fn decide(&self) {
        let now = self.now();
        let mut answers = Vec::new();
        let is_earlier = {
            let mut state = self.state();
            for decision in state.queue.decide(now) {
                let (id, answer) = match decision {
                    PacingDecision::Start(id) => {
                        let pacing = self.clone();
                        (id, Ok(CallPermit { pacing, id }))
                    }
                    PacingDecision::Defer(id, time) => (id, Err(RetryAfter(time))),
                };
                // Without a sender the caller is gone, and the permit with this list, which is
                // dropped when the state is free.
                answers.push((state.waiting.remove(&id), answer));
            }
            let wake = state.queue.wake(now);
            let is_earlier =
                wake.is_some_and(|wake| state.planned.is_none_or(|planned| wake < planned));
            if is_earlier {
                state.planned = wake;
            }
            is_earlier
        };
        // Not at each call: a task that wakes up costs as much as the decision.
        if is_earlier {
            self.0.changed.notify_one();
        }
        for (sender, answer) in answers {
            if let Some(sender) = sender {
                // A caller that is gone gives its permit back.
                let _ = sender.send(answer);
            }
        }
    }

    /// Decides whenever the planned time has come.
    async fn decide_in_time(self) {
        loop {
            let planned = self.state().planned;
            let passed = async {
                match planned {
                    Some(planned) => tokio::time::sleep_until(self.0.start + planned).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = passed => {
                    self.state().planned = None;
                    self.decide();
                }
                () = self.0.changed.notified() => {}
            }
        }
    }

    fn finish(&self, id: CallId, outcome: CallOutcome) -> Option<RetryAfter> {
        let retry_after = self.state().queue.finish(self.now(), id, outcome);
        self.decide();
        retry_after.map(RetryAfter)
    }

    /// Others may start in place of this call. That is decided by the task, not here: a decision drops
    /// permits of callers that are gone.
    fn abandon(&self, id: CallId) {
        let mut state = self.state();
        if state.queue.abandon(id) {
            state.planned = Some(self.now());
            drop(state);
            self.0.changed.notify_one();
        }
    }
}

/// A call that asks. Dropped, it asks no more.
#[derive(Debug)]
struct WaitingCall<'a> {
    pacing: &'a Pacing,
    key: CallerKey,
    id: CallId,
}

impl Drop for WaitingCall<'_> {
    fn drop(&mut self) {
        let mut state = self.pacing.state();
        if state.waiting.remove(&self.id).is_some() {
            state.queue.cancel(self.key, self.id);
        }
    }
}

/// Leave for one call, until it is finished or dropped.
#[derive(Debug)]
pub struct CallPermit {
    pacing: Pacing,
    id: CallId,
}

impl CallPermit {
    /// The call has ended. Answers when to come back, if Ironic was unavailable.
    #[must_use]
    pub fn finish(self, outcome: CallOutcome) -> Option<RetryAfter> {
        self.pacing.finish(self.id, outcome)
    }
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        self.pacing.abandon(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(node_uuid: &str) -> CallKind<'_> {
        CallKind::Beat {
            node_uuid,
            is_forced: false,
            is_proved: true,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_start_when_the_rate_lets_them() {
        let pacing = Pacing::start(2, CancellationToken::new());
        let begun = Instant::now();
        let start = async |node| {
            pacing.acquire(beat(node)).await.unwrap();
            begun.elapsed().as_millis()
        };
        let (first, second, third) = tokio::join!(start("a"), start("b"), start("c"));
        assert_eq!(first, 0);
        // Timers have milliseconds, and what is late is made up for within ten.
        assert!((490..=502).contains(&second), "{second}");
        assert!((980..=1004).contains(&third), "{third}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_call_of_a_node_starts_when_one_ends_or_is_dropped() {
        let pacing = Pacing::start(10_000, CancellationToken::new());
        for is_finished in [true, false] {
            let permit = pacing.acquire(beat("a")).await.unwrap();
            let next = tokio::spawn({
                let pacing = pacing.clone();
                async move { pacing.acquire(beat("a")).await.map(drop) }
            });
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(!next.is_finished(), "never two of a node at a time");
            let begun = Instant::now();
            if is_finished {
                assert_eq!(permit.finish(CallOutcome::Answered), None);
            } else {
                drop(permit);
            }
            next.await.unwrap().unwrap();
            let taken = begun.elapsed();
            assert!(taken <= Duration::from_millis(2), "{taken:?}");
        }
    }
}
