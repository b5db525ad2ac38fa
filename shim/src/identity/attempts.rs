//! How often a peer may fail to prove who it is.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ironic_transport::listener::admission::Peer;
use tokio::time::Instant;

/// So many failures of a peer within [`PERIOD`] are mistakes; more are guesses.
const FAILURES: u32 = 10;
const PERIOD: Duration = Duration::from_secs(60);
/// Peers that are remembered. Beyond that the one that failed first is forgotten.
const PEERS: usize = 4096;

/// The failures of each peer within the last period.
#[derive(Debug, Default)]
pub(super) struct FailedAttempts(Mutex<HashMap<Peer, Failures>>);

#[derive(Debug, Clone, Copy)]
struct Failures {
    since: Instant,
    count: u32,
}

impl FailedAttempts {
    /// How long this peer has to wait before it is heard again; `None` when it may try.
    pub(super) fn wait(&self, peer: Peer, now: Instant) -> Option<Duration> {
        let failures = *self.lock().get(&peer)?;
        let left = (failures.since + PERIOD).saturating_duration_since(now);
        (failures.count >= FAILURES && !left.is_zero()).then_some(left)
    }

    /// This peer has failed once more.
    pub(super) fn failed(&self, peer: Peer, now: Instant) {
        let mut peers = self.lock();
        let is_over = |failures: &Failures| now >= failures.since + PERIOD;
        if peers.len() >= PEERS && !peers.contains_key(&peer) {
            peers.retain(|_, failures| !is_over(failures));
            let first = peers.iter().min_by_key(|(_, failures)| failures.since);
            if let Some((&first, _)) = first.filter(|_| peers.len() >= PEERS) {
                peers.remove(&first);
            }
        }
        let new = Failures {
            since: now,
            count: 0,
        };
        let failures = peers.entry(peer).or_insert(new);
        if is_over(failures) {
            *failures = new;
        }
        failures.count = failures.count.saturating_add(1);
    }

    // Every change is one insertion or removal.
    fn lock(&self) -> MutexGuard<'_, HashMap<Peer, Failures>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn peer(number: u32) -> Peer {
        Peer::V4(Ipv4Addr::from_bits(number))
    }

    #[test]
    fn a_peer_that_guesses_waits_and_others_do_not() {
        let attempts = FailedAttempts::default();
        let start = Instant::now();
        for _ in 0..FAILURES {
            assert_eq!(attempts.wait(peer(1), start), None);
            attempts.failed(peer(1), start);
        }
        assert_eq!(attempts.wait(peer(1), start), Some(PERIOD));
        assert_eq!(attempts.wait(peer(2), start), None);
        let later = start + PERIOD;
        assert_eq!(attempts.wait(peer(1), later), None);
        attempts.failed(peer(1), later);
        assert_eq!(attempts.wait(peer(1), later), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let attempts = FailedAttempts::default();
        let start = Instant::now();
        for number in 0..10_000 {
            attempts.failed(peer(number), start + Duration::from_micros(number.into()));
        }
        assert_eq!(attempts.lock().len(), PEERS);
        assert!(attempts.lock().contains_key(&peer(9_999)));
    }
}
