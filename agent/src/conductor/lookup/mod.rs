//! Lookup: asks the conductors which node this machine is until one knows.
//!
//! ```text
//! attempt ─ found ──────────────▶ token decided, overrides applied ▶ LookupSession
//!    │ conflict (409): pause 5, 10, then 30 s, never reset
//!    ▼
//!    │ deferred: wait what the conductor says × U(1, 1.2), and ask again; it costs no time
//!    ▼
//! time is over? ─ yes ▶ error, the process ends with status 1 and is started again
//!    │ no: wait U(interval, max(interval, min(2^(n-1), 60 s)))
//!    └──▶ attempt
//! ```

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ironic_text::error_chain;
use thiserror::Error;
use tokio::time::Instant;

use super::deferral;
use super::heartbeat::Timeout;
use super::jitter::Jitter;
use super::token::{Decision, TokenMemory, decide};
use super::{Conductor, ConductorError, FoundNode, LookupOutcome, LookupRequest, SessionOpen};
use crate::config::{self, SessionOverrides};
use crate::machine::ironic_node::Node;

/// No wait is longer, unless the configured interval is.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// A conductor defers no lookup for longer.
const MAX_DEFERRAL: Duration = Duration::from_secs(300);

/// The waits of one lookup.
#[derive(Debug, Clone)]
pub struct LookupSchedule {
    timeout: Duration,
    interval: Duration,
    attempts: u32,
    /// What deferrals took, which the time for the lookup does not include.
    deferred: Duration,
}

impl LookupSchedule {
    /// The time for the whole lookup, and the shortest wait.
    #[must_use]
    pub fn new(timeout: Duration, interval: Duration) -> Self {
        Self {
            timeout,
            interval,
            attempts: 0,
            deferred: Duration::ZERO,
        }
    }

    /// The wait after an attempt that failed, `elapsed` after the first one began; `None`
    /// when the time is over. A wait is not cut short by the end of the time.
    pub fn failed(&mut self, elapsed: Duration, jitter: &mut impl Jitter) -> Option<Duration> {
        if elapsed >= self.timeout.saturating_add(self.deferred) {
            return None;
        }
        // The exponential begins at one second whatever the interval is.
        let exponential = Duration::from_secs(2_u64.saturating_pow(self.attempts));
        self.attempts = self.attempts.saturating_add(1);
        let low = self.interval.as_secs_f64();
        let high = exponential.min(MAX_WAIT).as_secs_f64().max(low);
        Some(Duration::from_secs_f64(jitter.between(low, high)))
    }

    /// The wait after the conductor has deferred an attempt. It counts as no attempt, and the
    /// time for the lookup stands still: the conductor is there and knows of this machine.
    pub fn deferred(&mut self, retry_after: Duration, jitter: &mut impl Jitter) -> Duration {
        let pause = deferral::pause(retry_after, MAX_DEFERRAL, jitter);
        self.deferred = self.deferred.saturating_add(pause);
        pause
    }
}

/// The extra pauses that conflicts cost. They grow over the life of the client.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conflicts(u32);

impl Conflicts {
    /// The pause for one more conflict.
    pub fn pause(&mut self) -> Duration {
        self.0 = self.0.saturating_add(1);
        Duration::from_secs(match self.0 {
            1 => 5,
            2 => 10,
            _ => 30,
        })
    }
}

/// The node and the session that a lookup gave. Only a lookup makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct LookupSession {
    node: Node,
    timeout: Timeout,
    overrides: SessionOverrides,
    is_ironics: bool,
}

impl LookupSession {
    /// The node.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Whether Ironic has this node.
    #[must_use]
    pub fn is_ironics(&self) -> bool {
        self.is_ironics
    }

    /// How long Ironic waits for a heartbeat.
    #[must_use]
    pub fn timeout(&self) -> Timeout {
        self.timeout
    }

    /// What opens a heartbeat session, with the token in force.
    #[must_use]
    pub fn hello(&self, config: &config::Shared) -> SessionOpen {
        SessionOpen {
            node_uuid: self.node.uuid().to_owned(),
            agent_token: config.current().common.agent_token.clone(),
            overrides: self.overrides.clone(),
        }
    }
}

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LookupError {
    /// Nobody knew this machine in time.
    #[error(
        "no lookup succeeded within lookup_timeout = {} s ({attempts} attempts); the last answer was",
        timeout.as_secs_f64()
    )]
    TimedOut {
        /// The timeout.
        timeout: Duration,
        /// How often it was tried.
        attempts: u32,
        /// What happened last.
        #[source]
        last: ConductorError,
    },
    /// Ironic has given this node's token to another agent. Nothing can be done but idle:
    /// no commands, no heartbeats, network left up for a person to look.
    #[error(
        "Ironic gave the token of node {node_uuid} to another agent; \
         if that agent is gone, let Ironic reboot the node or abort its operation"
    )]
    TokenTaken {
        /// The node.
        node_uuid: String,
    },
}

/// The client of lookups: one for the life of the process.
#[derive(Debug, Clone)]
pub struct Lookups {
    conductor: Arc<dyn Conductor>,
    config: config::Shared,
    memory: TokenMemory,
    conflicts: Arc<Mutex<Conflicts>>,
}

impl Lookups {
    /// A client that has asked nothing yet.
    #[must_use]
    pub fn new(conductor: Arc<dyn Conductor>, config: config::Shared, memory: TokenMemory) -> Self {
        Self {
            conductor,
            config,
            memory,
            conflicts: Arc::default(),
        }
    }

    /// Asks until a conductor knows this machine, then takes over token and configuration.
    ///
    /// # Errors
    /// The time is over, or another session holds the token.
    pub async fn run(
        &self,
        request: &LookupRequest,
        jitter: &mut impl Jitter,
    ) -> Result<LookupSession, LookupError> {
        let found = self.find(request, jitter).await?;
        let node_uuid = found.node.uuid().to_owned();
        let held = self.config.current().common.agent_token.clone();
        match decide(
            &found.agent_token,
            held.as_ref(),
            self.memory.recall(&node_uuid),
        ) {
            Decision::Taken => return Err(LookupError::TokenTaken { node_uuid }),
            Decision::Keep => {
                tracing::info!(held = held.is_some(), "the lookup answered no new token");
            }
            Decision::Adopt(token) => {
                if let Err(error) = self.memory.keep(&node_uuid, &token) {
                    tracing::warn!(%error, "the token will be lost when the agent restarts");
                }
                self.config.adopt_token(token);
            }
        }
        for ignored in self.config.apply(&found.overrides) {
            tracing::warn!(key = %ignored.key, reason = ignored.reason, "the lookup's answer is ignored here");
        }
        tracing::info!(event = %"lookup_succeeded", node = %node_uuid, "milestone");
        Ok(LookupSession {
            node: found.node,
            timeout: found.timeout,
            overrides: found.overrides,
            is_ironics: found.is_ironics,
        })
    }

    /// Asks for the node again, because Ironic may have learned something since. Only the
    /// node counts; a failure is logged. Off when `lookup_timeout` or `lookup_interval` is 0.
    pub async fn refresh(&self, request: &LookupRequest, jitter: &mut impl Jitter) -> Option<Node> {
        let config = self.config.current();
        if config.lookup_timeout.is_zero() || config.lookup_interval.is_zero() {
            return None;
        }
        let found = self.find(request, jitter).await;
        found
            .inspect_err(|error| {
                tracing::warn!(error = %error_chain(error), "the node was not refreshed");
            })
            .ok()
            .map(|found| found.node)
    }

    async fn find(
        &self,
        request: &LookupRequest,
        jitter: &mut impl Jitter,
    ) -> Result<FoundNode, LookupError> {
        let config = self.config.current();
        let mut schedule = LookupSchedule::new(config.lookup_timeout, config.lookup_interval);
        let start = Instant::now();
        loop {
            let (conflict, error) = match self.conductor.lookup(request.clone()).await {
                LookupOutcome::Found(found) => return Ok(*found),
                LookupOutcome::Retry { conflict, error } => (conflict, error),
                LookupOutcome::Deferred(deferral) => {
                    let wait = schedule.deferred(deferral.retry_after, jitter);
                    let reason = &deferral.reason;
                    tracing::info!(%reason, retry_in = ?wait, "lookup deferred by the conductor");
                    tokio::time::sleep(wait).await;
                    continue;
                }
            };
            let reason = error_chain(&error);
            if conflict {
                let pause = self.next_conflict();
                tracing::warn!(%reason, retry_in = ?pause, "lookup: the node is locked");
                tokio::time::sleep(pause).await;
            }
            let Some(wait) = schedule.failed(start.elapsed(), jitter) else {
                return Err(LookupError::TimedOut {
                    timeout: config.lookup_timeout,
                    attempts: schedule.attempts + 1,
                    last: error,
                });
            };
            tracing::warn!(%reason, retry_in = ?wait, "lookup failed");
            tokio::time::sleep(wait).await;
        }
    }

    fn next_conflict(&self) -> Duration {
        let mut conflicts = self
            .conflicts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        conflicts.pause()
    }
}

#[cfg(test)]
mod tests;
