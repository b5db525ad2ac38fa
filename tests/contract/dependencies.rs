//! What the shim is linked with: it is a proxy, and nothing of the agent's.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// More crates of others than this are a sign that something of the agent's came along.
const MOST: usize = 199;

/// Crates that only the agent needs.
const FOREIGN: [&str; 12] = [
    "ironic-agent",
    "ironic-ondisk",
    "zstd",
    "liblzma",
    "bzip2",
    "fatfs",
    "libdeflater",
    "flate2",
    "tar",
    "rsntp",
    "md-5",
    "sha1",
];

/// The crates that a package is linked with.
fn linked_with(package: &str) -> BTreeSet<String> {
    let arguments =
        format!("tree --package {package} --prefix none --edges normal --offline --locked");
    #[expect(
        clippy::disallowed_methods,
        reason = "the agent does not run this program"
    )]
    let mut cargo = Command::new(env!("CARGO"));
    let output = cargo
        .args(arguments.split(' '))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let names: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    assert!(
        names.contains(package),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    names
}

#[test]
fn agentctl_depends_on_neither_program() {
    let names = linked_with("ironic-agentctl");
    for program in ["ironic-agent", "ironic-shim"] {
        assert!(!names.contains(program), "{names:?}");
    }
}

#[test]
fn the_shim_does_not_depend_on_the_agent() {
    let names = linked_with("ironic-shim");
    let wrong: Vec<_> = FOREIGN
        .iter()
        .filter(|name| names.contains(**name))
        .collect();
    assert!(wrong.is_empty(), "the shim is linked with {wrong:?}");
    let others = names.iter().filter(|name| !name.starts_with("ironic-"));
    let count = others.count();
    assert!(count <= MOST, "{count} dependencies: {names:?}");
}
