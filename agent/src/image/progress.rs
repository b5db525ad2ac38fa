//! How far and how fast: read, written, rate and time left, twice a second.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::task::{Progress, Task};

/// Time between two reports.
const REPORT: Duration = Duration::from_millis(500);
/// The rate is that of this long.
const WINDOW: usize = 10;

/// Bytes of a disk that hold their new content, counted by the thread that writes them.
#[derive(Debug, Clone, Default)]
pub(super) struct Written(Arc<AtomicU64>);

impl Written {
    pub(super) fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Turns counts into reports. Time is an argument.
#[derive(Debug)]
pub(super) struct Meter {
    phase: &'static str,
    subject: String,
    total: Option<u64>,
    written: Option<Written>,
    /// The last reports: when, and how much was done.
    samples: VecDeque<(Instant, u64)>,
}

impl Meter {
    pub(super) fn new(
        phase: &'static str,
        subject: &str,
        total: Option<u64>,
        now: Instant,
    ) -> Self {
        Self {
            phase,
            subject: subject.to_owned(),
            total,
            written: None,
            samples: VecDeque::from([(now, 0)]),
        }
    }

    /// Tells also what is written.
    pub(super) fn with(self, written: Written) -> Self {
        Self {
            written: Some(written),
            ..self
        }
    }

    /// Waits for `work` and reports what is `done` meanwhile, whenever it is time.
    pub(super) async fn during<T>(
        &mut self,
        task: &Task,
        done: impl Fn() -> u64,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            if let Ok(result) = tokio::time::timeout(REPORT, &mut work).await {
                return result;
            }
            task.progress(self.report(Instant::now(), done()));
        }
    }

    /// A report, when it is time for one.
    pub(super) fn tick(&mut self, now: Instant, done: u64) -> Option<Progress> {
        let (last, _) = *self.samples.back()?;
        (now.duration_since(last) >= REPORT).then(|| self.report(now, done))
    }

    /// A report, now.
    pub(super) fn report(&mut self, now: Instant, done: u64) -> Progress {
        self.samples.push_back((now, done));
        if self.samples.len() > WINDOW + 1 {
            self.samples.pop_front();
        }
        let (since, before) = self.samples.front().copied().unwrap_or((now, done));
        let millis = now.duration_since(since).as_millis().max(1);
        let rate = u128::from(done.saturating_sub(before)) * 1000 / millis;
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        let remaining = self
            .total
            .and_then(|total| total.saturating_sub(done).checked_div(rate))
            .map(Duration::from_secs);
        Progress {
            phase: self.phase.into(),
            done,
            total: self.total,
            rate,
            remaining,
            unit: "".into(),
            subject: self.subject.clone(),
            written: self.written.as_ref().map(Written::bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_twice_a_second_with_the_rate_of_the_last_seconds() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut meter = Meter::new("write_image", "/dev/sda", Some(100_000), start);
        assert_eq!(meter.tick(at(499), 10), None);
        let first = meter.tick(at(500), 500).unwrap();
        assert_eq!((first.done, first.rate), (500, 1000));
        assert_eq!(first.remaining, Some(Duration::from_secs(99)));
        // Ten seconds of standing still: the rate forgets what was before.
        for half in 2..=22 {
            assert!(meter.tick(at(half * 500), 500).is_some());
        }
        let stalled = meter.tick(at(12_000), 500).unwrap();
        assert_eq!((stalled.rate, stalled.remaining), (0, None));
        // Reading that begins again has no rate yet, and is not an error.
        assert_eq!(meter.report(at(12_500), 3).rate, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_reported_with_what_is_written_meanwhile() {
        let (task, heard) = Task::new();
        let written = Written::default();
        let meter = Meter::new("write_image", "/dev/sda", Some(10), Instant::now());
        let mut meter = meter.with(written.clone());
        let work = async {
            written.add(7);
            tokio::time::sleep(3 * REPORT).await;
            "ended"
        };
        assert_eq!(meter.during(&task, || 10, work).await, "ended");
        let last = heard.progress.borrow().clone().unwrap();
        assert_eq!((last.done, last.written), (10, Some(7)));
    }
}
