use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use proptest::prelude::*;

use super::CallOutcome::{Answered, Unavailable};
use super::*;

const FIRST_RATE: f64 = 100.0;

fn seconds(number: f64) -> Duration {
    Duration::from_secs_f64(number)
}

fn beat(node: u64) -> PacedCall {
    PacedCall {
        key: CallerKey(node),
        is_forced: false,
        is_proved: true,
    }
}

fn forced(node: u64) -> PacedCall {
    PacedCall {
        is_forced: true,
        ..beat(node)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Ask(usize),
    End(usize, CallId),
}

/// Agents that ask until Ironic has answered them once, and come back when the queue says, up to
/// a fifth later.
struct World {
    queue: CallQueue,
    calls: Vec<PacedCall>,
    events: BinaryHeap<Reverse<(Duration, Event)>>,
    asking: HashMap<CallId, usize>,
    /// Ironic is away meanwhile.
    outage: Range<Duration>,
    /// Agents that beat again and again, by Ironic's default.
    beats: bool,
    latency: Box<dyn FnMut() -> Duration>,
    jitter: u64,
    /// When calls started while Ironic was there.
    starts: Vec<Duration>,
    answered: HashSet<usize>,
    longest_deferral: Duration,
    deferrals: u32,
}

impl World {
    fn new(calls: Vec<PacedCall>, within: f64, outage: f64) -> Self {
        let count = u32::try_from(calls.len()).unwrap();
        let asks = (0..calls.len()).map(|agent| {
            let share = f64::from(u32::try_from(agent).unwrap()) / f64::from(count);
            Reverse((seconds(within * share), Event::Ask(agent)))
        });
        Self {
            queue: CallQueue::new(FIRST_RATE),
            events: asks.collect(),
            calls,
            asking: HashMap::new(),
            outage: Duration::ZERO..seconds(outage),
            beats: false,
            latency: Box::new(|| Duration::from_millis(20)),
            jitter: 1,
            starts: Vec::new(),
            answered: HashSet::new(),
            longest_deferral: Duration::ZERO,
            deferrals: 0,
        }
    }

    /// Between 0 and 1.
    fn random(&mut self) -> f64 {
        self.jitter = self
            .jitter
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        f64::from(u32::try_from(self.jitter >> 33).unwrap()) / f64::from(1_u32 << 31)
    }

    fn ask_at(&mut self, at: Duration, agent: usize) {
        self.events.push(Reverse((at, Event::Ask(agent))));
    }

    fn again(&mut self, now: Duration, agent: usize, after: Duration) {
        self.longest_deferral = self.longest_deferral.max(after);
        self.deferrals += 1;
        let after = after.mul_f64(1.0 + 0.2 * self.random());
        self.ask_at(now + after, agent);
    }

    /// Runs until all are answered; answers when the last one was.
    fn run(&mut self, limit: f64) -> Duration {
        self.run_until(Duration::ZERO, limit, |world, _| {
            world.answered.len() == world.calls.len()
        })
    }

    fn run_until(
        &mut self,
        from: Duration,
        limit: f64,
        is_done: impl Fn(&Self, Duration) -> bool,
    ) -> Duration {
        let mut now = from;
        while !is_done(self, now) {
            let event = self.events.peek().map(|Reverse((at, _))| *at);
            let wake = self.queue.wake(now);
            let next = event.into_iter().chain(wake).min().unwrap();
            now = now.max(next);
            assert!(now < seconds(limit), "{} answered", self.answered.len());
            while let Some(Reverse((at, event))) = self.events.peek().copied() {
                if at > now {
                    break;
                }
                self.events.pop();
                self.happen(now, event);
            }
            for decision in self.queue.decide(now) {
                self.heed(now, decision);
            }
            self.check();
        }
        for (class, calls) in CallClass::ALL.into_iter().zip(&self.queue.classes) {
            let deferred = self.queue.deferred.values();
            let deferred = deferred.filter(|one| one.class == class).count();
            assert_eq!(deferred, usize::try_from(calls.outstanding).unwrap());
        }
        now
    }

    fn happen(&mut self, now: Duration, event: Event) {
        match event {
            Event::Ask(agent) => {
                let id = self.queue.ask(now, self.calls[agent]);
                assert!(self.asking.insert(id, agent).is_none());
            }
            Event::End(agent, id) => {
                let is_away = self.outage.contains(&now);
                let outcome = if is_away { Unavailable } else { Answered };
                match self.queue.finish(now, id, outcome) {
                    Some(after) => self.again(now, agent, after),
                    None => self.answer(now, agent, is_away),
                }
            }
        }
    }

    fn answer(&mut self, now: Duration, agent: usize, is_away: bool) {
        if !self.calls[agent].is_proved && self.beats {
            // An agent that knows its node beats at once.
            self.calls[agent].is_proved = true;
            self.ask_at(now, agent);
            return;
        }
        let is_first = self.answered.insert(agent);
        assert!(!is_away && (is_first || self.beats));
        if self.beats {
            let interval = 300.0 * (0.3 + 0.3 * self.random());
            self.ask_at(now + seconds(interval), agent);
        }
    }

    fn heed(&mut self, now: Duration, decision: PacingDecision) {
        match decision {
            PacingDecision::Start(id) => {
                let agent = self.asking.remove(&id).unwrap();
                if now >= self.outage.end {
                    self.starts.push(now);
                }
                let at = now + (self.latency)();
                self.events.push(Reverse((at, Event::End(agent, id))));
            }
            PacingDecision::Defer(id, after) => {
                let agent = self.asking.remove(&id).unwrap();
                let max_deferral = if self.calls[agent].is_proved {
                    MAX_DEFERRAL
                } else {
                    MAX_DEFERRAL_OF_UNPROVED
                };
                assert!(after >= MIN_DEFERRAL && after <= max_deferral);
                self.again(now, agent, after);
            }
        }
    }

    /// What always holds.
    fn check(&self) {
        let queue = &self.queue;
        let mut keys = HashSet::new();
        for in_flight in queue.in_flight.values() {
            assert!(keys.insert(in_flight.call.key), "two of a node at a time");
        }
        assert_eq!(keys, queue.busy);
        let waiting: usize = queue.classes.iter().map(|class| class.waiting.len()).sum();
        assert_eq!(waiting, queue.positions.len());
        assert_eq!(waiting, self.asking.len(), "every call has an answer");
        let most = queue.rate.per_second() * MAX_WAIT.as_secs_f64() + 1.0;
        let most = most.max(f64::from(u32::try_from(MIN_WAITING).unwrap()));
        for class in &queue.classes {
            let count = u32::try_from(class.waiting.len()).unwrap();
            assert!(f64::from(count) <= most, "{count} wait, {most}");
        }
        let outstanding = queue.classes.iter().map(|class| class.outstanding);
        assert!(outstanding.clone().all(|count| count <= MAX_DEFERRED));
        let outstanding = usize::try_from(outstanding.sum::<u32>()).unwrap();
        assert_eq!(queue.deferred.len(), outstanding);
        assert!(queue.in_flight.len() <= 64);
    }

    /// The busiest window of `width` seconds beside the mean, between the first start and the
    /// last.
    fn peak_to_mean(&self, width: f64) -> f64 {
        let width = seconds(width);
        let within = |index: usize| {
            let end = self.starts[index] + width;
            self.starts[index..]
                .iter()
                .take_while(|at| **at < end)
                .count()
        };
        let peak = (0..self.starts.len()).map(within).max().unwrap();
        let span = *self.starts.last().unwrap() - self.starts[0];
        let count = f64::from(u32::try_from(self.starts.len()).unwrap());
        let mean = count * width.as_secs_f64() / span.as_secs_f64();
        f64::from(u32::try_from(peak).unwrap()) / mean
    }
}

/// Agents that have lost Ironic at the same instant.
#[test]
fn after_an_outage_the_arrivals_are_flat() {
    let mut ratios = Vec::new();
    for (agents, outage) in [(300, 10.0), (1000, 60.0), (3000, 60.0), (9000, 60.0)] {
        let mut world = World::new((0..agents).map(beat).collect(), 0.5, outage);
        let last = world.run(1200.0);
        let ratio = world.peak_to_mean(1.0);
        let took = (last.as_secs_f64() - outage).max(1.0);
        println!("{agents} agents, {outage} s: peak/mean {ratio:.2}, all after {took:.0} s");
        ratios.push(ratio);
    }
    // Of few agents, the seconds until they ask again count for much.
    assert!(ratios.iter().all(|ratio| *ratio <= 1.4), "{ratios:?}");
    assert!(ratios[2..].iter().all(|ratio| *ratio <= 1.3), "{ratios:?}");
}

/// A fleet in peace whose agents go on beating: what arrives from Ironic's return until nobody is
/// deferred any more. Before that, slow answers may have lowered the rate.
#[test]
fn after_an_outage_the_arrivals_are_flat_until_nobody_waits() {
    let slow_for_a_while = |slow_calls: u32| {
        let mut calls = 0;
        move || {
            calls += 1;
            let is_slow = (500..500 + slow_calls).contains(&calls);
            Duration::from_millis(if is_slow { 900 } else { 20 })
        }
    };
    // In peace for minutes, or started half a minute ago with all agents at once.
    for (begin, within, slow_calls) in [
        (400.0, 135.0, 0),
        (400.0, 135.0, 200),
        (400.0, 135.0, 800),
        (30.0, 10.0, 0),
        (30.0, 10.0, 300),
    ] {
        for outage in [10.0, 60.0, 300.0] {
            let mut world = World::new((0..9000).map(beat).collect(), within, 0.0);
            world.beats = true;
            world.latency = Box::new(slow_for_a_while(slow_calls));
            let begin = seconds(begin);
            let now = world.run_until(Duration::ZERO, 700.0, |_, now| now > begin);
            let rate = world.queue.rate.per_second();
            world.outage = now..now + seconds(outage);
            world.starts.clear();
            let last = world.run_until(now, 2400.0, |world, now| {
                world.outage.end < now && world.queue.lengths().deferred == 0
            });
            let took = (last - world.outage.end).as_secs_f64();
            let ratio = world.peak_to_mean(1.0);
            println!(
                "{rate:.0} a second before, away for {outage} s: peak/mean {ratio:.2}, all after {took:.0} s"
            );
            assert!(ratio <= 1.3);
        }
    }
}

#[test]
fn a_hall_that_is_powered_on_at_once_is_flat_too() {
    let mut world = World::new((0..5000).map(beat).collect(), 0.1, 0.0);
    world.run(300.0);
    let ratio = world.peak_to_mean(1.0);
    assert!(ratio <= 1.3, "{ratio}");
    assert!(world.longest_deferral < seconds(100.0));
}

/// A lookup that is deferred costs the gateway a call, and an Ironic that waits costs everybody time.
#[test]
fn the_lookups_of_a_hall_are_deferred_a_few_times_each_and_keep_ironic_busy() {
    for agents in [300, 1000, 3000, 9000_u32] {
        let lookups = (0..agents).map(|node| unproved(node.into()));
        let mut world = World::new(lookups.collect(), 0.5, 0.0);
        world.beats = true;
        let last = world.run(600.0).as_secs_f64();
        let each = f64::from(world.deferrals) / f64::from(agents);
        // Of each a lookup and a beat.
        let least = f64::from(2 * agents) / FIRST_RATE;
        println!(
            "{agents} lookups: {each:.1} deferrals each, all after {last:.0} s, at best {least:.0} s"
        );
        assert!(each <= 6.0 && last <= least * 1.1 + 2.0);
    }
}

#[test]
fn forced_calls_pass_the_others_which_do_not_starve() {
    let mut queue = CallQueue::new(FIRST_RATE);
    let mut order = Vec::new();
    let mut forced_ids = HashSet::new();
    for node in 0..40 {
        queue.ask(Duration::ZERO, beat(node));
    }
    for node in 100..140 {
        forced_ids.insert(queue.ask(Duration::ZERO, forced(node)));
    }
    let mut now = Duration::ZERO;
    while order.len() < 80 {
        for decision in queue.decide(now) {
            let PacingDecision::Start(id) = decision else {
                panic!("{decision:?}")
            };
            order.push(forced_ids.contains(&id));
            queue.finish(now, id, Answered);
        }
        now = queue.wake(now).unwrap_or(now);
    }
    let mut expected: Vec<_> = (0..53).map(|index| index % 4 != 3).collect();
    expected.resize(80, false);
    assert_eq!(order, expected);
}

/// What a stranger can ask for.
fn unproved(node: u64) -> PacedCall {
    PacedCall {
        is_proved: false,
        ..beat(node)
    }
}

/// A thousand calls of strangers a second, each in another name, while 60 nodes a second beat.
#[test]
fn strangers_neither_defer_the_beats_of_nodes_nor_starve() {
    let mut queue = CallQueue::new(FIRST_RATE);
    let (mut beats, mut waits) = (HashMap::new(), Vec::new());
    let (mut strangers, mut running) = (0_u32, Vec::new());
    for millisecond in 0_u32..30_000 {
        let now = Duration::from_millis(millisecond.into());
        for id in running.drain(..) {
            queue.finish(now, id, Answered);
        }
        queue.ask(now, unproved(1_000_000 + u64::from(millisecond)));
        if millisecond % 16 == 0 {
            beats.insert(queue.ask(now, beat(millisecond.into())), now);
        }
        for decision in queue.decide(now) {
            match decision {
                PacingDecision::Start(id) => {
                    running.push(id);
                    match beats.remove(&id) {
                        Some(asked) => waits.push(now - asked),
                        None => strangers += 1,
                    }
                }
                PacingDecision::Defer(id, _) => {
                    assert!(!beats.contains_key(&id), "a beat was deferred at {now:?}");
                }
            }
        }
    }
    let longest = waits.iter().max().unwrap();
    assert!(*longest < seconds(0.5) && beats.len() < 30, "{longest:?}");
    assert!(strangers >= 30 * 25, "{strangers} calls of strangers");
}

#[test]
fn the_place_of_a_node_is_not_for_strangers() {
    let mut queue = CallQueue::new(FIRST_RATE);
    for node in 0..100_000 {
        queue.ask(Duration::ZERO, unproved(node));
        if node % 1000 == 0 {
            queue.decide(Duration::ZERO);
        }
    }
    for node in 200_000..202_000 {
        queue.ask(Duration::ZERO, beat(node));
    }
    queue.decide(Duration::ZERO);
    let positions = |queue: &CallQueue| {
        let kept = queue.deferred.iter().filter(|(key, _)| key.1);
        kept.map(|(key, deferred)| (key.0.0, deferred.since, deferred.until))
            .collect::<HashSet<_>>()
    };
    let kept = positions(&queue);
    assert!(kept.len() > 1000, "{} places", kept.len());
    // Calls in the names of these nodes.
    for node in 200_000..202_000 {
        queue.ask(seconds(0.1), unproved(node));
    }
    queue.decide(seconds(0.1));
    assert!(kept.is_subset(&positions(&queue)));
}

#[test]
fn the_proved_session_of_a_node_takes_the_place_of_another() {
    let mut queue = CallQueue::new(FIRST_RATE);
    let first = queue.ask(Duration::ZERO, unproved(1));
    let second = queue.ask(Duration::ZERO, unproved(1));
    let proved = queue.ask(Duration::ZERO, beat(1));
    let late = queue.ask(Duration::ZERO, beat(1));
    let later = |id| PacingDecision::Defer(id, DEFERRAL_OF_A_SECOND);
    let decisions = queue.decide(Duration::ZERO);
    let start = PacingDecision::Start(proved);
    assert_eq!(decisions, [later(second), later(first), later(late), start]);
    // While it runs, the next one waits.
    let next = queue.ask(Duration::ZERO, beat(1));
    assert_eq!(queue.decide(seconds(1.0)), []);
    queue.finish(seconds(1.5), proved, Answered);
    assert_eq!(queue.decide(seconds(1.5)), [PacingDecision::Start(next)]);
}

#[test]
fn a_caller_that_is_gone_leaves_nothing() {
    let mut queue = CallQueue::new(FIRST_RATE);
    let running = queue.ask(Duration::ZERO, beat(1));
    queue.decide(Duration::ZERO);
    let waiting = queue.ask(Duration::ZERO, beat(1));
    queue.cancel(CallerKey(1), waiting);
    assert!(queue.abandon(running));
    assert!(!queue.abandon(running), "it has ended already");
    assert_eq!(queue.decide(seconds(10.0)), []);
    assert_eq!(queue.wake(seconds(10.0)), None);
    assert!(queue.positions.is_empty() && queue.busy.is_empty());
}

/// Newcomers without end, more than there is room for: those who were there before have their
/// turn.
#[test]
fn who_was_deferred_comes_before_those_who_come_later() {
    let old = (0..400).map(beat);
    let mut world = World::new(old.collect(), 0.1, 0.0);
    for index in 0_u32..8000 {
        let agent = world.calls.len();
        world.calls.push(beat(10_000 + u64::from(index)));
        let at = seconds(0.2 + f64::from(index) / 250.0);
        world.events.push(Reverse((at, Event::Ask(agent))));
    }
    let mut now = Duration::ZERO;
    // The old ones alone need five seconds.
    while !(0..400).all(|agent| world.answered.contains(&agent)) {
        let event = world.events.peek().map(|Reverse((at, _))| *at);
        now = event
            .into_iter()
            .chain(world.queue.wake(now))
            .min()
            .unwrap()
            .max(now);
        assert!(now < seconds(15.0), "{} answered", world.answered.len());
        while let Some(Reverse((at, event))) = world.events.peek().copied() {
            if at > now {
                break;
            }
            world.events.pop();
            world.happen(now, event);
        }
        for decision in world.queue.decide(now) {
            world.heed(now, decision);
        }
    }
}

#[test]
fn what_is_kept_of_callers_that_never_come_back_is_bounded_and_forgotten() {
    let mut queue = CallQueue::new(FIRST_RATE);
    for node in 0..100_000 {
        queue.ask(Duration::ZERO, beat(node));
        if node % 1000 == 0 {
            queue.decide(Duration::ZERO);
        }
    }
    queue.decide(Duration::ZERO);
    let most = usize::try_from(MAX_DEFERRED).unwrap();
    assert_eq!(queue.deferred.len(), most);
    let later = MAX_DEFERRAL + KEPT * 2;
    queue.decide(later);
    assert!(queue.deferred.len() < 1000, "{}", queue.deferred.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Any agents, forced or not, some of them of the same node; any outage; any latency: the
    /// invariants of `check` hold, and all are answered.
    #[test]
    fn nobody_starves(
        agents in proptest::collection::vec((0_u64..400, any::<bool>(), any::<bool>()), 1..300),
        within in 0.0..5.0_f64,
        outage in 0.0..60.0_f64,
        slowest in 1_u64..4000,
        seed in any::<u64>(),
    ) {
        let calls = agents.into_iter().map(|(node, is_forced, is_proved)| PacedCall {
            key: CallerKey(node),
            is_forced,
            is_proved,
        });
        let mut world = World::new(calls.collect(), within, outage);
        world.jitter = seed;
        let mut state = seed;
        world.latency = Box::new(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            Duration::from_millis((state >> 33) % slowest)
        });
        world.run(600.0);
    }
}
