//! The wall clock, which says when something was. No deadline follows it.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;

/// The time now.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// How long it is until a time in seconds since 1970; nothing if it has passed.
#[must_use]
pub(super) fn time_until(seconds: i64) -> Duration {
    let left = seconds.saturating_sub(now().seconds);
    Duration::from_secs(u64::try_from(left).unwrap_or(0))
}
