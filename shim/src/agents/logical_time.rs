//! A time by which gateways that share their nodes agree on what came later.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// When something became known, in microseconds since 1970, and never earlier than what was
/// known before it: what follows from something is later than it also where clocks differ. The
/// clock decides only between things that knew nothing of each other.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct LogicalTime(u64);

impl LogicalTime {
    /// A time for what happens now, after something with this time.
    #[must_use]
    pub fn next(self) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_micros();
        self.next_at(u64::try_from(now).unwrap_or(u64::MAX))
    }

    /// The same, when the clock shows `now`.
    #[must_use]
    pub fn next_at(self, now: u64) -> Self {
        Self(self.0.saturating_add(1).max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logical_time_never_goes_back() {
        let start = LogicalTime::default().next_at(1_000);
        assert!(start.next_at(2_000) > start.next_at(1_500));
        assert!(start.next_at(3) > start, "a clock that was set back");
        assert!(LogicalTime::default().next() > start);
    }
}
