//! The other replicas, as far as the directory has introduced them. Pure but for the tasks that
//! end with an entry.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::wire::Presence;

/// A replica that has not introduced itself for so long is gone.
pub const ABSENT: Duration = Duration::from_secs(16);

/// Replicas that are known at once. A few gateways share their nodes, not more.
const MAX_REPLICAS: usize = 32;

/// What an introduction changed.
#[derive(Debug)]
pub enum Introduction {
    /// The replica was known.
    Known,
    /// It is new, or has started again. The token ends with its entry.
    New(Arc<str>, CancellationToken),
    /// There are too many.
    Refused,
}

#[derive(Debug)]
struct KnownReplica {
    presence: Presence,
    seen: Instant,
    _tasks: DropGuard,
}

/// The other replicas by `peer_url`.
#[derive(Debug, Default)]
pub struct Replicas {
    known: HashMap<Arc<str>, KnownReplica>,
}

impl Replicas {
    /// A replica has introduced itself.
    pub fn meet(&mut self, presence: Presence, now: Instant) -> Introduction {
        if let Some(known) = self.known.get_mut(presence.peer_url.as_str())
            && known.presence == presence
        {
            known.seen = now;
            return Introduction::Known;
        }
        let url: Arc<str> = presence.peer_url.as_str().into();
        if self.known.len() >= MAX_REPLICAS && !self.known.contains_key(&url) {
            return Introduction::Refused;
        }
        let tasks = CancellationToken::new();
        let replica = KnownReplica {
            presence,
            seen: now,
            _tasks: tasks.clone().drop_guard(),
        };
        self.known.insert(Arc::clone(&url), replica);
        Introduction::New(url, tasks)
    }

    /// Removes those that have not introduced themselves for long, and names them.
    pub fn forget_absent(&mut self, now: Instant) -> Vec<Arc<str>> {
        let is_absent = |replica: &KnownReplica| now >= replica.seen + ABSENT;
        let gone: Vec<_> = self
            .known
            .extract_if(|_, replica| is_absent(replica))
            .map(|(url, _)| url)
            .collect();
        gone
    }

    /// The URL, as all entries share it.
    #[must_use]
    pub fn find(&self, url: &str) -> Option<Arc<str>> {
        self.known
            .get_key_value(url)
            .map(|(url, _)| Arc::clone(url))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is no other replica.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presence(replica: &str, url: &str) -> Presence {
        Presence {
            replica: replica.into(),
            peer_url: url.into(),
            gateway_url: "https://gw".into(),
            verify_ca_sha256: None,
        }
    }

    #[test]
    fn a_replica_is_known_until_it_is_silent_or_starts_again() {
        let mut replicas = Replicas::default();
        let start = Instant::now();
        let Introduction::New(url, first) = replicas.meet(presence("1", "https://a"), start) else {
            panic!("it is new");
        };
        let later = start + ABSENT - Duration::from_secs(1);
        let again = replicas.meet(presence("1", "https://a"), later);
        assert!(matches!(again, Introduction::Known));
        assert!(replicas.forget_absent(start + ABSENT).is_empty());
        assert_eq!(replicas.find("https://a"), Some(Arc::clone(&url)));
        let restarted = replicas.meet(presence("2", "https://a"), later);
        let Introduction::New(_, second) = restarted else {
            panic!("it is another process");
        };
        assert!(first.is_cancelled() && !second.is_cancelled());
        assert_eq!(replicas.forget_absent(later + ABSENT), [url]);
        assert!(second.is_cancelled() && replicas.is_empty());
    }

    #[test]
    fn how_many_are_known_is_bounded() {
        let mut replicas = Replicas::default();
        let now = Instant::now();
        for number in 0..MAX_REPLICAS {
            replicas.meet(presence("1", &format!("https://{number}")), now);
        }
        let more = replicas.meet(presence("1", "https://more"), now);
        assert!(matches!(more, Introduction::Refused));
        assert_eq!(replicas.len(), MAX_REPLICAS);
    }
}
