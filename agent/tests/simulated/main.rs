//! A simulated agent changes nothing of the machine that it runs on, whatever it is asked for:
//! every verb of the protocol and every step that is declared runs, while its system calls are
//! watched and those that would reach the machine are refused.

#![cfg(target_arch = "x86_64")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and this one runs programs"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use ironic_agent::config::AgentConfig;
use ironic_agent::hardware::{HardwareManager, ManagerRegistry, StepContext, StepPhase, Support};
use ironic_agent::image::LastDeployment;
use ironic_agent::inspect;
use ironic_agent::machine::ironic_node::Node;
use ironic_agent::system::System;
use ironic_agent::task::Task;
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command::Verb as Message;
use ironic_agent_protocol::v1::command_service_client::CommandServiceClient;
use ironic_agent_protocol::verbs::{VERBS, VerbDescriptor};
use ironic_document::JsonObject;
use prost_types::value::Kind;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

mod watch;

use watch::{Seen, watch};

/// Everything ends much sooner; nothing waits for all of it.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Enough for a bootable container; a hole.
const DISK: u64 = 1 << 30;
const IMAGE: usize = 4 << 20;

/// A directory with a disk, a state directory, an image and a hardware manager that must not
/// be found.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = Self { directory };
        for name in ["disks", "state"] {
            std::fs::create_dir(place.path(name)).unwrap();
        }
        for name in ["sda", "sdb"] {
            let disk = std::fs::File::create(place.path("disks").join(name)).unwrap();
            disk.set_len(DISK).unwrap();
        }
        let mut image = vec![0_u8; IMAGE];
        image[510..512].copy_from_slice(&[0x55, 0xaa]);
        // One partition of the MBR, from sector 2048 on.
        image[446..462].copy_from_slice(&[0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0]);
        image[1 << 20..].fill(7);
        std::fs::write(place.path("image"), image).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        // As the kernel shows it.
        self.directory.path().canonicalize().unwrap().join(name)
    }

    /// Where the agent may write. The image is not there.
    fn own(&self) -> [PathBuf; 2] {
        [self.path("disks"), self.path("state")]
    }

    fn image_info(&self) -> Value {
        let image = std::fs::read(self.path("image")).unwrap();
        json!({
            "id": "image",
            "urls": [format!("file://{}", self.path("image").display())],
            "os_hash_algo": "sha256",
            "os_hash_value": hex::encode(Sha256::digest(image)),
            "disk_format": "raw",
            "image_type": "whole-disk",
        })
    }
}

/// A value as the protocol carries it.
fn value(json: &Value) -> prost_types::Value {
    let kind = match json {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(*flag),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => Kind::ListValue(prost_types::ListValue {
            values: items.iter().map(value).collect(),
        }),
        Value::Object(_) => Kind::StructValue(document(json)),
    };
    prost_types::Value { kind: Some(kind) }
}

fn document(json: &Value) -> prost_types::Struct {
    let fields = json.as_object().unwrap().iter();
    prost_types::Struct {
        fields: fields
            .map(|(key, item)| (key.clone(), value(item)))
            .collect(),
    }
}

fn node() -> Value {
    json!({
        "uuid": "1be26c0b-03f2-4d2e-ae87-c02d7f33c123",
        "instance_info": {"image_source": "x"},
        "driver_info": {
            "agent_burnin_fio_network_config": {"role": "writer", "partner": "127.0.0.1"},
        },
        "properties": {},
        "driver_internal_info": {},
        "target_raid_config": {"logical_disks": [
            {"size_gb": "MAX", "raid_level": "1", "controller": "software"},
        ]},
    })
}

/// What a step is asked for. A step that is not here is asked without arguments, and one that
/// needs some fails this test until they are here.
fn arguments(place: &Place, step: &str) -> Value {
    let image = place.image_info();
    match step {
        "write_image" => json!({"image_info": image, "configdrive": null}),
        "execute_bootc_install" => json!({
            "image_source": "oci://127.0.0.1:1/image", "oci_pull_secret": "c2VjcmV0",
        }),
        "inject_files" => {
            json!({"files": [{"path": "/etc/x", "content": "eA=="}], "verify_ca": true})
        }
        "apply_configuration" => json!({
            "raid_config": node()["target_raid_config"], "delete_existing": true,
        }),
        "update_nvidia_nic_firmware_image" => json!({"images": [{
            "url": format!("file://{}", place.path("image").display()), "checksum": "a".repeat(64),
            "checksumType": "sha256", "componentFlavor": "MT_1", "version": "1.0.0",
        }]}),
        "update_nvidia_nic_firmware_settings" => json!({"settings": [{
            "deviceID": "1017", "globalConfig": {"NUM_OF_VFS": "1"},
        }]}),
        _ => json!({}),
    }
}

/// The orders of one verb. A new verb does not compile before it is here.
fn orders(place: &Place, verb: &VerbDescriptor) -> Vec<Message> {
    let own = node();
    let node = Some(document(&own));
    vec![match verb.message(Vec::new()) {
        Message::GetSteps(empty) => Message::GetSteps(v1::GetStepsCommand { node, ..empty }),
        Message::ExecuteStep(empty) => {
            let config = AgentConfig::default();
            let phases = [StepPhase::Clean, StepPhase::Deploy, StepPhase::Service];
            let of = |phase: &StepPhase| phase.word() == verb.extension();
            let phase = phases.into_iter().find(of).unwrap();
            let system = System::simulated(place.path("disks"));
            let managers = ManagerRegistry::of_this_source_tree();
            let here = managers
                .iter()
                .filter(|manager| manager.support(&system) > Support::None);
            let managers: Vec<_> = here.collect();
            let steps = managers.iter().flat_map(|manager| manager.steps());
            let offered = steps.filter(|step| step.offer(phase, &config).is_some());
            let orders = offered.map(|step| {
                let name = step.description().name.as_ref();
                let interface = step.description().interface.as_ref();
                let arguments = arguments(place, name);
                let step = json!({"step": name, "interface": interface, "args": arguments});
                Message::ExecuteStep(v1::ExecuteStepCommand {
                    step: Some(document(&step)),
                    node: node.clone(),
                    arguments: None,
                    ..empty.clone()
                })
            });
            return orders.collect();
        }
        Message::PrepareImage(_) => Message::PrepareImage(v1::PrepareImageCommand {
            image_info: Some(document(&place.image_info())),
            configdrive: None,
        }),
        Message::ExecuteBootcInstall(_) => {
            Message::ExecuteBootcInstall(v1::ExecuteBootcInstallCommand {
                image_source: "oci://127.0.0.1:1/image".to_owned(),
                instance_info: Some(document(&json!({}))),
                pull_secret: Some("c2VjcmV0".to_owned()),
                configdrive: None,
            })
        }
        Message::RunImage(_) => {
            let order = |kexec| Message::RunImage(v1::RunImageCommand { kexec });
            return vec![order(false), order(true)];
        }
        Message::WriteImage(_) => {
            let image = std::fs::read(place.path("image")).unwrap();
            Message::WriteImage(v1::WriteImageCommand {
                image: Some(v1::Image {
                    urls: vec![format!("file://{}", place.path("image").display())],
                    digest: Some(v1::ImageDigest {
                        algorithm: v1::DigestAlgorithm::Sha256.into(),
                        value: hex::encode(Sha256::digest(image)),
                        list_url: String::new(),
                    }),
                    format: v1::ImageFormat::Raw.into(),
                    ..v1::Image::default()
                }),
                ..v1::WriteImageCommand::default()
            })
        }
        Message::Erase(_) => {
            let scopes = [
                v1::EraseScope::Data,
                v1::EraseScope::Metadata,
                v1::EraseScope::Express,
            ];
            let orders = scopes.into_iter().map(|scope| {
                Message::Erase(v1::EraseCommand {
                    policy: Some(v1::ErasePolicy {
                        scope: scope.into(),
                        ..v1::ErasePolicy::default()
                    }),
                    disks: Vec::new(),
                })
            });
            return orders.collect();
        }
        Message::Raid(_) => {
            let volume = v1::RaidVolume {
                level: v1::RaidLevel::RaidLevel1.into(),
                ..v1::RaidVolume::default()
            };
            let order = |volumes| {
                Message::Raid(v1::RaidCommand {
                    volumes,
                    keep_existing: false,
                })
            };
            return vec![order(vec![volume]), order(Vec::new())];
        }
        Message::PowerOff(_) => Message::PowerOff(v1::PowerOffCommand {}),
        Message::Sync(_) => Message::Sync(v1::SyncCommand {}),
        Message::GetPartitionUuids(_) => {
            Message::GetPartitionUuids(v1::GetPartitionUuidsCommand {})
        }
        Message::InstallBootloader(_) => Message::InstallBootloader(v1::InstallBootloaderCommand {
            root_uuid: Some("0b6f3c7e-0000-4000-8000-000000000001".to_owned()),
            target_boot_mode: Some("uefi".to_owned()),
            ..v1::InstallBootloaderCommand::default()
        }),
        Message::CollectSystemLogs(_) => {
            Message::CollectSystemLogs(v1::CollectSystemLogsCommand {})
        }
        Message::FinalizeRescue(_) => Message::FinalizeRescue(v1::FinalizeRescueCommand {
            rescue_password: "password".to_owned(),
            hashed: false,
        }),
        Message::Lockdown(_) => Message::Lockdown(v1::LockdownCommand {}),
        Message::GetHardwareInfo(_) => Message::GetHardwareInfo(v1::GetHardwareInfoCommand {}),
        Message::SetNodeInfo(_) => Message::SetNodeInfo(v1::SetNodeInfoCommand {
            node_info: Some(document(&json!({"node": own, "config": {}}))),
        }),
        Message::StartFlow(_) => {
            let flow = json!([{"standby.sync": {}}, {"standby.power_off": {}}]);
            let Some(Kind::ListValue(flow)) = value(&flow).kind else {
                panic!("it is a list");
            };
            Message::StartFlow(v1::StartFlowCommand { flow: Some(flow) })
        }
    }]
}

/// Whether the agent serves no more after this one.
fn is_last(verb: &VerbDescriptor) -> bool {
    verb.ends_service.is_some()
}

/// What a simulated agent says in place of taking the network down.
const ISOLATED: &str = "a simulation leaves the network of the machine as it is";

/// A watched agent that serves at a socket.
struct Agent {
    process: u32,
    log: Arc<Mutex<String>>,
    watching: JoinHandle<Seen>,
    client: CommandServiceClient<Channel>,
}

impl Agent {
    async fn start(place: &Place) -> Self {
        let socket = place.path("state/agent.sock");
        // An earlier agent's.
        let _ = std::fs::remove_file(&socket);
        let mut command = Command::new(env!("CARGO_BIN_EXE_ironic-agent"));
        command
            .args([
                "--standalone",
                "--agent_token",
                "T",
                "--enable_bios_bootloader_install",
            ])
            .args([
                "--enable_vlan_interfaces",
                "all",
                "--ntp_server",
                "127.0.0.1",
            ])
            .args(["--grpc-listen", &format!("unix:{}", socket.display())])
            .arg("--simulate")
            .arg(place.path("disks"))
            .arg("--state-dir")
            .arg(place.path("state"))
            .stdout(std::process::Stdio::null());
        let own = place.own();
        let (send, started) = channel();
        let log = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&log);
        let watching = std::thread::spawn(move || watch(command, &own, &send, written));
        let process = started.recv_timeout(TIMEOUT).unwrap();
        let begin = Instant::now();
        while !socket.exists() {
            assert!(begin.elapsed() < TIMEOUT && !watching.is_finished());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://agent").connect_with_connector_lazy(connector);
        Self {
            process,
            log,
            watching,
            client: CommandServiceClient::new(channel).max_decoding_message_size(usize::MAX),
        }
    }

    fn with_token<M>(message: M) -> tonic::Request<M> {
        let mut request = tonic::Request::new(message);
        request
            .metadata_mut()
            .insert("agent-token", "T".parse().unwrap());
        request.set_timeout(TIMEOUT);
        request
    }

    /// The record of an order when it has ended, or why it was refused.
    async fn run(&mut self, order: Message) -> Result<v1::CommandRecord, tonic::Status> {
        let request = v1::ExecuteCommandRequest {
            command: Some(v1::Command {
                verb: Some(order),
                ..v1::Command::default()
            }),
            ..v1::ExecuteCommandRequest::default()
        };
        let answer = self
            .client
            .execute_command(Self::with_token(request))
            .await?;
        let record = answer.into_inner().command.unwrap();
        if record.state() != v1::CommandState::Running {
            return Ok(record);
        }
        let id = record.id;
        let request = Self::with_token(v1::GetCommandRequest { id, wait: true });
        Ok(self
            .client
            .get_command(request)
            .await?
            .into_inner()
            .command
            .unwrap())
    }

    /// Waits for what comes after a verb that ends the service: the agent ends, or isolates the machine.
    async fn wait_for_shut_down(&self) {
        let begin = Instant::now();
        while !self.watching.is_finished() && !self.log.lock().unwrap().contains(ISOLATED) {
            assert!(begin.elapsed() < TIMEOUT, "{}", self.log.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends the agent.
    fn stop(self) -> Seen {
        let process = rustix::process::Pid::from_raw(self.process.cast_signed()).unwrap();
        // It may have ended by itself.
        let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
        self.watching.join().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_verb_and_no_step_reaches_the_machine() {
    let place = Place::new();
    let (last, others): (Vec<_>, Vec<_>) = VERBS.iter().partition(|verb| is_last(verb));
    let mut names = BTreeSet::new();
    // Several lives: some verbs end the agent's service.
    for (lives, last) in last.iter().enumerate() {
        let mut agent = Agent::start(&place).await;
        let verbs: &[&VerbDescriptor] = if lives == 0 { &others } else { &[] };
        for verb in verbs.iter().chain([last]) {
            for order in orders(&place, verb) {
                let shown = format!("{order:?}");
                let record = match agent.run(order).await {
                    Ok(record) => record,
                    Err(status) => panic!("{}: {status}", verb.name),
                };
                let details = record.failure.as_ref().map_or("", |it| &it.details);
                println!("{}: {:?} {details}", record.name, record.state());
                names.insert(record.name.clone());
                assert_ran(&record, &shown);
            }
        }
        agent.wait_for_shut_down().await;
        let seen = agent.stop();
        assert_eq!(seen.refused, Vec::<String>::new(), "{}", seen.log);
        // The watch is not blind.
        assert!(seen.calls > 500, "{}", seen.calls);
        if lives == 0 {
            let disk = place.path("disks/sda");
            assert!(seen.written.contains(&disk), "{:?}", seen.written);
        }
    }
    for verb in &VERBS {
        assert!(names.contains(verb.name), "{} did not run", verb.name);
    }
}

/// A call that was wrong in this test would prove nothing.
fn assert_ran(record: &v1::CommandRecord, order: &str) {
    let details = record
        .failure
        .as_ref()
        .map_or("", |failure| &failure.details);
    for wrong in [
        "missing",
        "unexpected keyword",
        "Could not find method",
        "is required",
        "TypeError",
        "Malformed",
        "must be",
    ] {
        assert!(!details.contains(wrong), "{order}: {details}");
    }
}

/// Managers of hardware that this machine does not have, and everything that an inspection
/// looks for: in the process of a test, since no agent here would offer them.
#[test]
fn no_manager_and_no_collector_reaches_the_machine() {
    let place = Place::new();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--ignored",
            "--exact",
            "the_managers_and_collectors_themselves",
            "--nocapture",
        ])
        .env(PLACE, place.directory.path())
        .stdout(std::process::Stdio::null());
    let own = place.own();
    let (send, _started) = channel();
    let seen = std::thread::spawn(move || watch(command, &own, &send, Arc::default()))
        .join()
        .unwrap();
    assert_eq!(seen.refused, Vec::<String>::new(), "{}", seen.log);
    // It came to its end.
    assert!(place.path("state/done").exists(), "{}", seen.log);
}

const PLACE: &str = "IRONIC_AGENT_TEST_SIMULATION";

/// Not a test of its own: what the one above watches.
#[tokio::test]
#[ignore = "run by no_manager_and_no_collector_reaches_the_machine"]
async fn the_managers_and_collectors_themselves() {
    let Some(directory) = std::env::var_os(PLACE) else {
        return;
    };
    let directory = PathBuf::from(directory);
    let system = System::simulated(directory.join("disks"));
    let mut config = AgentConfig {
        state_dir: directory.join("state"),
        simulate: Some(directory.join("disks")),
        ..AgentConfig::default()
    };
    config.common.inspection_collectors =
        Some(inspect::names().into_iter().map(str::to_owned).collect());
    let registry = ManagerRegistry::new(ManagerRegistry::of_this_source_tree(), &system).unwrap();
    for manager in ManagerRegistry::of_this_source_tree() {
        let _ = manager.support(&system);
        manager.initialize(&system, &config);
        run_steps(&directory, manager.as_ref(), &system, &config).await;
    }
    let report = inspect::collect(&system, &config, &registry).await;
    assert!(report.data.len() > 1);
    std::fs::write(directory.join("state/done"), "").unwrap();
}

async fn run_steps(
    directory: &Path,
    manager: &dyn HardwareManager,
    system: &System,
    config: &AgentConfig,
) {
    let place = Place {
        directory: tempfile::TempDir::new_in(directory.join("state")).unwrap(),
    };
    std::fs::copy(directory.join("image"), place.path("image")).unwrap();
    let node = Node(node().as_object().unwrap().clone());
    let (task, installed) = (Task::detached(), LastDeployment::default());
    let ctx = StepContext {
        system,
        config,
        node: &node,
        ports: &[],
        task: &task,
        installed: &installed,
        erasers: &[],
        ordered: None,
    };
    let eraser = manager.eraser();
    for step in manager.steps().into_iter().chain(eraser) {
        let name = &step.description().name;
        let arguments: JsonObject = arguments(&place, name).as_object().unwrap().clone();
        let missing =
            step.description().arguments.iter().find(|argument| {
                argument.required && !arguments.contains_key(argument.name.as_ref())
            });
        assert_eq!(
            missing, None,
            "step {name} needs an argument: add it to this test"
        );
        eprintln!("{name}: {:?}", step.plan(ctx, &arguments).await.is_ok());
        eprintln!("{name}: {:?}", step.run(ctx, &arguments).await);
    }
}

/// The watch itself: what it must find, it finds, and nothing of it happens.
#[test]
fn the_watch_sees_and_stops_what_reaches_the_machine() {
    let place = Place::new();
    let outside = place.path("outside");
    let inside = place.path("state/inside");
    let script = format!(
        "true > {outside}; true > {inside}; mkdir {outside}.d; ln -s /x {outside}.l; kill -0 1; \
         exec 3<>/dev/tcp/127.0.0.1/1; exec /bin/true",
        outside = outside.display(),
        inside = inside.display(),
    );
    let mut command = Command::new("bash");
    command
        .args(["-c", &script])
        .stdout(std::process::Stdio::null());
    let own = place.own();
    let (send, _started) = channel();
    let seen = std::thread::spawn(move || watch(command, &own, &send, Arc::default()))
        .join()
        .unwrap();
    let refused = seen.refused.join("\n");
    for expected in [
        format!("open {}", outside.display()),
        "mkdir".to_owned(),
        "/ln".to_owned(),
        "signal 1".to_owned(),
        "start /bin/true".to_owned(),
    ] {
        assert!(refused.contains(&expected), "{expected}: {refused}");
    }
    assert!(seen.written.contains(&inside), "{:?}", seen.written);
    assert!(inside.exists() && !outside.exists());
}
