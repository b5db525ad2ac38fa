//! A verb is described once, in the protocol, and carried out in one file: nothing else in
//! either program names it.

use ironic_agent_protocol::verbs::VERBS;

use super::layering::{packages, sources};

const LIST: &str = "agent/src/commands/verbs/mod.rs";

/// Files that know a verb for a reason of their own.
const EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "set_node_info",
    "shim/src/rest/given_token.rs",
    "it gives the agent a token, which the shim learns from nobody else",
)];

#[test]
fn a_verb_is_named_in_its_file_and_in_one_line_of_the_list() {
    let files: Vec<(String, String)> = packages()
        .into_iter()
        // A client names what it orders.
        .filter(|package| *package != "clients/agentctl")
        .flat_map(|package| {
            let files = sources(package).into_iter();
            files.map(move |(path, code)| (format!("{package}/{path}"), code))
        })
        // Scripts of tests.
        .filter(|(path, _)| !path.ends_with("/testing.rs"))
        .collect();
    for verb in &VERBS {
        let camel = camel(verb.verb);
        let names = [
            format!("\"{}\"", verb.name),
            format!("{camel}Command"),
            format!("Verb::{camel}"),
            format!("VerbCall::{camel}"),
            format!("{}::{camel}", verb.verb),
        ];
        let own = format!("agent/src/commands/verbs/{}", verb.verb);
        for (path, code) in &files {
            let lines = code
                .lines()
                .filter(|line| names.iter().any(|name| has_word(line, name)));
            let lines: Vec<&str> = lines.map(str::trim).collect();
            let excepted = EXCEPTIONS
                .iter()
                .any(|(name, file, _)| *name == verb.verb && file == path);
            if path == LIST {
                assert_eq!(lines, [format!("{}::{camel},", verb.verb)], "{LIST}");
            } else if !excepted && !path.starts_with(&own) {
                assert!(lines.is_empty(), "{path} names {}: {lines:?}", verb.name);
            }
        }
        let is_file = |path: &str| path == format!("{own}.rs") || path == format!("{own}/mod.rs");
        assert!(
            files.iter().any(|(path, _)| is_file(path)),
            "{own} is missing"
        );
    }
}

/// Whether a line has a name, and not only a longer one that begins with it.
fn has_word(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let next = line[at + name.len()..].chars().next();
        !next.is_some_and(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    })
}

fn camel(snake: &str) -> String {
    let words = snake.split('_').map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_uppercase() + rest
    });
    words.collect()
}
