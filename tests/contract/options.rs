//! An option that is offered does something: some room outside `config` reads it, or `config`
//! itself, where it names the file of another option. What nobody
//! reads stands in the table as not offered, with the reason, which whoever sets it is told.

use std::fs;
use std::path::Path;

fn sources(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("agent/src/config") {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn an_option_is_offered_only_if_somebody_reads_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("agent/src/config/table.rs")).unwrap();
    let mut text = String::new();
    for package in ["agent/src", "shim/src"] {
        sources(&root.join(package), &mut text);
    }
    // A call may stand on a line of its own: `.field` with whatever is before it.
    let is_read = |field: &str| {
        let wanted = format!(".{field}");
        text.match_indices(&wanted).any(|(at, _)| {
            let next = text[at + wanted.len()..].chars().next();
            next.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '(')
        })
    };

    let mut rows = 0;
    let mut wrong = Vec::new();
    for row in table
        .lines()
        .filter_map(|line| line.trim().strip_prefix("opt!("))
    {
        let path = row.split([' ', '=']).next().unwrap();
        rows += 1;
        let names_a_secret = ["token_file", "password_file"]
            .iter()
            .any(|end| path.ends_with(end));
        if !names_a_secret && !is_read(path) {
            wrong.push(path);
        }
    }
    assert!(
        rows > 60,
        "the table is written in another way: {rows} rows were found"
    );
    assert!(
        wrong.is_empty(),
        "offered in agent/src/config/table.rs and not read: {wrong:?}"
    );
}
