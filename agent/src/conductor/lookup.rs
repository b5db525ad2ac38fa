//! Lookup: asking who this machine is until somebody knows.
//!
//! ```text
//! attempt ─ found ──────────────▶ token decided, overrides applied ▶ Session
//!    │ conflict (409): pause 5, 10, then 30 s, never reset
//!    ▼
//! patience over? ─ yes ▶ error, the process ends with status 1 and is started again
//!    │ no: wait U(interval, max(interval, min(2^(n-1), 60 s)))
//!    └──▶ attempt
//! ```

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use super::heartbeat::Timeout;
use super::jitter::Jitter;
use super::token::{Decision, Memory, decide};
use super::{Answer, Conductor, Found, Hello, Question};
use crate::config::{self, SessionOverrides};
use crate::machine::ironic_node::Node;

/// No wait is longer, unless the configured interval is.
const LONGEST: Duration = Duration::from_secs(60);

/// The waits of one lookup.
#[derive(Debug, Clone)]
pub struct Schedule {
    timeout: Duration,
    interval: Duration,
    attempts: u32,
}

impl Schedule {
    /// Patience for the whole lookup, and the shortest wait.
    #[must_use]
    pub fn new(timeout: Duration, interval: Duration) -> Self {
        Self {
            timeout,
            interval,
            attempts: 0,
        }
    }

    /// The wait after an attempt that failed, `elapsed` after the first one began; `None`
    /// when patience is over. A wait is not cut short by the end of patience.
    pub fn failed(&mut self, elapsed: Duration, jitter: &mut impl Jitter) -> Option<Duration> {
        if elapsed >= self.timeout {
            return None;
        }
        // The exponential begins at one second whatever the interval is.
        let exponential = Duration::from_secs(2_u64.saturating_pow(self.attempts));
        self.attempts = self.attempts.saturating_add(1);
        let low = self.interval.as_secs_f64();
        let high = exponential.min(LONGEST).as_secs_f64().max(low);
        Some(Duration::from_secs_f64(jitter.between(low, high)))
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

/// Who this machine is. Only a lookup makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    node: Node,
    timeout: Timeout,
    overrides: SessionOverrides,
}

impl Session {
    /// The node.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// How long Ironic waits for a heartbeat.
    #[must_use]
    pub fn timeout(&self) -> Timeout {
        self.timeout
    }

    /// What opens a heartbeat session, with the token in force.
    #[must_use]
    pub fn hello(&self, config: &config::Shared) -> Hello {
        Hello {
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
        "no lookup succeeded within lookup_timeout = {} s ({attempts} attempts); the last answer was: {reason}",
        timeout.as_secs_f64()
    )]
    TimedOut {
        /// The patience.
        timeout: Duration,
        /// How often it was tried.
        attempts: u32,
        /// What happened last.
        reason: String,
    },
    /// Ironic has given this node's token to another agent. Nothing can be done but idle:
    /// no commands, no heartbeats, network left up for whoever looks.
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
    memory: Memory,
    conflicts: Arc<Mutex<Conflicts>>,
}

impl Lookups {
    /// A client that has asked nothing yet.
    #[must_use]
    pub fn new(conductor: Arc<dyn Conductor>, config: config::Shared, memory: Memory) -> Self {
        Self {
            conductor,
            config,
            memory,
            conflicts: Arc::default(),
        }
    }

    /// Asks until somebody knows this machine, then takes over token and configuration.
    ///
    /// # Errors
    /// Patience is over, or somebody else holds the token.
    pub async fn run(
        &self,
        question: &Question,
        jitter: &mut impl Jitter,
    ) -> Result<Session, LookupError> {
        let found = self.find(question, jitter).await?;
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
        Ok(Session {
            node: found.node,
            timeout: found.timeout,
            overrides: found.overrides,
        })
    }

    /// Asks for the node again, because Ironic may have learned something since. Only the
    /// node counts; a failure is logged. Off when `lookup_timeout` or `lookup_interval` is 0.
    pub async fn refresh(&self, question: &Question, jitter: &mut impl Jitter) -> Option<Node> {
        let config = self.config.current();
        if config.lookup_timeout.is_zero() || config.lookup_interval.is_zero() {
            return None;
        }
        let found = self.find(question, jitter).await;
        found
            .inspect_err(|error| tracing::warn!(%error, "the node was not refreshed"))
            .ok()
            .map(|found| found.node)
    }

    async fn find(
        &self,
        question: &Question,
        jitter: &mut impl Jitter,
    ) -> Result<Found, LookupError> {
        let config = self.config.current();
        let mut schedule = Schedule::new(config.lookup_timeout, config.lookup_interval);
        let start = Instant::now();
        loop {
            let (conflict, reason) = match self.conductor.lookup(question.clone()).await {
                Answer::Found(found) => return Ok(*found),
                Answer::Retry { conflict, reason } => (conflict, reason),
            };
            if conflict {
                let pause = self.next_conflict();
                tracing::warn!(%reason, ?pause, "lookup: the node is locked");
                tokio::time::sleep(pause).await;
            }
            let Some(wait) = schedule.failed(start.elapsed(), jitter) else {
                return Err(LookupError::TimedOut {
                    timeout: config.lookup_timeout,
                    attempts: schedule.attempts + 1,
                    reason,
                });
            };
            tracing::warn!(%reason, again = ?wait, "lookup failed");
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
mod tests {
    use ironic_program::CommonSettings;
    use ironic_text::Secret;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;
    use serde_json::json;

    use super::super::fake::{Event, FakeConductor};
    use super::*;
    use crate::config::Config;
    use crate::system::PathPrefix;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789a";

    fn found(token: &str) -> Answer {
        let node = json!({"uuid": "U", "properties": {}, "instance_info": {}});
        Answer::Found(Box::new(Found {
            node: Node(node.as_object().unwrap().clone()),
            timeout: Timeout::from_secs(300.0).unwrap(),
            agent_token: Secret::new(token),
            overrides: SessionOverrides {
                agent_md5_checksum_enable: Some(true),
                ..SessionOverrides::default()
            },
        }))
    }

    fn retry() -> Answer {
        Answer::Retry {
            conflict: false,
            reason: "404".into(),
        }
    }

    fn conflict() -> Answer {
        Answer::Retry {
            conflict: true,
            reason: "409".into(),
        }
    }

    struct Bench {
        conductor: FakeConductor,
        config: config::Shared,
        lookups: Lookups,
        state: tempfile::TempDir,
    }

    fn bench(config: Config, answers: impl IntoIterator<Item = Answer>) -> Bench {
        let state = tempfile::tempdir().unwrap();
        let conductor = FakeConductor::answering(answers);
        let config = config::Shared::new(config);
        let memory = Memory::new(state.path(), &PathPrefix::new(state.path()));
        let lookups = Lookups::new(Arc::new(conductor.clone()), config.clone(), memory);
        Bench {
            conductor,
            config,
            lookups,
            state,
        }
    }

    impl Bench {
        async fn run(&self) -> Result<Session, LookupError> {
            self.lookups
                .run(&Question::default(), &mut SmallRng::seed_from_u64(1))
                .await
        }

        /// Seconds between the attempts.
        fn gaps(&self) -> Vec<f64> {
            let events = self.conductor.events();
            let gap = |pair: &[(Duration, Event)]| (pair[1].0 - pair[0].0).as_secs_f64();
            events.windows(2).map(gap).collect()
        }
    }

    #[test]
    fn waits_grow_from_exactly_one_second() {
        let mut jitter = SmallRng::seed_from_u64(3);
        for _ in 0..1000 {
            let mut schedule = Schedule::new(Duration::from_secs(600), Duration::from_secs(1));
            for ceiling in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0] {
                let wait = schedule
                    .failed(Duration::ZERO, &mut jitter)
                    .unwrap()
                    .as_secs_f64();
                assert!((1.0..=ceiling).contains(&wait), "{wait} of {ceiling}");
            }
        }
        // An interval above the ceiling is the wait.
        let mut schedule = Schedule::new(Duration::from_secs(600), Duration::from_secs(90));
        assert_eq!(
            schedule.failed(Duration::ZERO, &mut jitter),
            Some(Duration::from_secs(90))
        );
        let mut schedule = Schedule::new(Duration::from_secs(600), Duration::ZERO);
        assert!(schedule.failed(Duration::ZERO, &mut jitter).unwrap() < Duration::from_secs(1));
        assert_eq!(schedule.failed(Duration::from_secs(600), &mut jitter), None);
    }

    /// Contract row 80.
    #[tokio::test(start_paused = true)]
    async fn the_second_attempt_is_one_second_later() {
        let bench = bench(Config::default(), [retry(), found(TOKEN)]);
        let session = bench.run().await.unwrap();
        assert_eq!(
            (session.node().uuid(), session.timeout().get().as_secs()),
            ("U", 300)
        );
        assert_eq!(bench.gaps(), [1.0]);
    }

    /// Contract row 81.
    #[tokio::test(start_paused = true)]
    async fn conflicts_cost_extra_pauses_that_never_start_over() {
        let config = Config {
            lookup_interval: Duration::from_secs(1),
            ..Config::default()
        };
        let bench = bench(
            config,
            [
                conflict(),
                conflict(),
                retry(),
                conflict(),
                conflict(),
                found(TOKEN),
                conflict(),
                found(TOKEN),
            ],
        );
        bench.run().await.unwrap();
        let extra = [5.0, 10.0, 0.0, 30.0, 30.0];
        for (index, (gap, extra)) in bench.gaps().into_iter().zip(extra).enumerate() {
            let ceiling = 2_f64.powi(i32::try_from(index).unwrap());
            assert!(
                (extra + 1.0..=extra + ceiling + 0.01).contains(&gap),
                "{index}: {gap}"
            );
        }
        let before = bench.conductor.events().last().unwrap().0;
        bench
            .lookups
            .refresh(&Question::default(), &mut SmallRng::seed_from_u64(1))
            .await
            .unwrap();
        let after = bench.conductor.events().last().unwrap().0;
        assert_eq!((after - before).as_secs(), 31, "the refresh counts on");
    }

    /// Contract row 83.
    #[tokio::test(start_paused = true)]
    async fn patience_ends() {
        let config = Config {
            lookup_timeout: Duration::from_secs(20),
            ..Config::default()
        };
        let bench = bench(config, [retry()]);
        let start = Instant::now();
        let error = bench.run().await.unwrap_err();
        assert!(start.elapsed().as_secs() >= 20);
        let text = error.to_string();
        assert!(
            text.contains("lookup_timeout = 20 s") && text.contains("404"),
            "{text}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_takes_over_token_and_configuration() {
        let bench = bench(Config::default(), [found(TOKEN)]);
        let session = bench.run().await.unwrap();
        let config = bench.config.current();
        assert_eq!(config.common.agent_token, Some(Secret::new(TOKEN)));
        assert!(config.md5_enabled);
        let hello = session.hello(&bench.config);
        assert_eq!(
            (hello.node_uuid.as_str(), hello.agent_token),
            ("U", Some(Secret::new(TOKEN)))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_restarted_agent_goes_on_with_its_token() {
        let first = bench(Config::default(), [found(TOKEN)]);
        first.run().await.unwrap();

        let second = bench(Config::default(), [found("******")]);
        let memory = Memory::new(first.state.path(), &PathPrefix::new(first.state.path()));
        let lookups = Lookups {
            memory,
            ..second.lookups.clone()
        };
        lookups
            .run(&Question::default(), &mut SmallRng::seed_from_u64(1))
            .await
            .unwrap();
        assert_eq!(
            second.config.current().common.agent_token,
            Some(Secret::new(TOKEN))
        );

        let stranger = bench(Config::default(), [found("******")]);
        assert_eq!(
            stranger.run().await,
            Err(LookupError::TokenTaken {
                node_uuid: "U".into()
            })
        );
        assert!(!stranger.config.current().md5_enabled, "nothing is applied");
    }

    #[tokio::test(start_paused = true)]
    async fn a_configured_token_survives_the_stars() {
        let config = Config {
            common: CommonSettings {
                agent_token: Some(Secret::new("K")),
                ..CommonSettings::default()
            },
            ..Config::default()
        };
        let bench = bench(config, [found("******")]);
        bench.run().await.unwrap();
        assert_eq!(
            bench.config.current().common.agent_token,
            Some(Secret::new("K"))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn refresh_can_be_switched_off() {
        let config = Config {
            lookup_interval: Duration::ZERO,
            ..Config::default()
        };
        let bench = bench(config, [found(TOKEN)]);
        let mut jitter = SmallRng::seed_from_u64(1);
        assert_eq!(
            bench
                .lookups
                .refresh(&Question::default(), &mut jitter)
                .await,
            None
        );
        assert!(bench.conductor.events().is_empty());
    }
}
