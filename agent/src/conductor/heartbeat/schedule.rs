//! When the next beat goes. Pure: nothing here looks at a clock or waits.

use std::time::Duration;

use super::Timeout;
use crate::conductor::deferral;
use crate::conductor::jitter::Jitter;

/// Between two beats of which the second is forced; also the base of error intervals.
pub(super) const MIN_INTERVAL: Duration = Duration::from_secs(5);

/// The longest deferral, as a share of the timeout. After the longest regular interval (0.6) and
/// with its jitter (1.2), the next beat is still in time.
const MAX_DEFERRAL_SHARE: f64 = 0.3;

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
    /// Whether a force may shorten the interval.
    yields_to_force: bool,
}

/// How the exchange of one beat ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeatOutcome {
    /// Ironic has accepted it.
    Accepted,
    /// Anything that went wrong.
    Failed,
    /// The conductor asks to repeat it after this time.
    Deferred(Duration),
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
        // A pending force must not turn the error interval into a fixed retry, nor a deferral
        // of the force itself.
        let interval = if self.forced && last.yields_to_force {
            last.interval.min(MIN_INTERVAL)
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
    pub fn finish(&mut self, now: Duration, outcome: BeatOutcome) {
        let was_forced = std::mem::take(&mut self.in_flight);
        let (interval, yields_to_force) = match outcome {
            BeatOutcome::Accepted => {
                let regular = self.timeout.0.mul_f64(self.jitter.between(0.3, 0.6));
                (regular.max(MIN_INTERVAL), true)
            }
            BeatOutcome::Failed => (MIN_INTERVAL.mul_f64(self.jitter.between(1.0, 2.0)), false),
            // The conductor lets forced beats pass the others: what it said of another beat
            // does not count for them.
            BeatOutcome::Deferred(wish) => {
                let longest = self.timeout.0.mul_f64(MAX_DEFERRAL_SHARE).max(MIN_INTERVAL);
                (
                    deferral::pause(wish, longest, &mut self.jitter),
                    !was_forced,
                )
            }
        };
        // What was forced and failed is still owed; what was raised in flight stands anyway.
        self.forced |= was_forced && outcome != BeatOutcome::Accepted;
        self.last = Some(LastBeat {
            at: now,
            interval,
            yields_to_force,
        });
    }
}
