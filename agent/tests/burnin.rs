//! Burn-in with the real programs, ordered from the real agent: the words that it gives them
//! are right, and nothing of them is left when a command is cancelled or the agent stops.
//!
//! `fio` and `stress-ng` come from `TEST_PROGRAMS`, as `make unit` sets it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and this one runs the program"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ironic_agent_protocol::v1::{self, CommandState};
use prost_types::value::Kind;
use rustix::process::{Pid, Signal, kill_process};
use tonic::{Request, Status};

mod support;
use support::{Client, TOKEN, connect};

/// Longer than anything takes on a busy machine; nothing waits for all of it.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The programs whose processes are looked for.
const PROGRAMS: [&str; 2] = ["fio", "stress-ng"];

/// What the agent starts in place of a program. fio's reader has one chance with each of the
/// writer's sixteen processes: on a busy machine it comes when only some of them listen, fails,
/// and leaves the others waiting. So the reader waits for all of them.
const PATIENT_READER: &str = r#"#!/bin/bash
listening() {
    local count=0 address state
    while read -r _ address _ state _; do
        [[ $state == 0A && $address =~ :23(2[89A-F]|3[0-7])$ ]] && count=$((count + 1))
    done </proc/net/tcp
    echo "$count"
}
if [[ " $* " == *" --name reader "* ]]; then
    for ((attempt = 0; attempt < 300 && $(listening) < 16; attempt++)); do /bin/sleep 0.1; done
fi
exec 'PROGRAM' "$@"
"#;

/// Where the programs are. `None`: they are not here, and this is not CI.
fn programs() -> Option<PathBuf> {
    let found = std::env::var_os("TEST_PROGRAMS").map(PathBuf::from);
    assert!(
        found.is_some() || std::env::var_os("CI").is_none(),
        "CI has TEST_PROGRAMS"
    );
    if found.is_none() {
        eprintln!("SKIPPED burn-in with real programs: needs TEST_PROGRAMS; run `make unit`");
    }
    found
}

/// An agent with a network of its own, which finds the two programs and no others: it must not
/// assemble arrays or load drivers here.
struct Agent {
    child: Child,
    directory: tempfile::TempDir,
    /// Its network, once it has one of its own.
    network: Option<PathBuf>,
}

impl Agent {
    /// `partner`: an agent whose network it shares.
    fn start(programs: &Path, partner: Option<&Self>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bin = directory.path().join("bin");
        fs::create_dir(&bin).unwrap();
        for program in PROGRAMS {
            let script =
                PATIENT_READER.replace("PROGRAM", programs.join(program).to_str().unwrap());
            fs::write(bin.join(program), script).unwrap();
            fs::set_permissions(bin.join(program), fs::Permissions::from_mode(0o755)).unwrap();
        }
        // The starters of the programs are scripts.
        for shell in ["sh", "env", "bash"] {
            let place = ["/bin", "/usr/bin"].map(|place| Path::new(place).join(shell));
            if let Some(found) = place.iter().find(|path| path.exists()) {
                symlink(found, bin.join(shell)).unwrap();
            }
        }
        let unshare = "/usr/bin/unshare";
        let command = match partner {
            None => {
                let mut command = Command::new(unshare);
                command.args(["--user", "--map-root-user", "--net", "--"]);
                command
            }
            Some(partner) => {
                let target = partner.agent().to_string();
                let mut command = Command::new("/usr/bin/nsenter");
                command.args(["--user", "--net", "--preserve-credentials"]);
                command.args(["--target", &target, "--"]);
                command
            }
        };
        let child = spawn(command, &bin, directory.path());
        Self {
            child,
            directory,
            network: None,
        }
    }

    /// Kills the agent and starts it again in the same place, as the ramdisk's init does. Its
    /// new network is not looked at: what the killed one started stays in the old one.
    fn kill_and_start_again(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let bin = self.directory.path().join("bin");
        let mut command = Command::new("/usr/bin/unshare");
        command.args(["--user", "--map-root-user", "--net", "--"]);
        self.child = spawn(command, &bin, self.directory.path());
    }

    /// The number of the agent's own process: everything before it is replaced by it.
    fn agent(&self) -> u32 {
        self.child.id()
    }

    /// Connects to it, once it serves.
    async fn client(&mut self) -> Client {
        let socket = self.directory.path().join("socket");
        let client = connect(&socket, TIMEOUT, || self.log()).await;
        let network = fs::read_link(format!("/proc/{}/ns/net", self.agent())).unwrap();
        assert_ne!(network, fs::read_link("/proc/self/ns/net").unwrap());
        self.network = Some(network);
        client
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Orders a step of cleaning. Answers the identifier of the command.
    async fn order(
        &self,
        client: &mut Client,
        step: &str,
        options: &[(&str, Kind)],
    ) -> Result<String, Status> {
        let options = options
            .iter()
            .map(|(name, value)| (format!("agent_burnin_{name}"), value.clone()));
        let node = object([
            ("uuid".to_owned(), text("of-this-test")),
            ("driver_info".to_owned(), Kind::StructValue(object(options))),
        ]);
        let step = object([
            ("interface".to_owned(), text("deploy")),
            ("step".to_owned(), text(step)),
        ]);
        let command = v1::Command {
            verb: Some(v1::command::Verb::ExecuteStep(v1::ExecuteStepCommand {
                phase: v1::StepPhase::Clean.into(),
                step: Some(step),
                node: Some(node),
                ..Default::default()
            })),
            ..Default::default()
        };
        let request = v1::ExecuteCommandRequest {
            command: Some(command),
            ..Default::default()
        };
        let answer = client.execute_command(Request::new(request)).await?;
        Ok(answer.into_inner().command.unwrap().id)
    }

    /// How a command ended.
    async fn ended(&self, client: &mut Client, id: &str) -> v1::CommandRecord {
        let until = Instant::now() + TIMEOUT;
        loop {
            let request = v1::GetCommandRequest {
                id: id.to_owned(),
                ..Default::default()
            };
            let answer = client.get_command(request).await.unwrap().into_inner();
            let record = answer.command.unwrap();
            if record.state() != CommandState::Running {
                return record;
            }
            assert!(Instant::now() < until, "it does not end: {}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The process identifiers in this agent's network besides those of agents. A process stays in
    /// its network whatever its name and its parent become.
    fn started(&self) -> Vec<i32> {
        let network = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
        let Some(ours) = self.network.clone() else {
            return Vec::new();
        };
        let listed = fs::read_dir("/proc").unwrap().flatten();
        let numbers = listed.filter_map(|entry| entry.file_name().into_string().ok());
        numbers
            .filter(|number| network(number).as_ref() == Some(&ours))
            .filter(|number| {
                let words = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
                !String::from_utf8_lossy(&words).contains("--standalone")
            })
            .filter_map(|number| number.parse().ok())
            .collect()
    }

    /// Waits until it has started so many of them, or none is left.
    fn wait_for(&self, what: &str, is_it: impl Fn(&[i32]) -> bool) {
        let until = Instant::now() + TIMEOUT;
        loop {
            let started = self.started();
            if is_it(&started) {
                return;
            }
            assert!(
                Instant::now() < until,
                "{what}: {started:?}\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Starts the agent by a command that gives it a network.
fn spawn(mut command: Command, bin: &Path, directory: &Path) -> Child {
    // Loopback is down in a new network, and up only by somebody with rights in it.
    let script = "ip link set lo up; PATH=$1; export PATH; shift; exec \"$@\"";
    let settings = format!(
        "[DEFAULT]\nagent_token = {TOKEN}\ngrpc_listen = unix:{}\nstate_dir = {}\n\
         disk_wait_attempts = 1\n",
        directory.join("socket").display(),
        directory.join("state").display()
    );
    let file = directory.join("agent.conf");
    fs::write(&file, settings).unwrap();
    // For `ip`, which a minimal system does not have.
    let programs = std::env::var("TEST_PROGRAMS").unwrap();
    command
        .args(["/bin/sh", "-c", script, "sh"])
        .arg(bin)
        .arg(env!("CARGO_BIN_EXE_ironic-agent"))
        .args(["--standalone", "--config-file"])
        .arg(file)
        .env("PATH", format!("{programs}:/usr/sbin:/usr/bin:/sbin:/bin"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(directory.join("log")).unwrap())
        .spawn()
        .unwrap()
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for process in self.started() {
            let _ = kill_process(Pid::from_raw(process).unwrap(), Signal::KILL);
        }
    }
}

fn object(fields: impl IntoIterator<Item = (String, Kind)>) -> prost_types::Struct {
    let fields = fields.into_iter();
    prost_types::Struct {
        fields: fields
            .map(|(name, kind)| (name, prost_types::Value { kind: Some(kind) }))
            .collect(),
    }
}

fn text(text: &str) -> Kind {
    Kind::StringValue(text.to_owned())
}

/// The options of one of a pair on one machine.
fn pair(role: &str, seconds: &str) -> [(&'static str, Kind); 2] {
    let fields = [("role", text(role)), ("partner", text("127.0.0.1"))];
    let fields = fields.map(|(name, kind)| (name.to_owned(), kind));
    [
        ("fio_network_config", Kind::StructValue(object(fields))),
        ("fio_network_runtime", text(seconds)),
    ]
}

const READ_AND_WRITTEN: usize = 16;

/// Two agents burn the line between them in, first one way, then the other, and both succeed:
/// a reader that watched the clock would end the writer by SIGPIPE.
#[tokio::test(flavor = "multi_thread")]
async fn a_pair_of_agents_burns_its_network_in() {
    let Some(programs) = programs() else {
        return;
    };
    let mut writer = Agent::start(&programs, None);
    let mut writing = writer.client().await;
    let mut reader = Agent::start(&programs, Some(&writer));
    let mut reading = reader.client().await;
    let first = writer
        .order(&mut writing, "burnin_network", &pair("writer", "3"))
        .await
        .unwrap();
    // A reader asks again after half a minute only.
    writer.wait_for("the writer listens", |all| all.len() > READ_AND_WRITTEN);
    let second = reader
        .order(&mut reading, "burnin_network", &pair("reader", "3"))
        .await
        .unwrap();
    for (agent, client, id) in [
        (&writer, &mut writing, &first),
        (&reader, &mut reading, &second),
    ] {
        let record = agent.ended(client, id).await;
        assert_eq!(
            record.state(),
            CommandState::Succeeded,
            "{:?}\n{}",
            record.failure,
            agent.log()
        );
    }
}

/// Burn-in writes to disks and fills lines for days: whatever ends the command ends it, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_burn_in_and_an_agent_that_stops_leave_nothing_behind() {
    let Some(programs) = programs() else {
        return;
    };
    let day = text("86400");
    let cases = [
        ("burnin_network", pair("writer", "86400").to_vec(), 16),
        (
            "burnin_cpu",
            vec![("cpu_cpu", text("2")), ("cpu_timeout", day.clone())],
            2,
        ),
        (
            "burnin_memory",
            vec![
                ("vm_vm", text("1")),
                ("vm_vm-bytes", text("16M")),
                ("vm_timeout", day),
            ],
            1,
        ),
    ];
    for (step, options, workers) in &cases {
        let mut agent = Agent::start(&programs, None);
        let mut client = agent.client().await;
        let id = agent.order(&mut client, step, options).await.unwrap();
        agent.wait_for("it works", |all| all.len() > *workers);
        let request = v1::CancelCommandRequest {
            id: id.clone(),
            reason: "enough".to_owned(),
        };
        client.cancel_command(request).await.unwrap();
        let record = agent.ended(&mut client, &id).await;
        assert_eq!(record.state(), CommandState::Cancelled, "{record:?}");
        agent.wait_for("it goes on after it was cancelled", <[i32]>::is_empty);

        agent.order(&mut client, step, options).await.unwrap();
        agent.wait_for("it works again", |all| all.len() > *workers);
        let number = Pid::from_raw(i32::try_from(agent.agent()).unwrap()).unwrap();
        kill_process(number, Signal::TERM).unwrap();
        agent.wait_for("it goes on after the agent has ended", <[i32]>::is_empty);

        // One that is killed can end nothing: the next one does. It knows fio, which writes to
        // disks, by its environment; stress-ng, which does not, writes its title over that.
        if *step != "burnin_network" {
            continue;
        }
        let mut agent = Agent::start(&programs, None);
        let mut client = agent.client().await;
        agent.order(&mut client, step, options).await.unwrap();
        agent.wait_for("it works", |all| all.len() > *workers);
        agent.kill_and_start_again();
        agent.wait_for("it goes on under the next agent", <[i32]>::is_empty);
    }
}
