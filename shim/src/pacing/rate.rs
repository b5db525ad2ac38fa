//! How fast Ironic is called: the rate falls at once when Ironic cannot follow, and grows slowly.
//! Pure: times are offsets on one monotonic clock.

use std::time::Duration;

/// Below this nothing would be learned.
const MIN_RATE: f64 = 2.0;
/// Latency alone does not lower the rate further: Ironic answers, after all.
const MIN_RATE_BY_LATENCY: f64 = 10.0;
const MAX_RATE: f64 = 10_000.0;
/// By how much the rate grows in a second in which calls had to wait for it: while thousands of
/// agents come back, the last are hardly faster than the first.
const GROWTH: f64 = 0.2;
/// The same once Ironic is back from an outage, as a share of what it has answered before: an outage
/// says little about how fast Ironic is, and all who were there before need that much again.
const RECOVERY: f64 = 0.1;
/// The time over which answers are counted.
const COUNTED_OVER: Duration = Duration::from_secs(60);
/// Less than this says nothing of a rate.
const MIN_COUNTED_TIME: Duration = Duration::from_secs(10);
/// How long Ironic must stay before it counts as having followed the rate again.
const PROVED_AFTER: Duration = Duration::from_secs(60);
const AFTER_FAILURE: f64 = 0.5;
const AFTER_LATENCY: f64 = 0.8;
/// How long a lower rate is tried before it is lowered again.
const LOWERED_FOR: Duration = Duration::from_secs(1);
/// Calls that may be made up for when a timer was late.
const CATCH_UP: Duration = Duration::from_millis(10);
/// Calls at once. An Ironic that answers slowly is called no faster than it answers.
const AT_ONCE: usize = 64;
/// After so many failures in a row, one call at a time finds out when Ironic is back.
const AWAY: u32 = 3;
const FIRST_PROBE: Duration = Duration::from_millis(500);
const LAST_PROBE: Duration = Duration::from_secs(5);

/// What a call says about Ironic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallOutcome {
    /// It answered, whatever it said.
    Answered,
    /// No answer, or that it has too much to do (HTTP 429, 502, 503, 504).
    Unavailable,
}

/// The rate of calls.
#[derive(Debug, Clone)]
pub(super) struct CallRate {
    per_second: f64,
    next: Duration,
    lowered: Option<Duration>,
    failures: u32,
    /// The rate before anything was known.
    first: f64,
    answers: AnswerRate,
    /// The rate of answers before the failures.
    followed: f64,
    probe: Option<AwayProbe>,
    recovery: Option<Recovery>,
    latency: Latency,
}

/// Ironic was away and is back.
#[derive(Debug, Clone, Copy)]
struct Recovery {
    /// The rate that it has followed before.
    goal: f64,
    proved_at: Duration,
}

/// How often Ironic has answered lately.
#[derive(Debug, Clone, Default)]
struct AnswerRate {
    /// Each counts less the longer ago it was.
    count: f64,
    begun: Option<Duration>,
    last: Duration,
}

impl AnswerRate {
    fn add(&mut self, now: Duration) {
        let age = now.saturating_sub(self.last).as_secs_f64();
        self.count = self.count * (-age / COUNTED_OVER.as_secs_f64()).exp() + 1.0;
        self.begun.get_or_insert(now);
        self.last = self.last.max(now);
    }

    /// Answers per second that Ironic has followed, up to the last one.
    ///
    /// Of a gateway that was started less than a minute ago it is at least what the first failure
    /// leaves of the `first` rate: all agents connect at once then, which makes answers late and few
    /// however fast Ironic is.
    fn per_second(&self, first: f64) -> f64 {
        let begun = self.begun.unwrap_or(self.last);
        let counted = self.last.saturating_sub(begun).max(MIN_COUNTED_TIME);
        let over = COUNTED_OVER.as_secs_f64();
        let answered = self.count / (over * (1.0 - (-counted.as_secs_f64() / over).exp()));
        if counted < COUNTED_OVER {
            return answered.max(first * AFTER_FAILURE);
        }
        answered
    }
}

/// Ironic is away.
#[derive(Debug, Clone, Copy)]
struct AwayProbe {
    at: Duration,
    pause: Duration,
}

impl CallRate {
    /// Begins with `first` calls per second.
    pub(super) fn new(first: f64) -> Self {
        Self {
            per_second: first,
            next: Duration::ZERO,
            lowered: None,
            failures: 0,
            first,
            answers: AnswerRate::default(),
            followed: 0.0,
            probe: None,
            recovery: None,
            latency: Latency::default(),
        }
    }

    /// Calls per second.
    pub(super) fn per_second(&self) -> f64 {
        self.per_second
    }

    /// The time between two calls.
    pub(super) fn gap(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.per_second)
    }

    pub(super) fn is_away(&self) -> bool {
        self.probe.is_some()
    }

    /// How many calls may run at once.
    pub(super) fn at_once(&self) -> usize {
        if self.is_away() { 1 } else { AT_ONCE }
    }

    /// No call starts before.
    pub(super) fn next_start(&self) -> Duration {
        self.probe.map_or(self.next, |probe| probe.at)
    }

    /// A call starts.
    pub(super) fn start(&mut self, now: Duration) {
        self.next = self.next.max(now.saturating_sub(CATCH_UP)) + self.gap();
    }

    /// A call that started then has ended. `waited`: the rate had kept it waiting.
    pub(super) fn finish(
        &mut self,
        now: Duration,
        started: Duration,
        outcome: CallOutcome,
        waited: bool,
    ) {
        // What started before the rate was lowered says nothing about the lower one.
        let is_news = self
            .lowered
            .is_none_or(|lowered| started > lowered + LOWERED_FOR);
        match outcome {
            CallOutcome::Unavailable => self.failed(now, started, is_news),
            CallOutcome::Answered => {
                self.failures = 0;
                self.answers.add(now);
                if self.probe.take().is_some() {
                    self.next = now;
                    self.recovery = Some(Recovery {
                        goal: self.followed,
                        proved_at: now + PROVED_AFTER,
                    });
                }
                let is_rising = self.latency.is_rising(now.saturating_sub(started));
                if is_rising && is_news && self.per_second > MIN_RATE_BY_LATENCY {
                    let lower = self.per_second * AFTER_LATENCY;
                    self.lower(now, lower.max(MIN_RATE_BY_LATENCY));
                } else if waited && !is_rising {
                    self.grow();
                }
            }
        }
    }

    /// One call was answered in time while others waited.
    fn grow(&mut self) {
        let goal = self.recovery.map_or(0.0, |recovery| recovery.goal);
        let quick = goal.min(self.per_second + goal * RECOVERY / self.per_second);
        let slow = self.per_second + GROWTH / self.per_second;
        self.per_second = quick.max(slow).min(MAX_RATE);
    }

    fn failed(&mut self, now: Duration, started: Duration, is_news: bool) {
        if self.failures == 0 && is_news {
            // An Ironic that goes away again as soon as it is called as fast as before could not
            // follow that.
            let answered = self.answers.per_second(self.first);
            self.followed = match self.recovery.filter(|it| it.proved_at > now) {
                None => answered,
                Some(recovery) => answered.min(recovery.goal) * AFTER_FAILURE,
            };
        }
        self.failures = self.failures.saturating_add(1);
        match self.probe {
            Some(probe) if started >= probe.at => {
                let pause = (probe.pause * 2).min(LAST_PROBE);
                let at = now + pause;
                self.probe = Some(AwayProbe { at, pause });
            }
            // It started before Ironic was known to be away.
            Some(_) => {}
            None => {
                if is_news {
                    self.lower(now, (self.per_second * AFTER_FAILURE).max(MIN_RATE));
                }
                if self.failures >= AWAY {
                    let pause = FIRST_PROBE;
                    let at = now + pause;
                    self.probe = Some(AwayProbe { at, pause });
                }
            }
        }
    }

    fn lower(&mut self, now: Duration, per_second: f64) {
        if let Some(recovery) = &mut self.recovery {
            recovery.goal = recovery.goal.min(per_second);
        }
        self.per_second = per_second;
        self.lowered = Some(now);
        self.next = self.next.max(now + self.gap());
    }
}

/// What is usual, and what is now, in seconds.
#[derive(Debug, Clone, Default)]
struct Latency {
    smoothed: f64,
    usual: Option<f64>,
}

impl Latency {
    /// Takes one more call into account. Answers whether calls take much longer than is usual.
    fn is_rising(&mut self, sample: Duration) -> bool {
        let sample = sample.as_secs_f64();
        let Some(usual) = self.usual else {
            *self = Self {
                smoothed: sample,
                usual: Some(sample),
            };
            return false;
        };
        self.smoothed += (sample - self.smoothed) / 8.0;
        // What lasts becomes usual.
        let usual = (usual * 1.005).min(sample.max(0.001));
        self.usual = Some(usual);
        self.smoothed > 2.0 * usual + 0.25
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::CallOutcome::{Answered, Unavailable};
    use super::*;

    const FIRST: f64 = 100.0;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Calls as fast as the rate allows for `seconds`, each of which takes `latency`.
    fn run(rate: &mut CallRate, from: Duration, seconds: u64, latency: Duration) -> Duration {
        let mut now = from;
        while now < from + Duration::from_secs(seconds) {
            now = now.max(rate.next_start());
            rate.start(now);
            rate.finish(now + latency, now, Answered, true);
        }
        now
    }

    #[test]
    fn it_grows_slowly_and_only_while_calls_wait() {
        let mut rate = CallRate::new(FIRST);
        run(&mut rate, ms(0), 60, ms(20));
        let grown = rate.per_second() - FIRST;
        assert!((11.5..12.5).contains(&grown), "{grown}");
        for second in 0..1000 {
            let now = Duration::from_secs(100 + second);
            rate.start(now);
            rate.finish(now + ms(20), now, Answered, false);
        }
        assert_eq!(rate.per_second() - FIRST, grown, "nobody needs more");
    }

    #[test]
    fn one_failure_halves_it_and_those_that_were_under_way_do_not_halve_it_again() {
        let mut rate = CallRate::new(FIRST);
        for at in 0..40 {
            rate.start(ms(at));
        }
        for at in 0..40 {
            rate.finish(ms(100 + at), ms(at), Unavailable, false);
        }
        assert_eq!(rate.per_second(), FIRST / 2.0);
        assert!(rate.is_away());
        assert_eq!(rate.at_once(), 1);
    }

    #[test]
    fn an_ironic_that_is_away_is_asked_now_and_then_and_the_rate_is_kept() {
        let mut rate = CallRate::new(FIRST);
        for at in 0..3 {
            rate.finish(ms(at), ms(at), Unavailable, false);
        }
        let kept = rate.per_second();
        let mut pauses = Vec::new();
        let mut ended = ms(2);
        for _ in 0..6 {
            let at = rate.next_start();
            pauses.push((at - ended).as_millis());
            rate.start(at);
            ended = at + ms(1);
            rate.finish(ended, at, Unavailable, false);
        }
        assert_eq!(pauses, [500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(rate.per_second(), kept);
        let at = rate.next_start();
        rate.start(at);
        rate.finish(at + ms(1), at, Answered, true);
        assert!(!rate.is_away());
        assert!(rate.next_start() <= at + ms(1), "it goes on at once");
    }

    /// Ironic refuses everything for a while.
    fn outage(rate: &mut CallRate, from: Duration) -> Duration {
        let mut now = from;
        for _ in 0..5 {
            now = now.max(rate.next_start());
            rate.start(now);
            rate.finish(now + ms(5), now, Unavailable, false);
        }
        assert!(rate.is_away());
        now + ms(5)
    }

    #[test]
    fn after_an_outage_it_is_soon_what_ironic_has_answered_before_and_then_grows_slowly() {
        let mut rate = CallRate::new(FIRST);
        let now = run(&mut rate, ms(0), 600, ms(20));
        let before = rate.per_second();
        let now = outage(&mut rate, now);
        assert!(rate.per_second() <= before / 2.0);
        let now = run(&mut rate, now, 12, ms(20));
        let after = rate.per_second();
        assert!(
            (before * 0.93..before + 2.0).contains(&after),
            "{before} {after}"
        );
        run(&mut rate, now, 10, ms(20));
        let grown = rate.per_second() - after;
        assert!((1.5..2.5).contains(&grown), "{grown}");
    }

    /// The rate soon after an outage that came `seconds` after a storm of connections, which had
    /// slowed the answers down.
    fn after_a_storm_and_an_outage(seconds: u64) -> f64 {
        let mut rate = CallRate::new(FIRST);
        let now = run(&mut rate, ms(0), 2, ms(20));
        let now = run(&mut rate, now, 12, ms(800));
        let slowed = rate.per_second();
        assert!(slowed < FIRST * AFTER_FAILURE / 2.0, "{slowed}");
        let now = run(&mut rate, now, seconds, ms(20));
        let now = outage(&mut rate, now);
        run(&mut rate, now, 12, ms(20));
        rate.per_second()
    }

    #[test]
    fn late_answers_soon_after_a_start_say_nothing_of_ironic() {
        let soon = after_a_storm_and_an_outage(15);
        let least = FIRST * AFTER_FAILURE;
        assert!((least..least + 3.0).contains(&soon), "{soon}");
        // A minute later it has had the time to show what it can.
        let later = after_a_storm_and_an_outage(60);
        assert!(later < least, "{later}");
    }

    #[test]
    fn where_ironic_had_little_to_do_an_outage_leaves_the_lower_rate() {
        let mut rate = CallRate::new(FIRST);
        for second in 0..300 {
            let now = Duration::from_secs(second);
            rate.start(now);
            rate.finish(now + ms(20), now, Answered, false);
        }
        let now = outage(&mut rate, Duration::from_secs(300));
        let lowered = rate.per_second();
        run(&mut rate, now, 10, ms(20));
        let grown = rate.per_second() - lowered;
        assert!((1.5..2.5).contains(&grown), "{grown}");
    }

    #[test]
    fn an_ironic_that_goes_away_whenever_it_is_called_as_before_is_called_ever_more_slowly() {
        let mut rate = CallRate::new(FIRST);
        let mut now = run(&mut rate, Duration::ZERO, 300, ms(20));
        let mut before = Vec::new();
        for _ in 0..6 {
            before.push(rate.per_second());
            now = outage(&mut rate, now);
            now = run(&mut rate, now, 20, ms(20));
        }
        // The first outage may have been an accident.
        let falls = before[1..].windows(2).all(|pair| pair[1] < pair[0] * 0.8);
        assert!(falls, "{before:?}");
    }

    #[test]
    fn what_lowers_it_while_it_recovers_ends_the_quick_growth() {
        let mut rate = CallRate::new(FIRST);
        let now = run(&mut rate, Duration::ZERO, 300, ms(20));
        let now = outage(&mut rate, now);
        let now = run(&mut rate, now, 3, ms(20));
        rate.finish(now, now, Unavailable, false);
        let lowered = rate.per_second();
        run(&mut rate, now, 10, ms(20));
        let grown = rate.per_second() - lowered;
        assert!((0.5..3.5).contains(&grown), "{grown}");
    }

    #[test]
    fn rising_latency_lowers_it_and_what_lasts_becomes_usual() {
        let mut rate = CallRate::new(FIRST);
        let now = run(&mut rate, ms(0), 10, ms(20));
        let before = rate.per_second();
        let now = run(&mut rate, now, 5, ms(800));
        let lowered = rate.per_second();
        assert!(lowered < before * 0.7, "{before} {lowered}");
        let now = run(&mut rate, now, 600, ms(800));
        assert!(rate.per_second() >= MIN_RATE_BY_LATENCY);
        let usual = rate.per_second();
        run(&mut rate, now, 60, ms(800));
        assert!(rate.per_second() > usual, "{usual}");
    }

    proptest! {
        /// Whatever happens: bounds hold, and no second has more starts than the rate, the time
        /// that timers may be late, and one.
        #[test]
        fn starts_are_spaced(
            calls in proptest::collection::vec((0_u64..200, 0_u64..3000, 0_u8..10), 1..400),
        ) {
            let mut rate = CallRate::new(FIRST);
            let mut now = Duration::ZERO;
            let mut starts = Vec::new();
            for (late, latency, kind) in calls {
                now = now.max(rate.next_start()) + ms(if kind == 0 { late } else { 0 });
                starts.push(now);
                rate.start(now);
                let outcome = if kind == 1 { Unavailable } else { Answered };
                rate.finish(now + ms(latency), now, outcome, kind > 5);
                prop_assert!((MIN_RATE..=MAX_RATE).contains(&rate.per_second()));
            }
            for (index, start) in starts.iter().enumerate() {
                let within = starts[index..].iter().take_while(|at| **at < *start + ms(1000));
                prop_assert!(within.count() <= 110);
            }
        }
    }
}
