//! The metadata `grpc-timeout`: how long a caller waits for its answer.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};

const NAME: &str = "grpc-timeout";

/// The most digits that the value may have.
const DIGITS: usize = 8;

/// How long the caller of a request waits; `None` if it has set no limit, or one that makes no
/// sense, which is left to the server that is meant.
pub(super) fn get(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(NAME)?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > DIGITS {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Sets how long the caller waits, not less exactly than to a thousandth of it.
pub(super) fn set(headers: &mut HeaderMap, timeout: Duration) {
    let units = [
        (timeout.as_micros(), 'u'),
        (timeout.as_millis(), 'm'),
        (u128::from(timeout.as_secs()), 'S'),
        (u128::from(timeout.as_secs() / 3600), 'H'),
    ];
    let fits = |(number, _): &(u128, char)| number.to_string().len() <= DIGITS;
    if let Some((number, unit)) = units.into_iter().find(fits)
        && let Ok(value) = HeaderValue::try_from(format!("{number}{unit}"))
    {
        headers.insert(NAME, value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(text: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(NAME.parse().unwrap(), HeaderValue::from_static(text))])
    }

    #[test]
    fn each_unit_is_read_and_nonsense_is_none() {
        for (text, expected) in [
            ("2H", Some(Duration::from_secs(7200))),
            ("2M", Some(Duration::from_secs(120))),
            ("2S", Some(Duration::from_secs(2))),
            ("2m", Some(Duration::from_millis(2))),
            ("2u", Some(Duration::from_micros(2))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("999999999n", None),
            ("S", None),
            ("2", None),
            ("2x", None),
            ("-2S", None),
            ("", None),
        ] {
            assert_eq!(get(&headers(text)), expected, "{text}");
        }
        assert_eq!(get(&HeaderMap::new()), None);
    }

    proptest! {
        #[test]
        fn what_is_set_is_read(micros in 0..u64::MAX / 1000) {
            let timeout = Duration::from_micros(micros);
            let mut headers = HeaderMap::new();
            set(&mut headers, timeout);
            let read = get(&headers).unwrap();
            prop_assert!(read <= timeout);
            prop_assert!(timeout - read <= timeout / 1000 + Duration::from_micros(1), "{read:?} {timeout:?}");
        }
    }
}
