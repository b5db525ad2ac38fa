//! The page of log events, which operators search their logs for, names those of the code.

use std::collections::BTreeMap;
use std::path::Path;

use crate::layering::{packages, sources};

const PAGE: &str = "docs/log-events.md";
/// How the code begins the name of a milestone.
const MILESTONE: &str = "event = %\"";
const LEVELS: [&str; 3] = ["error", "warn", "info"];

/// The events of the code: text, level and room, with the number of places that write it.
fn events() -> BTreeMap<(String, &'static str), Vec<String>> {
    let mut events: BTreeMap<(String, &'static str), Vec<String>> = BTreeMap::new();
    for package in packages() {
        for (path, code) in sources(package) {
            for (level, text) in calls(&code) {
                let room = room(package, &path);
                let rooms = events.entry((text, level)).or_default();
                if !rooms.contains(&room) {
                    rooms.push(room);
                }
            }
        }
    }
    events
}

/// The names of milestones, which stand in the field `event`, with the rooms that write them.
fn milestones() -> BTreeMap<String, Vec<String>> {
    let mut milestones: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages() {
        for (path, code) in sources(package) {
            for name in code.split(MILESTONE).skip(1) {
                let name = name.split('"').next().unwrap();
                let rooms = milestones.entry(name.to_owned()).or_default();
                let room = room(package, &path);
                if !rooms.contains(&room) {
                    rooms.push(room);
                }
            }
        }
    }
    milestones
}

/// `agent/src/hardware/registry.rs` is `agent: hardware`.
fn room(package: &str, path: &str) -> String {
    let below = path.strip_prefix("src/").unwrap();
    let room = below.split(['/', '.']).next().unwrap();
    let package = package.strip_prefix("crates/").unwrap_or(package);
    format!("{package}: {room}")
}

/// The calls of `info!`, `warn!` and `error!`, with the text of each.
fn calls(code: &str) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for level in LEVELS {
        let start = format!("{level}!(");
        for (at, _) in code.match_indices(&start) {
            let is_whole = !code[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            if is_whole {
                let arguments = arguments(&code[at + start.len()..]);
                let text = arguments.iter().find(|argument| argument.starts_with('"'));
                let text = text.unwrap_or_else(|| panic!("{start} without a text: {arguments:?}"));
                found.push((level, event(text)));
            }
        }
    }
    found
}

/// The arguments up to the closing parenthesis.
fn arguments(code: &str) -> Vec<String> {
    let mut arguments = vec![String::new()];
    let (mut depth, mut in_text, mut is_escaped) = (0, false, false);
    for letter in code.chars() {
        let last = arguments.last_mut().unwrap();
        if in_text {
            last.push(letter);
            in_text = letter != '"' || is_escaped;
            is_escaped = letter == '\\' && !is_escaped;
            continue;
        }
        match letter {
            ')' if depth == 0 => break,
            ',' if depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            '"' => in_text = true,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            letter if letter.is_whitespace() && last.is_empty() => continue,
            _ => {}
        }
        last.push(letter);
    }
    arguments
}

/// The part of a text that is the same in every line: what stands before its first value.
fn event(text: &str) -> String {
    let mut joined = String::new();
    let mut lines = text.trim().trim_matches('"').split("\\\n");
    joined.push_str(lines.next().unwrap());
    for line in lines {
        joined.push_str(line.trim_start());
    }
    let fixed = joined.split('{').next().unwrap();
    fixed.trim_end().replace("\\\"", "\"")
}

fn page() -> String {
    let mut page = "# Log events\n\n\
        One line of the log is one event: time, level, the text of the event, and its fields as \
        `name=value`. Each text\nbelow is stable: search for it, and alert on it. Where a text \
        has a value within, what stands before the value is\nlisted. A changed text is named in \
        the [change log](../CHANGELOG.md). At `debug` there are more lines, which may change.\n\n\
        `tests/contract/log_events.rs` writes this page with `UPDATE_GOLDEN=1` and compares it \
        with the code without.\n"
        .to_owned();
    let events = events();
    for (level, title) in [
        ("error", "Errors"),
        ("warn", "Warnings"),
        ("info", "Information"),
    ] {
        page += &format!("\n## {title}\n\n| text | written by |\n|---|---|\n");
        for ((text, _), rooms) in events.iter().filter(|((_, found), _)| *found == level) {
            // A line of a program that runs beside the agent is all value.
            let shown = match text.as_str() {
                "" => "(what a program says)".to_owned(),
                text => format!("`{}`", text.replace('|', "\\|")),
            };
            page += &format!("| {shown} | {} |\n", rooms.join(", "));
        }
    }
    page += "\n## Milestones\n\nA line with the text `milestone` is for programs: the field `event` says what has \
             been reached.\n\n| `event=` | written by |\n|---|---|\n";
    for (name, rooms) in milestones() {
        page += &format!("| `{name}` | {} |\n", rooms.join(", "));
    }
    page
}

#[test]
fn the_page_of_log_events_names_those_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let expected = page();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let missing: Vec<_> = expected
        .lines()
        .filter(|line| !found.lines().any(|other| other == *line))
        .collect();
    let gone: Vec<_> = found
        .lines()
        .filter(|line| !expected.lines().any(|other| other == *line))
        .collect();
    assert!(
        found == expected,
        "{PAGE}: UPDATE_GOLDEN=1 writes it anew; missing {missing:#?}, gone {gone:#?}"
    );
}

/// A line that is called a milestone and does not say which one would be missing from the page.
#[test]
fn every_milestone_has_a_literal_name() {
    for package in packages() {
        for (path, code) in sources(package) {
            let texts = code.matches("\"milestone\"").count();
            let names = code.matches(MILESTONE).count();
            assert!(texts <= names, "{package}/{path}");
        }
    }
}

#[test]
fn texts_are_found_among_fields_and_values() {
    let code = r#"
        tracing::warn!(%error, path = "a, b", "could not \"look\" at it");
        info!("one {} and {two}", f(1, "x"));
        tracing::error!(
            ?x,
            "split \
             in two"
        );
        custom_info!("not one");
    "#;
    assert_eq!(
        calls(code),
        [
            ("error", "split in two".to_owned()),
            ("warn", "could not \"look\" at it".to_owned()),
            ("info", "one".to_owned()),
        ]
    );
}
