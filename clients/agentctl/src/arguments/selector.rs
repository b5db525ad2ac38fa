//! Labels by which nodes are selected.

use std::collections::HashMap;
use std::str::FromStr;

use ironic_agent_protocol::v1;
use thiserror::Error;

/// Labels that a node must have, each with its value: `rack=1,role=db`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LabelSelector(HashMap<String, String>);

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum InvalidSelector {
    /// A part has no `=`, or nothing before it.
    #[error("expected KEY=VALUE,...: {0:?} is not KEY=VALUE")]
    NotAPair(String),
    /// A key is there twice.
    #[error("the label {0:?} is given twice")]
    Twice(String),
}

impl FromStr for LabelSelector {
    type Err = InvalidSelector;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut labels = HashMap::new();
        for pair in text.split(',') {
            let parts = pair.split_once('=');
            let parts = parts.map(|(key, value)| (key.trim(), value.trim()));
            let (key, value) = parts
                .filter(|(key, _)| !key.is_empty())
                .ok_or_else(|| InvalidSelector::NotAPair(pair.to_owned()))?;
            if labels.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(InvalidSelector::Twice(key.to_owned()));
            }
        }
        Ok(Self(labels))
    }
}

impl LabelSelector {
    /// The labels.
    pub(crate) fn labels(&self) -> HashMap<String, String> {
        self.0.clone()
    }

    /// For a request.
    pub(crate) fn message(&self) -> v1::NodeSelector {
        v1::NodeSelector {
            labels: self.labels(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_pairs() {
        let read = |text: &str| text.parse::<LabelSelector>();
        let labels = read("rack=1, role=,x=a=b").unwrap().labels();
        assert_eq!(labels.len(), 3);
        assert_eq!((&*labels["role"], &*labels["x"]), ("", "a=b"));
        for text in ["", "rack", "=1", "rack=1,"] {
            assert!(
                matches!(read(text), Err(InvalidSelector::NotAPair(_))),
                "{text}"
            );
        }
        assert_eq!(read("a=1,a=2"), Err(InvalidSelector::Twice("a".to_owned())));
    }
}
