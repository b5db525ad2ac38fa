//! The session with the conductor: opened, and opened again as soon as it is lost.

use futures_util::future::BoxFuture;
use ironic_text::error_chain;
use tokio::time::Instant;

use crate::conductor::backoff::Backoff;
use crate::conductor::jitter::Jitter;
use crate::conductor::{Conductor, Heartbeat, HeartbeatSession, SessionLost, SessionOpen, Verdict};
use crate::shutdown::ShutdownReason;

/// The session, or the way to the next one.
pub(super) struct SessionSupervisor<'a, K> {
    conductor: &'a dyn Conductor,
    hello: &'a SessionOpen,
    backoff: Backoff<K>,
    state: SessionState<'a>,
}

enum SessionState<'a> {
    /// None; the next attempt begins then.
    Closed { until: Instant },
    /// An attempt. It lives here and not in a future of ours, so that an event elsewhere
    /// does not start it over.
    Opening(BoxFuture<'a, Result<Box<dyn HeartbeatSession>, SessionLost>>),
    /// Open.
    Open {
        session: Box<dyn HeartbeatSession>,
        since: Instant,
    },
}

impl<'a, K: Jitter> SessionSupervisor<'a, K> {
    pub(super) fn new(
        conductor: &'a dyn Conductor,
        hello: &'a SessionOpen,
        backoff: Backoff<K>,
    ) -> Self {
        let until = Instant::now();
        Self {
            conductor,
            hello,
            backoff,
            state: SessionState::Closed { until },
        }
    }

    /// Completes after each step towards an open session, and never while one is healthy.
    pub(super) async fn keep_open(&mut self) {
        match &mut self.state {
            SessionState::Closed { until } => {
                tokio::time::sleep_until(*until).await;
                self.dial();
            }
            SessionState::Opening(attempt) => {
                let result = attempt.await;
                // The failure is logged; the next attempt has its time.
                let _ = self.opened(result);
            }
            SessionState::Open { session, .. } => {
                let lost = session.lost().await;
                self.give_up(lost);
            }
        }
    }

    /// Sends one beat; opens a session first if none is open.
    pub(super) async fn beat(&mut self, beat: Heartbeat) -> Result<Verdict, SessionLost> {
        if matches!(self.state, SessionState::Closed { .. }) {
            self.dial();
        }
        if let SessionState::Opening(attempt) = &mut self.state {
            let result = attempt.await;
            self.opened(result)?;
        }
        let SessionState::Open { session, .. } = &mut self.state else {
            return Err(SessionLost::Closed);
        };
        match session.beat(beat).await {
            Ok(verdict) => Ok(verdict),
            Err(lost) => Err(self.give_up(lost)),
        }
    }

    fn dial(&mut self) {
        self.state = SessionState::Opening(self.conductor.open(self.hello.clone()));
    }

    fn opened(
        &mut self,
        result: Result<Box<dyn HeartbeatSession>, SessionLost>,
    ) -> Result<(), SessionLost> {
        let session = result.map_err(|lost| self.give_up(lost))?;
        tracing::debug!("heartbeat session open");
        let since = Instant::now();
        self.state = SessionState::Open { session, since };
        Ok(())
    }

    /// Drops what there is of a session and sets the time of the next attempt.
    pub(super) fn give_up(&mut self, lost: SessionLost) -> SessionLost {
        let pause = match &self.state {
            SessionState::Open { since, .. } => self.backoff.lost(since.elapsed()),
            SessionState::Opening(_) | SessionState::Closed { .. } => self.backoff.failed(),
        };
        tracing::warn!(reason = %error_chain(&lost), retry_in = ?pause, "no heartbeat session");
        let until = Instant::now() + pause;
        self.state = SessionState::Closed { until };
        lost
    }

    pub(super) async fn farewell(self, reason: ShutdownReason) {
        if let SessionState::Open { session, .. } = self.state {
            session.farewell(reason).await;
        }
    }
}
