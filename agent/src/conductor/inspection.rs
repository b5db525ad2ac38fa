//! Handing the inspection report over: five rounds, then the process ends and is started
//! again.

use std::time::Duration;

use serde_json::{Map, Value};
use thiserror::Error;

use super::{Conductor, Submission};
use crate::config::Config;

/// The waits between rounds: the posts go at 0, 5, 10, 16 and 28 s when each fails at once.
pub const WAITS: [Duration; 4] = [
    Duration::from_secs(5),
    Duration::from_secs(5),
    Duration::from_secs(6),
    Duration::from_secs(12),
];

/// No round delivered the report.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the inspection report was not taken in {} rounds; the last answer was: {reason}", WAITS.len() + 1)]
pub struct Undelivered {
    /// What happened last.
    pub reason: String,
}

/// Whether a report is asked for. Whether an address takes it, the conductor knows: it may
/// still answer [`Submission::Disabled`].
#[must_use]
pub fn is_wanted(config: &Config) -> bool {
    !config.inspection_callback_url.is_empty() || config.inspection_collectors.is_some()
}

/// Hands a report over. Answers the node's UUID if the conductor told it: the lookup asks for
/// that node then.
///
/// # Errors
/// Every round failed. A report that is refused for good is no error: the lookup follows.
pub async fn submit(
    conductor: &dyn Conductor,
    report: &Map<String, Value>,
) -> Result<Option<String>, Undelivered> {
    let mut waits = WAITS.into_iter();
    loop {
        let reason = match conductor.submit_inspection(report.clone()).await {
            Submission::Accepted { node_uuid } => {
                let node = node_uuid.as_deref().unwrap_or("unknown");
                tracing::info!(event = %"inspection_accepted", %node, "milestone");
                return Ok(node_uuid);
            }
            Submission::Refused { reason } => {
                tracing::error!(%reason, "the inspection report was refused; the lookup follows");
                return Ok(None);
            }
            Submission::Disabled => {
                tracing::info!("no address takes inspection reports");
                return Ok(None);
            }
            Submission::Retry { reason } => reason,
        };
        let Some(wait) = waits.next() else {
            return Err(Undelivered { reason });
        };
        tracing::warn!(%reason, again = ?wait, "the inspection report was not taken");
        tokio::time::sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeConductor;
    use super::*;

    fn retry() -> Submission {
        Submission::Retry {
            reason: "503".into(),
        }
    }

    fn accepted(node_uuid: Option<&str>) -> Submission {
        Submission::Accepted {
            node_uuid: node_uuid.map(str::to_owned),
        }
    }

    async fn submitted(
        submissions: impl IntoIterator<Item = Submission>,
    ) -> (Result<Option<String>, Undelivered>, Vec<u64>) {
        let conductor = FakeConductor::taking(submissions);
        let result = submit(&conductor, &Map::new()).await;
        let events = conductor.events();
        (result, events.iter().map(|(at, _)| at.as_secs()).collect())
    }

    /// Contract rows 79, 118, 119 and 120.
    #[tokio::test(start_paused = true)]
    async fn rounds_and_verdicts() {
        let uuid = || Ok(Some("U".to_owned()));
        let refused = Submission::Refused {
            reason: "404".into(),
        };
        let gave_up = Err(Undelivered {
            reason: "503".into(),
        });
        let cases = [
            (vec![accepted(Some("U"))], uuid(), vec![0]),
            (vec![accepted(None)], Ok(None), vec![0]),
            (vec![retry(), accepted(Some("U"))], uuid(), vec![0, 5]),
            (vec![refused], Ok(None), vec![0]),
            (vec![Submission::Disabled], Ok(None), vec![0]),
            (vec![retry()], gave_up, vec![0, 5, 10, 16, 28]),
        ];
        for (submissions, result, times) in cases {
            assert_eq!(submitted(submissions).await, (result, times));
        }
    }

    #[test]
    fn is_wanted_when_an_address_or_collectors_are_named() {
        let default = Config::default();
        let with_address = Config {
            inspection_callback_url: vec!["http://h".into()],
            ..Config::default()
        };
        let with_collectors = Config {
            inspection_collectors: Some(Vec::new()),
            ..Config::default()
        };
        let wanted = [&default, &with_address, &with_collectors].map(is_wanted);
        assert_eq!(wanted, [false, true, true]);
    }
}
