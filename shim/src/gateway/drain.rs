//! How a gateway is emptied before it stops: agents are asked to attach elsewhere, spread over a
//! time, and what they have begun here ends here.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{info, warn};

/// The sessions of a gateway, and whether they are to end.
#[derive(Debug)]
pub(super) struct SessionDrain {
    timeout: Duration,
    plan: watch::Sender<Option<DrainPlan>>,
    sessions: TaskTracker,
}

/// A drain that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainPlan {
    begun: Instant,
    timeout: Duration,
}

impl DrainPlan {
    /// When the agents are asked to attach elsewhere: spread over the first half of the time, so
    /// that the gateways which take them do not get all of them at once, and the last of them
    /// have the other half for what they have begun.
    #[must_use]
    pub fn ask_at(&self, node_uuid: &str) -> Instant {
        let hash = RandomState::new().hash_one(node_uuid) >> 32;
        let share = u32::try_from(hash).unwrap_or(u32::MAX);
        let share = f64::from(share) / f64::from(u32::MAX);
        self.begun + self.timeout.mul_f64(share / 2.0)
    }

    /// When the sessions end that are left.
    #[must_use]
    pub fn ends_at(&self) -> Instant {
        self.begun + self.timeout
    }
}

impl SessionDrain {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            plan: watch::Sender::new(None),
            sessions: TaskTracker::new(),
        }
    }

    /// A session is open for as long as this lives.
    pub(super) fn session(&self) -> TaskTrackerToken {
        self.sessions.token()
    }

    /// Begins, unless it has begun.
    pub(super) fn begin(&self) {
        let begins = self.plan.send_if_modified(|plan| {
            let begins = plan.is_none();
            plan.get_or_insert_with(|| DrainPlan {
                begun: Instant::now(),
                timeout: self.timeout,
            });
            begins
        });
        if begins {
            let (sessions, timeout) = (self.sessions.len(), self.timeout);
            info!(event = %"draining", sessions, ?timeout, "milestone");
        }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.plan.borrow().is_some()
    }

    /// Completes when it begins.
    pub(super) async fn begun(&self) -> DrainPlan {
        let mut plan = self.plan.subscribe();
        let begun = plan.wait_for(Option::is_some).await;
        match begun.ok().and_then(|plan| *plan) {
            Some(plan) => plan,
            // The sender is ours.
            None => std::future::pending().await,
        }
    }

    /// Completes when no session is left, or the time is over.
    pub(super) async fn finished(&self) {
        let plan = self.begun().await;
        self.sessions.close();
        let gone = tokio::time::timeout_at(plan.ends_at(), self.sessions.wait()).await;
        let left = self.sessions.len();
        match gone {
            Ok(()) => info!(event = %"drained", "milestone"),
            Err(_) => warn!(
                left,
                "the time to drain is over: the sessions that are left end"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn it_ends_with_the_last_session() {
        let drain = SessionDrain::new(TIMEOUT);
        let (first, second) = (drain.session(), drain.session());
        drop(first);
        assert!(!drain.has_begun());
        let start = Instant::now();
        drain.begin();
        let leaving = async {
            tokio::time::sleep(Duration::from_secs(7)).await;
            drop(second);
        };
        tokio::join!(drain.finished(), leaving);
        assert_eq!(start.elapsed(), Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_after_its_time_and_a_second_request_does_not_begin_anew() {
        let drain = SessionDrain::new(TIMEOUT);
        let _stays = drain.session();
        let start = Instant::now();
        drain.begin();
        let again = async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            drain.begin();
        };
        tokio::join!(drain.finished(), again);
        assert_eq!(start.elapsed(), TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn agents_are_asked_one_after_the_other() {
        let drain = SessionDrain::new(TIMEOUT);
        let start = Instant::now();
        drain.begin();
        let plan = drain.begun().await;
        let mut seconds = [0; 15];
        for node in 0..1500 {
            let after = plan.ask_at(&node.to_string()) - start;
            assert!(after <= TIMEOUT / 2, "{after:?}");
            seconds[usize::try_from(after.as_secs()).unwrap().min(14)] += 1;
        }
        assert!(
            seconds.iter().all(|count| (50..200).contains(count)),
            "{seconds:?}"
        );
    }
}
