//! The node document as Ironic stores it, with typed views of what the agent reads.

use serde_json::{Map, Value};

/// A node as a lookup or a command gave it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node(pub Map<String, Value>);

impl Node {
    /// The node's UUID; empty when the document has none.
    #[must_use]
    pub fn uuid(&self) -> &str {
        self.0
            .get("uuid")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// A value in one of the node's sub-documents, for example `properties`, `root_device`.
    #[must_use]
    pub fn value(&self, document: &str, key: &str) -> Option<&Value> {
        self.0
            .get(document)?
            .get(key)
            .filter(|value| !value.is_null())
    }
}
