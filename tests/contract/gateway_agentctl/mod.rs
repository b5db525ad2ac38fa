//! `agentctl` as a person or a script runs it: the program itself, a real gateway, real agents of
//! simulated machines.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::NodeState;
use ironic_agent_protocol::v1::fleet_service_client::FleetServiceClient;
use ironic_shim::config::{AdmittedMachines, ShimConfig};
use ironic_transport::Listen;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;
use tonic::transport::{Channel, Endpoint};

use crate::support::gateway::{AttachedAgent, Machine};
use crate::support::shim::{Shim, config, free_port};

mod answers;
mod elsewhere;
mod failures;
mod guide;
mod manual;
mod nodes;
mod orders;
mod restarts;
mod schema;
mod terminals;

const LIMIT: Duration = Duration::from_secs(60);

/// The program, which cargo builds for the contract tests of its own package.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("agentctl");
    assert!(
        program.is_file(),
        "{} is missing: cargo test --workspace --test contract",
        program.display()
    );
    program
}

/// How a run of the program ended, and what it wrote.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    /// What it wrote, when it was done.
    #[track_caller]
    fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// The same as JSON.
    #[track_caller]
    fn json(self) -> Value {
        serde_json::from_str(&self.done()).unwrap()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "these tests are about the program"
)]
fn command(config: &Path) -> Command {
    let mut command = Command::new(program());
    command.env_clear().env("AGENTCTL_CONFIG", config);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn output(mut command: Command) -> Ran {
    let output = tokio::time::timeout(LIMIT, command.output()).await;
    let output = output.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let signal = output.status.signal().map(|signal| -signal);
    Ran {
        code: output.status.code().or(signal),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// A gateway that takes every machine, machines, and a configuration file with the context `lab`.
struct Lab {
    state: TempDir,
    shim: Shim,
    machines: Vec<(Machine, AttachedAgent)>,
}

impl Lab {
    async fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        Self::with(Self::config(&state), state).await
    }

    /// A gateway without Ironic that takes every machine.
    fn config(state: &TempDir) -> ShimConfig {
        let mut config = config(&[], state);
        let url = format!("http://127.0.0.1:{}", config.listen_port);
        config.gateway_url = Some(url.parse().unwrap());
        config.fleet_listen = Some(Listen::Unix(state.path().join("fleet.sock")));
        // It has the same address when it is started again.
        config.conductor_listen = Listen::Tcp(([127, 0, 0, 1], free_port()).into());
        config.admit = AdmittedMachines::Open;
        config
    }

    async fn with(config: ShimConfig, state: TempDir) -> Self {
        let shim = Shim::start(config).await;
        let socket = state.path().join("fleet.sock");
        let contexts = format!(
            "current_context: lab\ncontexts:\n  lab: {{gateway: 'unix:{}'}}\n",
            socket.display()
        );
        std::fs::write(state.path().join("config.yaml"), contexts).unwrap();
        Self {
            state,
            shim,
            machines: Vec::new(),
        }
    }

    /// A gateway and so many machines, which are attached: `node-1`, `node-2`, ...
    async fn of(machines: usize) -> Self {
        let mut lab = Self::new().await;
        for _ in 0..machines {
            lab.attach().await;
        }
        lab
    }

    /// Starts one more machine, and waits until it is attached.
    async fn attach(&mut self) {
        let machine = Machine::new();
        let agent = machine.start_agent(&self.shim.url);
        self.machines.push((machine, agent));
        let wanted = self.machines.len();
        self.wait_for(NodeState::Attached, wanted).await;
    }

    /// Waits until so many nodes are in a state.
    async fn wait_for(&self, state: NodeState, wanted: usize) {
        let mut nodes = FleetServiceClient::new(self.channel());
        let waiting = async {
            loop {
                let request = v1::ListNodesRequest {
                    states: vec![state.into()],
                    ..v1::ListNodesRequest::default()
                };
                let found = nodes.list_nodes(request).await.unwrap().into_inner();
                if found.nodes.len() == wanted {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LIMIT, waiting).await.unwrap();
    }

    fn channel(&self) -> Channel {
        let url = format!("unix:{}", self.state.path().join("fleet.sock").display());
        Endpoint::from_shared(url).unwrap().connect_lazy()
    }

    fn contexts(&self) -> PathBuf {
        self.state.path().join("config.yaml")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(&self.contexts());
        command.args(arguments);
        command
    }

    /// Runs the program to its end.
    async fn run(&self, arguments: &[&str]) -> Ran {
        output(self.command(arguments)).await
    }

    fn disk(&self, machine: usize) -> PathBuf {
        self.machines[machine].0.disk()
    }
}

/// An image with a partition table of one partition, and its SHA-256.
fn image() -> (Vec<u8>, String) {
    let image = crate::fleet::image();
    let digest = Sha256::digest(&image);
    let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    (image, digest)
}

/// Serves an image to everyone. Of a length that is given no more comes: its readers wait.
async fn serve(image: Vec<u8>, stall_at: Option<usize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/disk.raw", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let image = image.clone();
            tokio::spawn(async move {
                let _ = socket.read(&mut [0; 4096]).await;
                let length = image.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                let _ = socket.write_all(head.as_bytes()).await;
                let _ = socket.write_all(&image[..stall_at.unwrap_or(length)]).await;
                if stall_at.is_some() {
                    let _ = socket.read(&mut [0; 1]).await;
                }
            });
        }
    });
    url
}
