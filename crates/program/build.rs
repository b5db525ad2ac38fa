//! Tells the crate which commit it is built from, as `IRONIC_AGENT_COMMIT`: from the variable
//! of that name, else from git, else `unknown` (a tarball, or a copy inside another
//! repository).

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=IRONIC_AGENT_COMMIT");
    let commit = std::env::var("IRONIC_AGENT_COMMIT")
        .ok()
        .or_else(commit)
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=IRONIC_AGENT_COMMIT={commit}");
}

fn commit() -> Option<String> {
    // Asked at run time: a target directory that several work trees share holds one script.
    let package = std::env::var_os("CARGO_MANIFEST_DIR")?;
    let workspace = Path::new(&package).parent()?.parent()?;
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != workspace.canonicalize().ok()? {
        return None;
    }
    // Every commit, checkout and rebase appends to this log.
    let log = git(&[
        "rev-parse",
        "--path-format=absolute",
        "--git-path",
        "logs/HEAD",
    ])?;
    if Path::new(&log).exists() {
        println!("cargo:rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(args: &[&str]) -> Option<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a build script is no part of the agent"
    )]
    let output = std::process::Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
