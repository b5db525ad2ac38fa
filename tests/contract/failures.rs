//! `docs/failures.md` is made from the protocol: every class of failure, every phase.

use std::fs;
use std::path::Path;

use ironic_agent::failure::FailureKind;
use ironic_agent::rpc::convert::failure_kind;
use ironic_agent_protocol::v1::ProgressPhase;

use super::layering::sources;

const HEAD: &str = "\
# Failures and phases

This page is made from the protocol (`failure.proto`, `command.proto`); a test compares it. A program decides by the value, a person reads
`Failure.details`, which says what happened this time and names the field, the disk or the program.

## Classes of failures

`Failure.failure_kind` is the value, `Failure.kind` the name of the class in Ironic's REST API, `Failure.code` its HTTP-like code. An RPC
that is refused has Ironic's name as `reason` of its `google.rpc.ErrorInfo`.

| value | Ironic's class | code | what happened | what to do |
|---|---|---:|---|---|
";

const PHASES: &str = "
## Phases

`Progress.known_phase` is the value, `Progress.phase` the word. A hardware manager may report phases of its own: their value is
`PROGRESS_PHASE_UNSPECIFIED`.

| value | word | what is done | what is counted |
|---|---|---|---|
";

/// The values of an enumeration with their comments, each as one line.
fn values(file: &str, enumeration: &str) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("proto/ironic/agent/v1")
        .join(file);
    let text = fs::read_to_string(path).unwrap();
    let body = text
        .split(&format!("enum {enumeration} {{\n"))
        .nth(1)
        .unwrap();
    let body = body.split("\n}\n").next().unwrap();
    let (mut found, mut comment) = (Vec::new(), Vec::new());
    for line in body.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("// ") {
            comment.push(words);
        } else if let Some((name, _)) = line.split_once(" = ") {
            found.push((name.to_owned(), comment.join(" ")));
            comment.clear();
        }
    }
    // The first stands for what is not listed.
    found.remove(0);
    found
}

#[test]
fn the_page_of_failures_is_that_of_the_protocol() {
    let mut page = HEAD.to_owned();
    let classes = values("failure.proto", "FailureKind");
    assert_eq!(classes.len(), FailureKind::ALL.len());
    for (name, comment) in classes {
        let kind = FailureKind::ALL
            .into_iter()
            .find(|kind| failure_kind(*kind).as_str_name() == name)
            .unwrap_or_else(|| panic!("the agent has no {name}"));
        let (what, then) = comment
            .split_once(": ")
            .unwrap_or_else(|| panic!("{name}: {comment}"));
        let (class, code) = (kind.name(), kind.code());
        page += &format!("| `{name}` | `{class}` | {code} | {what} | {then} |\n");
    }
    page += PHASES;
    for (name, comment) in values("command.proto", "ProgressPhase") {
        let (word, rest) = comment.split_once(": ").unwrap();
        let (what, unit) = rest.trim_end_matches('.').rsplit_once(". ").unwrap();
        page += &format!("| `{name}` | {word} | {what} | {unit} |\n");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/failures.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, page).unwrap();
        return;
    }
    let kept = fs::read_to_string(path).unwrap();
    assert!(
        page == kept,
        "docs/failures.md is out of date: UPDATE_GOLDEN=1 writes it anew"
    );
}

/// The words of phases in the agent's code.
#[test]
fn every_phase_that_the_agent_reports_has_its_value() {
    let mut words = Vec::new();
    for (path, code) in sources("agent") {
        if path.ends_with("/testing.rs") {
            continue;
        }
        let code = code.replace("Meter::new(\n", "Meter::new(");
        for beginning in ["phase: \"", "Meter::new(\"", "const PHASE: &str = \""] {
            for part in code.split(beginning).skip(1) {
                words.push(part.split('"').next().unwrap().to_owned());
            }
        }
    }
    assert!(words.len() >= 4, "{words:?}");
    for word in words {
        let name = format!("PROGRESS_PHASE_{}", word.to_ascii_uppercase());
        assert!(
            ProgressPhase::from_str_name(&name).is_some(),
            "{word} has no value"
        );
    }
}
