//! Ten thousand agents lose Ironic in the same instant and get it back: a simulation in
//! virtual time, for its tests and for the table that this example prints.
//!
//! The schedules are the real ones; the network is a fact table: a beat sent before Ironic is
//! back fails, every other one is accepted, both without delay. What is counted is arrivals
//! per whole second since the loss.
//!
//! What agents alone cannot do: ten thousand retries within five to ten seconds are 1,300 a
//! second, many times the 74 of their regular life, until everybody is back. Flattening that
//! needs somebody who sees all of them: a shim that paces.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use ironic_agent::conductor::heartbeat::{BeatOutcome, Schedule, Timeout};

/// Which rule the agents follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Ours.
    Jittered,
    /// Exactly five seconds after an error, which is what the Python agent did before 9.9
    /// and still does while a forced beat is pending.
    FixedRetry,
}

/// How the agents notice that Ironic is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// All in the same instant: an Ironic that hung and then died fails all that wait for
    /// it. The worst case.
    AtOnce,
    /// Each at its next regular beat: an Ironic that refuses connections.
    OneByOne,
}

/// What happens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    /// How many agents.
    pub(crate) agents: u32,
    /// Their heartbeat timeout.
    pub(crate) timeout: Timeout,
    /// How they notice.
    pub(crate) loss: Loss,
    /// How long Ironic is gone.
    pub(crate) outage: Duration,
    /// Their rule.
    pub(crate) rule: Rule,
    /// Where randomness begins.
    pub(crate) seed: u64,
}

/// What arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrivals {
    /// Beats per second since the loss.
    pub(crate) per_second: Vec<u32>,
    /// When the last agent had its first accepted beat after the loss, in seconds, rounded up.
    pub(crate) recovered: usize,
}

/// Arrivals per second in some window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    /// The busiest second.
    pub(crate) peak: u32,
    /// The mean second.
    pub(crate) mean: f64,
}

impl Rate {
    /// How much busier the busiest second was than the mean one.
    #[must_use]
    pub(crate) fn ratio(self) -> f64 {
        f64::from(self.peak) / self.mean
    }
}

/// The seconds after the loss in which nothing can be spread yet: an agent that fails at the
/// loss retries once within them.
const FIRST: usize = 10;

impl Arrivals {
    /// From ten seconds after the loss until every agent is back: the storm.
    #[must_use]
    pub(crate) fn storm(&self) -> Rate {
        self.window(FIRST, self.recovered.max(FIRST + 1))
    }

    /// The ten seconds from Ironic's return: what it has to bear to have everybody back.
    #[must_use]
    pub(crate) fn landing(&self, outage: Duration) -> Rate {
        let start = seconds(outage);
        self.window(start, start + FIRST)
    }

    /// The regular beats of all agents in the time after that: the echo of the storm. The
    /// mean is what this many agents send anyhow.
    #[must_use]
    pub(crate) fn echo(&self, scenario: &Scenario) -> Rate {
        let all = self.window(self.recovered, self.per_second.len());
        let regular = scenario.timeout.get().as_secs_f64() * 0.45;
        Rate {
            peak: all.peak,
            mean: f64::from(scenario.agents) / regular,
        }
    }

    fn window(&self, from: usize, to: usize) -> Rate {
        let window = self.per_second.get(from..to).unwrap_or_default();
        let sum: f64 = window.iter().copied().map(f64::from).sum();
        let length = u32::try_from(window.len()).unwrap_or(u32::MAX);
        Rate {
            peak: window.iter().copied().max().unwrap_or_default(),
            mean: sum / f64::from(length.max(1)),
        }
    }
}

/// Plays a scenario until every agent has had four timeouts of regular life after it.
#[must_use]
pub(crate) fn simulate(scenario: &Scenario) -> Arrivals {
    let timeout = scenario.timeout.get();
    let end = scenario.outage + 4 * timeout;
    let mut world = SmallRng::seed_from_u64(scenario.seed);
    let mut per_second = vec![0_u32; seconds(end) + 1];
    let mut last_return = Duration::ZERO;

    // Agents in the order in which they beat next.
    let mut agents: Vec<Agent> = Vec::new();
    let mut queue = BinaryHeap::new();
    for number in 0..scenario.agents {
        let seed = world.random();
        let mut agent = Agent::new(scenario, SmallRng::seed_from_u64(seed));
        let first = match scenario.loss {
            Loss::AtOnce => agent.beat(Duration::ZERO, false),
            Loss::OneByOne => timeout.mul_f64(rest_of_interval(&mut world)),
        };
        agents.push(agent);
        queue.push(Reverse((first, number)));
    }
    while let Some(Reverse((at, number))) = queue.pop() {
        if at >= end {
            continue;
        }
        if let Some(count) = per_second.get_mut(seconds(at)) {
            *count += 1;
        }
        let accepted = at >= scenario.outage;
        let Some(agent) = agents.get_mut(number as usize) else {
            continue;
        };
        if accepted && !std::mem::replace(&mut agent.back, true) {
            last_return = last_return.max(at);
        }
        queue.push(Reverse((agent.beat(at, accepted), number)));
    }
    Arrivals {
        per_second,
        recovered: seconds(last_return) + 1,
    }
}

/// What is left of a regular interval, as a part of the timeout, at an instant that has
/// nothing to do with it: a long interval is met more often than a short one.
fn rest_of_interval(world: &mut SmallRng) -> f64 {
    loop {
        let interval = world.random_range(0.3..0.6);
        if world.random_range(0.0..0.6) < interval {
            return interval * world.random_range(0.0..1.0);
        }
    }
}

fn seconds(time: Duration) -> usize {
    usize::try_from(time.as_secs()).unwrap_or(usize::MAX)
}

struct Agent {
    rule: Rule,
    schedule: Schedule<SmallRng>,
    back: bool,
}

impl Agent {
    fn new(scenario: &Scenario, jitter: SmallRng) -> Self {
        Self {
            rule: scenario.rule,
            schedule: Schedule::new(scenario.timeout, jitter),
            back: false,
        }
    }

    /// One exchange at `now`; answers when the next one is.
    fn beat(&mut self, now: Duration, accepted: bool) -> Duration {
        self.schedule.begin();
        let outcome = if accepted {
            BeatOutcome::Accepted
        } else {
            BeatOutcome::Failed
        };
        self.schedule.finish(now, outcome);
        match self.rule {
            Rule::FixedRetry if !accepted => now + Duration::from_secs(5),
            Rule::FixedRetry | Rule::Jittered => self.schedule.due(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(loss: Loss, outage: u64, rule: Rule, seed: u64) -> Scenario {
        Scenario {
            agents: 10_000,
            timeout: Timeout::from_secs(300.0).unwrap(),
            loss,
            outage: Duration::from_secs(outage),
            rule,
            seed,
        }
    }

    /// The figure: from ten seconds after the loss, and again from ten seconds after the
    /// return, no second is more than 2.2 times as busy as the mean one.
    #[test]
    fn no_second_is_much_busier_than_the_mean_one() {
        for outage in [10, 60, 300] {
            for seed in 0..4 {
                let scenario = scenario(Loss::AtOnce, outage, Rule::Jittered, seed);
                let arrivals = simulate(&scenario);
                let (storm, echo) = (arrivals.storm(), arrivals.echo(&scenario));
                assert!(storm.ratio() <= 2.2, "{outage} s, seed {seed}: {storm:?}");
                assert!(echo.ratio() <= 2.2, "{outage} s, seed {seed}: {echo:?}");
            }
        }
    }

    /// Agents that notice one by one are spread already: jitter must not gather them.
    #[test]
    fn agents_that_were_spread_stay_spread() {
        for outage in [10, 60, 300] {
            let peak = |rule| {
                let scenario = scenario(Loss::OneByOne, outage, rule, 3);
                let rate = simulate(&scenario).landing(scenario.outage);
                assert!(rate.ratio() <= 2.2, "{outage} s: {rate:?}");
                rate.peak
            };
            assert!(peak(Rule::Jittered) < peak(Rule::FixedRetry), "{outage} s");
        }
    }

    /// The reason for the jitter: with a fixed retry, agents that failed together stay
    /// together.
    #[test]
    fn a_fixed_retry_never_spreads() {
        let storm = |rule| simulate(&scenario(Loss::AtOnce, 60, rule, 1)).storm();
        let (fixed, ours) = (storm(Rule::FixedRetry), storm(Rule::Jittered));
        assert_eq!(fixed.peak, 10_000);
        assert!(fixed.ratio() > 4.0, "{fixed:?}");
        assert!(ours.peak * 4 < fixed.peak, "{ours:?}");
    }

    #[test]
    fn everybody_comes_back_within_ten_seconds() {
        for outage in [10, 60, 300] {
            let arrivals = simulate(&scenario(Loss::AtOnce, outage, Rule::Jittered, 5));
            assert!(
                arrivals.recovered <= seconds(Duration::from_secs(outage)) + 11,
                "{}",
                arrivals.recovered
            );
        }
    }
}
