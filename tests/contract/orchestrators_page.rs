//! What `docs/orchestrators.md` says to type is typed here.

#![allow(
    clippy::disallowed_methods,
    reason = "the shell of the page is no part of the programs"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::clients::clients;
use crate::support::shim::free_port;

const LIMIT: Duration = Duration::from_secs(90);
/// Where the gateway of the page listens.
const PORTS: [&str; 2] = ["9998", "9999"];

/// The blocks of a page that are fenced with this word.
fn blocks(page: &str, language: &str) -> String {
    let fence = format!("\n```{language}\n");
    let blocks = page.split(&fence).skip(1);
    let blocks: Vec<&str> = blocks
        .map(|rest| rest.split("\n```").next().unwrap())
        .collect();
    assert!(!blocks.is_empty(), "no block of {language}");
    blocks.join("\n")
}

fn page(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(path);
    fs::read_to_string(path).unwrap()
}

/// The directory with both programs, which `cargo test --workspace` builds.
pub(super) fn programs() -> Option<PathBuf> {
    let test = std::env::current_exe().unwrap();
    let directory = test.parent().unwrap().parent().unwrap();
    let built = ["ironic-agent", "ironic-shim"]
        .iter()
        .all(|name| directory.join(name).is_file());
    if !built {
        assert!(
            std::env::var_os("CI").is_none(),
            "the programs are not built"
        );
        println!("skipped: the programs are not built: run cargo test --workspace");
    }
    built.then(|| directory.to_owned())
}

#[tokio::test]
async fn ten_minutes_of_the_page_deploy_a_disk() {
    let (Some(clients), Some(programs)) = (clients(), programs()) else {
        return;
    };
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = tempfile::tempdir().unwrap();
    symlink(
        repository.join("examples"),
        directory.path().join("examples"),
    )
    .unwrap();
    fs::create_dir(directory.path().join("target")).unwrap();
    symlink(&clients, directory.path().join("target/clients")).unwrap();
    let mut typed = blocks(&page("orchestrators.md"), "sh");
    for port in PORTS {
        typed = typed.replace(port, &free_port().to_string());
    }
    let script =
        format!("trap 'kill $(jobs -p) 2>/dev/null || true; cat *.log >&2' EXIT\n{typed}\n");
    let path = [
        programs,
        clients.join("python/bin"),
        clients.join("node/bin"),
        "/usr/bin".into(),
        "/bin".into(),
    ];
    let shell = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .env("PATH", std::env::join_paths(path).unwrap())
        .current_dir(&directory)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LIMIT, shell).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.starts_with("node-1 "), "{shown}");
    assert_eq!(shown.matches("\"deployed\"").count(), 2, "{shown}\n{said}");
}

#[tokio::test]
async fn python_of_the_pages_compiles() {
    let Some(clients) = clients() else { return };
    let temporal = blocks(&page("orchestrators/temporal.md"), "python");
    let compiled = Command::new(clients.join("python/bin/python"))
        .args(["-c", "import ast, sys; ast.parse(sys.argv[1])", &temporal])
        .status();
    assert!(compiled.await.unwrap().success());
}
