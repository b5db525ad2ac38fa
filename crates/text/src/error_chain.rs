//! An error with its causes on one line.

use std::error::Error;

/// An error and its causes, from the outside in: `cannot read x: permission denied`.
///
/// Some libraries print their cause themselves; what was said is not repeated.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    with_causes(error.to_string(), error.source())
}

/// `text`, and after it a cause and its causes, as [`error_chain`] prints them. For errors
/// whose own text says too much or too little: a gRPC status, a URL that holds a secret.
#[must_use]
pub fn with_causes(mut text: String, mut cause: Option<&(dyn Error + 'static)>) -> String {
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    fn chain_of(texts: &[&'static str]) -> Link {
        let (text, rest) = texts.split_first().unwrap();
        let source = (!rest.is_empty()).then(|| Box::new(chain_of(rest)));
        Link { text, source }
    }

    #[test]
    fn causes_follow_from_the_outside_in_without_repetition() {
        let cases: [(&[&str], &str); 5] = [
            (&["a"], "a"),
            (&["a", "b", "c"], "a: b: c"),
            (&["a: b", "b", "c"], "a: b: c"),
            (&["", "b"], "b"),
            (&["a", "", "c"], "a: c"),
        ];
        for (texts, shown) in cases {
            assert_eq!(error_chain(&chain_of(texts)), shown);
        }
        let cause = chain_of(&["b", "c"]);
        assert_eq!(with_causes(String::new(), Some(&cause)), "b: c");
        assert_eq!(with_causes("a".to_owned(), None), "a");
    }
}
