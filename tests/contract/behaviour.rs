//! `docs/behaviour` names a test for each behaviour of the Python agent: the names are true.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const WHY_NOT: &str = "not here: ";

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder` with one of the `endings`.
fn files(folder: PathBuf, endings: &[&str]) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if endings
                .iter()
                .any(|ending| path.extension().is_some_and(|found| found == *ending))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// What `fn`, `def` and `class` define in the sources and tests.
fn definitions() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for folder in ["agent", "shim", "crates", "tests", "examples"] {
        for path in files(workspace().join(folder), &["rs", "py"]) {
            let text = fs::read_to_string(&path).unwrap();
            for line in text.lines() {
                let words: Vec<&str> = line.split_whitespace().collect();
                for pair in words.windows(2) {
                    if ["fn", "def", "class"].contains(&pair[0]) {
                        let name = pair[1]
                            .split(|c: char| !c.is_alphanumeric() && c != '_')
                            .next()
                            .unwrap_or_default();
                        names.insert(name.to_owned());
                    }
                }
            }
        }
    }
    names
}

/// What is wrong with one line of a table.
fn fault(line: &str, known: &BTreeSet<String>) -> Option<String> {
    let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
    let [_, proof] = cells[..] else {
        return Some("has not two cells".to_owned());
    };
    if let Some(reason) = proof.strip_prefix(WHY_NOT) {
        return (reason.len() < 8).then(|| "gives no reason".to_owned());
    }
    let missing: Vec<&str> = proof
        .split(", ")
        .filter(|name| {
            let bare = name.trim_matches('`');
            bare.len() + 2 != name.len() || !known.contains(bare)
        })
        .collect();
    (!missing.is_empty()).then(|| format!("names no test of ours: {}", missing.join(", ")))
}

#[test]
fn every_test_that_the_tables_of_behaviour_name_exists() {
    let known = definitions();
    assert!(
        known.contains("every_test_that_the_tables_of_behaviour_name_exists"),
        "the tests were not found"
    );
    let mut wrong = Vec::new();
    for path in files(workspace().join("docs/behaviour"), &["md"]) {
        if path.ends_with("README.md") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let is_row = line.starts_with("| ") && !line.starts_with("| behaviour | test |");
            if is_row && let Some(fault) = fault(line, &known) {
                let name = path.file_name().unwrap().to_string_lossy();
                wrong.push(format!("{name}:{}: {fault}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_line_without_proof_is_noticed() {
    let known = BTreeSet::from(["there".to_owned()]);
    for good in [
        "| a thing | `there` |",
        "| a thing | `there`, `there` |",
        "| a thing | not here: no such hardware |",
    ] {
        assert_eq!(fault(good, &known), None, "{good}");
    }
    for bad in [
        "| a thing | `absent` |",
        "| a thing | there |",
        "| a thing | not here: |",
        "| a thing |  |",
        "| a thing |",
        "| a | thing | `there` |",
    ] {
        assert!(fault(bad, &known).is_some(), "{bad}");
    }
}
