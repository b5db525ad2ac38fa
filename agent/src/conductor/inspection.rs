//! Handing the inspection report over: five rounds, then the process ends and is started
//! again. And how often the daemon does that.

use std::convert::Infallible;
use std::time::Duration;

use ironic_document::JsonObject;
use ironic_text::error_chain;
use thiserror::Error;

use super::deferral;
use super::jitter::Jitter;
use super::{Conductor, ConductorError, InspectionOutcome};
use crate::config::AgentConfig;

/// The waits between rounds: the posts go at 0, 5, 10, 16 and 28 s when each fails at once.
pub const WAITS: [Duration; 4] = [
    Duration::from_secs(5),
    Duration::from_secs(5),
    Duration::from_secs(6),
    Duration::from_secs(12),
];

/// A conductor defers no report for longer.
const MAX_DEFERRAL: Duration = Duration::from_secs(300);

/// How the daemon's waits grow with each failure, and up to how many times the interval.
const FAILURE_FACTOR: f64 = 2.7;
const FAILURE_LIMIT: u32 = 4;

/// No round delivered the report.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the inspection report was not taken in {} rounds; the last answer was", WAITS.len() + 1)]
pub struct Undelivered {
    /// What happened last.
    #[source]
    pub last: ConductorError,
}

/// What became of a report that was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// Ironic has it, and may have answered the node's UUID.
    Taken(Option<String>),
    /// Ironic does not want it, whenever it comes.
    Refused,
    /// No address takes reports.
    NoAddress,
}

/// Whether a report is asked for. Whether an address takes it, the conductor knows: it may
/// still answer [`InspectionOutcome::Disabled`].
#[must_use]
pub fn is_wanted(config: &AgentConfig) -> bool {
    !config.common.inspection_callback_url.is_empty()
        || config.common.inspection_collectors.is_some()
}

/// Hands a report over. Answers the node's UUID if the conductor answered it: the lookup asks for
/// that node then.
///
/// # Errors
/// Every round failed. A report that is refused for good is not an error: the lookup follows.
pub async fn submit(
    conductor: &dyn Conductor,
    report: &JsonObject,
    jitter: &mut impl Jitter,
) -> Result<Option<String>, Undelivered> {
    Ok(match deliver(conductor, report, jitter).await? {
        Delivered::Taken(node_uuid) => node_uuid,
        Delivered::Refused | Delivered::NoAddress => None,
    })
}

/// Hands a report over. A round that the conductor defers does not count.
///
/// # Errors
/// Every round failed.
pub async fn deliver(
    conductor: &dyn Conductor,
    report: &JsonObject,
    jitter: &mut impl Jitter,
) -> Result<Delivered, Undelivered> {
    let mut waits = WAITS.into_iter();
    loop {
        let error = match conductor.submit_inspection(report.clone()).await {
            InspectionOutcome::Accepted { node_uuid } => {
                let node = node_uuid.as_deref().unwrap_or("unknown");
                tracing::info!(event = %"inspection_accepted", %node, "milestone");
                return Ok(Delivered::Taken(node_uuid));
            }
            InspectionOutcome::Refused(error) => {
                tracing::error!(reason = %error_chain(&error), "the inspection report was refused");
                return Ok(Delivered::Refused);
            }
            InspectionOutcome::Disabled => {
                tracing::info!("no address takes inspection reports");
                return Ok(Delivered::NoAddress);
            }
            InspectionOutcome::Deferred(deferral) => {
                let wait = deferral::pause(deferral.retry_after, MAX_DEFERRAL, jitter);
                let reason = &deferral.reason;
                tracing::info!(%reason, retry_in = ?wait, "the conductor defers the inspection report");
                tokio::time::sleep(wait).await;
                continue;
            }
            InspectionOutcome::Retry(error) => error,
        };
        let Some(wait) = waits.next() else {
            return Err(Undelivered { last: error });
        };
        tracing::warn!(reason = %error_chain(&error), retry_in = ?wait, "the inspection report was not taken");
        tokio::time::sleep(wait).await;
    }
}

/// Inspects again and again: `base` apart after a success, further and further after failures,
/// up to four times that. The jitter is that of each wait: it does not add up.
pub async fn repeat(
    base: Duration,
    jitter: &mut dyn Jitter,
    mut was_well: bool,
    mut inspect: impl AsyncFnMut() -> bool,
) -> Infallible {
    let mut interval = base;
    loop {
        interval = if was_well {
            base
        } else {
            interval.mul_f64(FAILURE_FACTOR).min(base * FAILURE_LIMIT)
        };
        tokio::time::sleep(interval.mul_f64(jitter.between(0.7, 1.2))).await;
        was_well = inspect().await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeConductor;
    use super::super::jitter::Scripted;
    use crate::conductor::Deferral;
    use ironic_program::CommonSettings;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    fn deferred(seconds: u64) -> InspectionOutcome {
        InspectionOutcome::Deferred(Deferral {
            retry_after: Duration::from_secs(seconds),
            reason: "busy".into(),
        })
    }

    fn retry() -> InspectionOutcome {
        InspectionOutcome::Retry(ConductorError::Said("503".into()))
    }

    fn accepted(node_uuid: Option<&str>) -> InspectionOutcome {
        InspectionOutcome::Accepted {
            node_uuid: node_uuid.map(str::to_owned),
        }
    }

    async fn submitted(
        submissions: impl IntoIterator<Item = InspectionOutcome>,
    ) -> (Result<Option<String>, Undelivered>, Vec<u64>) {
        let conductor = FakeConductor::taking(submissions);
        let mut jitter = SmallRng::seed_from_u64(1);
        let result = submit(&conductor, &JsonObject::new(), &mut jitter).await;
        let events = conductor.events();
        (result, events.iter().map(|(at, _)| at.as_secs()).collect())
    }

    /// Contract rows 79, 118, 119 and 120.
    #[tokio::test(start_paused = true)]
    async fn rounds_and_verdicts() {
        let uuid = || Ok(Some("U".to_owned()));
        let refused = InspectionOutcome::Refused(ConductorError::Said("404".into()));
        let gave_up = Err(Undelivered {
            last: ConductorError::Said("503".into()),
        });
        let cases = [
            (vec![accepted(Some("U"))], uuid(), vec![0]),
            (vec![accepted(None)], Ok(None), vec![0]),
            (vec![retry(), accepted(Some("U"))], uuid(), vec![0, 5]),
            (vec![refused], Ok(None), vec![0]),
            (vec![InspectionOutcome::Disabled], Ok(None), vec![0]),
            (vec![retry()], gave_up, vec![0, 5, 10, 16, 28]),
        ];
        for (submissions, result, times) in cases {
            assert_eq!(submitted(submissions).await, (result, times));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_deferral_is_no_round() {
        let deferrals = [10, 10_000].map(deferred);
        let retries = [retry(), retry(), retry(), retry()];
        let submissions = deferrals.into_iter().chain(retries).chain([accepted(None)]);
        let (result, times) = submitted(submissions).await;
        assert_eq!(result, Ok(None));
        let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!((10..=12).contains(&pauses[0]), "{pauses:?}");
        assert!((300..=360).contains(&pauses[1]), "{pauses:?}");
        let rest: u64 = pauses[2..].iter().sum();
        assert!((28..=29).contains(&rest), "{pauses:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_daemon_waits_longer_after_failures_and_never_drifts() {
        let begun = tokio::time::Instant::now();
        let mut times = Vec::new();
        let mut jitter = Scripted::new([1.0, 0.7, 1.0, 1.0, 1.2, 1.0]);
        let mut outcomes = [false, false, false, true, true].into_iter();
        let inspecting = repeat(
            Duration::from_secs(100),
            &mut jitter,
            true,
            async || match outcomes.next() {
                Some(outcome) => {
                    times.push(begun.elapsed().as_secs());
                    outcome
                }
                None => std::future::pending().await,
            },
        );
        let hour = Duration::from_secs(3600);
        assert!(tokio::time::timeout(hour, inspecting).await.is_err());
        let waits = [100, 189, 400, 400, 120];
        let expected = waits.iter().scan(0, |at, wait| {
            *at += wait;
            Some(*at)
        });
        assert_eq!(times, expected.collect::<Vec<u64>>());
    }

    #[test]
    fn is_wanted_when_an_address_or_collectors_are_named() {
        let default = AgentConfig::default();
        let with_address = AgentConfig {
            common: CommonSettings {
                inspection_callback_url: vec!["http://h".into()],
                ..CommonSettings::default()
            },
            ..AgentConfig::default()
        };
        let with_collectors = AgentConfig {
            common: CommonSettings {
                inspection_collectors: Some(Vec::new()),
                ..CommonSettings::default()
            },
            ..AgentConfig::default()
        };
        let wanted = [&default, &with_address, &with_collectors].map(is_wanted);
        assert_eq!(wanted, [false, true, true]);
    }
}
