use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::schedule::MIN_INTERVAL;
use super::*;
use crate::conductor::Deferral;
use crate::conductor::fake::{Event, FakeConductor, Reply};
use crate::conductor::jitter::Scripted;
use crate::shutdown::ShutdownReason;

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
    use BeatOutcome::{Accepted, Failed};
    let steps = [
        (0, Accepted, 12),
        (12, Accepted, 8),
        (20, Failed, 6),
        (26, Accepted, 10),
    ];
    for (at, outcome, interval) in steps {
        let now = Duration::from_secs(at);
        assert_eq!(schedule.due(), now);
        assert!(!schedule.begin());
        schedule.finish(now, outcome);
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

fn outcome(accepted: bool) -> BeatOutcome {
    if accepted {
        BeatOutcome::Accepted
    } else {
        BeatOutcome::Failed
    }
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
        schedule.finish(ended, outcome(accepted));
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
            assert!(gap + ROUNDING >= least.max(MIN_INTERVAL), "{beat:?}");
            assert!(gap <= most.max(MIN_INTERVAL) + ROUNDING, "{beat:?}");
        }
    });
}

#[test]
fn after_an_error_the_interval_ignores_a_pending_force() {
    for_all_lives(|_, beat| {
        if let Some((previous, false)) = beat.previous {
            let gap = beat.sent - previous;
            assert!(
                gap + ROUNDING >= MIN_INTERVAL && gap <= 2 * MIN_INTERVAL + ROUNDING,
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
            let earliest = previous + MIN_INTERVAL;
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

/// A schedule whose last beat, forced or not, was deferred by `wish` seconds at 0 s.
fn deferred(t: f64, wish: f64, forced: bool, seed: u64) -> Schedule<SmallRng> {
    let mut schedule = Schedule::new(timeout(t), SmallRng::seed_from_u64(seed));
    if forced {
        schedule.force();
    }
    assert_eq!(schedule.begin(), forced);
    let wish = BeatOutcome::Deferred(Duration::from_secs_f64(wish));
    schedule.finish(Duration::ZERO, wish);
    schedule
}

/// Ironic gives a node up after the timeout: a conductor that asks for more than that is not
/// obeyed.
#[test]
fn a_deferral_is_obeyed_as_long_as_the_node_is_not_given_up() {
    // Timeout, what the conductor says, and the shortest pause.
    let cases = [
        (300.0, 0.0, 1.0),
        (300.0, 20.0, 20.0),
        (300.0, 90.0, 90.0),
        (300.0, 4000.0, 90.0),
        (10.0, 60.0, 5.0),
    ];
    for (t, wish, least) in cases {
        for forced in [false, true] {
            let due = |seed| deferred(t, wish, forced, seed).due().as_secs_f64();
            let dues: Vec<_> = (0..200).map(due).collect();
            for due in &dues {
                assert!((least..=least * 1.2).contains(due), "{due} of {wish}");
                assert!(0.6 * t + due <= t || t < 20.0, "the node is given up");
            }
            let unlike = dues.windows(2).filter(|pair| pair[0] != pair[1]).count();
            assert!(unlike > 190, "jitter");
        }
    }
}

#[test]
fn a_deferred_force_is_owed_and_waits_and_a_new_one_does_not() {
    let mut schedule = deferred(300.0, 40.0, true, 1);
    assert!(schedule.due() >= Duration::from_secs(40));
    schedule.force();
    assert!(
        schedule.due() >= Duration::from_secs(40),
        "what the conductor said counts"
    );
    assert!(schedule.begin(), "the deferred force is owed");

    let mut schedule = deferred(300.0, 40.0, false, 1);
    assert!(schedule.due() >= Duration::from_secs(40));
    schedule.force();
    assert_eq!(schedule.due(), MIN_INTERVAL, "forced beats pass the others");
    assert!(schedule.begin());
}

// --- the loop ---

/// Runs the loop against `conductor` and lets `script` act on it; ends it afterwards.
async fn beating(conductor: &FakeConductor, t: f64, script: impl AsyncFnOnce(&Control)) {
    let control = Control::default();
    let schedule = Schedule::new(timeout(t), SmallRng::seed_from_u64(7));
    let backoff = Backoff::new(SmallRng::seed_from_u64(8));
    let hello = SessionOpen {
        node_uuid: "U".into(),
        agent_token: None,
        overrides: Default::default(),
    };
    let status = watch::channel("busy".to_owned()).1;
    tokio::join!(
        Heartbeats {
            hello: &hello,
            deadline: Duration::from_secs(60),
            schedule,
            backoff,
            status: &status,
        }
        .run(conductor, &control),
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
async fn a_deferred_beat_is_repeated_when_the_conductor_says() {
    let wait = |seconds| {
        Reply::Now(Verdict::Deferred(Deferral {
            retry_after: Duration::from_secs(seconds),
            reason: "many agents".into(),
        }))
    };
    let conductor = FakeConductor::new([wait(30), wait(2), Reply::Now(Verdict::Accepted)]);
    beating(&conductor, 300.0, async |_| {
        tokio::time::sleep(seconds(60.0)).await;
    })
    .await;
    let beats = beats(&conductor);
    assert_eq!(beats.len(), 3, "{beats:?}");
    assert!((30.0..=36.1).contains(&beats[1]), "{beats:?}");
    assert!((2.0..=2.5).contains(&(beats[2] - beats[1])), "{beats:?}");
    let opened = conductor.events();
    let opened = opened
        .iter()
        .filter(|(_, event)| matches!(event, Event::Open(_)));
    assert_eq!(opened.count(), 1, "the session stays");
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
        let hello = SessionOpen {
            node_uuid: "U".into(),
            agent_token: None,
            overrides: Default::default(),
        };
        let world = async {
            for _ in 0..20 {
                tokio::time::sleep(seconds(world.random_range(0.0..20.0))).await;
                conductor.drop_session();
            }
            control.stop(ShutdownReason::Stopped);
        };
        let status = watch::channel(String::new()).1;
        tokio::join!(
            Heartbeats {
                hello: &hello,
                deadline: Duration::from_secs(60),
                schedule,
                backoff,
                status: &status,
            }
            .run(&conductor, &control),
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
            expected.finish(seconds(beat), BeatOutcome::Accepted);
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
    let conductor = FakeConductor::new([Reply::Never, Reply::Lost, Reply::Now(Verdict::Accepted)]);
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
