//! When heartbeats have arrived at the stand-in for Ironic.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// What has arrived since the last outage, or since the start.
#[derive(Debug)]
pub(crate) struct Arrivals(Mutex<Period>);

#[derive(Debug)]
struct Period {
    /// Until then nothing is accepted; from then on is counted.
    begin: Instant,
    total: u64,
    /// Heartbeats by second.
    by_second: Vec<u32>,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self(Mutex::new(Period::from(Instant::now(), 0)))
    }
}

impl Period {
    fn from(begin: Instant, total: u64) -> Self {
        Self {
            begin,
            total,
            by_second: Vec::new(),
        }
    }
}

impl Arrivals {
    /// Counts a heartbeat. `false`: this is an outage, and it is refused.
    pub(crate) fn accept(&self) -> bool {
        let mut period = self.lock();
        let Some(since) = Instant::now().checked_duration_since(period.begin) else {
            return false;
        };
        period.total += 1;
        let second = usize::try_from(since.as_secs()).unwrap_or(usize::MAX);
        // An hour is more than any outage takes to be over.
        if second < 3600 {
            if period.by_second.len() <= second {
                period.by_second.resize(second + 1, 0);
            }
            period.by_second[second] += 1;
        }
        true
    }

    /// Whether calls are refused at the moment.
    pub(crate) fn is_outage(&self) -> bool {
        self.lock().begin > Instant::now()
    }

    /// Refuses everything for a while, and counts anew from then on.
    pub(crate) fn begin_outage(&self, duration: Duration) {
        let mut period = self.lock();
        *period = Period::from(Instant::now() + duration, period.total);
    }

    /// Heartbeats since the start.
    pub(crate) fn total(&self) -> u64 {
        self.lock().total
    }

    /// What has arrived, as a document.
    pub(crate) fn document(&self) -> Value {
        let period = self.lock();
        json!({
            "beats": period.total,
            "beats_by_second": period.by_second,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Period> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
