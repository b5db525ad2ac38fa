//! Values as Python prints them: some of the Python agent's sentences hold such text, and
//! operators search for them.

use serde_json::Value;

/// A value as Python's `repr` prints it: `{'a': [1, None, True]}`.
pub(super) fn repr(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => repr_text(text),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(repr).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(object) => {
            let entries: Vec<_> = object
                .iter()
                .map(|(key, value)| format!("{}: {}", repr_text(key), repr(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

/// Double quotes only around a text that holds single ones and no double ones.
fn repr_text(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut printed = String::from(quote);
    for character in text.chars() {
        match character {
            '\n' => printed.push_str("\\n"),
            '\r' => printed.push_str("\\r"),
            '\t' => printed.push_str("\\t"),
            '\\' => printed.push_str("\\\\"),
            c if c == quote => {
                printed.push('\\');
                printed.push(c);
            }
            c if c.is_control() => printed.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => printed.push(c),
        }
    }
    printed.push(quote);
    printed
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn prints_like_python() {
        let cases = [
            (
                json!({"generic_hardware_manager": "1.2"}),
                "{'generic_hardware_manager': '1.2'}",
            ),
            (json!({}), "{}"),
            (
                json!([1, -2.5, null, true, false]),
                "[1, -2.5, None, True, False]",
            ),
            (json!("it's"), r#""it's""#),
            (json!(r#"it's "x""#), r#"'it\'s "x"'"#),
            (json!("a\\b\n\u{1}\u{7f}é"), r"'a\\b\n\x01\x7fé'"),
        ];
        for (value, printed) in cases {
            assert_eq!(repr(&value), printed);
        }
    }
}
