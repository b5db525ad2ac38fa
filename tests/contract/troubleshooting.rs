//! `docs/troubleshooting.md` quotes what the programs and the init say.

use std::fs;
use std::path::Path;

/// The text of all sources, with strings that go on in the next line joined.
fn sources(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            let mut lines = source.lines().peekable();
            while let Some(line) = lines.next() {
                let goes_on = line.ends_with('\\') && lines.peek().is_some();
                text.push_str(line.trim_start().trim_end_matches('\\'));
                if !goes_on {
                    text.push('\n');
                }
            }
        }
    }
}

#[test]
fn every_quoted_message_is_one_that_the_source_has() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = fs::read_to_string(root.join("ramdisk/root/init")).unwrap();
    for package in ["agent/src", "shim/src", "crates"] {
        sources(&root.join(package), &mut text);
    }
    let page = include_str!("../../docs/troubleshooting.md");
    let mut quotes = 0;
    let mut unknown = Vec::new();
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let symptom = row.split(" | ").next().unwrap();
        for quote in symptom.split('`').skip(1).step_by(2) {
            // What differs is a place of its own, in the source as well.
            let parts = quote
                .split('…')
                .map(|part| part.trim_matches([' ', ':', '=']));
            for part in parts.filter(|part| part.len() > 8) {
                quotes += 1;
                if !text.contains(part) {
                    unknown.push(part);
                }
            }
        }
    }
    assert!(quotes > 30, "only {quotes} quotes were found");
    assert!(
        unknown.is_empty(),
        "nothing says this any more: {unknown:#?}"
    );
}
