//! The fleet of a gateway: the real agent and the real shim, called as an orchestrator calls them.

use std::path::Path;
use std::time::Duration;

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command_service_client::CommandServiceClient;
use ironic_agent_protocol::v1::fleet_service_client::FleetServiceClient;
use ironic_agent_protocol::v1::watch_nodes_response::Content;
use ironic_agent_protocol::v1::{CommandState, NodeEventKind, NodeState};
use ironic_shim::config::{AdmittedMachines, ShimConfig};
use ironic_transport::Listen;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt;

use crate::support::gateway::{AttachedAgent, Cable, Machine, SYNC, ask, gateway_config};
use crate::support::ironic::{FakeIronic, NODE};
use crate::support::shim::{Shim, config, free_port};
use crate::support::tls::{Authority, Signed};

const HEARTBEAT: &str = "/v1/heartbeat/";
const LIMIT: Duration = Duration::from_secs(30);

/// A gateway that serves its fleet at a socket.
struct Fleet {
    ironic: FakeIronic,
    state: TempDir,
    shim: Shim,
    machine: Machine,
}

fn fleet_config(ironic: &FakeIronic, state: &TempDir) -> ShimConfig {
    ShimConfig {
        fleet_listen: Some(Listen::Unix(state.path().join("fleet.sock"))),
        ..gateway_config(ironic, state)
    }
}

fn channel(state: &TempDir) -> Channel {
    channel_at(state.path())
}

/// A channel to the fleet of the gateway with this state directory.
pub(super) fn channel_at(state: &Path) -> Channel {
    let socket = state.join("fleet.sock");
    let url = format!("unix:{}", socket.display());
    Endpoint::from_shared(url).unwrap().connect_lazy()
}

impl Fleet {
    async fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let ironic = FakeIronic::start().await;
        let shim = Shim::start(fleet_config(&ironic, &state)).await;
        Self {
            ironic,
            state,
            shim,
            machine: Machine::new(),
        }
    }

    fn nodes(&self) -> FleetServiceClient<Channel> {
        FleetServiceClient::new(channel(&self.state))
    }

    fn commands(&self) -> CommandServiceClient<Channel> {
        CommandServiceClient::new(channel(&self.state))
    }

    async fn watch(&self, resume_token: &str) -> Watch {
        let request = v1::WatchNodesRequest {
            resume_token: resume_token.into(),
            selector: None,
        };
        Watch::open(&self.state, request).await
    }
}

pub(super) struct Watch {
    messages: Streaming<v1::WatchNodesResponse>,
    pub(super) token: String,
    seen: Vec<v1::NodeEvent>,
}

impl Watch {
    async fn open(state: &TempDir, request: v1::WatchNodesRequest) -> Self {
        Self::over(channel(state), request).await
    }

    /// The same over any channel.
    pub(super) async fn over(channel: Channel, request: v1::WatchNodesRequest) -> Self {
        let token = request.resume_token.clone();
        let mut nodes = FleetServiceClient::new(channel);
        Self {
            messages: nodes.watch_nodes(request).await.unwrap().into_inner(),
            token,
            seen: Vec::new(),
        }
    }

    /// Reads until the watch is ended by the gateway.
    pub(super) async fn end(&mut self) -> Status {
        let reading = async {
            loop {
                match self.messages.message().await {
                    Ok(Some(message)) if message.resume_token.is_empty() => {}
                    Ok(Some(message)) => self.token = message.resume_token,
                    Ok(None) => panic!("a watch ends with a status"),
                    Err(status) => return status,
                }
            }
        };
        tokio::time::timeout(LIMIT, reading).await.unwrap()
    }

    /// Reads until an event of this kind comes.
    pub(super) async fn until(&mut self, kind: NodeEventKind) -> v1::NodeEvent {
        let reading = async {
            loop {
                let found = self.seen.iter().position(|event| event.kind() == kind);
                if let Some(at) = found {
                    return self.seen.drain(..=at).next_back().unwrap();
                }
                let message = self.messages.message().await.unwrap().unwrap();
                if !message.resume_token.is_empty() {
                    self.token = message.resume_token;
                }
                if let Some(Content::Events(events)) = message.content {
                    self.seen.extend(events.events);
                }
            }
        };
        tokio::time::timeout(LIMIT, reading).await.unwrap()
    }
}

pub(super) fn of_node<T>(node: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = node.parse().unwrap();
    request.metadata_mut().insert("node-uuid", value);
    request
}

pub(super) fn sync() -> v1::ExecuteCommandRequest {
    v1::ExecuteCommandRequest {
        command: Some(v1::Command {
            verb: Some(v1::command::Verb::Sync(v1::SyncCommand {})),
            ..v1::Command::default()
        }),
        ..v1::ExecuteCommandRequest::default()
    }
}

/// An order to write the image at a URL.
pub(super) fn prepare_image(url: &str, sha256: &str) -> v1::ExecuteCommandRequest {
    let image_info = serde_json::json!({"id": "i", "urls": [url], "disk_format": "raw",
        "os_hash_algo": "sha256", "os_hash_value": sha256});
    let image_info = image_info.as_object().unwrap().clone();
    let prepare = v1::PrepareImageCommand {
        image_info: Some(ironic_document::to_struct(image_info, "image_info").unwrap()),
        configdrive: None,
    };
    v1::ExecuteCommandRequest {
        command: Some(v1::Command {
            verb: Some(v1::command::Verb::PrepareImage(prepare)),
            ..v1::Command::default()
        }),
        ..v1::ExecuteCommandRequest::default()
    }
}

pub(super) fn reason(status: &Status) -> String {
    let info = status.get_details_error_info();
    info.map(|info| {
        assert_eq!(info.domain, "ironic.agent.v1");
        info.reason
    })
    .unwrap_or_default()
}

#[tokio::test]
async fn a_watcher_sees_an_agent_come_work_and_go() {
    let fleet = Fleet::new().await;
    let mut watch = fleet.watch("").await;
    let agent = fleet.machine.start_agent(&fleet.shim.url);
    let attached = watch.until(NodeEventKind::Attached).await.node.unwrap();
    assert_eq!(
        (attached.uuid.as_str(), attached.state()),
        (NODE, NodeState::Attached)
    );
    let attachment = attached.attachment.unwrap();
    assert_eq!(attachment.boot_id, "11111111-1111-1111-1111-111111111111");
    assert!(attachment.peer.starts_with("127.0.0.1:"), "{attachment:?}");

    // By a caller of the REST interface, and by one of gRPC.
    ask(&fleet.shim, "POST", "/v1/commands/", SYNC).await;
    let by_rest = watch.until(NodeEventKind::CommandEnded).await.node.unwrap();
    let answer = fleet
        .commands()
        .execute_command(of_node(NODE, sync()))
        .await;
    let record = answer.unwrap().into_inner().command.unwrap();
    let by_grpc = watch.until(NodeEventKind::CommandEnded).await.node.unwrap();
    let (by_rest, by_grpc) = (by_rest.command.unwrap(), by_grpc.command.unwrap());
    assert_eq!(
        (by_rest.name.as_str(), by_rest.state()),
        ("standby.sync", CommandState::Succeeded)
    );
    assert_eq!(by_grpc.id, record.id);
    assert_ne!(by_rest.id, by_grpc.id);

    let token = watch.token.clone();
    drop((watch, agent));
    let mut resumed = fleet.watch(&token).await;
    let lost = resumed.until(NodeEventKind::Lost).await.node.unwrap();
    assert_eq!((lost.state(), lost.attachment), (NodeState::Away, None));
    let node = fleet
        .nodes()
        .get_node(v1::GetNodeRequest { node: NODE.into() })
        .await;
    assert_eq!(
        node.unwrap().into_inner().node.unwrap().state(),
        NodeState::Away
    );
}

#[tokio::test]
async fn a_command_that_runs_is_followed_over_a_lost_connection() {
    let state = tempfile::tempdir().unwrap();
    let shim = Shim::start(config_without_ironic(&state)).await;
    let (machine, cable) = (Machine::new(), Cable::to(&shim).await);
    let mut watch = Watch::open(&state, v1::WatchNodesRequest::default()).await;
    let _agent = machine.start_agent(&cable.url);
    watch.until(NodeEventKind::Attached).await;
    // Its server answers nothing: it runs until it is cancelled.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/image.raw", listener.local_addr().unwrap());
    let mut commands = CommandServiceClient::new(channel(&state));
    let order = prepare_image(&url, &"0".repeat(64));
    commands
        .execute_command(of_node(NODE, order))
        .await
        .unwrap();
    let begun = watch
        .until(NodeEventKind::CommandStarted)
        .await
        .node
        .unwrap();
    let begun = begun.command.unwrap();
    assert_eq!(
        (begun.name.as_str(), begun.background),
        ("standby.prepare_image", true)
    );
    let accepted = tokio::time::timeout(LIMIT, listener.accept()).await;
    let (_silent, _) = accepted.unwrap().unwrap();
    cable.cut();
    watch.until(NodeEventKind::Lost).await;
    watch.until(NodeEventKind::Attached).await;
    let cancel = v1::CancelCommandRequest {
        id: begun.id.clone(),
        reason: "enough".into(),
    };
    commands
        .cancel_command(of_node(NODE, cancel))
        .await
        .unwrap();
    let ended = watch.until(NodeEventKind::CommandEnded).await.node.unwrap();
    let ended = ended.command.unwrap();
    assert_eq!(
        (&ended.id, ended.state()),
        (&begun.id, CommandState::Cancelled),
        "{ended:?}"
    );
}

#[tokio::test]
async fn calls_without_a_node_or_of_one_that_is_away_say_so() {
    let fleet = Fleet::new().await;
    let mut nodes = fleet.nodes();
    let unknown = "00000000-0000-4000-8000-000000000001";
    for (node, code, why) in [
        (None, Code::InvalidArgument, "NODE_UUID_MISSING"),
        (Some(""), Code::InvalidArgument, "NODE_UUID_MISSING"),
        (Some(unknown), Code::NotFound, "NODE_NOT_FOUND"),
        (Some("no-name"), Code::NotFound, "NODE_NOT_FOUND"),
    ] {
        let request = match node {
            Some(node) => of_node(node, v1::GetStatusRequest {}),
            None => Request::new(v1::GetStatusRequest {}),
        };
        let refused = fleet.commands().get_status(request).await.unwrap_err();
        assert_eq!(
            (refused.code(), reason(&refused).as_str()),
            (code, why),
            "{refused:?}"
        );
    }
    let agent = fleet.machine.start_agent(&fleet.shim.url);
    fleet.ironic.wait_for(HEARTBEAT, 1).await;
    drop(agent);
    let mut watch = fleet.watch("").await;
    let away = async {
        loop {
            let node = nodes
                .get_node(v1::GetNodeRequest { node: NODE.into() })
                .await;
            if node.unwrap().into_inner().node.unwrap().state() == NodeState::Away {
                return;
            }
            watch.until(NodeEventKind::Lost).await;
        }
    };
    tokio::time::timeout(LIMIT, away).await.unwrap();
    let mut request = of_node(NODE, v1::GetStatusRequest {});
    request
        .metadata_mut()
        .insert("grpc-timeout", "500m".parse().unwrap());
    let refused = fleet.commands().get_status(request).await.unwrap_err();
    assert_eq!(reason(&refused), "NODE_AWAY", "{refused:?}");
    // One that waits is answered when the agent is back.
    let mut commands = fleet.commands();
    let waiting = commands.get_status(of_node(NODE, v1::GetStatusRequest {}));
    let _agent = fleet.machine.start_agent(&fleet.shim.url);
    let answer = tokio::time::timeout(LIMIT, waiting).await.unwrap().unwrap();
    assert_eq!(answer.into_inner().node_uuid, NODE);
}

#[tokio::test]
async fn calls_pass_unchanged_with_their_errors_streams_and_cancellation() {
    let fleet = Fleet::new().await;
    let _agent: AttachedAgent = fleet.machine.start_agent(&fleet.shim.url);
    fleet.watch("").await.until_attached(&fleet).await;
    let mut commands = fleet.commands();
    // The caller's own token is not looked at.
    let mut request = of_node(NODE, v1::ListCommandsRequest {});
    request
        .metadata_mut()
        .insert("agent-token", "none".parse().unwrap());
    let list = commands.list_commands(request).await.unwrap().into_inner();
    assert!(list.commands.is_empty());
    let id = "6dd11111-2222-4333-8444-555555555555";
    let order = v1::ExecuteCommandRequest {
        id: id.into(),
        ..sync()
    };
    let first = commands.execute_command(of_node(NODE, order.clone())).await;
    let again = commands.execute_command(of_node(NODE, order)).await;
    assert_eq!(
        first.unwrap().into_inner().command,
        again.unwrap().into_inner().command
    );
    let request = v1::GetCommandRequest {
        id: "x".into(),
        wait: false,
    };
    let refused = commands
        .get_command(of_node(NODE, request))
        .await
        .unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::NotFound, "COMMAND_NOT_FOUND")
    );
    let request = v1::WatchCommandRequest {
        id: id.into(),
        after_sequence: 0,
    };
    let watch = commands
        .watch_command(of_node(NODE, request))
        .await
        .unwrap();
    let mut watch = watch.into_inner();
    let mut events = 0;
    while let Some(event) = watch.message().await.unwrap() {
        events += usize::from(event.event.is_some());
    }
    assert!(events >= 2, "{events}");
    let logs = commands
        .collect_logs(of_node(NODE, v1::CollectLogsRequest {}))
        .await
        .unwrap();
    let mut logs = logs.into_inner();
    let mut bytes = Vec::new();
    while let Some(chunk) = logs.message().await.unwrap() {
        bytes.extend(chunk.chunk);
    }
    assert_eq!(bytes[..2], [0x1f, 0x8b], "a gzip archive");
}

impl Watch {
    /// Waits until the node of the tests is attached, also if it was before the watch began.
    async fn until_attached(&mut self, fleet: &Fleet) {
        let request = v1::GetNodeRequest { node: NODE.into() };
        let node = fleet.nodes().get_node(request).await;
        if !node.is_ok_and(|node| node.into_inner().node.unwrap().state() == NodeState::Attached) {
            self.until(NodeEventKind::Attached).await;
        }
    }
}

#[tokio::test]
async fn nodes_are_listed_page_by_page_and_tokens_of_an_earlier_process_expire() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let proved: String = (0..25)
        .map(|number| {
            format!(
                "{{\"node_uuid\": \"000000{number:02}-0000-4000-8000-000000000000\", \"token_sha256\": \"{}\"}}\n",
                "0".repeat(64)
            )
        })
        .collect();
    std::fs::write(state.path().join("proved-tokens.jsonl"), proved).unwrap();
    let shim = Shim::start(fleet_config(&ironic, &state)).await;
    let mut nodes = FleetServiceClient::new(channel(&state));
    let mut uuids = Vec::new();
    let mut page_token = String::new();
    let resume_token = loop {
        let request = v1::ListNodesRequest {
            page_size: 10,
            page_token,
            ..v1::ListNodesRequest::default()
        };
        let page = nodes.list_nodes(request).await.unwrap().into_inner();
        assert!(page.nodes.len() <= 10);
        uuids.extend(page.nodes.into_iter().map(|node| node.uuid));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break page.resume_token;
        }
    };
    assert_eq!(uuids.len(), 25);
    assert!(uuids.is_sorted());
    let attached = v1::ListNodesRequest {
        states: vec![NodeState::Attached.into()],
        ..v1::ListNodesRequest::default()
    };
    let none = nodes.list_nodes(attached).await.unwrap().into_inner();
    assert!(none.nodes.is_empty());
    let wrong = v1::ListNodesRequest {
        page_token: "x".into(),
        ..v1::ListNodesRequest::default()
    };
    let refused = nodes.list_nodes(wrong).await.unwrap_err();
    assert_eq!(reason(&refused), "PAGE_TOKEN_INVALID");
    shim.die().await;
    let _shim = Shim::start(fleet_config(&ironic, &state)).await;
    let mut nodes = FleetServiceClient::new(channel(&state));
    let request = v1::WatchNodesRequest {
        resume_token,
        selector: None,
    };
    let refused = match nodes.watch_nodes(request).await {
        Err(refused) => refused,
        Ok(watch) => watch.into_inner().message().await.unwrap_err(),
    };
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::OutOfRange, "WATCH_EXPIRED")
    );
}

/// An image with a partition table of one partition.
pub(super) fn image() -> Vec<u8> {
    let mut image: Vec<u8> = (0..=250_u8).cycle().take(3 << 20).collect();
    image[446..512].fill(0);
    image[450] = 0x83;
    image[454..458].copy_from_slice(&2048_u32.to_le_bytes());
    image[458..462].copy_from_slice(&2048_u32.to_le_bytes());
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    image
}

/// Serves the same bytes to everyone.
async fn serve(body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/image.raw", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 4096]).await;
            let length = body.len();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let _ = socket.write_all(head.as_bytes()).await;
            let _ = socket.write_all(&body).await;
        }
    });
    url
}

/// A gateway without Ironic, whose nodes are described in `nodes`.
pub(super) fn config_without_ironic(state: &TempDir) -> ShimConfig {
    let mut config = config(&[], state);
    let url = format!("http://127.0.0.1:{}", config.listen_port);
    config.gateway_url = Some(url.parse().unwrap());
    config.fleet_listen = Some(Listen::Unix(state.path().join("fleet.sock")));
    // It has the same address when it is started again.
    config.conductor_listen = Listen::Tcp(format!("127.0.0.1:{}", free_port()).parse().unwrap());
    config.node_dir = Some(state.path().join("nodes"));
    std::fs::create_dir_all(state.path().join("nodes")).unwrap();
    let node = format!("uuid: {NODE}\nname: rack1-1\nmacs: ['52:54:00:e2:e0:01']\n");
    describe(state, "a.yaml", &format!("{node}labels: {{rack: '1'}}\n"));
    config
}

pub(super) fn describe(state: &TempDir, file: &str, text: &str) {
    std::fs::write(state.path().join("nodes").join(file), text).unwrap();
}

#[tokio::test]
async fn a_machine_is_deployed_without_ironic() {
    let state = tempfile::tempdir().unwrap();
    let config = config_without_ironic(&state);
    describe(&state, "b.yaml", "uuid: 5\nrom: 1\n");
    let shim = Shim::start(config.clone()).await;
    let machine = Machine::new();
    let request = v1::WatchNodesRequest {
        selector: Some(v1::NodeSelector {
            labels: [("rack".to_owned(), "1".to_owned())].into(),
        }),
        resume_token: String::new(),
    };
    let mut watch = Watch::open(&state, request).await;
    let agent = machine.start_agent(&shim.url);
    let attached = watch.until(NodeEventKind::Attached).await.node.unwrap();
    assert_eq!(
        (attached.uuid.as_str(), attached.name.as_str()),
        (NODE, "rack1-1")
    );

    let image = image();
    let digest: String = Sha256::digest(&image)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let url = serve(image.clone()).await;
    let order = prepare_image(&url, &digest);
    let mut commands = CommandServiceClient::new(channel(&state));
    commands
        .execute_command(of_node("rack1-1", order))
        .await
        .unwrap();
    let ended = watch.until(NodeEventKind::CommandEnded).await.node.unwrap();
    let ended = ended.command.unwrap();
    assert_eq!(ended.state(), CommandState::Succeeded, "{ended:?}");
    let disk = std::fs::read(machine.disk()).unwrap();
    // The partition table is fitted to the disk.
    assert_eq!(disk[512..image.len()], image[512..]);

    // The gateway dies: the agent's token is known to the next one.
    shim.die().await;
    let _shim = Shim::start(config).await;
    let mut nodes = FleetServiceClient::new(channel(&state));
    let back = async {
        loop {
            let node = nodes
                .get_node(v1::GetNodeRequest {
                    node: "rack1-1".into(),
                })
                .await;
            let node = node.unwrap().into_inner().node.unwrap();
            if node.state() == NodeState::Attached {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT * 2, back).await.unwrap();
    drop(agent);
}

#[tokio::test]
async fn inspection_report_of_a_described_machine_is_answered() {
    let state = tempfile::tempdir().unwrap();
    let config = config_without_ironic(&state);
    let mut shim = Shim::start(config).await;
    let mut nodes = FleetServiceClient::new(channel(&state));
    let request = || v1::GetInspectionRequest { node: NODE.into() };
    let refused = nodes.get_inspection(request()).await.unwrap_err();
    assert_eq!(reason(&refused), "NO_INSPECTION");
    let report = serde_json::json!({"inventory": {"cpus": 4, "interfaces":
        [{"mac_address": "52:54:00:e2:e0:01"}]}, "logs": "x".repeat(5_000_000)});
    let report = report.as_object().unwrap().clone();
    let submitted = shim
        .conductor
        .submit_inspection(v1::SubmitInspectionRequest {
            report: Some(ironic_document::to_struct(report, "report").unwrap()),
            system_uuid: String::new(),
        });
    let verdict = submitted.await.unwrap().into_inner();
    assert_eq!(
        verdict.verdict(),
        v1::InspectionVerdict::Accepted,
        "{verdict:?}"
    );
    let kept = nodes.get_inspection(request()).await.unwrap().into_inner();
    let kept = ironic_document::object(kept.report.unwrap(), "report").unwrap();
    assert_eq!(kept["inventory"]["cpus"], 4);
    assert_eq!(kept.get("logs"), None);
}

#[tokio::test]
async fn a_name_that_two_nodes_have_calls_neither() {
    let state = tempfile::tempdir().unwrap();
    let config = config_without_ironic(&state);
    let other = "5d0f7a52-6bd0-4a0b-8f4e-0d6b6d1f7e11";
    let twin = format!("uuid: {other}\nname: rack1-1\nserial_number: S\n");
    describe(&state, "b.yaml", &twin);
    let _shim = Shim::start(config).await;
    let mut commands = CommandServiceClient::new(channel(&state));
    let order = commands.execute_command(of_node("rack1-1", sync())).await;
    let refused = order.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::FailedPrecondition, "NODE_NAME_AMBIGUOUS")
    );
    for node in [NODE, other] {
        assert!(refused.message().contains(node), "{refused:?}");
    }
}

/// A change of a configuration that is right, and the words of its refusal.
type Contradiction = (fn(&mut ShimConfig), &'static [&'static str]);

#[tokio::test]
async fn options_that_contradict_each_other_are_refused_by_name() {
    let refused = async |change: fn(&mut ShimConfig)| {
        let state = tempfile::tempdir().unwrap();
        let mut config = config_without_ironic(&state);
        change(&mut config);
        let started = ironic_shim::app::Shim::start(config, CancellationToken::new()).await;
        format!("{:#}", started.unwrap_err())
    };
    let cases: [Contradiction; 8] = [
        (
            |config| config.node_dir = None,
            &["api_url", "node_dir", "admit"],
        ),
        (
            |config| config.gateway_url = None,
            &["fleet_listen", "gateway_url"],
        ),
        (
            |config| {
                config.admit = AdmittedMachines::Open;
                config.common.api_url = vec!["http://127.0.0.1:1".into()];
            },
            &["admit", "api_url"],
        ),
        (
            |config| config.node_dir = Some("/nonexistent".into()),
            &["node_dir", "/nonexistent"],
        ),
        (
            |config| config.fleet_listen = Some("0.0.0.0:0".parse().unwrap()),
            &["fleet_listen", "fleet_tls_ca_file", "insecure_fleet_listen"],
        ),
        (
            |config| config.fleet_policy_file = Some("/nonexistent".into()),
            &["fleet_policy_file", "fleet_tls_ca_file"],
        ),
        (
            |config| {
                config.fleet_policy_file = Some("/nonexistent".into());
                config.fleet_listen = None;
            },
            &["fleet_policy_file", "fleet_listen"],
        ),
        (
            |config| config.fleet_tls_cert_file = Some("/nonexistent".into()),
            &["fleet_tls_cert_file", "fleet_tls_key_file"],
        ),
    ];
    for (change, words) in cases {
        let error = refused(change).await;
        for word in words {
            assert!(error.contains(word), "{error}");
        }
    }
}

#[tokio::test]
async fn operators_show_a_certificate_of_their_own_authority() {
    let state = tempfile::tempdir().unwrap();
    let (operators, agents) = (Authority::new(), Authority::new());
    let server = operators.sign();
    let write = |name: &str, text: &str| {
        let path = state.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let mut config = config_without_ironic(&state);
    let port = free_port();
    config.fleet_listen = Some(format!("0.0.0.0:{port}").parse().unwrap());
    config.fleet_tls_cert_file = Some(write("gw.crt", &server.pem));
    config.fleet_tls_key_file = Some(write("gw.key", &server.key));
    config.fleet_tls_ca_file = Some(write("ca.crt", &operators.pem));
    let _shim = Shim::start(config).await;
    let list = async |client: Option<Signed>| {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&operators.pem));
        if let Some(client) = client {
            tls = tls.identity(Identity::from_pem(client.pem, client.key));
        }
        let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{port}")).unwrap();
        let channel = endpoint.tls_config(tls).unwrap().connect().await.ok()?;
        let mut nodes = FleetServiceClient::new(channel);
        nodes.list_nodes(v1::ListNodesRequest::default()).await.ok()
    };
    assert!(list(Some(operators.sign())).await.is_some());
    assert!(list(Some(agents.sign())).await.is_none());
    assert!(list(None).await.is_none());
}
