//! Times for operators.

use std::time::Duration;

/// `90 min`, `36 h`.
pub(super) fn in_words(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    if minutes >= 300 {
        format!("{} h", minutes / 60)
    } else {
        format!("{minutes} min")
    }
}
