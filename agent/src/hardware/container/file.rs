//! The file that describes steps in containers, in YAML.
//!
//! Of YAML it may use what such a file needs: mappings and lists by indentation, lists in
//! brackets, quoted and plain scalars on one line, comments. Anything else is refused by its
//! line, never guessed.

use std::path::Path;

use serde_json::{Map, Value};

use super::options;

/// A step of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileStep {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) interface: String,
    pub(super) priority: u32,
    pub(super) reboot_requested: bool,
    pub(super) abortable: bool,
    pub(super) pull_options: Vec<String>,
    pub(super) run_options: Vec<String>,
}

/// Reads the file; one that does not exist has no steps.
///
/// # Errors
/// What is wrong, for an operator.
pub(super) fn read(path: &Path, reserved: &[&str]) -> Result<Vec<FileStep>, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, reserved),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(format!("it cannot be read: {error}")),
    }
}

fn parse(text: &str, reserved: &[&str]) -> Result<Vec<FileStep>, String> {
    let document = document(text)?;
    let steps = match &document {
        Value::Null => return Ok(Vec::new()),
        Value::Object(document) => document.get("steps").unwrap_or(&Value::Null),
        _ => return Err("it must be a mapping with the key 'steps'".to_owned()),
    };
    let steps = match steps {
        Value::Null => return Ok(Vec::new()),
        Value::Array(steps) => steps,
        _ => return Err("'steps' must be a list".to_owned()),
    };
    let mut found: Vec<FileStep> = Vec::new();
    for step in steps {
        let step = self::step(step)?;
        let name = step.name.as_str();
        if reserved.contains(&name) || found.iter().any(|other| other.name == name) {
            return Err(format!("there is another step of the name {name}"));
        }
        found.push(step);
    }
    Ok(found)
}

fn step(step: &Value) -> Result<FileStep, String> {
    let Value::Object(step) = step else {
        return Err("each step must be a mapping".to_owned());
    };
    let called = match step.get("name") {
        Some(Value::String(name)) => name.clone(),
        _ => "<unnamed>".to_owned(),
    };
    let missing = |key: &str| format!("step {called} needs the key '{key}'");
    let wrong = |key: &str, expected: &str| format!("step {called}: '{key}' must be {expected}");
    let text = |key: &str| match step.get(key) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        None | Some(Value::Null | Value::String(_)) => Err(missing(key)),
        Some(_) => Err(wrong(key, "a text")),
    };
    let flag = |key: &str| {
        let value = step.get(key).ok_or_else(|| missing(key))?;
        value.as_bool().ok_or_else(|| wrong(key, "true or false"))
    };
    let name = text("name")?;
    // Ironic takes any text. Names of the Python agent's own methods are not looked for here.
    if name.starts_with('_') || name.chars().any(char::is_control) || name.trim() != name {
        return Err(format!(
            "step {name:?}: 'name' must not begin with an underscore, nor begin or end with a \
             blank, nor hold control characters"
        ));
    }
    let priority = step.get("priority").ok_or_else(|| missing("priority"))?;
    let priority = priority
        .as_u64()
        .and_then(|number| u32::try_from(number).ok());
    Ok(FileStep {
        image: text("image")?,
        interface: text("interface")?,
        priority: priority.ok_or_else(|| wrong("priority", "a whole number"))?,
        reboot_requested: flag("reboot_requested")?,
        abortable: flag("abortable")?,
        pull_options: options(step.get("pull_options").unwrap_or(&Value::Null)),
        run_options: options(step.get("run_options").unwrap_or(&Value::Null)),
        name,
    })
}

/// A line that is not empty.
#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    number: usize,
    indent: usize,
    text: &'a str,
}

fn document(text: &str) -> Result<Value, String> {
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let number = at + 1;
        let content = without_comment(line).trim_end();
        let text = content.trim_start_matches(' ');
        if text.is_empty() || (text == "---" && lines.is_empty()) {
            continue;
        }
        if text.starts_with('\t') {
            return Err(format!("line {number}: indent by spaces, not by tabs"));
        }
        lines.push(Line {
            number,
            indent: content.len() - text.len(),
            text,
        });
    }
    let mut rest = lines.as_slice();
    let value = match lines.first() {
        None => return Ok(Value::Null),
        Some(first) => block(&mut rest, first.indent)?,
    };
    match rest.first() {
        None => Ok(value),
        Some(line) => Err(odd(line)),
    }
}

fn odd(line: &Line<'_>) -> String {
    format!(
        "line {}: '{}' is not understood here",
        line.number, line.text
    )
}

/// A comment begins with a number sign after white space, outside quotes.
fn without_comment(line: &str) -> &str {
    let (mut quote, mut before) = (None, ' ');
    for (at, character) in line.char_indices() {
        match (quote, character) {
            (None, '#') if before.is_whitespace() => return &line[..at],
            (None, '\'' | '"') if !before.is_alphanumeric() => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
        before = character;
    }
    line
}

/// What stands at one indentation: a list or a mapping.
fn block(rest: &mut &[Line<'_>], indent: usize) -> Result<Value, String> {
    let mut list: Vec<Value> = Vec::new();
    let mut mapping = Map::new();
    while let Some((line, tail)) = rest.split_first() {
        if line.indent < indent {
            break;
        }
        if line.indent > indent {
            return Err(odd(line));
        }
        if let Some(item) = line.text.strip_prefix('-').filter(|item| is_end(item)) {
            if !mapping.is_empty() {
                return Err(odd(line));
            }
            let inner = item.trim_start();
            if inner.is_empty() {
                *rest = tail;
                list.push(nested(rest, indent + 1)?);
            } else if entry(inner).is_some() {
                // A mapping begins beside the dash: read it as if it stood below.
                let column = indent + (line.text.len() - inner.len());
                let mut below = vec![Line {
                    indent: column,
                    text: inner,
                    ..*line
                }];
                let end = tail.iter().position(|line| line.indent <= indent);
                let end = end.unwrap_or(tail.len());
                below.extend(&tail[..end]);
                *rest = &tail[end..];
                let mut below = below.as_slice();
                list.push(block(&mut below, column)?);
                if let Some(line) = below.first() {
                    return Err(odd(line));
                }
            } else {
                *rest = tail;
                list.push(scalar(inner, line)?);
            }
        } else if let Some((key, value)) = entry(line.text) {
            if !list.is_empty() {
                // The next key of the mapping whose value this list is, or nobody's.
                break;
            }
            *rest = tail;
            let value = if value.is_empty() {
                // A list may stand as far left as its key.
                let list_follows = rest
                    .first()
                    .is_some_and(|next| next.indent == indent && next.text.starts_with("- "));
                nested(rest, if list_follows { indent } else { indent + 1 })?
            } else {
                scalar(value, line)?
            };
            if mapping.insert(key.to_owned(), value).is_some() {
                return Err(format!("line {}: '{key}' stands twice", line.number));
            }
        } else {
            return Err(odd(line));
        }
    }
    Ok(if list.is_empty() {
        Value::Object(mapping)
    } else {
        Value::Array(list)
    })
}

/// What stands deeper, if anything does.
fn nested(rest: &mut &[Line<'_>], least: usize) -> Result<Value, String> {
    match rest.first() {
        Some(line) if line.indent >= least => {
            let indent = line.indent;
            block(rest, indent)
        }
        _ => Ok(Value::Null),
    }
}

fn is_end(after: &str) -> bool {
    after.is_empty() || after.starts_with(' ')
}

/// `key: value` with a plain key.
fn entry(text: &str) -> Option<(&str, &str)> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let (key, value) = text.split_once(':')?;
    let fine = !key.is_empty() && key.chars().all(plain) && is_end(value);
    fine.then(|| (key, value.trim()))
}

fn scalar(text: &str, line: &Line<'_>) -> Result<Value, String> {
    if let Some(items) = text.strip_prefix('[') {
        let items = items.strip_suffix(']').ok_or_else(|| odd(line))?;
        return items
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(|item| scalar(item, line))
            .collect::<Result<Vec<_>, _>>()
            .map(Value::Array);
    }
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote) {
            let inner = inner.strip_suffix(quote).ok_or_else(|| odd(line))?;
            if inner.contains(quote) || (quote == '"' && inner.contains('\\')) {
                return Err(odd(line));
            }
            return Ok(inner.into());
        }
    }
    // Anchors, tags, blocks of text and mappings in braces have no place here.
    if text.starts_with(['&', '*', '!', '|', '>', '{', '%', '@', '`', ']', '}'])
        || text.contains(": ")
    {
        return Err(odd(line));
    }
    Ok(match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "on" | "On" => true.into(),
        "false" | "False" | "FALSE" | "no" | "No" | "off" | "Off" => false.into(),
        "null" | "Null" | "~" => Value::Null,
        text => match text.parse::<i64>() {
            Ok(number) => number.into(),
            Err(_) => text.into(),
        },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const FILE: &str = "---\n# steps of this ramdisk\nsteps:\n  - name: manage_container\n    image: docker://172.24.4.1:5000/cleaning:latest # ours\n    interface: deploy\n    reboot_requested: False\n    pull_options: \"--tls-verify=false --quiet\"\n    run_options:\n      - --rm\n      - --network=host\n    abortable: true\n    priority: 20\n\n  -\n    name: other\n    image: 'example.com/x#1'\n    interface: deploy\n    reboot_requested: yes\n    run_options: [--rm, \"-it\"]\n    abortable: no\n    priority: 0\n";

    #[test]
    fn reads_what_such_files_hold() {
        let steps = parse(FILE, &[]).unwrap();
        let expected = FileStep {
            name: "manage_container".to_owned(),
            image: "docker://172.24.4.1:5000/cleaning:latest".to_owned(),
            interface: "deploy".to_owned(),
            priority: 20,
            reboot_requested: false,
            abortable: true,
            pull_options: vec!["--tls-verify=false --quiet".to_owned()],
            run_options: vec!["--rm".to_owned(), "--network=host".to_owned()],
        };
        assert_eq!(steps[0], expected);
        assert_eq!(steps[1].image, "example.com/x#1");
        assert_eq!(steps[1].run_options, ["--rm", "-it"]);
        assert!(steps[1].reboot_requested && !steps[1].abortable);
        for none in ["", "---\n", "steps:\n", "steps: []\n", "other: 1\n"] {
            assert_eq!(parse(none, &[]), Ok(Vec::new()), "{none:?}");
        }
        // A list as far left as its key.
        let left = document("a:\n- 1\n- x: 2\n  y: 3\nb: 4\n").unwrap();
        assert_eq!(left, json!({"a": [1, {"x": 2, "y": 3}], "b": 4}));
    }

    /// Ironic and the Python agent take any text, and one refused name would cost all steps.
    #[test]
    fn a_name_may_be_what_operators_write() {
        let file = |name: &str| FILE.replace("name: other", &format!("name: {name}"));
        for name in [
            "burn-in",
            "vendor.check",
            "update bios",
            "étape",
            "\"1-a\"",
            "9lives",
        ] {
            let steps = parse(&file(name), &[]).unwrap();
            assert_eq!(steps[1].name, name.trim_matches('"'));
        }
        for bad in ["_private", "\" blank\"", "\"\""] {
            assert!(parse(&file(bad), &[]).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |more: &str| format!("steps:\n- name: a\n  image: b\n{more}");
        let rest = "  interface: deploy\n  reboot_requested: false\n  abortable: true\n";
        let cases = [
            ("- a\n".to_owned(), "a mapping with the key 'steps'"),
            ("steps: 3\n".to_owned(), "'steps' must be a list"),
            ("steps:\n- 3\n".to_owned(), "each step must be a mapping"),
            (
                "steps:\n- image: b\n".to_owned(),
                "<unnamed> needs the key 'name'",
            ),
            (with(rest), "step a needs the key 'priority'"),
            (
                with(&format!("{rest}  priority: high\n")),
                "'priority' must be a whole number",
            ),
            (
                with(&format!("{rest}  priority: 1\n")).replace("name: a", "name: erase_devices"),
                "there is another step of the name erase_devices",
            ),
            (
                with(&format!("{rest}  priority: 1\n")).replace("name: a", "name: _x"),
                "step \"_x\": 'name' must not begin with an underscore",
            ),
            (with("  image: c\n"), "line 4: 'image' stands twice"),
            (
                with("  x: |\n    text\n"),
                "line 4: 'x: |' is not understood",
            ),
            (with("  x: &y z\n"), "is not understood"),
            (with("\tx: 1\n"), "line 4: indent by spaces"),
            (with("   x: 1\n"), "is not understood"),
            (with("  x: \"a\n"), "is not understood"),
        ];
        for (text, expected) in cases {
            let problem = parse(&text, &["erase_devices"]).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }

    proptest! {
        #[test]
        fn nonsense_is_survived(text in "[-a:# \\[\\]'\"\n,1]{0,80}") {
            let _ = parse(&text, &[]);
        }
    }
}
