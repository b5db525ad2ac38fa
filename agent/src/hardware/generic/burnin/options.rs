//! What the node's `driver_info` says about a burn-in.

use serde_json::Value;

use crate::machine::ironic_node::Node;

/// An option of the node as text; `None` when it is absent, null or empty.
pub(super) fn option(node: &Node, name: &str) -> Option<String> {
    let value = node.value("driver_info", &format!("agent_burnin_{name}"))?;
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    (!text.is_empty()).then_some(text)
}

pub(super) fn option_or(node: &Node, name: &str, default: &str) -> String {
    option(node, name).unwrap_or_else(|| default.to_owned())
}
