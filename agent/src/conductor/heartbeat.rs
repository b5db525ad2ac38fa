//! Heartbeats: when they go, and the loop that sends them over one session.
//!
//! ```text
//! first                at once
//! after success        timeout × U(0.3, 0.6), and never less than 5 s
//! after any error      5 s × U(1.0, 2.0), also while a force is pending
//! forced               exactly 5 s after the last beat, after a success; no jitter
//! ```
//!
//! A fixed retry would make every agent that lost Ironic come back in the same second, so
//! there is none. An Ironic that asks for beats without a pause, by mistake or because it is
//! none, gets one every 5 s, as often as a forced one may come. A force raised while a beat is in flight is kept for the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::backoff::Backoff;
use super::jitter::Jitter;
use super::{Beat, Conductor, Hello, Lost, Pulse, Verdict};
use crate::shutdown::ShutdownReason;

/// Between two beats of which the second is forced; also the base of error intervals.
const SHORTEST: Duration = Duration::from_secs(5);

/// How long Ironic waits for a heartbeat before it gives a node up. Positive and finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout(Duration);

/// A timeout that is none.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[error("heartbeat_timeout is {seconds} s; it must be a number greater than 0 and less than 2^32")]
pub struct InvalidTimeout {
    /// What it was.
    pub seconds: f64,
}

impl Timeout {
    /// Checks a number of seconds.
    ///
    /// # Errors
    /// A number that is not finite, not positive or more than 136 years.
    pub fn from_secs(seconds: f64) -> Result<Self, InvalidTimeout> {
        let time = Duration::try_from_secs_f64(seconds).map_err(|_| InvalidTimeout { seconds })?;
        if time.is_zero() || time.as_secs() > u64::from(u32::MAX) {
            return Err(InvalidTimeout { seconds });
        }
        Ok(Self(time))
    }

    /// The time.
    #[must_use]
    pub fn get(self) -> Duration {
        self.0
    }
}

/// When the next beat goes. Times are offsets on one monotonic clock; nothing here looks at
/// a clock or waits.
#[derive(Debug, Clone)]
pub struct Schedule<J> {
    timeout: Timeout,
    jitter: J,
    /// The end of the last exchange, and the interval that was drawn then.
    last: Option<Last>,
    /// A force that no accepted beat has answered.
    forced: bool,
    /// The force that travels with the beat in flight.
    in_flight: bool,
}

#[derive(Debug, Clone, Copy)]
struct Last {
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
        self.last = Some(Last {
            at: now,
            interval,
            succeeded: accepted,
        });
    }
}

/// The handle by which the rest of the agent speaks to the loop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    forced: AtomicBool,
    wake: Notify,
    stop: watch::Sender<Option<ShutdownReason>>,
}

impl Default for Control {
    fn default() -> Self {
        Self(Arc::new(Inner {
            forced: AtomicBool::new(false),
            wake: Notify::new(),
            stop: watch::Sender::new(None),
        }))
    }
}

impl Control {
    /// A command has ended or entered a phase: the conductor hears of it soon. Wakes the loop
    /// at once.
    pub fn force(&self) {
        self.0.forced.store(true, Ordering::Release);
        self.0.wake.notify_one();
    }

    /// Ends the loop. No last beat is sent; the session ends with this reason.
    pub fn stop(&self, reason: ShutdownReason) {
        self.0.stop.send_if_modified(|slot| {
            let first = slot.is_none();
            slot.get_or_insert(reason);
            first
        });
    }

    fn take_force(&self) -> bool {
        self.0.forced.swap(false, Ordering::AcqRel)
    }

    async fn stopped(&self) -> ShutdownReason {
        let mut stop = self.0.stop.subscribe();
        // The sender lives as long as we do, so waiting cannot fail.
        let reason = stop.wait_for(Option::is_some).await;
        reason
            .ok()
            .and_then(|reason| *reason)
            .unwrap_or(ShutdownReason::Stopped)
    }
}

/// Sends heartbeats until [`Control::stop`].
///
/// The first beat goes at once, so whatever answers the conductor's commands must be
/// listening before. `deadline` is how long a verdict is waited for, opening the session
/// included; after it the beat has failed and the session is opened anew. `status` is what the
/// beats say that the agent is doing.
pub async fn run<J: Jitter, K: Jitter>(
    conductor: &dyn Conductor,
    hello: &Hello,
    deadline: Duration,
    mut schedule: Schedule<J>,
    backoff: Backoff<K>,
    control: &Control,
    status: &watch::Receiver<String>,
) {
    let start = Instant::now();
    let mut line = Line::new(conductor, hello, backoff);

    // Goal: a beat whenever the schedule says so, over a session that is opened again as soon
    // as it is lost. Exit: stop, also in the middle of a beat.
    loop {
        if control.take_force() {
            schedule.force();
        }
        tokio::select! {
            biased;
            reason = control.stopped() => return line.farewell(reason).await,
            () = control.0.wake.notified() => continue,
            () = line.keep_open() => continue,
            () = tokio::time::sleep_until(start + schedule.due()) => {}
        }
        // A force that came in the same instant belongs to this beat.
        if control.take_force() {
            schedule.force();
        }
        let forced = schedule.begin();
        let beat = Beat {
            forced,
            status_message: status.borrow().clone(),
        };
        let outcome = tokio::select! {
            biased;
            reason = control.stopped() => return line.farewell(reason).await,
            outcome = tokio::time::timeout(deadline, line.beat(beat)) => outcome,
        };
        let outcome = outcome.unwrap_or_else(|_| {
            let reason = format!("no verdict within {} s", deadline.as_secs_f64());
            Err(line.give_up(Lost { reason }))
        });

        let now = start.elapsed();
        schedule.finish(now, matches!(outcome, Ok(Verdict::Accepted)));
        if control.take_force() {
            schedule.force();
        }
        report(&outcome, forced, schedule.due().saturating_sub(now));
    }
}

/// `next` is the real time to the next beat, unless a force shortens it later.
fn report(outcome: &Result<Verdict, Lost>, forced: bool, next: Duration) {
    match outcome {
        Ok(Verdict::Accepted) => {
            tracing::info!(event = %"heartbeat_accepted", forced, ?next, "milestone");
        }
        Ok(Verdict::Conflict { reason }) => {
            tracing::warn!(%reason, forced, ?next, "heartbeat: the node is locked");
        }
        Ok(Verdict::Refused { status, reason }) => {
            tracing::error!(status, %reason, forced, ?next, "heartbeat refused");
        }
        Ok(Verdict::Unreachable { reason }) => {
            tracing::error!(%reason, forced, ?next, "heartbeat: Ironic is unreachable");
        }
        Err(Lost { reason }) => {
            tracing::error!(%reason, forced, ?next, "heartbeat failed");
        }
    }
}

/// The session, or the way to the next one.
struct Line<'a, K> {
    conductor: &'a dyn Conductor,
    hello: &'a Hello,
    backoff: Backoff<K>,
    state: State<'a>,
}

enum State<'a> {
    /// There is none; the next attempt begins then.
    Closed { until: Instant },
    /// An attempt. It lives here and not in a future of ours, so that an event elsewhere
    /// does not start it over.
    Opening(BoxFuture<'a, Result<Box<dyn Pulse>, Lost>>),
    /// There is one.
    Open {
        pulse: Box<dyn Pulse>,
        since: Instant,
    },
}

impl<'a, K: Jitter> Line<'a, K> {
    fn new(conductor: &'a dyn Conductor, hello: &'a Hello, backoff: Backoff<K>) -> Self {
        let until = Instant::now();
        Self {
            conductor,
            hello,
            backoff,
            state: State::Closed { until },
        }
    }

    /// Completes after each step towards an open session, and never while one is healthy.
    async fn keep_open(&mut self) {
        match &mut self.state {
            State::Closed { until } => {
                tokio::time::sleep_until(*until).await;
                self.dial();
            }
            State::Opening(attempt) => {
                let result = attempt.await;
                // The failure is logged; the next attempt has its time.
                let _ = self.opened(result);
            }
            State::Open { pulse, .. } => {
                let lost = pulse.lost().await;
                self.give_up(lost);
            }
        }
    }

    /// One beat, over a session that is opened now if there is none.
    async fn beat(&mut self, beat: Beat) -> Result<Verdict, Lost> {
        if matches!(self.state, State::Closed { .. }) {
            self.dial();
        }
        if let State::Opening(attempt) = &mut self.state {
            let result = attempt.await;
            self.opened(result)?;
        }
        let State::Open { pulse, .. } = &mut self.state else {
            return Err(Lost::new("there is no session"));
        };
        match pulse.beat(beat).await {
            Ok(verdict) => Ok(verdict),
            Err(lost) => Err(self.give_up(lost)),
        }
    }

    fn dial(&mut self) {
        self.state = State::Opening(self.conductor.open(self.hello.clone()));
    }

    fn opened(&mut self, result: Result<Box<dyn Pulse>, Lost>) -> Result<(), Lost> {
        let pulse = result.map_err(|lost| self.give_up(lost))?;
        tracing::debug!("heartbeat session open");
        let since = Instant::now();
        self.state = State::Open { pulse, since };
        Ok(())
    }

    /// Drops what there is of a session and sets the time of the next attempt.
    fn give_up(&mut self, lost: Lost) -> Lost {
        let pause = match &self.state {
            State::Open { since, .. } => self.backoff.lost(since.elapsed()),
            State::Opening(_) | State::Closed { .. } => self.backoff.failed(),
        };
        tracing::warn!(reason = %lost, again = ?pause, "no heartbeat session");
        let until = Instant::now() + pause;
        self.state = State::Closed { until };
        lost
    }

    async fn farewell(self, reason: ShutdownReason) {
        if let State::Open { pulse, .. } = self.state {
            pulse.farewell(reason).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::super::fake::{Event, FakeConductor, Reply};
    use super::super::jitter::Scripted;
    use super::*;

    const SEEDS: u64 = 4000;

    fn seconds(number: f64) -> Duration {
        Duration::from_secs_f64(number)
    }

    fn timeout(seconds: f64) -> Timeout {
        Timeout::from_secs(seconds).unwrap()
    }

    #[test]
    fn a_timeout_is_a_positive_number() {
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300, 1e-12] {
            assert!(Timeout::from_secs(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Timeout::from_secs(0.5).unwrap().get(), seconds(0.5));
    }

    /// The unit vector that ironic-python-agent's own test asserts: T = 20 s.
    #[test]
    fn the_vector_of_the_python_agent() {
        let mut schedule = Schedule::new(timeout(20.0), Scripted::new([0.6, 0.4, 1.2, 0.5]));
        let steps = [(0, true, 12), (12, true, 8), (20, false, 6), (26, true, 10)];
        for (at, accepted, interval) in steps {
            let now = Duration::from_secs(at);
            assert_eq!(schedule.due(), now);
            assert!(!schedule.begin());
            schedule.finish(now, accepted);
            assert_eq!(schedule.due() - now, Duration::from_secs(interval));
        }
    }

    /// What one random life of a schedule looks like: every beat with what led to it.
    #[derive(Debug, Clone, Copy)]
    struct Lived {
        /// End of the exchange before; `None` for the first beat.
        previous: Option<(Duration, bool)>,
        /// When it left.
        sent: Duration,
        /// When a force was first pending before it left, if one was.
        forced_at: Option<Duration>,
        /// Whether the schedule said that it was forced.
        said_forced: bool,
        /// The end of its exchange.
        ended: Duration,
        accepted: bool,
        /// When a force was raised while it was in flight.
        raised_in_flight: bool,
    }

    /// Lives through a random history: exchanges take up to 40 s, fail or not, and forces
    /// come at any time.
    fn live(seed: u64, beats: usize) -> (Duration, Vec<Lived>) {
        let mut world = SmallRng::seed_from_u64(seed);
        let timeout = timeout([1.0, 10.0, 60.0, 300.0][world.random_range(0..4)]);
        let mut schedule = Schedule::new(timeout, SmallRng::seed_from_u64(!seed));
        let mut history = Vec::new();
        let mut previous = None;
        let mut now = Duration::ZERO;
        let mut pending: Option<Duration> = None;
        for _ in 0..beats {
            // Forces between two beats; each wakes the loop, which asks again.
            while world.random_bool(0.4) {
                let at = now + seconds(world.random_range(0.0..20.0));
                if at >= schedule.due() {
                    break;
                }
                now = at;
                pending.get_or_insert(at);
                schedule.force();
            }
            let sent = schedule.due().max(now);
            let said_forced = schedule.begin();
            let raised_in_flight = world.random_bool(0.2);
            if raised_in_flight {
                schedule.force();
            }
            let accepted = world.random_bool(0.6);
            let ended = sent + seconds(world.random_range(0.0..40.0));
            schedule.finish(ended, accepted);
            history.push(Lived {
                previous,
                sent,
                forced_at: pending,
                said_forced,
                ended,
                accepted,
                raised_in_flight,
            });
            pending = match (accepted, raised_in_flight) {
                (true, false) => None,
                (true, true) => Some(ended),
                (false, _) => pending.or_else(|| raised_in_flight.then_some(ended)),
            };
            previous = Some((ended, accepted));
            now = ended;
        }
        (timeout.get(), history)
    }

    fn for_all_lives(check: impl Fn(Duration, &Lived)) {
        for seed in 0..SEEDS {
            let (timeout, history) = live(seed, 30);
            for lived in &history {
                check(timeout, lived);
            }
        }
    }

    /// Nanoseconds are rounded when a factor is applied.
    const ROUNDING: Duration = Duration::from_nanos(2);

    #[test]
    fn the_first_beat_goes_at_once() {
        for_all_lives(|_, beat| {
            if beat.previous.is_none() {
                assert_eq!(beat.sent, Duration::ZERO);
            }
        });
    }

    #[test]
    fn after_success_without_force_it_is_the_timeout_times_three_to_six_tenths() {
        for_all_lives(|timeout, beat| {
            if let (Some((previous, true)), None) = (beat.previous, beat.forced_at) {
                let gap = beat.sent - previous;
                let (least, most) = (timeout.mul_f64(0.3), timeout.mul_f64(0.6));
                assert!(gap + ROUNDING >= least.max(SHORTEST), "{beat:?}");
                assert!(gap <= most.max(SHORTEST) + ROUNDING, "{beat:?}");
            }
        });
    }

    #[test]
    fn after_an_error_it_is_five_to_ten_seconds_whatever_is_pending() {
        for_all_lives(|_, beat| {
            if let Some((previous, false)) = beat.previous {
                let gap = beat.sent - previous;
                assert!(
                    gap + ROUNDING >= SHORTEST && gap <= 2 * SHORTEST + ROUNDING,
                    "{beat:?}"
                );
            }
        });
    }

    /// No two errors are followed by the same pause: there is no fixed retry, also not for a
    /// pending force.
    #[test]
    fn retries_are_never_without_jitter() {
        let mut seen = std::collections::HashSet::new();
        let mut retries = 0_usize;
        for seed in 0..SEEDS {
            let (_, history) = live(seed, 30);
            for beat in history {
                if let (Some((previous, false)), Some(_)) = (beat.previous, beat.forced_at) {
                    retries += 1;
                    seen.insert(beat.sent - previous);
                }
            }
        }
        assert!(retries > 10_000, "{retries}");
        assert!(
            retries - seen.len() < retries / 1000,
            "{} of {retries}",
            seen.len()
        );
    }

    #[test]
    fn a_force_is_answered_after_exactly_five_seconds_or_at_once() {
        for_all_lives(|_, beat| {
            if let (Some((previous, true)), Some(forced_at)) = (beat.previous, beat.forced_at) {
                let earliest = previous + SHORTEST;
                assert_eq!(beat.sent, earliest.max(forced_at), "{beat:?}");
            }
        });
    }

    #[test]
    fn a_forced_beat_says_so_and_one_answer_is_enough() {
        for_all_lives(|_, beat| assert_eq!(beat.said_forced, beat.forced_at.is_some(), "{beat:?}"));
    }

    /// The Python agent loses these: it clears the flag after the answer.
    #[test]
    fn a_force_during_flight_is_kept_for_the_next_beat() {
        for seed in 0..SEEDS {
            let (_, history) = live(seed, 30);
            for pair in history.windows(2) {
                if pair[0].raised_in_flight {
                    assert!(pair[1].said_forced, "{pair:?}");
                }
                if !pair[0].accepted && pair[0].said_forced {
                    assert!(pair[1].said_forced, "what failed is still owed: {pair:?}");
                }
                assert!(
                    pair[1].sent >= pair[0].ended,
                    "never two in flight: {pair:?}"
                );
            }
        }
    }

    // --- the loop ---

    /// Runs the loop against `conductor` and lets `script` act on it; ends it afterwards.
    async fn beating(conductor: &FakeConductor, t: f64, script: impl AsyncFnOnce(&Control)) {
        let control = Control::default();
        let schedule = Schedule::new(timeout(t), SmallRng::seed_from_u64(7));
        let backoff = Backoff::new(SmallRng::seed_from_u64(8));
        let hello = Hello {
            node_uuid: "U".into(),
            agent_token: None,
            overrides: Default::default(),
        };
        let deadline = Duration::from_secs(60);
        let status = watch::channel("busy".to_owned()).1;
        tokio::join!(
            run(
                conductor, &hello, deadline, schedule, backoff, &control, &status
            ),
            async {
                script(&control).await;
                control.stop(ShutdownReason::Stopped);
            }
        );
    }

    async fn at(start: Instant, seconds: f64) {
        tokio::time::sleep_until(start + Duration::from_secs_f64(seconds)).await;
    }

    /// The times of beats, in seconds.
    fn beats(conductor: &FakeConductor) -> Vec<f64> {
        let of_beat = |(at, event): &(Duration, Event)| {
            matches!(event, Event::Beat { .. }).then_some(at.as_secs_f64())
        };
        conductor.events().iter().filter_map(of_beat).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn hello_comes_first_and_stop_sends_no_beat() {
        let conductor = FakeConductor::accepting();
        beating(&conductor, 300.0, async |_| {
            tokio::time::sleep(seconds(60.0)).await
        })
        .await;
        let events: Vec<_> = conductor
            .events()
            .into_iter()
            .map(|(_, event)| event)
            .collect();
        assert_eq!(
            events,
            [
                Event::Open("U".into()),
                Event::Beat { forced: false },
                Event::Farewell(ShutdownReason::Stopped)
            ]
        );
        assert_eq!(conductor.status_messages(), ["busy"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_force_wakes_the_loop_and_coalesces() {
        let conductor = FakeConductor::accepting();
        let start = Instant::now();
        beating(&conductor, 300.0, async |control| {
            // Contract rows 100 and 101: five completions within four seconds.
            for second in [1.0, 1.5, 2.0, 3.0, 4.0] {
                at(start, second).await;
                control.force();
            }
            at(start, 20.0).await;
            // More than five seconds after the last beat: at once.
            control.force();
            at(start, 40.0).await;
        })
        .await;
        assert_eq!(beats(&conductor), [0.0, 5.0, 20.0]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_five_seconds_begin_at_the_end_of_the_exchange() {
        let conductor = FakeConductor::new([Reply::After(seconds(3.0), Verdict::Accepted)]);
        let start = Instant::now();
        beating(&conductor, 300.0, async |control| {
            at(start, 1.0).await;
            control.force();
            at(start, 30.0).await;
        })
        .await;
        assert_eq!(beats(&conductor), [0.0, 8.0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_forced_beat_waits_like_any_other() {
        let refused = || {
            Reply::Now(Verdict::Refused {
                status: 500,
                reason: "no".into(),
            })
        };
        let conflict = || {
            Reply::Now(Verdict::Conflict {
                reason: "locked".into(),
            })
        };
        let unreachable = || {
            Reply::Now(Verdict::Unreachable {
                reason: "refused".into(),
            })
        };
        let conductor = FakeConductor::new([
            Reply::Now(Verdict::Accepted),
            refused(),
            conflict(),
            unreachable(),
            refused(),
            Reply::Now(Verdict::Accepted),
        ]);
        beating(&conductor, 300.0, async |control| {
            tokio::time::sleep(seconds(1.0)).await;
            control.force();
            tokio::time::sleep(seconds(60.0)).await;
        })
        .await;
        let events = conductor.events();
        let beats: Vec<_> = events
            .iter()
            .filter(|(_, event)| matches!(event, Event::Beat { .. }))
            .collect();
        assert_eq!(beats.len(), 6);
        assert!(
            beats[1..]
                .iter()
                .all(|(_, event)| *event == Event::Beat { forced: true })
        );
        assert_eq!(beats[1].0, seconds(5.0));
        for pair in beats[1..].windows(2) {
            let gap = (pair[1].0 - pair[0].0).as_secs_f64();
            assert!(gap > 5.01 && gap < 10.01, "{gap}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_is_lost_is_opened_again_without_a_beat() {
        let conductor = FakeConductor::accepting();
        beating(&conductor, 300.0, async |_| {
            for _ in 0..3 {
                tokio::time::sleep(seconds(7.0)).await;
                conductor.drop_session();
            }
            tokio::time::sleep(seconds(20.0)).await;
        })
        .await;
        assert_eq!(beats(&conductor), [0.0]);
        let opened = conductor
            .events()
            .iter()
            .filter(|(_, event)| matches!(event, Event::Open(_)))
            .count();
        assert_eq!(opened, 4);
    }

    /// Sessions that are lost at any time, over many seeds: every gap between two beats is
    /// one that the schedule allows, so opening a session again never sends one early.
    #[tokio::test(start_paused = true)]
    async fn losing_sessions_never_changes_when_beats_go() {
        for seed in 0..2000 {
            let conductor = FakeConductor::accepting();
            let mut world = SmallRng::seed_from_u64(seed);
            let control = Control::default();
            let schedule = Schedule::new(timeout(60.0), SmallRng::seed_from_u64(!seed));
            let mut expected = schedule.clone();
            let backoff = Backoff::new(SmallRng::seed_from_u64(seed + 1));
            let hello = Hello {
                node_uuid: "U".into(),
                agent_token: None,
                overrides: Default::default(),
            };
            let deadline = Duration::from_secs(60);
            let world = async {
                for _ in 0..20 {
                    tokio::time::sleep(seconds(world.random_range(0.0..20.0))).await;
                    conductor.drop_session();
                }
                control.stop(ShutdownReason::Stopped);
            };
            let status = watch::channel(String::new()).1;
            tokio::join!(
                run(
                    &conductor, &hello, deadline, schedule, backoff, &control, &status
                ),
                world
            );
            let beats = beats(&conductor);
            assert!(beats.len() > 1, "seed {seed}");
            for beat in beats {
                let due = expected.due().as_secs_f64();
                // The clock of these tests ticks in milliseconds.
                assert!(
                    (due..due + 0.002).contains(&beat),
                    "seed {seed}: {beat}, due {due}"
                );
                expected.begin();
                expected.finish(seconds(beat), true);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_session_keeps_a_pending_force() {
        let conductor = FakeConductor::accepting();
        beating(&conductor, 300.0, async |control| {
            tokio::time::sleep(seconds(1.0)).await;
            control.force();
            tokio::time::sleep(seconds(1.0)).await;
            conductor.drop_session();
            tokio::time::sleep(seconds(60.0)).await;
        })
        .await;
        assert_eq!(beats(&conductor), [0.0, 5.0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_cannot_be_opened_is_a_failed_beat() {
        let conductor = FakeConductor::accepting();
        conductor.refuse_sessions(true);
        let start = Instant::now();
        beating(&conductor, 300.0, async |_| {
            at(start, 30.0).await;
            conductor.refuse_sessions(false);
            at(start, 60.0).await;
        })
        .await;
        let beats = beats(&conductor);
        assert_eq!(beats.len(), 1, "{beats:?}");
        assert!(beats[0] > 30.0 && beats[0] < 40.0, "{beats:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_verdict_that_never_comes_is_an_error_and_ends_the_session() {
        let conductor =
            FakeConductor::new([Reply::Never, Reply::Lost, Reply::Now(Verdict::Accepted)]);
        beating(&conductor, 300.0, async |_| {
            tokio::time::sleep(seconds(85.0)).await
        })
        .await;
        let beats = beats(&conductor);
        assert_eq!(beats.len(), 3, "{beats:?}");
        for pair in [(60.0, beats[1]), (beats[1], beats[2])] {
            assert!(
                pair.1 - pair.0 >= 5.0 && pair.1 - pair.0 < 10.01,
                "{beats:?}"
            );
        }
        let opened = conductor
            .events()
            .iter()
            .filter(|(_, event)| matches!(event, Event::Open(_)))
            .count();
        assert_eq!(opened, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn stop_ends_a_beat_in_flight() {
        let conductor = FakeConductor::new([Reply::Never]);
        let start = Instant::now();
        beating(&conductor, 300.0, async |control| {
            at(start, 2.0).await;
            control.stop(ShutdownReason::LockedDown);
        })
        .await;
        assert_eq!(start.elapsed(), seconds(2.0));
        assert_eq!(
            conductor.events().last().unwrap().1,
            Event::Farewell(ShutdownReason::LockedDown),
            "the first reason stands"
        );
    }
}
