//! What `README.md`, `docs/fleet.md` and the pages of the clients say to type is typed here, with
//! other addresses; and what they name exists.

#![allow(
    clippy::disallowed_methods,
    reason = "the shells of the pages are no part of the programs"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use ironic_shim::config::{NodeCertificates, ShimConfig};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::process::Command;

use super::clients::clients;
use super::fleet::{config_without_ironic, image};
use super::orchestrators_page::programs;
use crate::support::gateway::Machine;
use crate::support::images::HeldImage;
use crate::support::replicas::program;
use crate::support::shim::{Shim, free_port};
use crate::support::tls::Authority;

const LIMIT: Duration = Duration::from_secs(90);
const README: &str = include_str!("../../README.md");
const FLEET: &str = include_str!("../../docs/fleet.md");

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The indented blocks of a page.
fn blocks(page: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    for line in page.lines() {
        match line.strip_prefix("    ") {
            Some(line) => blocks.last_mut().unwrap().push_str(&format!("{line}\n")),
            // A blank line within a block is one of it.
            None if line.is_empty() => blocks.last_mut().unwrap().push('\n'),
            None => blocks.push(String::new()),
        }
    }
    let blocks = blocks.into_iter().map(|block| block.trim().to_owned());
    blocks.filter(|block| !block.is_empty()).collect()
}

/// The only block of a page that holds a text.
#[track_caller]
fn block(page: &str, holds: &str) -> String {
    let mut found = blocks(page)
        .into_iter()
        .filter(|block| block.contains(holds));
    let block = found.next();
    assert!(found.next().is_none(), "several blocks hold {holds:?}");
    block.unwrap_or_else(|| panic!("no block holds {holds:?}"))
}

/// Runs a script with the programs, the clients and a stand-in of grpcurl.
async fn typed(script: &str, directory: &Path) -> Option<Output> {
    let (Some(clients), Some(programs), Some(curl)) = (clients(), programs(), program("curl"))
    else {
        return None;
    };
    let bin = directory.join("stand-ins");
    fs::create_dir_all(&bin).unwrap();
    let grpcurl = bin.join("grpcurl");
    let stand_in = format!(
        "#!/bin/sh\nexec '{}' '{}' \"$@\"\n",
        clients.join("python/bin/python").display(),
        repository("tests/contract/grpcurl.py").display()
    );
    fs::write(&grpcurl, stand_in).unwrap();
    fs::set_permissions(&grpcurl, fs::Permissions::from_mode(0o755)).unwrap();
    let path = [
        bin,
        programs,
        curl.parent().unwrap().to_owned(),
        "/usr/bin".into(),
        "/bin".into(),
    ];
    let script = format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}\n");
    let shell = Command::new("bash")
        .args(["-euc", &script])
        .env("PATH", std::env::join_paths(path).unwrap())
        .current_dir(directory)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    Some(tokio::time::timeout(LIMIT, shell).await.unwrap().unwrap())
}

#[track_caller]
fn shown(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown}\n{said}");
    shown
}

fn digest() -> String {
    let digest = Sha256::digest(image());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn both_programs_run_by_hand_as_the_readme_says() {
    let directory = tempfile::tempdir().unwrap();
    let text = block(
        README,
        "ironic-agent --standalone --grpc_listen 127.0.0.1:9998 --agent_token_file token --simulate",
    );
    let (build, text) = text.split_once("\nmkdir disks").unwrap();
    assert!(
        build.starts_with("cargo build --release\nexport PATH="),
        "{build}"
    );
    let (begin, asks) = text.split_once("\ncurl ").unwrap();
    let mut script = format!(
        "mkdir disks{begin}\nuntil curl -s 127.0.0.1:9999/v1/status >status; do sleep 0.1; done\ncurl {asks}"
    );
    for port in ["9998", "9999"] {
        script = script.replace(port, &free_port().to_string());
    }
    let Some(output) = typed(&script, directory.path()).await else {
        return;
    };
    let shown = shown(&output);
    for found in [
        "started_at",
        "get_hardware_info",
        "ironic.agent.v1.CommandService",
        "grpc.health.v1.Health",
    ] {
        assert!(shown.contains(found), "{found}: {shown}");
    }
    // The two lines for the real machine, which no test runs, are these without a simulation.
    let real = blocks(README)
        .into_iter()
        .find(|block| block.starts_with("ironic-agent --standalone"));
    for line in real.unwrap().lines() {
        let words = line.split_whitespace().filter(|word| *word != "\\");
        for word in words {
            assert!(text.contains(word), "{word}");
        }
    }
}

#[tokio::test]
async fn an_image_gets_onto_a_disk_as_the_readme_says() {
    let directory = tempfile::tempdir().unwrap();
    let held = HeldImage::serve(image()).await;
    held.release();
    let disk = directory.path().join("sdb");
    fs::File::create(&disk).unwrap().set_len(16 << 20).unwrap();
    let script = block(README, "ironic-agent write-image --url")
        .replace("https://host/disk.raw.zst", &held.url)
        .replace("DIGEST", &digest())
        .replace("/dev/sdb", disk.to_str().unwrap());
    let Some(output) = typed(&script, directory.path()).await else {
        return;
    };
    shown(&output);
    assert_eq!(fs::read(&disk).unwrap()[512..image().len()], image()[512..]);
}

#[test]
fn targets_of_make_and_paths_of_the_pages_exist() {
    let makefile = fs::read_to_string(repository("Makefile")).unwrap();
    let mut lines = 0;
    for page in [
        "README.md",
        "CONTRIBUTING.md",
        "docs/agentctl.md",
        "docs/orchestrators.md",
        "docs/page.md",
        "docs/benchmarks.md",
        "tests/ironic/README.md",
    ] {
        let text = fs::read_to_string(repository(page)).unwrap();
        for line in blocks(&text).iter().flat_map(|block| block.lines()) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("make") => {
                    let target = format!("\n{}:", words.next().unwrap());
                    assert!(makefile.contains(&target), "{page}: {line}");
                    lines += 1;
                }
                Some(path) if path.starts_with("tests/") => {
                    assert!(repository(path).is_file(), "{page}: {line}");
                    lines += 1;
                }
                _ => {}
            }
        }
    }
    assert!(lines > 15, "{lines}");
}

/// A gateway with the node file of `docs/fleet.md`, its machine, and the files that the page names.
struct FleetPage {
    state: TempDir,
    /// What a caller types before each call.
    call: String,
    machine: Machine,
    _shim: Shim,
    _agent: crate::support::gateway::AttachedAgent,
    image: HeldImage,
}

impl FleetPage {
    async fn new() -> Self {
        Self::with(NodeCertificates::None).await
    }

    /// One whose gateway issues certificates has no machine that would enrol.
    async fn with(node_certificates: NodeCertificates) -> Self {
        let state = tempfile::tempdir().unwrap();
        let operators = Authority::new();
        let (server, client) = (operators.sign(), operators.sign());
        let write = |name: &str, text: &str| {
            let path = state.path().join(name);
            fs::write(&path, text).unwrap();
            Some(path)
        };
        for (name, text) in [
            ("gw-ca.crt", &operators.pem),
            ("me.crt", &client.pem),
            ("me.key", &client.key),
        ] {
            write(name, text);
        }
        let machine = Machine::new();
        let other = machine.disk().with_file_name("sdb");
        fs::File::create(other).unwrap().set_len(16 << 20).unwrap();
        let nodes = state.path().join("nodes");
        fs::create_dir_all(&nodes).unwrap();
        let text = block(FLEET, "root_device: {model").replace(
            "{model: \"SAMSUNG MZ7LH960\"}",
            &format!("{{name: '{}'}}", machine.disk().display()),
        );
        fs::write(nodes.join("rack1.yaml"), text).unwrap();
        let port = free_port();
        let config = ShimConfig {
            node_dir: Some(nodes),
            node_certificates,
            fleet_listen: Some(format!("127.0.0.1:{port}").parse().unwrap()),
            fleet_tls_cert_file: write("gw.crt", &server.pem),
            fleet_tls_key_file: write("gw.key", &server.key),
            fleet_tls_ca_file: write("ca.crt", &operators.pem),
            fleet_policy_file: write("policy.yaml", &block(FLEET, "spiffe://ops.example/ci/*")),
            ..config_without_ironic(&state)
        };
        // The page's callers have names; this one is called as the test's certificate is.
        let policy = block(FLEET, "spiffe://ops.example/ci/*");
        assert!(
            policy.contains("common_name: bob, role: operator"),
            "{policy}"
        );
        write(
            "policy.yaml",
            &policy.replace(
                "common_name: bob, role: operator",
                "common_name: loopback, role: provisioner",
            ),
        );
        fs::remove_file(state.path().join("nodes/a.yaml")).unwrap();
        let shim = Shim::start(config).await;
        let agent = machine.start_agent(&shim.url);
        let held = HeldImage::serve(image()).await;
        held.release();
        Self {
            state,
            call: format!("127.0.0.1:{port}"),
            machine,
            _shim: shim,
            _agent: agent,
            image: held,
        }
    }

    /// Types a block of the page with what is here in place of the examples.
    async fn types(&self, text: &str) -> Option<String> {
        let disk = self.machine.disk();
        let disk = format!("\"device\": \"{}\"", disk.display());
        let digest = digest();
        let mut script = text.to_owned();
        for (example, here) in [
            ("gw.example:9997", self.call.as_str()),
            ("https://images.example/debian-13.raw", &self.image.url),
            ("https://images.example/debian-13.qcow2", &self.image.url),
            ("IMAGE_FORMAT_QCOW2", "IMAGE_FORMAT_RAW"),
            ("9f86d081884c7d659a2feaa0c55ad015...", &digest),
            ("\"model\": \"SAMSUNG MZ7LH960\"", &disk),
            ("\"device\": \"/dev/nvme0n1\"", &disk),
        ] {
            script = script.replace(example, here);
        }
        let begin = block(FLEET, "call=\"grpcurl");
        let (begin, _) = begin.split_once('\n').unwrap();
        let output = typed(&format!("{begin}\n{script}"), self.state.path()).await?;
        Some(shown(&output))
    }

    /// Waits until no command runs.
    async fn wait(&self) {
        let look = "$call -d '{\"node\": \"rack1-1\"}' gw.example:9997 ironic.agent.v1.FleetService/GetNode";
        let waiting = async {
            loop {
                let node = self.types(look).await.unwrap();
                let node: Value = serde_json::from_str(&node).unwrap();
                let runs = node["node"]["command"]["state"] == "COMMAND_STATE_RUNNING";
                if node["node"]["state"] == "NODE_STATE_ATTACHED" && !runs {
                    return;
                }
            }
        };
        tokio::time::timeout(LIMIT, waiting).await.unwrap();
    }
}

#[tokio::test]
async fn calls_of_the_page_of_the_fleet_are_answered() {
    if clients().is_none() || programs().is_none() {
        return;
    }
    let page = FleetPage::new().await;
    page.wait().await;
    let first = block(FLEET, "call=\"grpcurl");
    let (_, calls) = first.split_once('\n').unwrap();
    let shown = page.types(calls).await.unwrap();
    assert!(shown.contains("order.write_image"), "{shown}");
    page.wait().await;
    let disk = fs::read(page.machine.disk()).unwrap();
    assert_eq!(disk[512..image().len()], image()[512..]);
    // One order after the other: an agent runs one at a time.
    let orders = block(FLEET, "order=\"$call");
    let (begin, orders) = orders.split_once('\n').unwrap();
    // The page's second order has the identifier of the first one, with other content.
    let orders = orders.replace(
        "0c5a2b1e-7d3f-4a68-9b50-2f1d8e6c4a97",
        "0c5a2b1e-7d3f-4a68-9b50-2f1d8e6c4a98",
    );
    let drive = HeldImage::serve(vec![0x55; 64 << 10]).await;
    drive.release();
    let orders = orders.replace("https://config.example/rack1-1.iso", &drive.url);
    let other = page.machine.disk().with_file_name("sdb");
    let other = format!("\"device\": \"{}\"", other.display());
    let mut answers = Vec::new();
    for order in orders
        .split("\nEND")
        .map(str::trim)
        .filter(|order| !order.is_empty())
    {
        let order = order.replace("\"transport\": \"sata\"", &other);
        answers.push(page.types(&format!("{begin}\n{order}\nEND")).await.unwrap());
        page.wait().await;
    }
    for (answer, word) in answers
        .iter()
        .zip(["order.write_image", "\"plan\"", "order.raid"])
    {
        assert!(answer.contains(word), "{word}: {answer}");
    }
    let logs = page
        .types(&block(FLEET, "CommandService/FollowLogs"))
        .await
        .unwrap();
    assert!(logs.contains("cursor"), "{logs}");
    let last = block(FLEET, "JoinTokenService/CreateJoinToken");
    let page = FleetPage::with(NodeCertificates::JoinToken).await;
    let shown = page.types(&last).await.unwrap();
    assert!(
        shown.contains("secret") && shown.contains("timeout"),
        "{shown}"
    );
}

/// Options of command lines that no test runs with just these values.
#[test]
fn options_of_the_pages_are_known() {
    let options = fs::read_to_string(repository("docs/options.md")).unwrap();
    let mut known = 0;
    for page in [
        "README.md",
        "docs/fleet.md",
        "docs/gateway.md",
        "docs/page.md",
        "docs/orchestrators.md",
    ] {
        let text = fs::read_to_string(repository(page)).unwrap();
        let commands = blocks(&text).join("\n").replace("\\\n", " ");
        let commands = commands
            .lines()
            .filter(|line| {
                ["ironic-shim ", "ironic-agent "]
                    .iter()
                    .any(|name| line.starts_with(name))
            })
            .filter(|line| !line.starts_with("ironic-agent write-image"))
            .map(str::to_owned)
            .collect::<Vec<_>>();
        let words = commands.iter().flat_map(|line| line.split_whitespace());
        for word in words.filter_map(|word| word.strip_prefix("--")) {
            let name = word.split('=').next().unwrap().replace('-', "_");
            assert!(options.contains(&format!("`{name}`")), "{page}: --{word}");
            known += 1;
        }
    }
    assert!(known > 40, "{known}");
}

/// A gateway can have all listeners of the pages at once.
#[test]
fn listeners_of_the_pages_have_a_port_each() {
    let mut ports = BTreeMap::<u16, BTreeSet<String>>::new();
    ports.entry(9999).or_default().insert("listen_port".into());
    for page in [
        "docs/fleet.md",
        "docs/gateway.md",
        "docs/page.md",
        "docs/identity.md",
        "release/gateway/gateway.conf.example",
    ] {
        let text = fs::read_to_string(repository(page)).unwrap();
        let text = text.replace(" = ", " ");
        let words: Vec<&str> = text.split([' ', '\n', '`']).collect();
        for pair in words.windows(2) {
            let option = pair[0].trim_start_matches("--");
            let port = pair[1].rsplit(':').next().unwrap_or_default();
            if option.ends_with("_listen")
                && pair[1].contains(':')
                && let Ok(port) = port.parse::<u16>()
            {
                ports.entry(port).or_default().insert(option.to_owned());
            }
        }
    }
    assert!(ports.len() > 5, "{ports:?}");
    for (port, options) in &ports {
        assert!(options.len() == 1, "{port}: {options:?}");
    }
}

/// The examples of the clients' own pages, which would watch for ever.
#[tokio::test]
async fn examples_of_the_clients_run() {
    let Some(clients) = clients() else { return };
    let page = FleetPage::new().await;
    page.wait().await;
    let directory = page.state.path();
    let python = include_str!("../../clients/python/README.md");
    let python = block(python, "from ironic_agent_client import Gateway")
        .replace("gw.example:9997", &page.call)
        .replace("change.node.name)", "change.node.name); break");
    let typescript = include_str!("../../clients/typescript/README.md");
    let typescript = block(typescript, "import { Gateway }")
        .replace("gw.example:9997", &page.call)
        .replace(
            "console.log(kind, node.name);",
            "console.log(kind, node.name); process.exit(0);",
        );
    let place = directory.join("node_modules");
    std::os::unix::fs::symlink(clients.join("typescript/node_modules"), place).unwrap();
    fs::write(directory.join("example.py"), python).unwrap();
    fs::write(directory.join("example.mts"), typescript).unwrap();
    for (program, file) in [
        ("python/bin/python", "example.py"),
        ("node/bin/node", "example.mts"),
    ] {
        let run = Command::new(clients.join(program))
            .arg(file)
            .current_dir(directory)
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(LIMIT, run).await.unwrap().unwrap();
        assert!(shown(&output).contains("rack1-1"), "{output:?}");
    }
}
