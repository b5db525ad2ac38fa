//! Results with many fields: a line for each, wrapped under its own column.

use ironic_text::printable;
use serde_json::Value;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The least room for a value.
const MIN_VALUE_COLUMNS: usize = 12;

/// Fields with their values, and groups of them.
#[derive(Debug, Default)]
pub(crate) struct FieldList(Vec<(String, String)>);

impl FieldList {
    /// Adds a field. An empty value is not shown.
    pub(crate) fn field(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            let name = printable(name).into_owned();
            self.0.push((name, printable(&value).into_owned()));
        }
    }

    /// Adds what a document holds, a line for each of its values: `disks[0].size`.
    pub(crate) fn document(&mut self, path: &str, value: &Value) {
        match value {
            Value::Object(object) => {
                for (key, value) in object {
                    let dot = if path.is_empty() { "" } else { "." };
                    self.document(&format!("{path}{dot}{key}"), value);
                }
            }
            Value::Array(values) if values.iter().any(|value| value.is_object()) => {
                for (at, value) in values.iter().enumerate() {
                    self.document(&format!("{path}[{at}]"), value);
                }
            }
            Value::Array(values) => {
                let texts: Vec<_> = values.iter().map(text).collect();
                self.field(path, texts.join(", "));
            }
            Value::Null => {}
            value => self.field(path, text(value)),
        }
    }

    /// The lines, at most `width` columns wide.
    pub(crate) fn render(&self, width: Option<usize>) -> String {
        let longest = self.0.iter().map(|(name, _)| name.width()).max();
        let longest = longest.unwrap_or(0);
        let mut text = String::new();
        for (name, value) in &self.0 {
            let Some(width) = width else {
                text.push_str(&format!("{name:longest$}  {value}\n"));
                continue;
            };
            // Where both do not fit beside each other, the value comes below.
            let indent = if longest + 2 + MIN_VALUE_COLUMNS > width {
                2
            } else {
                longest + 2
            };
            let mut first = wrap(value, width.saturating_sub(indent).max(1)).into_iter();
            if indent == longest + 2 {
                let begin = first.next().unwrap_or_default();
                text.push_str(&format!("{name:longest$}  {begin}\n"));
            } else {
                for line in wrap(name, width.max(1)) {
                    text.push_str(&format!("{line}\n"));
                }
            }
            for line in first {
                text.push_str(&format!("{:indent$}{line}\n", ""));
            }
        }
        text
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A text in lines of at most `width` columns.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for character in text.chars() {
        let wide = character.width().unwrap_or(0);
        if used + wide > width {
            lines.push(String::new());
            used = 0;
        }
        used += wide;
        if let Some(line) = lines.last_mut() {
            line.push(character);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_become_paths() {
        let mut fields = FieldList::default();
        let document = json!({"cpu": {"count": 4, "flags": ["a", "b"]},
            "disks": [{"name": "/dev/sda", "hint": null}], "empty": ""});
        fields.document("", &document);
        assert_eq!(
            fields.render(None),
            "cpu.count      4\ncpu.flags      a, b\ndisks[0].name  /dev/sda\n"
        );
    }

    #[test]
    fn every_width_is_kept() {
        let mut fields = FieldList::default();
        fields.field("memory.physical_mb", "Z".repeat(90));
        fields.field("a", "b\u{1b}");
        for width in [14, 20, 40, 80] {
            let text = fields.render(Some(width));
            for line in text.lines() {
                assert!(line.width() <= width, "{width}: {line}");
            }
            assert_eq!(text.matches('Z').count(), 90);
            assert!(text.contains("b\\x1b"));
        }
    }
}
