//! What an agent tells anybody, and for how long that is taken for granted.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::error::CallError;

/// How long a status is taken for granted. Start time and version of an agent change only
/// when it restarts.
const KEPT: Duration = Duration::from_secs(1);

/// How long a failure is: long enough that a crowd does not dial for every request, short
/// enough that an agent which has just started is served at once.
const FAILURE_KEPT: Duration = Duration::from_millis(10);

/// What an agent tells anybody.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// When it started: seconds since 1970, by its clock.
    pub started_at: f64,
    /// Its version.
    pub version: String,
    /// The bare name of the background command that runs.
    pub busy: Option<String>,
}

/// The outcome of asking for a status.
pub(super) type StatusResult = Result<Status, CallError>;

/// The latest outcome. Whatever the number of callers, the agent is asked once a second, and
/// a hundred times a second while it does not answer.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    latest: RwLock<Option<(StatusResult, Instant)>>,
    asking: Mutex<()>,
}

impl Remembered {
    /// The outcome of the last second, or else the answer to `ask`. While one caller asks,
    /// the others get the status of before; those who have none wait.
    pub(super) async fn get(&self, ask: impl AsyncFnOnce() -> StatusResult) -> StatusResult {
        if let Some(outcome) = self.fresh() {
            return outcome;
        }
        let _asking = match (self.asking.try_lock(), self.stale()) {
            (Ok(asking), _) => asking,
            (Err(_), Some(status)) => return Ok(status),
            (Err(_), None) => {
                let asking = self.asking.lock().await;
                if let Some(outcome) = self.fresh() {
                    return outcome;
                }
                asking
            }
        };
        let outcome = ask().await;
        let mut latest = self.latest.write().unwrap_or_else(PoisonError::into_inner);
        *latest = Some((outcome.clone(), Instant::now()));
        outcome
    }

    fn fresh(&self) -> Option<StatusResult> {
        let latest = self.latest.read().unwrap_or_else(PoisonError::into_inner);
        let (outcome, at) = latest.as_ref()?;
        let kept = if outcome.is_ok() { KEPT } else { FAILURE_KEPT };
        (at.elapsed() < kept).then(|| outcome.clone())
    }

    fn stale(&self) -> Option<Status> {
        let latest = self.latest.read().unwrap_or_else(PoisonError::into_inner);
        latest.as_ref()?.0.as_ref().ok().cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn status(started_at: f64) -> Status {
        Status {
            started_at,
            version: "1".into(),
            busy: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_agent_is_asked_once_a_second() {
        let remembered = Remembered::default();
        let asked = AtomicU32::new(0);
        let ask = async || {
            let count = asked.fetch_add(1, Ordering::Relaxed);
            Ok(status(f64::from(count)))
        };
        for (after, expected) in [(0, 0.0), (0, 0.0), (999, 0.0), (1, 1.0), (5000, 2.0)] {
            tokio::time::advance(Duration::from_millis(after)).await;
            let got = remembered.get(ask).await.unwrap();
            assert!((got.started_at - expected).abs() < f64::EPSILON, "{got:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_agent_does_not_delay_others() {
        let remembered = Arc::new(Remembered::default());
        remembered.get(async || Ok(status(1.0))).await.unwrap();
        tokio::time::advance(KEPT).await;
        let patient = tokio::spawn({
            let remembered = Arc::clone(&remembered);
            async move {
                remembered
                    .get(async || {
                        tokio::time::sleep(Duration::from_secs(5)).await;
                        Err(CallError::ShuttingDown)
                    })
                    .await
            }
        });
        tokio::task::yield_now().await;
        let other = remembered
            .get(async || unreachable!("one caller asks"))
            .await;
        assert_eq!(other.unwrap(), status(1.0));
        assert!(patient.await.unwrap().is_err());
        // The failure counts for a second, too: nobody queues up behind a dead agent.
        let other = remembered.get(async || unreachable!("just asked")).await;
        assert!(matches!(other, Err(CallError::ShuttingDown)));
    }
}
