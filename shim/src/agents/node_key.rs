//! The key of tables that remember a node for as long as the program runs.

use std::fmt;

use uuid::Uuid;

/// A node. A UUID is kept in place: a small piece of memory for each of thousands of nodes, made while
/// they attach, would keep a page each from being given back when they have gone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NodeKey {
    /// As Ironic writes it.
    Uuid(Uuid),
    /// Any other text.
    Text(Box<str>),
}

impl From<&str> for NodeKey {
    fn from(node: &str) -> Self {
        match Uuid::try_parse(node) {
            // Another spelling is another node in all other tables.
            Ok(uuid) if node == uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) => {
                Self::Uuid(uuid)
            }
            _ => Self::Text(node.into()),
        }
    }
}

impl fmt::Display for NodeKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(uuid) => uuid.fmt(formatter),
            Self::Text(text) => formatter.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_reads_as_it_was_written(
            node in "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-f]{32}|\\PC{0,40}",
        ) {
            prop_assert_eq!(NodeKey::from(node.as_str()).to_string(), node);
        }
    }

    #[test]
    fn only_the_usual_spelling_is_kept_in_place() {
        let is_in_place = |node| matches!(NodeKey::from(node), NodeKey::Uuid(_));
        assert!(is_in_place("1be26c0b-03f2-4d2e-ae87-c02d7f33c123"));
        for other in [
            "1BE26C0B-03F2-4D2E-AE87-C02D7F33C123",
            "1be26c0b03f24d2eae87c02d7f33c123",
            "{1be26c0b-03f2-4d2e-ae87-c02d7f33c123}",
            "",
        ] {
            assert!(!is_in_place(other), "{other}");
        }
    }
}
