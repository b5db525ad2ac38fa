//! When to open a lost session again: `U(0, min(30 s, 1 s × 2^n))`, full jitter, so that a
//! thousand agents that lose one shim do not come back as one.

use std::time::Duration;

use super::jitter::Jitter;

const BASE: Duration = Duration::from_secs(1);
const CAP: Duration = Duration::from_secs(30);
/// A session that lived this long was a healthy one. Without this, a flapping peer would be
/// dialled once a second by everybody.
const HEALTHY: Duration = Duration::from_secs(60);

/// The pauses before attempts to open a session.
#[derive(Debug, Clone)]
pub struct Backoff<J> {
    failures: u32,
    jitter: J,
}

impl<J: Jitter> Backoff<J> {
    /// Nothing has failed yet.
    pub fn new(jitter: J) -> Self {
        Self {
            failures: 0,
            jitter,
        }
    }

    /// The pause after a session could not be opened.
    pub fn failed(&mut self) -> Duration {
        let ceiling = BASE
            .saturating_mul(2_u32.saturating_pow(self.failures))
            .min(CAP);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(self.jitter.between(0.0, 1.0))
    }

    /// What was tried has succeeded: the next pause is a short one again.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The pause after a session ended that had lasted so long.
    pub fn lost(&mut self, lasted: Duration) -> Duration {
        if lasted >= HEALTHY {
            self.failures = 0;
        }
        self.failed()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::super::jitter::Scripted;
    use super::*;

    #[test]
    fn ceilings_double_to_the_cap_and_fall_after_a_healthy_session() {
        let mut backoff = Backoff::new(Scripted::new([1.0; 11]));
        let seconds: Vec<_> = (0..8).map(|_| backoff.failed().as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(backoff.lost(Duration::from_secs(59)).as_secs(), 30);
        assert_eq!(backoff.lost(Duration::from_secs(60)).as_secs(), 1);
        assert_eq!(backoff.failed().as_secs(), 2);
    }

    #[test]
    fn never_overflows() {
        let mut backoff = Backoff::new(SmallRng::seed_from_u64(1));
        assert!((0..10_000).all(|_| backoff.failed() <= CAP));
    }
}
