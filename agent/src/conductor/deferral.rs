//! The pause after a conductor that has too much to do has said how long.

use std::time::Duration;

use super::jitter::Jitter;

/// No pause is shorter: a conductor that asks for none would be asked without end.
pub const MIN_PAUSE: Duration = Duration::from_secs(1);

/// The pause for a wish of the conductor's: never less than it says, up to a fifth more, so that
/// those who hear the same time do not come back together. A wish is bounded by [`MIN_PAUSE`] and
/// `longest`.
pub fn pause(retry_after: Duration, longest: Duration, jitter: &mut impl Jitter) -> Duration {
    let wish = retry_after.min(longest).max(MIN_PAUSE);
    wish.mul_f64(jitter.between(1.0, 1.2))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn a_wish_is_obeyed_within_bounds_and_with_jitter() {
        let mut jitter = SmallRng::seed_from_u64(5);
        let longest = Duration::from_secs(90);
        for (wish, bounded) in [(0, 1), (1, 1), (10, 10), (90, 90), (91, 90), (u64::MAX, 90)] {
            let bounded = Duration::from_secs(bounded);
            let mut pauses = std::collections::HashSet::new();
            for _ in 0..200 {
                let pause = pause(Duration::from_secs(wish), longest, &mut jitter);
                assert!(
                    pause >= bounded && pause <= bounded.mul_f64(1.2),
                    "{pause:?}"
                );
                pauses.insert(pause);
            }
            assert!(pauses.len() > 190, "{wish}: {}", pauses.len());
        }
    }
}
