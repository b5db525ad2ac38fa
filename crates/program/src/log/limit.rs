//! How much of the log one kind of line, and one peer, may take: from data and the time
//! alone.
//!
//! A peer that can make a program write a line for each packet fills the memory of
//! a ramdisk. So each kind of line (the place in the code that writes it) has a budget, each
//! peer has one of each kind, and all lines together have one of bytes. What is left out is
//! counted by kind.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Budgets of peers that are remembered. Beyond it the rest shares one.
const PEERS: usize = 1024;

/// How often budgets that are full again are forgotten.
const FORGET: Duration = Duration::from_secs(1);

/// A budget: so many at once, and one more in every period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At once.
    pub burst: u64,
    /// How long it takes until there may be one more.
    pub period: Duration,
}

/// What is left of a budget.
#[derive(Debug, Clone, Copy)]
struct RateBudget {
    left: u64,
    since: Instant,
}

impl RateBudget {
    fn full(rate: Rate, now: Instant) -> Self {
        Self {
            left: rate.burst,
            since: now,
        }
    }

    /// Takes a number of units, if there is one at least: what is larger than the rest of
    /// the budget takes all of it.
    fn take(&mut self, rate: Rate, units: u64, now: Instant) -> bool {
        self.refill(rate, now);
        if self.left == 0 {
            return false;
        }
        self.left = self.left.saturating_sub(units);
        true
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since).as_nanos();
        let earned = elapsed / rate.period.as_nanos().max(1);
        let earned = u64::try_from(earned).unwrap_or(u64::MAX);
        self.left = self.left.saturating_add(earned);
        if self.left >= rate.burst {
            (self.left, self.since) = (rate.burst, now);
        } else {
            let used = rate
                .period
                .saturating_mul(u32::try_from(earned).unwrap_or(u32::MAX));
            self.since += used;
        }
    }

    fn is_full(mut self, rate: Rate, now: Instant) -> bool {
        self.refill(rate, now);
        self.left == rate.burst
    }
}

/// The budgets of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Lines of one kind about one peer.
    pub peer: Rate,
    /// Lines of one kind.
    pub kind: Rate,
    /// Bytes of all lines.
    pub bytes: Rate,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            peer: Rate {
                burst: 20,
                period: Duration::from_secs(1),
            },
            kind: Rate {
                burst: 200,
                period: Duration::from_millis(200),
            },
            // 2 MiB, and 8 KiB in each second.
            bytes: Rate {
                burst: 2 << 20,
                period: Duration::from_nanos(122_070),
            },
        }
    }
}

/// The lines of one kind.
#[derive(Debug)]
struct LineKind {
    budget: RateBudget,
    left_out: u64,
}

/// Decides which lines are written. `K` names a kind of line.
#[derive(Debug)]
pub struct Limiter<K> {
    rates: Rates,
    kinds: HashMap<K, LineKind>,
    peers: HashMap<(K, u64), RateBudget>,
    bytes: RateBudget,
    /// When budgets that are full were forgotten the last time.
    forgotten: Instant,
}

impl<K: Clone + Eq + Hash> Limiter<K> {
    /// A limiter with full budgets.
    #[must_use]
    pub fn new(rates: Rates, now: Instant) -> Self {
        Self {
            rates,
            kinds: HashMap::new(),
            peers: HashMap::new(),
            bytes: RateBudget::full(rates.bytes, now),
            forgotten: now,
        }
    }

    /// Whether a line may be written; if not, it is counted. `peer` is a number that stands
    /// for who caused it.
    pub fn admits(&mut self, kind: K, peer: Option<u64>, now: Instant) -> bool {
        let is_within = self.within_peer(&kind, peer, now);
        let rate = self.rates.kind;
        // Kinds are places in the code: there are not many.
        let entry = self.kinds.entry(kind).or_insert_with(|| LineKind {
            budget: RateBudget::full(rate, now),
            left_out: 0,
        });
        self.bytes.refill(self.rates.bytes, now);
        let is_admitted = is_within && self.bytes.left > 0 && entry.budget.take(rate, 1, now);
        entry.left_out += u64::from(!is_admitted);
        is_admitted
    }

    fn within_peer(&mut self, kind: &K, peer: Option<u64>, now: Instant) -> bool {
        let Some(peer) = peer else { return true };
        let rate = self.rates.peer;
        // Looked for once a second: every line of a flood would look at all of them.
        if self.peers.len() >= PEERS && now >= self.forgotten + FORGET {
            self.forgotten = now;
            self.peers.retain(|_, budget| !budget.is_full(rate, now));
        }
        let mut key = (kind.clone(), peer);
        if self.peers.len() >= PEERS && !self.peers.contains_key(&key) {
            key.1 = 0;
        }
        let budget = self.peers.entry(key);
        let budget = budget.or_insert_with(|| RateBudget::full(rate, now));
        budget.take(rate, 1, now)
    }

    /// Counts a line that was written.
    pub fn wrote(&mut self, bytes: usize, now: Instant) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes.take(self.rates.bytes, bytes, now);
    }

    /// How many lines were left out of each kind since the last call.
    pub fn left_out(&mut self) -> Vec<(K, u64)> {
        let kinds = self.kinds.iter_mut();
        let counted = kinds.filter(|(_, kind)| kind.left_out > 0);
        counted
            .map(|(name, kind)| (name.clone(), std::mem::take(&mut kind.left_out)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: Rates = Rates {
        peer: Rate {
            burst: 2,
            period: Duration::from_secs(1),
        },
        kind: Rate {
            burst: 5,
            period: Duration::from_secs(1),
        },
        bytes: Rate {
            burst: 100,
            period: Duration::from_millis(10),
        },
    };

    fn count(admitted: impl Iterator<Item = bool>) -> usize {
        admitted.filter(|admitted| *admitted).count()
    }

    #[test]
    fn a_peer_has_its_share_of_each_kind() {
        let now = Instant::now();
        let mut limiter = Limiter::new(RATES, now);
        assert_eq!(count((0..9).map(|_| limiter.admits("a", Some(1), now))), 2);
        assert_eq!(count((0..9).map(|_| limiter.admits("a", Some(2), now))), 2);
        assert_eq!(count((0..9).map(|_| limiter.admits("b", Some(1), now))), 2);
        // The kind's own budget is left with one.
        assert_eq!(count((0..9).map(|_| limiter.admits("a", Some(3), now))), 1);
        let mut left_out = limiter.left_out();
        left_out.sort_unstable();
        assert_eq!(left_out, [("a", 7 + 7 + 8), ("b", 7)]);
        assert!(limiter.left_out().is_empty());
    }

    #[test]
    fn time_brings_more() {
        let start = Instant::now();
        let mut limiter = Limiter::new(RATES, start);
        assert_eq!(count((0..9).map(|_| limiter.admits("a", None, start))), 5);
        let half = start + Duration::from_millis(500);
        assert!(!limiter.admits("a", None, half));
        // What was earned half is not lost.
        assert!(limiter.admits("a", None, start + Duration::from_secs(1)));
        assert!(!limiter.admits("a", None, start + Duration::from_secs(1)));
        let later = start + Duration::from_secs(3600);
        assert_eq!(count((0..9).map(|_| limiter.admits("a", None, later))), 5);
        // A clock that stands still or goes back brings nothing and breaks nothing.
        assert!(!limiter.admits("a", None, start));
    }

    #[test]
    fn all_lines_together_are_bounded() {
        let now = Instant::now();
        let mut limiter = Limiter::new(RATES, now);
        assert!(limiter.admits("a", None, now));
        limiter.wrote(1000, now);
        assert!(!limiter.admits("b", None, now));
        assert!(limiter.admits("b", None, now + Duration::from_millis(10)));
    }

    #[test]
    fn many_peers_take_little_memory() {
        let now = Instant::now();
        let mut limiter = Limiter::new(RATES, now);
        for peer in 1..100_000 {
            limiter.admits("a", Some(peer), now);
        }
        assert!(limiter.peers.len() <= PEERS + 1);
    }

    /// The default, with attackers from everywhere who cause eight kinds of lines: far less
    /// than the 16 MiB that a log may have, in ten minutes.
    #[test]
    fn ten_minutes_of_attacks_fit() {
        let start = Instant::now();
        let mut limiter = Limiter::new(Rates::default(), start);
        let mut written = 0;
        for tick in 0..60_000_u64 {
            let now = start + Duration::from_millis(10 * tick);
            for kind in 0..8 {
                if limiter.admits(kind, Some(tick % 5000), now) {
                    limiter.wrote(250, now);
                    written += 250;
                }
            }
        }
        assert!(written < 8 << 20, "{written}");
    }
}
