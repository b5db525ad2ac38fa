//! Which events of a step are handed on. A program may send as many as it can: all of them are
//! read, so that its result does not wait behind them, and a bounded number of them becomes
//! work for the agent.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::hardware::external::StepEvent;
use crate::task::Progress;

/// Events that are handed on in a second.
const EVENTS: u32 = 100;
const SECOND: Duration = Duration::from_secs(1);

/// Messages that are read in a row, and the pause after them: at most 50,000 a second, so that a
/// program which does nothing but send leaves the processor to others.
const BATCH: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(20);

/// Decides what becomes of each event, from the events and the time alone.
#[derive(Debug)]
pub(super) struct EventFilter {
    /// When the present second began.
    since: Instant,
    /// Events that were handed on in it.
    events: u32,
    /// The latest progress, if it has not been handed on.
    progress: Option<Progress>,
    /// Phases and warnings that were not handed on.
    left_out: u64,
    /// Messages since the last pause.
    batch: u32,
}

impl EventFilter {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            events: 0,
            progress: None,
            left_out: 0,
            batch: 0,
        }
    }

    /// The event, if it is handed on now. A progress that is not is kept until [`Self::due`].
    pub(super) fn admit(&mut self, event: StepEvent, now: Instant) -> Option<StepEvent> {
        if now >= self.since + SECOND {
            self.since = now;
            self.events = 0;
        }
        if self.events < EVENTS {
            self.events += 1;
            if matches!(event, StepEvent::Progress(_)) {
                self.progress = None;
            }
            return Some(event);
        }
        match event {
            StepEvent::Progress(progress) => self.progress = Some(progress),
            StepEvent::PhaseEnded(_) | StepEvent::Warning(_) => self.left_out += 1,
        }
        None
    }

    /// When the kept progress is handed on; `None` when there is nothing to hand on.
    pub(super) fn due(&self) -> Option<Instant> {
        self.progress.as_ref().map(|_| self.since + SECOND)
    }

    /// The kept progress, to be handed on.
    pub(super) fn take_progress(&mut self) -> Option<StepEvent> {
        self.progress.take().map(StepEvent::Progress)
    }

    /// What is handed on when the step has ended.
    pub(super) fn finish(mut self) -> impl Iterator<Item = StepEvent> {
        let left_out = (self.left_out > 0).then(|| {
            StepEvent::Warning(format!(
                "The hardware manager sent more than {EVENTS} events in a second: {} of them were left out.",
                self.left_out
            ))
        });
        self.take_progress().into_iter().chain(left_out)
    }

    /// Waits before the next message is read, after a batch of them.
    pub(super) async fn pause(&mut self) {
        self.batch += 1;
        if self.batch >= BATCH {
            self.batch = 0;
            sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(done: u64) -> StepEvent {
        StepEvent::Progress(Progress {
            done,
            ..Progress::default()
        })
    }

    fn warning(text: &str) -> StepEvent {
        StepEvent::Warning(text.to_owned())
    }

    #[test]
    fn the_latest_progress_is_never_lost() {
        let start = Instant::now();
        let mut filter = EventFilter::new(start);
        let handed = (0..1000).filter(|done| filter.admit(progress(*done), start).is_some());
        assert_eq!(handed.count(), 100);
        assert_eq!(filter.due(), Some(start + SECOND));
        assert_eq!(filter.take_progress(), Some(progress(999)));
        assert_eq!(filter.due(), None);
        filter.admit(progress(1000), start);
        assert_eq!(filter.finish().collect::<Vec<_>>(), [progress(1000)]);
    }

    #[test]
    fn a_newer_progress_replaces_the_kept_one() {
        let start = Instant::now();
        let mut filter = EventFilter::new(start);
        for done in 0..=100 {
            filter.admit(progress(done), start);
        }
        let later = start + SECOND;
        assert_eq!(filter.admit(progress(7), later), Some(progress(7)));
        assert_eq!(filter.finish().count(), 0);
    }

    #[test]
    fn events_that_are_left_out_are_counted() {
        let start = Instant::now();
        let mut filter = EventFilter::new(start);
        for second in 0..3 {
            let now = start + second * SECOND;
            let handed = (0..150).filter(|_| filter.admit(warning("w"), now).is_some());
            assert_eq!(handed.count(), 100);
        }
        let last: Vec<_> = filter.finish().collect();
        let [StepEvent::Warning(text)] = last.as_slice() else {
            panic!("{last:?}")
        };
        assert!(text.contains(": 150 of them"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_followed_by_a_pause() {
        let start = Instant::now();
        let mut filter = EventFilter::new(start);
        for _ in 0..3 * BATCH {
            filter.pause().await;
        }
        assert_eq!(start.elapsed(), 3 * PAUSE);
    }
}
