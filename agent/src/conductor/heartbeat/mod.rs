//! Heartbeats: when they go, and the loop that sends them over one session.
//!
//! ```text
//! first                at once
//! after success        timeout × U(0.3, 0.6), and never less than 5 s
//! after any error      5 s × U(1.0, 2.0), also while a force is pending
//! after DEFERRED       what the conductor says × U(1.0, 1.2), from 1 s up to timeout × 0.36
//! forced               exactly 5 s after the last beat, after a success or the deferral of
//!                      a beat that was not forced; no jitter
//! ```
//!
//! A fixed retry would make every agent that lost Ironic come back in the same second, so
//! there is no fixed retry. An Ironic that asks for beats without a pause, by mistake or because it is
//! not Ironic, gets one every 5 s, as often as a forced one may come. A force raised while a
//! beat is in flight is kept for the next one.

use std::time::Duration;

use ironic_text::error_chain;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::jitter::Jitter;
use super::{Conductor, Heartbeat, SessionLost, SessionOpen, Verdict};

mod control;
mod schedule;
mod session;

pub use control::Control;
pub use schedule::{BeatOutcome, Schedule};
use session::SessionSupervisor;

/// How long Ironic waits for a heartbeat before it gives a node up. Positive and finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout(Duration);

/// An invalid timeout.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[error("heartbeat_timeout is {seconds} s; it must be a number greater than 0 and less than 2^32")]
pub struct InvalidTimeout {
    /// What it was.
    pub seconds: f64,
}

impl Timeout {
    /// Checks a number of seconds.
    ///
    /// # Errors
    /// A number that is not finite, not positive or more than 136 years.
    pub fn from_secs(seconds: f64) -> Result<Self, InvalidTimeout> {
        let time = Duration::try_from_secs_f64(seconds).map_err(|_| InvalidTimeout { seconds })?;
        if time.is_zero() || time.as_secs() > u64::from(u32::MAX) {
            return Err(InvalidTimeout { seconds });
        }
        Ok(Self(time))
    }

    /// The time.
    #[must_use]
    pub fn get(self) -> Duration {
        self.0
    }
}

/// What the beats of one node are made of, and when they go.
#[derive(Debug)]
pub struct Heartbeats<'a, J, K> {
    /// What opens each session.
    pub hello: &'a SessionOpen,
    /// How long a verdict is waited for, opening the session included; after it the beat has
    /// failed and the session is opened anew.
    pub deadline: Duration,
    /// When the beats go.
    pub schedule: Schedule<J>,
    /// When sessions that were lost are opened again.
    pub backoff: Backoff<K>,
    /// What the beats say that the agent is doing.
    pub status: &'a watch::Receiver<String>,
}

impl<J: Jitter, K: Jitter> Heartbeats<'_, J, K> {
    /// Sends heartbeats until [`Control::stop`].
    ///
    /// The first beat goes at once, so whatever answers the conductor's commands must be
    /// listening before.
    pub async fn run(self, conductor: &dyn Conductor, control: &Control) {
        let Self {
            hello,
            deadline,
            mut schedule,
            backoff,
            status,
        } = self;
        let start = Instant::now();
        let mut sessions = SessionSupervisor::new(conductor, hello, backoff);

        // Goal: a beat whenever the schedule says so, over a session that is opened again as
        // soon as it is lost. Exit: stop, also in the middle of a beat.
        loop {
            tokio::select! {
                biased;
                reason = control.stopped() => return sessions.farewell(reason).await,
                // A force that came in the same instant as a beat belongs to that beat.
                () = control.forced() => {
                    schedule.force();
                    continue;
                }
                () = sessions.keep_open() => continue,
                () = tokio::time::sleep_until(start + schedule.due()) => {}
            }
            let forced = schedule.begin();
            let beat = Heartbeat {
                forced,
                status_message: status.borrow().clone(),
            };
            let outcome = tokio::select! {
                biased;
                reason = control.stopped() => return sessions.farewell(reason).await,
                outcome = tokio::time::timeout(deadline, sessions.beat(beat)) => outcome,
            };
            let outcome =
                outcome.unwrap_or_else(|_| Err(sessions.give_up(SessionLost::NoVerdict(deadline))));

            if outcome == Ok(Verdict::Accepted) {
                control.note_accepted();
            }
            let now = start.elapsed();
            schedule.finish(now, beat_outcome(&outcome));
            report(&outcome, forced, schedule.due().saturating_sub(now));
        }
    }
}

fn beat_outcome(outcome: &Result<Verdict, SessionLost>) -> BeatOutcome {
    match outcome {
        Ok(Verdict::Accepted) => BeatOutcome::Accepted,
        Ok(Verdict::Deferred(deferral)) => BeatOutcome::Deferred(deferral.retry_after),
        Ok(Verdict::Conflict { .. } | Verdict::Refused { .. } | Verdict::Unreachable { .. })
        | Err(_) => BeatOutcome::Failed,
    }
}

/// `next` is the real time to the next beat, unless a force shortens it later.
fn report(outcome: &Result<Verdict, SessionLost>, forced: bool, next: Duration) {
    match outcome {
        Ok(Verdict::Accepted) => {
            tracing::info!(event = %"heartbeat_accepted", forced, ?next, "milestone");
        }
        Ok(Verdict::Conflict { reason }) => {
            tracing::warn!(%reason, forced, ?next, "heartbeat: the node is locked");
        }
        Ok(Verdict::Refused { status, reason }) => {
            tracing::error!(status, %reason, forced, ?next, "heartbeat refused");
        }
        Ok(Verdict::Unreachable { reason }) => {
            tracing::error!(%reason, forced, ?next, "heartbeat: Ironic is unreachable");
        }
        Ok(Verdict::Deferred(deferral)) => {
            let reason = &deferral.reason;
            tracing::info!(%reason, forced, ?next, "heartbeat deferred by the conductor");
        }
        Err(lost) => {
            let reason = error_chain(lost);
            tracing::error!(%reason, forced, ?next, "heartbeat failed");
        }
    }
}

#[cfg(test)]
mod tests;
