//! The fleet of several gateways: calls of a node come to any of them, and each shows where its
//! nodes are. And what passes through one is what the agent says, to the byte.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command_service_client::CommandServiceClient;
use ironic_agent_protocol::v1::fleet_service_client::FleetServiceClient;
use ironic_agent_protocol::v1::lookup_response::Outcome;
use ironic_agent_protocol::v1::watch_command_response::Event;
use ironic_agent_protocol::v1::{CommandState, NodeEventKind, NodeState};
use ironic_shim::agents::AgentKey;
use ironic_shim::config::ShimConfig;
use ironic_transport::Listen;
use prost::Message;
use prost::bytes::{Buf, BufMut};
use tokio::net::TcpListener;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Response, Status, Streaming};

use super::fleet::{Watch, channel_at, of_node, prepare_image, reason, sync};
use crate::support::gateway::{AttachedAgent, Cable, Machine, gateway_config};
use crate::support::ironic::{FakeIronic, NODE};
use crate::support::replicas::Site;
use crate::support::shim::{Shim, found, retry};

const LIMIT: Duration = Duration::from_secs(60);

fn with_fleet(config: ShimConfig) -> ShimConfig {
    ShimConfig {
        fleet_listen: Some(Listen::Unix(config.state_dir.join("fleet.sock"))),
        ..config
    }
}

/// The same without Ironic, whose node of the tests has a root device that no machine here has.
pub(super) fn without_ironic(config: ShimConfig) -> ShimConfig {
    let nodes = config.state_dir.join("nodes");
    fs::create_dir(&nodes).unwrap();
    let node = format!("uuid: {NODE}\nname: rack1-1\nmacs: ['52:54:00:e2:e0:01']\n");
    fs::write(nodes.join("a.yaml"), node).unwrap();
    let mut config = with_fleet(config);
    config.common.api_url.clear();
    config.node_dir = Some(nodes);
    config
}

pub(super) fn channel(gateway: &Shim) -> Channel {
    channel_at(&gateway.config.state_dir)
}

pub(super) fn commands(gateway: &Shim) -> CommandServiceClient<Channel> {
    CommandServiceClient::new(channel(gateway))
}

/// Waits until a gateway shows the node of the tests in a state.
pub(super) async fn until_shown(gateway: &Shim, state: NodeState) -> v1::Node {
    let mut nodes = FleetServiceClient::new(channel(gateway));
    let showing = async {
        loop {
            let request = v1::GetNodeRequest { node: NODE.into() };
            if let Ok(answer) = nodes.get_node(request).await {
                let node = answer.into_inner().node.unwrap();
                if node.state() == state {
                    return node;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let shown = tokio::time::timeout(LIMIT, showing).await;
    shown.unwrap_or_else(|_| panic!("the node is not {state:?}"))
}

/// Two gateways that share their nodes, and an agent at the first of them.
pub(super) struct Pair {
    pub(super) site: Site,
    pub(super) a: Shim,
    pub(super) b: Shim,
    pub(super) cable: Cable,
    pub(super) machine: Machine,
    agent: Option<AttachedAgent>,
}

impl Pair {
    pub(super) async fn new() -> Option<Self> {
        Self::with(|config| config).await
    }

    /// The same with other options.
    pub(super) async fn with(change: impl Fn(ShimConfig) -> ShimConfig) -> Option<Self> {
        let site = Site::new().await?;
        let a = Shim::start(change(without_ironic(site.config()))).await;
        let b = Shim::start(change(without_ironic(site.config()))).await;
        let cable = Cable::to(&a).await;
        let machine = Machine::new();
        let agent = machine.start_agent(&cable.url);
        until_shown(&a, NodeState::Attached).await;
        until_shown(&b, NodeState::Elsewhere).await;
        Some(Self {
            site,
            a,
            b,
            cable,
            machine,
            agent: Some(agent),
        })
    }
}

#[tokio::test]
async fn calls_come_to_any_gateway_and_each_shows_where_the_node_is() {
    let Some(pair) = Pair::new().await else {
        return;
    };
    let shown = until_shown(&pair.b, NodeState::Elsewhere).await;
    let url = |gateway: &Shim| gateway.config.peer_url.as_ref().unwrap().to_string();
    assert_eq!(shown.gateway, url(&pair.a));
    let mut watch = Watch::over(channel(&pair.b), v1::WatchNodesRequest::default()).await;
    let mut b = commands(&pair.b);
    let id = "6dd11111-2222-4333-8444-555555555555";
    let order = v1::ExecuteCommandRequest {
        id: id.into(),
        ..sync()
    };
    let record = b.execute_command(of_node(NODE, order)).await.unwrap();
    let record = record.into_inner().command.unwrap();
    assert_eq!(
        (record.id.as_str(), record.state()),
        (id, CommandState::Succeeded)
    );
    let ordered = watch.until(NodeEventKind::Ordered).await.order.unwrap();
    assert_eq!(
        (ordered.verb.as_str(), ordered.command_id.as_str()),
        ("standby.sync", id)
    );
    let get = |id: &str| {
        let id = id.to_owned();
        of_node(NODE, v1::GetCommandRequest { id, wait: false })
    };
    let here = commands(&pair.a).get_command(get(id)).await.unwrap();
    assert_eq!(here.into_inner().command.unwrap(), record);
    let refused = b.get_command(get("x")).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::NotFound, "COMMAND_NOT_FOUND")
    );
    // A large order, and a stream.
    let mut large = prepare_image("http://127.0.0.1:1/image", &"0".repeat(64));
    large.validate_only = true;
    let Some(v1::command::Verb::PrepareImage(prepare)) =
        large.command.as_mut().unwrap().verb.as_mut()
    else {
        unreachable!()
    };
    prepare.configdrive = Some("A".repeat(8 << 20));
    let answer = b.execute_command(of_node(NODE, large)).await.unwrap();
    assert!(answer.into_inner().plan.is_some());
    let request = v1::WatchCommandRequest {
        id: id.into(),
        after_sequence: 0,
    };
    let mut events = b
        .watch_command(of_node(NODE, request))
        .await
        .unwrap()
        .into_inner();
    let mut last = None;
    while let Some(message) = events.message().await.unwrap() {
        last = message.event;
    }
    assert_eq!(last, Some(Event::Record(record)));

    // The agent moves, and both know.
    pair.cable.lead_to(&pair.b);
    pair.cable.cut();
    until_shown(&pair.b, NodeState::Attached).await;
    assert_eq!(
        until_shown(&pair.a, NodeState::Elsewhere).await.gateway,
        url(&pair.b)
    );
    commands(&pair.a)
        .execute_command(of_node(NODE, sync()))
        .await
        .unwrap();
}

#[tokio::test]
async fn no_gateway_gives_a_new_token_for_a_node_that_another_one_holds() {
    let Some(mut pair) = Pair::new().await else {
        return;
    };
    // Another machine with the same address.
    let mac = "52:54:00:e2:e0:01";
    for _ in 0..2 {
        for gateway in [&mut pair.a, &mut pair.b] {
            let reason = retry(gateway.lookup_for(&[mac], "").await).reason;
            assert!(reason.contains("is attached"), "{reason}");
        }
    }
    // A machine that has the token gets the node again, without a token.
    let known = found(pair.b.lookup_for(&[mac], NODE).await);
    assert_eq!(known.config.unwrap().agent_token, "******");
    // When the connection has ended, either gives one.
    pair.agent = None;
    until_shown(&pair.a, NodeState::Away).await;
    until_shown(&pair.b, NodeState::Away).await;
    found(pair.b.lookup_for(&[mac], "").await);
    // A gateway that can ask nobody does not know whether another one holds the node.
    pair.site.nats.kill();
    let asking = async {
        loop {
            if let Outcome::Retry(retry) = pair.b.lookup_for(&[mac], "").await {
                return retry.reason;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let reason = tokio::time::timeout(LIMIT, asking).await.unwrap();
    assert!(
        reason.contains("may be attached to another gateway"),
        "{reason}"
    );
}

/// Begins a command that runs until it is cancelled, and follows it. The server of its image, which
/// answers nothing, lives as long as the listener.
pub(super) async fn follow_endless(
    gateway: &Shim,
) -> (String, Streaming<v1::WatchCommandResponse>, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/image.raw", listener.local_addr().unwrap());
    let mut commands = commands(gateway);
    let order = prepare_image(&url, &"0".repeat(64));
    let begun = commands
        .execute_command(of_node(NODE, order))
        .await
        .unwrap();
    let id = begun.into_inner().command.unwrap().id;
    let request = v1::WatchCommandRequest {
        id: id.clone(),
        after_sequence: 0,
    };
    let events = commands
        .watch_command(of_node(NODE, request))
        .await
        .unwrap();
    let mut events = events.into_inner();
    events.message().await.unwrap().unwrap();
    (id, events, listener)
}

pub(super) async fn cancel(gateway: &Shim, id: &str) {
    let request = v1::CancelCommandRequest {
        id: id.into(),
        reason: "enough".into(),
    };
    let cancelled = commands(gateway)
        .cancel_command(of_node(NODE, request))
        .await;
    cancelled.unwrap();
}

/// The last record of a command that is followed.
pub(super) async fn last_record(
    events: &mut Streaming<v1::WatchCommandResponse>,
) -> v1::CommandRecord {
    let reading = async {
        let mut last = None;
        while let Some(message) = events.message().await.unwrap() {
            if let Some(Event::Record(record)) = message.event {
                last = Some(record);
            }
        }
        last.unwrap()
    };
    tokio::time::timeout(LIMIT, reading).await.unwrap()
}

#[tokio::test]
async fn a_stream_through_two_gateways_ends_with_its_command_or_says_that_one_is_gone() {
    let Some(pair) = Pair::new().await else {
        return;
    };
    let (id, mut events, _server) = follow_endless(&pair.b).await;
    // The deadline of a call counts at the agent, wherever that is.
    let mut waiting = of_node(
        NODE,
        v1::GetCommandRequest {
            id: id.clone(),
            wait: true,
        },
    );
    waiting.set_timeout(Duration::from_millis(300));
    let begun = Instant::now();
    let late = commands(&pair.b).get_command(waiting).await.unwrap_err();
    assert!(
        matches!(late.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{late:?}"
    );
    assert!(begun.elapsed() < LIMIT);
    cancel(&pair.b, &id).await;
    assert_eq!(
        last_record(&mut events).await.state(),
        CommandState::Cancelled
    );

    let (_, mut events, _server) = follow_endless(&pair.b).await;
    pair.a.die().await;
    let broken = async {
        loop {
            match events.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ends with a status"),
                Err(status) => return status,
            }
        }
    };
    let broken = tokio::time::timeout(LIMIT, broken).await.unwrap();
    assert_eq!(reason(&broken), "NODE_LOST", "{broken:?}");
}

/// The bytes of messages as they are.
#[derive(Debug, Clone, Copy, Default)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut item);
        Ok(Some(item))
    }
}

/// All that a caller hears.
#[derive(Debug, PartialEq)]
struct Heard {
    messages: Vec<Vec<u8>>,
    metadata: BTreeMap<String, Vec<u8>>,
    status: (Code, String, Vec<u8>),
}

fn metadata(map: &MetadataMap) -> BTreeMap<String, Vec<u8>> {
    let headers = map.clone().into_headers();
    let headers = headers.iter().filter(|(name, _)| *name != "date");
    headers
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .collect()
}

/// Notes all that comes back.
async fn note(answer: Result<Response<Streaming<Vec<u8>>>, Status>) -> Heard {
    let mut heard = Heard {
        messages: Vec::new(),
        metadata: BTreeMap::new(),
        status: (Code::Ok, String::new(), Vec::new()),
    };
    let ended = match answer {
        Ok(answer) => {
            heard.metadata = metadata(answer.metadata());
            let mut messages = answer.into_inner();
            loop {
                match messages.message().await {
                    Ok(Some(message)) => heard.messages.push(message),
                    Ok(None) => break Ok(()),
                    Err(status) => break Err(status),
                }
            }
        }
        Err(status) => Err(status),
    };
    if let Err(status) = ended {
        let details = status.details().to_vec();
        heard.status = (status.code(), status.message().to_owned(), details);
        heard.metadata = metadata(status.metadata());
    }
    heard
}

/// Makes a call over any channel, with a token where it goes to the agent.
macro_rules! hear {
    ($channel:expr, $method:expr, $message:expr, $token:expr) => {{
        let origin = tonic::transport::Uri::from_static(ironic_tunnel::ORIGIN);
        let mut calls = tonic::client::Grpc::with_origin($channel, origin);
        assert!(calls.ready().await.is_ok());
        let mut request = of_node(NODE, $message);
        let token: Option<&str> = $token;
        if let Some(token) = token {
            let token = token.parse().unwrap();
            request.metadata_mut().insert("agent-token", token);
        }
        let path = format!("/ironic.agent.v1.CommandService/{}", $method);
        let answer = calls.server_streaming(request, path.parse().unwrap(), Bytes);
        note(answer.await).await
    }};
}

#[tokio::test]
async fn what_passes_through_a_gateway_is_what_the_agent_says_to_the_byte() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let gateway = Shim::start(with_fleet(gateway_config(&ironic, &state))).await;
    let machine = Machine::new();
    let _agent = machine.start_agent(&gateway.url);
    until_shown(&gateway, NodeState::Attached).await;
    let id = "6dd11111-2222-4333-8444-555555555555".to_owned();
    let order = v1::ExecuteCommandRequest {
        id: id.clone(),
        ..sync()
    };
    let another = v1::ExecuteCommandRequest {
        command: Some(v1::Command {
            verb: Some(v1::command::Verb::GetPartitionUuids(
                v1::GetPartitionUuidsCommand {},
            )),
            ..v1::Command::default()
        }),
        ..order.clone()
    };
    let get = |id: &str| {
        let id = id.to_owned();
        v1::GetCommandRequest { id, wait: false }.encode_to_vec()
    };
    let watch = v1::WatchCommandRequest {
        id: id.clone(),
        after_sequence: 0,
    };
    let unknown_verb = v1::ExecuteCommandRequest::default().encode_to_vec();
    let calls: [(&str, Vec<u8>); 10] = [
        ("GetStatus", vec![]),
        ("ExecuteCommand", order.encode_to_vec()),
        // The same again is the same record; another order with its identifier is an error.
        ("ExecuteCommand", order.encode_to_vec()),
        ("ExecuteCommand", another.encode_to_vec()),
        ("ExecuteCommand", unknown_verb),
        ("GetCommand", get(&id)),
        ("GetCommand", get("x")),
        ("ListCommands", vec![]),
        ("WatchCommand", watch.encode_to_vec()),
        ("NoSuchMethod", vec![1, 2, 3]),
    ];
    let agents = gateway.gateway.as_ref().unwrap().agents();
    let (agent, _) = agents.find(&AgentKey::Node(NODE.into())).unwrap();
    let token = agent.token.unwrap();
    for (method, message) in calls {
        let through = hear!(channel(&gateway), method, message.clone(), None);
        let open = agent.client.slot().unwrap().open().unwrap();
        let direct = hear!(open.channel, method, message, Some(token.reveal()));
        assert_eq!(through, direct, "{method}");
        assert!(!direct.messages.is_empty() || direct.status.0 != Code::Ok);
    }
}
