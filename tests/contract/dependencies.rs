//! What the shim is linked with: it is a proxy, and nothing of the agent's.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::layering::{packages, sources};

/// More names than this, our own included, are a sign that something came along that a proxy does
/// not need. What the newest features brought is in `docs/decisions/shared-crates.md`.
const MAX_CRATES: usize = 186;

/// Packages that no source names: one that chooses Unicode's tables for `idna`.
const UNNAMED: [&str; 1] = ["idna_adapter"];

/// Packages whose library has another name.
const RENAMED: [(&str, &str); 1] = [("md-5", "md5")];

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
    let count = names.len();
    assert!(count <= MAX_CRATES, "{count} dependencies: {names:?}");
}

#[test]
fn every_dependency_is_used_outside_of_tests() {
    let mut unused = Vec::new();
    for name in packages() {
        let code: String = sources(name).into_iter().map(|(_, code)| code).collect();
        let words: BTreeSet<&str> = code
            .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .collect();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let manifest = std::fs::read_to_string(root.join(name).join("Cargo.toml")).unwrap();
        let section = manifest.split("\n[dependencies]\n").nth(1);
        let dependencies = section.unwrap_or_default().lines();
        for line in dependencies.take_while(|line| !line.starts_with('[')) {
            let Some((dependency, _)) = line.split_once(['.', ' ']) else {
                continue;
            };
            let crate_name = RENAMED
                .iter()
                .find(|(package, _)| *package == dependency)
                .map_or_else(
                    || dependency.replace('-', "_"),
                    |(_, name)| (*name).to_owned(),
                );
            let is_used = words.contains(crate_name.as_str());
            if !line.starts_with('#') && !is_used && !UNNAMED.contains(&dependency) {
                unused.push(format!("{name}: {dependency}"));
            }
        }
    }
    assert!(unused.is_empty(), "not used: {unused:?}");
}
