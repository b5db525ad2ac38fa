//! When the next beat goes. Pure: nothing here looks at a clock or waits.

use std::time::Duration;

use super::Timeout;
use crate::conductor::jitter::Jitter;

/// Between two beats of which the second is forced; also the base of error intervals.
pub(super) const SHORTEST: Duration = Duration::from_secs(5);

/// When the next beat goes. Times are offsets on one monotonic clock; nothing here looks at
/// a clock or waits.
#[derive(Debug, Clone)]
pub struct Schedule<J> {
    timeout: Timeout,
    jitter: J,
    /// The end of the last exchange, and the interval that was drawn then.
    last: Option<LastBeat>,
    /// A force that no accepted beat has answered.
    forced: bool,
    /// The force that travels with the beat in flight.
    in_flight: bool,
}

#[derive(Debug, Clone, Copy)]
struct LastBeat {
    at: Duration,
    interval: Duration,
    succeeded: bool,
}

impl<J: Jitter> Schedule<J> {
    /// Nothing was sent yet: the first beat is due at once.
    pub fn new(timeout: Timeout, jitter: J) -> Self {
        Self {
            timeout,
            jitter,
            last: None,
            forced: false,
            in_flight: false,
        }
    }

    /// When the next beat goes: the only place where an interval is made of the rules.
    #[must_use]
    pub fn due(&self) -> Duration {
        let Some(last) = self.last else {
            return Duration::ZERO;
        };
        // A pending force must not turn the error interval into a fixed retry.
        let interval = if self.forced && last.succeeded {
            last.interval.min(SHORTEST)
        } else {
            last.interval
        };
        last.at.saturating_add(interval)
    }

    /// Asks for a beat as soon as the rules allow. Asking twice is asking once.
    pub fn force(&mut self) {
        self.forced = true;
    }

    /// A beat leaves. Answers whether a force made it leave.
    pub fn begin(&mut self) -> bool {
        self.in_flight = std::mem::take(&mut self.forced);
        self.in_flight
    }

    /// The exchange ended, well or not.
    pub fn finish(&mut self, now: Duration, accepted: bool) {
        let interval = if accepted {
            let regular = self.timeout.0.mul_f64(self.jitter.between(0.3, 0.6));
            regular.max(SHORTEST)
        } else {
            SHORTEST.mul_f64(self.jitter.between(1.0, 2.0))
        };
        // What was forced and failed is still owed; what was raised in flight stands anyway.
        self.forced |= std::mem::take(&mut self.in_flight) && !accepted;
        self.last = Some(LastBeat {
            at: now,
            interval,
            succeeded: accepted,
        });
    }
}
