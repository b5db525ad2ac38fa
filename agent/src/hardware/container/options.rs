//! Options of container runners, as operators write them.

use serde_json::Value;

/// The options of a step, or the configured ones where it has none.
pub(super) fn own_or(own: &[String], configured: &[String]) -> Vec<String> {
    let own = split(own);
    if own.is_empty() {
        split(configured)
    } else {
        own
    }
}

/// Options are written in one text or in several: each word is one.
pub(super) fn split(options: &[String]) -> Vec<String> {
    let words = options.iter().flat_map(|text| text.split_whitespace());
    words.map(str::to_owned).collect()
}

/// Options as they come in JSON or YAML: null, a text or a list.
pub(super) fn options(value: &Value) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().map(text).collect(),
        other => vec![text(other)],
    }
}
