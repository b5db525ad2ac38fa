//! Numbers as a person reads them.

use std::time::Duration;

use ironic_agent_protocol::v1;

/// The units of bytes, each 1024 times the one before.
const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// An amount of bytes in the unit that leaves at most four digits: `12.3 MiB`.
pub(crate) fn bytes(amount: u64) -> String {
    let mut unit = 0;
    let mut whole = amount;
    let mut rest = 0;
    while whole >= 1024 && unit + 1 < UNITS.len() {
        rest = whole % 1024;
        whole /= 1024;
        unit += 1;
    }
    if unit == 0 {
        return format!("{whole} B");
    }
    format!("{whole}.{} {}", rest * 10 / 1024, UNITS[unit])
}

/// An amount of what a progress counts.
pub(crate) fn amount(amount: u64, unit: &str) -> String {
    if unit.is_empty() {
        bytes(amount)
    } else {
        format!("{amount} {unit}")
    }
}

/// A time as `1:02:03`, `2:03` or `0:03`.
pub(crate) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// The time from one instant of the protocol to another; zero when it goes back.
pub(crate) fn between(from: &prost_types::Timestamp, to: &prost_types::Timestamp) -> Duration {
    let nanos =
        |at: &prost_types::Timestamp| i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanos);
    let nanos = u64::try_from(nanos(to) - nanos(from)).unwrap_or(0);
    Duration::from_nanos(nanos)
}

/// How much of a command is done, in percent; `None` when that is not known.
pub(crate) fn percent(progress: &v1::Progress) -> Option<u64> {
    let total = progress.total.filter(|total| *total > 0)?;
    let done = u128::from(progress.done.min(total));
    u64::try_from(done * 100 / u128::from(total)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short() {
        for (amount, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_572_864, "1.5 MiB"),
            (u64::MAX, "16383.9 PiB"),
        ] {
            assert_eq!(bytes(amount), shown);
        }
        assert_eq!(super::amount(3, "sectors"), "3 sectors");
    }

    #[test]
    fn times_are_those_of_a_clock() {
        for (seconds, shown) in [(3, "0:03"), (123, "2:03"), (3723, "1:02:03")] {
            assert_eq!(clock(Duration::from_secs(seconds)), shown);
        }
    }

    #[test]
    fn progress_is_a_share() {
        let progress = |done, total| v1::Progress {
            done,
            total,
            ..v1::Progress::default()
        };
        assert_eq!(percent(&progress(1, None)), None);
        assert_eq!(percent(&progress(1, Some(0))), None);
        assert_eq!(percent(&progress(1, Some(3))), Some(33));
        assert_eq!(percent(&progress(u64::MAX, Some(u64::MAX))), Some(100));
        assert_eq!(percent(&progress(9, Some(3))), Some(100));
    }
}
