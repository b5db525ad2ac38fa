//! Text that must not appear in a log.

use std::fmt;

/// A token or password. `Debug` does not show it, there is no `Display`, and comparing two
/// takes the same time wherever they differ.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Keeps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text. For the wire and for comparison, never for a log.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `candidate` is this secret. Empty secrets match nothing.
    #[must_use]
    pub fn matches(&self, candidate: &str) -> bool {
        !self.0.is_empty() && constant_time_eq(self.0.as_bytes(), candidate.as_bytes())
    }
}

/// Compares without an early exit, so that an answer's timing tells nothing about how much
/// of a guess was right. Lengths are no secret.
#[must_use]
pub fn constant_time_eq(left: &[u8], right: &[u8]) -> bool {
    let differing = left
        .iter()
        .zip(right)
        .fold(0, |seen, (l, r)| seen | (l ^ r));
    left.len() == right.len() && std::hint::black_box(differing) == 0
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        constant_time_eq(self.0.as_bytes(), other.0.as_bytes())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_nothing_and_compares_whole() {
        let secret = Secret::new("hunter2");
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert!(secret.matches("hunter2"));
        for wrong in ["", "hunter", "hunter22", "hunter3", "Hunter2"] {
            assert!(!secret.matches(wrong), "{wrong}");
        }
        assert!(!Secret::new("").matches(""));
    }
}
