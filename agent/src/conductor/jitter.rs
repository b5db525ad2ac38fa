//! Where schedules get their randomness from: always an argument, so that a test can say what
//! comes.

use rand::{Rng, RngExt};

/// Draws numbers.
pub trait Jitter: Send {
    /// A number from `low` (included) to `high` (excluded), all equally likely.
    fn between(&mut self, low: f64, high: f64) -> f64;
}

impl<R: Rng + Send> Jitter for R {
    fn between(&mut self, low: f64, high: f64) -> f64 {
        if low < high {
            self.random_range(low..high)
        } else {
            low
        }
    }
}

/// Draws the given numbers, in that order.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Scripted(std::collections::VecDeque<f64>);

#[cfg(test)]
impl Scripted {
    pub(crate) fn new(numbers: impl IntoIterator<Item = f64>) -> Self {
        Self(numbers.into_iter().collect())
    }
}

#[cfg(test)]
impl Jitter for Scripted {
    fn between(&mut self, low: f64, high: f64) -> f64 {
        let number = self.0.pop_front().expect("the script has another number");
        assert!(
            (low..=high).contains(&number),
            "{number} is not in {low}..{high}"
        );
        number
    }
}
