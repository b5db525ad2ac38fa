//! Spans of time on the wire.

use std::time::Duration;

/// The span, if it is not negative and has its nanoseconds within a second, which is how
/// `google.protobuf.Duration` is defined. The conversion of prost normalizes before it looks, and
/// overflows at the ends of the range.
pub(in crate::rpc) fn duration(span: prost_types::Duration) -> Option<Duration> {
    let seconds = u64::try_from(span.seconds).ok()?;
    let nanoseconds = u32::try_from(span.nanos).ok()?;
    (nanoseconds < 1_000_000_000).then(|| Duration::new(seconds, nanoseconds))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_two_numbers_are_a_span_or_none(
            seconds in prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), -2_i64..3],
            nanos in prop_oneof![any::<i32>(), Just(i32::MIN), Just(i32::MAX), Just(1_000_000_000), -2..3],
        ) {
            let read = duration(prost_types::Duration { seconds, nanos });
            let is_valid = seconds >= 0 && (0..1_000_000_000).contains(&nanos);
            prop_assert_eq!(read.is_some(), is_valid);
            if let Some(read) = read {
                prop_assert_eq!(read.as_secs(), seconds.unsigned_abs());
                prop_assert_eq!(read.subsec_nanos(), nanos.unsigned_abs());
            }
        }
    }
}
