//! Clients in other languages and the reference orchestrators, with the real gateway and the real
//! agent: a gateway with mutual TLS dies in the middle of two writes, and each node holds its image.
//!
//! `CLIENTS` names the directory that `clients/build` prints; `make unit` sets it.

#![allow(
    clippy::disallowed_methods,
    reason = "orchestrators are no part of the programs"
)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use ironic_shim::config::ShimConfig;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::process::Command;

use super::fleet::{config_without_ironic, describe, image};
use super::fleet_elsewhere::Pair;
use super::hardware_manager::rust_example;
use crate::support::gateway::{Cable, Machine};
use crate::support::images::HeldImage;
use crate::support::ironic::NODE;
use crate::support::shim::{Shim, free_port};
use crate::support::tls::Authority;

const LIMIT: Duration = Duration::from_secs(90);
/// The second machine.
const OTHER: (&str, &str) = ("5d0f7a52-6bd0-4a0b-8f4e-0d6b6d1f7e11", "52:54:00:e2:e0:02");

/// Where the clients were built. `None`: nowhere, and the test is skipped.
pub(super) fn clients() -> Option<PathBuf> {
    let clients = std::env::var_os("CLIENTS").filter(|path| !path.is_empty());
    if clients.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CLIENTS is not set");
        println!("skipped: CLIENTS names no directory with the clients");
    }
    clients.map(PathBuf::from)
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What a file of deployments says of one node.
fn job(held: &HeldImage) -> Value {
    let digest = Sha256::digest(image());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({"image": {"urls": [held.url], "sha256": digest}})
}

/// Two machines and what each is to hold.
struct World {
    state: TempDir,
    machines: [Machine; 2],
    images: [HeldImage; 2],
    /// The file of deployments.
    deployments: PathBuf,
}

impl World {
    async fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let machines = [Machine::new(), Machine::with_address(OTHER.1)];
        let images = [
            HeldImage::serve(image()).await,
            HeldImage::serve(image()).await,
        ];
        let deployments = state.path().join("deployments.json");
        let jobs = json!({"rack1-1": job(&images[0]), OTHER.0: job(&images[1])});
        std::fs::write(&deployments, jobs.to_string()).unwrap();
        Self {
            state,
            machines,
            images,
            deployments,
        }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.state.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A gateway whose fleet demands certificates, and the options of a client that has one.
    fn gateway(&self) -> (ShimConfig, String, Vec<OsString>) {
        let operators = Authority::new();
        let (server, client) = (operators.sign(), operators.sign());
        let mut config = config_without_ironic(&self.state);
        let (uuid, mac) = OTHER;
        describe(
            &self.state,
            "other.yaml",
            &format!("uuid: {uuid}\nmacs: ['{mac}']\n"),
        );
        let fleet = format!("127.0.0.1:{}", free_port());
        config.fleet_listen = Some(fleet.parse().unwrap());
        config.fleet_tls_cert_file = Some(self.write("gw.crt", &server.pem));
        config.fleet_tls_key_file = Some(self.write("gw.key", &server.key));
        config.fleet_tls_ca_file = Some(self.write("ca.crt", &operators.pem));
        let mut options = Vec::new();
        for (option, path) in [
            ("--ca", self.write("ca.crt", &operators.pem)),
            ("--cert", self.write("me.crt", &client.pem)),
            ("--key", self.write("me.key", &client.key)),
        ] {
            options.extend([option.into(), path.into()]);
        }
        (config, fleet, options)
    }

    /// Whether each node was deployed, and its image read once.
    fn check(&self, output: &Output) {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let reports: Value = serde_json::from_slice(&output.stdout).unwrap();
        let states: Vec<&Value> = reports.as_array().unwrap().iter().collect();
        assert_eq!(states.len(), 2, "{reports}");
        assert!(
            states.iter().all(|report| report["state"] == "deployed"),
            "{reports}"
        );
        for (machine, held) in self.machines.iter().zip(&self.images) {
            let disk = std::fs::read(machine.disk()).unwrap();
            // The partition table is fitted to the disk.
            assert_eq!(disk[512..image().len()], image()[512..]);
            assert_eq!(held.requests(), 1, "{said}");
        }
    }

    async fn half_written(&mut self) {
        for held in &mut self.images {
            held.half_sent().await;
        }
    }

    fn release(&self) {
        self.images.iter().for_each(HeldImage::release);
    }
}

/// Runs an orchestrator while its gateway dies in the middle of two writes.
async fn survives_its_gateway(program: &[OsString], scheme: &str) {
    let mut world = World::new().await;
    let (config, fleet, options) = world.gateway();
    let shim = Shim::start(config).await;
    let _agents = [
        world.machines[0].start_agent(&shim.url),
        world.machines[1].start_agent(&shim.url),
    ];
    let orchestrator = Command::new(&program[0])
        .args(&program[1..])
        .arg("--gateway")
        .arg(format!("{scheme}{fleet}"))
        .args(options)
        .arg(&world.deployments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let ended = tokio::spawn(orchestrator.wait_with_output());
    let deployed = async {
        world.half_written().await;
        let config = shim.die().await;
        let _shim = Shim::start(config).await;
        world.release();
        ended.await.unwrap().unwrap()
    };
    let output = tokio::time::timeout(LIMIT, deployed).await.unwrap();
    world.check(&output);
}

/// The reference orchestrators that go through a gateway, with what each wants before an address.
fn orchestrators(clients: &Path) -> [(Vec<OsString>, &'static str); 3] {
    let python = clients.join("python/bin/python");
    let node = clients.join("node/bin/node");
    let typescript = clients.join("orchestrator-typescript/orchestrator.ts");
    let of_python = repository("examples/orchestrator-python/orchestrator.py");
    [
        (vec![python.into(), of_python.into()], ""),
        (vec![node.into(), typescript.into()], ""),
        (vec![rust_example("orchestrator-rust").into()], "https://"),
    ]
}

#[tokio::test]
async fn orchestrators_survive_their_gateway() {
    let Some(clients) = clients() else { return };
    for (program, scheme) in orchestrators(&clients) {
        survives_its_gateway(&program, scheme).await;
    }
}

/// Another gateway holds the node, which passes calls on.
#[tokio::test]
async fn orchestrators_deploy_a_node_of_another_gateway() {
    let Some(clients) = clients() else { return };
    let Some(pair) = Pair::new().await else {
        return;
    };
    let held = HeldImage::serve(image()).await;
    held.release();
    let directory = tempfile::tempdir().unwrap();
    let deployments = directory.path().join("deployments.json");
    let jobs = json!({"rack1-1": job(&held)});
    std::fs::write(&deployments, jobs.to_string()).unwrap();
    let socket = pair.b.config.state_dir.join("fleet.sock");
    for (number, (program, _)) in orchestrators(&clients).into_iter().enumerate() {
        std::fs::write(pair.machine.disk(), vec![0x55; 16 << 20]).unwrap();
        let output = Command::new(&program[0])
            .args(&program[1..])
            .arg("--gateway")
            .arg(format!("unix:{}", socket.display()))
            .args(["--run", &number.to_string()])
            .arg(&deployments)
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(LIMIT, output).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let reports = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{program:?}: {said}{reports}");
        let reports: Value = serde_json::from_str(&reports).unwrap();
        assert_eq!(reports[0]["state"], "deployed", "{reports}");
        let disk = std::fs::read(pair.machine.disk()).unwrap();
        assert_eq!(disk[512..image().len()], image()[512..], "{program:?}");
    }
}

/// Started again after the machines have booted, an orchestrator does not erase and write once more.
#[tokio::test]
async fn orchestrators_give_no_order_to_another_boot() {
    let Some(clients) = clients() else { return };
    for (program, scheme) in orchestrators(&clients) {
        let world = World::new().await;
        world.release();
        let (config, fleet, options) = world.gateway();
        let run = async || {
            let output = Command::new(&program[0])
                .args(&program[1..])
                .arg("--gateway")
                .arg(format!("{scheme}{fleet}"))
                .args(&options)
                .arg(&world.deployments)
                .kill_on_drop(true)
                .output();
            tokio::time::timeout(LIMIT, output).await.unwrap().unwrap()
        };
        let start = |url: &str| world.machines.each_ref().map(|one| one.start_agent(url));
        let shim = Shim::start(config).await;
        let agents = start(&shim.url);
        world.check(&run().await);
        let config = shim.die().await;
        drop(agents);
        for machine in &world.machines {
            machine.boot("22222222-2222-2222-2222-222222222222");
            std::fs::write(machine.disk(), vec![0x55; 16 << 20]).unwrap();
        }
        let shim = Shim::start(config).await;
        let _agents = start(&shim.url);
        let output = run().await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program:?}: {said}");
        for machine in &world.machines {
            let disk = std::fs::read(machine.disk()).unwrap();
            assert!(disk.iter().all(|byte| *byte == 0x55), "{program:?}: {said}");
        }
    }
}

#[test]
fn reference_orchestrators_stay_below_200_lines() {
    for file in [
        "examples/orchestrator-python/orchestrator.py",
        "examples/orchestrator-python/conductor.py",
        "examples/orchestrator-typescript/orchestrator.ts",
        "examples/orchestrator-rust/main.rs",
    ] {
        let lines = std::fs::read_to_string(repository(file)).unwrap();
        assert!(lines.lines().count() < 200, "{file}");
    }
}

/// The orchestrator is the conductor itself, and the connections of both agents break.
#[tokio::test]
async fn orchestrator_without_a_gateway_survives_its_connections() {
    let Some(clients) = clients() else { return };
    let mut world = World::new().await;
    let listen = format!("127.0.0.1:{}", free_port());
    let nodes = json!([
        {"uuid": NODE, "name": "rack1-1", "macs": ["52:54:00:e2:e0:01"]},
        {"uuid": OTHER.0, "macs": [OTHER.1]},
    ]);
    let orchestrator = Command::new(clients.join("python/bin/python"))
        .arg(repository("examples/orchestrator-python/conductor.py"))
        .args(["--listen", &listen, "--state"])
        .arg(world.state.path().join("tokens.json"))
        .arg("--nodes")
        .arg(world.write("nodes.json", &nodes.to_string()))
        .arg(&world.deployments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let ended = tokio::spawn(orchestrator.wait_with_output());
    let cable = Cable::to_address(listen).await;
    let _agents = [
        world.machines[0].start_agent(&cable.url),
        world.machines[1].start_agent(&cable.url),
    ];
    let deployed = async {
        world.half_written().await;
        cable.cut();
        world.release();
        ended.await.unwrap().unwrap()
    };
    let output = tokio::time::timeout(LIMIT, deployed).await.unwrap();
    world.check(&output);
}

async fn passes(program: &Path, arguments: &[&str], directory: &Path) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env("PROTOCOL", repository("proto"))
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LIMIT, output).await.unwrap().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

#[tokio::test]
async fn client_for_python_passes_its_own_tests() {
    let Some(clients) = clients() else { return };
    let arguments = ["-m", "unittest", "discover", "-s", "tests"];
    let directory = repository("clients/python");
    passes(&clients.join("python/bin/python"), &arguments, &directory).await;
}

#[tokio::test]
async fn client_for_typescript_passes_its_own_tests() {
    let Some(clients) = clients() else { return };
    let arguments = ["--test", "tests/client.test.ts"];
    let directory = clients.join("typescript");
    passes(&clients.join("node/bin/node"), &arguments, &directory).await;
}

/// What an agent refuses comes to a client of gRPC's C library, too, as the agent says it.
#[tokio::test]
async fn refusals_of_an_agent_keep_their_reasons() {
    const ASK: &str = "import sys
from ironic_agent_client import ApiError, Gateway, typed_errors
from ironic_agent_client.v1.command_pb2 import Command, ExecuteStepCommand

with Gateway('unix:' + sys.argv[1]) as gateway:
    node = next(change.node for change in gateway.watch() if change.node.HasField('attachment'))
    for ask in (
        lambda: gateway.node(node.name).cancel('unknown', 'a test'),
        lambda: gateway.node(node.name).plan(Command(execute_step=ExecuteStepCommand())),
    ):
        try:
            ask()
        except ApiError as error:
            print(type(error).__name__, error.code.name)
";
    let Some(clients) = clients() else { return };
    let world = World::new().await;
    let shim = Shim::start(config_without_ironic(&world.state)).await;
    let _agent = world.machines[0].start_agent(&shim.url);
    let asked = Command::new(clients.join("python/bin/python"))
        .args(["-c", ASK])
        .arg(world.state.path().join("fleet.sock"))
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LIMIT, asked).await.unwrap().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        shown,
        "CommandNotFound NOT_FOUND\nApiError INVALID_ARGUMENT\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
