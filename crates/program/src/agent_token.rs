//! What both programs know of agent tokens without knowing one.

/// What is answered instead of a token that was handed out before.
pub const MASKED_TOKEN: &str = "******";

/// The characters that a token has at least.
const MIN_TOKEN_CHARS: usize = 32;

/// Whether a text is a token that an agent takes from a lookup or a command: shorter ones, and the
/// asterisks that stand for a token which was handed out before, are not.
#[must_use]
pub fn is_agent_token(text: &str) -> bool {
    text.chars().count() >= MIN_TOKEN_CHARS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_32_characters_at_least() {
        assert!(is_agent_token(&"x".repeat(32)) && is_agent_token(&"ü".repeat(32)));
        assert!(!is_agent_token(&"x".repeat(31)) && !is_agent_token(&"ü".repeat(31)));
        assert!(!is_agent_token(MASKED_TOKEN));
    }
}
