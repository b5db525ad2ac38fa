//! The journey of a command in `docs/architecture.md`: each hop names a function that is there.

use std::fs;
use std::path::Path;

/// Whether a file declares this function.
fn declares(code: &str, function: &str) -> bool {
    let mut declared = code
        .match_indices("fn ")
        .map(|(at, word)| &code[at + word.len()..]);
    declared.any(|rest| {
        let rest = rest.strip_prefix(function);
        rest.is_some_and(|rest| rest.starts_with(['(', '<']))
    })
}

/// The texts between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_hop_of_the_journey_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let (_, section) = page.split_once("\n## One journey\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let (mut program, mut functions, mut wrong) = ("shim", 0, Vec::new());
    for row in rows {
        if row.contains("*agent*") {
            program = "agent";
        }
        let hops = row.trim_end_matches('|').rsplit_once('|').unwrap().1;
        let mut code = String::new();
        for hop in quoted(hops) {
            let (path, function) = match hop.split_once(".rs") {
                Some((path, function)) => (Some(path), function.trim_start_matches("::")),
                None => (None, hop),
            };
            if let Some(path) = path {
                let file = root.join(program).join("src").join(format!("{path}.rs"));
                code = fs::read_to_string(&file).unwrap_or_default();
                if code.is_empty() {
                    wrong.push(format!("{program}/src/{path}.rs is not there"));
                }
            }
            // The rest are modules, and traits by their paths.
            let is_function = !function.is_empty() && !function.contains(['/', ':']);
            if is_function {
                functions += 1;
            }
            if is_function && !code.is_empty() && !declares(&code, function) {
                wrong.push(format!("{hop}: no function {function}"));
            }
        }
    }
    assert!(functions > 30, "only {functions} functions were found");
    assert!(wrong.is_empty(), "docs/architecture.md: {wrong:#?}");
}
