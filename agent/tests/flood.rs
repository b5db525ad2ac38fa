//! A hardware manager that floods: with progress, phases, warnings, messages that say nothing,
//! messages of a MiB, lines on its outputs. Meanwhile the agent answers others, stays small and
//! keeps its log short, and the step ends.
//!
//! The manager is this test program: [`manager`] serves when the agent starts it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::exit,
    reason = "a test fails by panicking, and this one runs the program"
)]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ironic_agent_protocol::v1::execute_step_response::Event;
use ironic_agent_protocol::v1::hardware_manager_service_server::{
    HardwareManagerService, HardwareManagerServiceServer,
};
use ironic_agent_protocol::v1::{self, CommandState};
use prost_types::value::Kind;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

mod support;
use support::{Client, TOKEN, connect};

/// The variable that makes this program a hardware manager, which names its socket.
const SOCKET: &str = "FLOOD_SOCKET";
/// How long the manager floods.
const FLOOD: Duration = Duration::from_secs(3);
/// How long an honest caller waits for its answer meanwhile.
const ANSWERED: Duration = Duration::from_secs(1);
/// Longer than anything takes on a busy machine; nothing waits for all of it.
const TIMEOUT: Duration = Duration::from_secs(120);
/// What the agent may take beyond what it has before the flood, and what its log may grow by.
const MAX_MEMORY_BYTES: u64 = 48 << 20;
const MAX_LOG_BYTES: u64 = 3 << 20;

/// What it floods with: the names of its steps.
const STEPS: [&str; 6] = [
    "flood_progress",
    "flood_phases",
    "flood_warnings",
    "flood_nothing",
    "flood_large",
    "flood_lines",
];

struct Manager;

type Events = Pin<Box<dyn Stream<Item = Result<v1::ExecuteStepResponse, Status>> + Send>>;

#[tonic::async_trait]
impl HardwareManagerService for Manager {
    type ExecuteStepStream = Events;

    async fn describe(
        &self,
        _: Request<v1::DescribeRequest>,
    ) -> Result<Response<v1::DescribeResponse>, Status> {
        let step = |name: &str| v1::StepDescription {
            name: name.to_owned(),
            interface: "deploy".to_owned(),
            offers: vec![v1::StepOffer {
                phase: v1::StepPhase::Clean.into(),
                ..Default::default()
            }],
            ..Default::default()
        };
        Ok(Response::new(v1::DescribeResponse {
            class_name: "Flood".to_owned(),
            support: 3,
            steps: STEPS.map(step).to_vec(),
            ..Default::default()
        }))
    }

    async fn plan_step(
        &self,
        _: Request<v1::PlanStepRequest>,
    ) -> Result<Response<v1::PlanStepResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn execute_step(
        &self,
        request: Request<v1::ExecuteStepRequest>,
    ) -> Result<Response<Events>, Status> {
        let name = request.into_inner().order.unwrap_or_default().name;
        let (events, received) = mpsc::channel(64);
        tokio::spawn(async move {
            let until = Instant::now() + FLOOD;
            let mut sent = 0;
            while Instant::now() < until {
                if name == "flood_lines" {
                    flood_lines(until);
                    break;
                }
                let event = event(&name, sent);
                let full = events.send(Ok(v1::ExecuteStepResponse { event }));
                // The agent that is not listening any more has ended the step.
                let Ok(Ok(())) = tokio::time::timeout_at(until.into(), full).await else {
                    break;
                };
                sent += 1;
            }
            let result = Event::Result(prost_types::Value {
                kind: Some(Kind::NumberValue(sent as f64)),
            });
            let event = Some(result);
            let _ = events.send(Ok(v1::ExecuteStepResponse { event })).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(received))))
    }
}

/// One message of the flood.
fn event(step: &str, number: u64) -> Option<Event> {
    let progress = |phase: String| {
        Event::Progress(v1::Progress {
            phase,
            done: number,
            ..Default::default()
        })
    };
    match step {
        "flood_progress" => Some(progress(format!("phase {number}"))),
        "flood_phases" => Some(Event::PhaseEnded(format!("{number} {}", "x".repeat(300)))),
        "flood_warnings" => Some(Event::Warning(format!("{number} {}", "x".repeat(300)))),
        "flood_large" => Some(progress("x".repeat(1 << 20))),
        _ => None,
    }
}

/// Lines on both outputs, short and long.
fn flood_lines(until: Instant) {
    let long = format!("{}\n", "y".repeat(100_000));
    let short = "a line of the manager's\n".repeat(100);
    while Instant::now() < until {
        std::io::stdout().write_all(short.as_bytes()).unwrap();
        std::io::stderr().write_all(long.as_bytes()).unwrap();
    }
}

/// The hardware manager, when the agent starts this program as one; no test otherwise.
#[test]
fn manager() {
    let Some(socket) = std::env::var_os(SOCKET) else {
        return;
    };
    // Its input ends with the agent, also when that is killed.
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let listener = UnixListener::bind(socket).unwrap();
        let service =
            HardwareManagerServiceServer::new(Manager).max_encoding_message_size(16 << 20);
        let serving = Server::builder().add_service(service);
        let incoming = UnixListenerStream::new(listener);
        serving.serve_with_incoming(incoming).await.unwrap();
    });
}

/// An agent with this program as its hardware manager, its log in a file.
struct Agent {
    child: Child,
    directory: tempfile::TempDir,
}

impl Agent {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["managers", "disks"] {
            fs::create_dir(path(name)).unwrap();
        }
        let disk = fs::File::create(path("disks/sda")).unwrap();
        disk.set_len(8 << 30).unwrap();
        let program = std::env::current_exe().unwrap();
        let script = format!(
            "#!/bin/sh\n{SOCKET}=\"$2\" exec '{}' --exact manager --nocapture\n",
            program.display()
        );
        fs::write(path("managers/flood"), script).unwrap();
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(path("managers/flood"), mode).unwrap();
        let log = fs::File::create(path("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_ironic-agent"))
            .args(["--standalone", "--agent_token", TOKEN])
            .arg("--grpc-listen")
            .arg(format!("unix:{}", path("agent.sock").display()))
            .arg("--hardware-managers-dir")
            .arg(path("managers"))
            .arg("--simulate")
            .arg(path("disks"))
            .arg("--state-dir")
            .arg(path("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A client on a connection of its own, once the agent listens.
    async fn client(&self) -> Client {
        connect(&self.path("agent.sock"), TIMEOUT, || self.log()).await
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    fn log_size(&self) -> u64 {
        fs::metadata(self.path("log")).unwrap().len()
    }

    /// Resident memory in bytes.
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 = line.unwrap().trim_end_matches("kB").trim().parse().unwrap();
        kib << 10
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // The manager ends with its agent: its input does.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn text(value: &str) -> prost_types::Value {
    prost_types::Value {
        kind: Some(Kind::StringValue(value.to_owned())),
    }
}

fn object(fields: &[(&str, &str)]) -> prost_types::Struct {
    let fields = fields
        .iter()
        .map(|(key, value)| ((*key).to_owned(), text(value)));
    prost_types::Struct {
        fields: fields.collect(),
    }
}

/// Orders a step of cleaning. Answers the identifier of the command.
async fn order(client: &mut Client, step: &str) -> String {
    let command = v1::Command {
        verb: Some(v1::command::Verb::ExecuteStep(v1::ExecuteStepCommand {
            phase: v1::StepPhase::Clean.into(),
            step: Some(object(&[("interface", "deploy"), ("step", step)])),
            node: Some(object(&[("uuid", "of-this-test")])),
            ..Default::default()
        })),
        ..Default::default()
    };
    let request = v1::ExecuteCommandRequest {
        command: Some(command),
        ..Default::default()
    };
    let answer = client.execute_command(request).await.unwrap();
    answer.into_inner().command.unwrap().id
}

/// Orders one flood and asserts what it may take. Answers how long the slowest answer took
/// meanwhile.
async fn flood(agent: &Agent, client: &mut Client, step: &str) -> Duration {
    let (memory, log) = (agent.memory(), agent.log_size());
    let (mut most, mut slowest) = (0, Duration::ZERO);
    let begin = Instant::now();
    let id = order(client, step).await;
    let record = loop {
        let asked = Instant::now();
        client.get_status(v1::GetStatusRequest {}).await.unwrap();
        let request = v1::GetCommandRequest {
            id: id.clone(),
            wait: false,
        };
        let answer = client.get_command(request).await.unwrap().into_inner();
        slowest = slowest.max(asked.elapsed());
        most = most.max(agent.memory().saturating_sub(memory));
        let record = answer.command.unwrap();
        if record.state() != CommandState::Running {
            break record;
        }
        assert!(begin.elapsed() < TIMEOUT, "{step}: {}", agent.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let grown = agent.log_size() - log;
    println!(
        "{step}: {:?}, {} KiB of memory, {} KiB of log, slowest answer {slowest:?}, {:?}",
        begin.elapsed(),
        most >> 10,
        grown >> 10,
        record.result,
    );
    assert_eq!(record.state(), CommandState::Succeeded, "{record:?}");
    assert!(most < MAX_MEMORY_BYTES, "{step}: {} MiB", most >> 20);
    assert!(grown < MAX_LOG_BYTES, "{step}: {} KiB of log", grown >> 10);
    slowest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_stays_small_answers_others_and_ends_the_step() {
    let agent = Agent::start();
    let mut client = agent.client().await;
    for step in STEPS {
        // What the manager does delays an answer in each flood, other work of a machine in one.
        let mut late = Vec::new();
        while late.len() < 3 {
            let slowest = flood(&agent, &mut client, step).await;
            if slowest < ANSWERED {
                break;
            }
            late.push(slowest);
        }
        assert!(late.len() < 3, "{step}: answers took {late:?}");
    }
}
