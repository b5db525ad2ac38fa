//! The wall clock, which says when something was. No deadline follows it.

use std::time::SystemTime;

use prost_types::Timestamp;

/// The time now.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
