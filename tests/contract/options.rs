//! An option that is offered does something: some module outside of `config` reads it. What nobody
//! reads stands in the table as not offered, with the reason, and setting it is a warning. And
//! `docs/options.md` lists them all.

use std::fs;
use std::path::Path;

use ironic_options::{entries, reference};

/// Rows of options, and where their values may be read.
const TABLES: [(&str, &[&str]); 3] = [
    ("agent/src/config/options.rs", &["agent/src"]),
    ("shim/src/config/options.rs", &["shim/src"]),
    (
        "crates/program/src/settings.rs",
        &["crates/program/src", "agent/src", "shim/src"],
    ),
];

fn sources(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("src/config") {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// Whether a text reads a field. A call may stand on a line of its own: `.field` with whatever
/// is before it.
fn reads(text: &str, field: &str) -> bool {
    let wanted = format!(".{field}");
    text.match_indices(&wanted).any(|(at, _)| {
        let next = text[at + wanted.len()..].chars().next();
        next.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '(')
    })
}

#[test]
fn an_option_is_offered_only_if_it_is_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut rows = 0;
    let mut wrong = Vec::new();
    for (table, readers) in TABLES {
        let mut text = String::new();
        for reader in readers {
            sources(&root.join(reader), &mut text);
        }
        let table = fs::read_to_string(root.join(table)).unwrap();
        let options = table
            .lines()
            .filter_map(|line| line.trim().strip_prefix("opt!("));
        for row in options {
            rows += 1;
            let path = row.split([' ', ',']).next().unwrap();
            if !reads(&text, path) {
                wrong.push(path.to_owned());
            }
        }
    }
    assert!(
        rows > 60,
        "the tables are written in another way: {rows} rows were found"
    );
    assert!(wrong.is_empty(), "offered and not read: {wrong:?}");
}

#[test]
fn the_reference_page_lists_every_option() {
    let page = reference(&[
        entries::<ironic_agent::config::AgentConfig>(),
        entries::<ironic_shim::config::ShimConfig>(),
    ]);
    let text = format!("{INTRODUCTION}{page}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/options.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/options.md is not current: UPDATE_GOLDEN=1 cargo test --test contract options"
    );
}

const INTRODUCTION: &str = "\
# Options

This page is generated from the tables of options; a test holds that it is current.

An option is written as `name = value` in a file under `[DEFAULT]` or its group, and as `--name value` on the command line,
where `-` and `_` are the same, a group stands before the name (`--mdns-use_mdns`) and `--no` before the name of a switch turns
it off. Later sources win over earlier ones:

1. the default,
2. the kernel command line,
3. virtual media (`parameters.txt`), where the machine was booted from them,
4. files: `/etc/ironic-python-agent.conf`, then `*.conf` in `/etc/ironic-python-agent.conf.d`, `/etc/ironic-python-agent` and
   `/etc/ironic-python-agent.d`; or those of `--config-file` and `--config-dir`,
5. the environment,
6. the command line,
7. the kernel parameter `ipa-debug`.

Both programs read the same files and the same kernel command line; each passes over the options of the other one.
";
