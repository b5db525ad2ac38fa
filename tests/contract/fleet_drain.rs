//! The fleet of a gateway that is emptied before it stops: what is open ends there, with a reason where
//! it cannot go on.

use std::fs;
use std::time::{Duration, Instant};

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::fleet_service_client::FleetServiceClient;
use ironic_agent_protocol::v1::{CommandState, NodeEventKind, NodeState};
use ironic_shim::config::ShimConfig;
use tonic::Code;

use super::fleet::{Watch, config_without_ironic, reason};
use super::fleet_elsewhere::{Pair, cancel, channel, follow_endless, last_record, until_shown};
use crate::support::gateway::{AttachedAgent, Machine};
use crate::support::shim::Shim;

const LIMIT: Duration = Duration::from_secs(60);

/// Two gateways that know nothing of each other, and an agent at one of them.
struct Draining {
    old: Shim,
    new: Shim,
    _states: [tempfile::TempDir; 2],
    _machine: Machine,
    _agent: AttachedAgent,
}

/// Agents are asked to leave within the first half of it.
const DRAIN: Duration = Duration::from_secs(40);

impl Draining {
    async fn new() -> Self {
        let states = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [old, new] = states.each_ref().map(|state| ShimConfig {
            drain_timeout: DRAIN,
            ..config_without_ironic(state)
        });
        let machine = Machine::new();
        let url = |config: &ShimConfig| format!("http://{}", config.conductor_listen);
        let agent = machine.start_agent(&format!("{},{}", url(&old), url(&new)));
        let old = Shim::start(old).await;
        until_shown(&old, NodeState::Attached).await;
        // The second one knows the agent's token as if Ironic had proved it.
        let tokens = |state: &tempfile::TempDir| state.path().join("proved-tokens.jsonl");
        fs::copy(tokens(&states[0]), tokens(&states[1])).unwrap();
        let new = Shim::start(new).await;
        Self {
            old,
            new,
            _states: states,
            _machine: machine,
            _agent: agent,
        }
    }

    /// Answers when it began.
    async fn drain(&self) -> Instant {
        let begun = Instant::now();
        let mut nodes = FleetServiceClient::new(channel(&self.old));
        let answer = nodes.drain(v1::DrainRequest {}).await.unwrap().into_inner();
        let timeout = answer.timeout.unwrap();
        assert_eq!(u64::try_from(timeout.seconds), Ok(DRAIN.as_secs()));
        assert!(self.old.gateway.as_ref().unwrap().is_draining());
        begun
    }

    /// Waits for the end of the old gateway, which comes before its time.
    async fn old_has_ended(&self, begun: Instant) {
        let ending = async {
            while !self.old.has_ended() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LIMIT, ending).await.expect("it ends");
        assert!(begun.elapsed() < DRAIN, "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_gateway_that_drains_ends_with_the_streams_that_are_open() {
    let gateways = Draining::new().await;
    let (id, mut events, _server) = follow_endless(&gateways.old).await;
    let begun = gateways.drain().await;
    // Asked again, it changes nothing.
    gateways.drain().await;
    until_shown(&gateways.new, NodeState::Attached).await;
    assert!(!gateways.old.has_ended(), "its caller still follows");
    cancel(&gateways.new, &id).await;
    assert_eq!(
        last_record(&mut events).await.state(),
        CommandState::Cancelled
    );
    gateways.old_has_ended(begun).await;
}

#[tokio::test]
async fn who_follows_commands_within_a_gateway_does_not_keep_it() {
    let gateways = Draining::new().await;
    // A watch of the fleet follows each command.
    let request = v1::WatchNodesRequest::default;
    let mut watch = Watch::over(channel(&gateways.old), request()).await;
    let (id, events, _server) = follow_endless(&gateways.old).await;
    watch.until(NodeEventKind::CommandStarted).await;
    drop(events);
    let begun = gateways.drain().await;
    let lost = watch.until(NodeEventKind::Lost).await.node.unwrap();
    assert_eq!(lost.command.unwrap().state(), CommandState::Running);
    gateways.old_has_ended(begun).await;
    // The watch hears why it ends.
    let ended = watch.end().await;
    assert_eq!(
        (ended.code(), reason(&ended).as_str()),
        (Code::Unavailable, "GATEWAY_STOPPING"),
        "{ended:?}"
    );
    // The other gateway follows the command that goes on.
    let mut watch = Watch::over(channel(&gateways.new), request()).await;
    cancel(&gateways.new, &id).await;
    let ended = watch.until(NodeEventKind::CommandEnded).await.node.unwrap();
    assert_eq!(ended.command.unwrap().id, id);
}

#[tokio::test]
async fn streams_that_outlast_a_drain_end_with_a_reason() {
    let state = tempfile::tempdir().unwrap();
    let config = ShimConfig {
        drain_timeout: Duration::from_secs(1),
        ..config_without_ironic(&state)
    };
    let machine = Machine::new();
    let gateway = Shim::start(config).await;
    let _agent = machine.start_agent(&gateway.url);
    until_shown(&gateway, NodeState::Attached).await;
    let request = v1::WatchNodesRequest::default();
    let mut watch = Watch::over(channel(&gateway), request).await;
    let (_, mut events, _server) = follow_endless(&gateway).await;
    // The agent has nowhere to go.
    gateway.gateway.as_ref().unwrap().drain();
    let broken = async {
        loop {
            if let Err(status) = events.message().await.map(|message| message.unwrap()) {
                return status;
            }
        }
    };
    let broken = tokio::time::timeout(LIMIT, broken).await.unwrap();
    assert_eq!(reason(&broken), "NODE_LOST", "{broken:?}");
    assert_eq!(reason(&watch.end().await), "GATEWAY_STOPPING");
    let ending = async {
        while !gateway.has_ended() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, ending).await.expect("it ends");
}

/// Gateways that share their nodes hear of a move before the agent says so.
#[tokio::test]
async fn a_gateway_that_drains_among_others_ends_with_the_streams_that_are_open() {
    let change = |config| ShimConfig {
        drain_timeout: DRAIN,
        ..config
    };
    let Some(pair) = Pair::with(change).await else {
        return;
    };
    let (id, mut events, _server) = follow_endless(&pair.a).await;
    pair.cable.lead_to(&pair.b);
    pair.a.gateway.as_ref().unwrap().drain();
    until_shown(&pair.b, NodeState::Attached).await;
    until_shown(&pair.a, NodeState::Elsewhere).await;
    cancel(&pair.b, &id).await;
    assert_eq!(
        last_record(&mut events).await.state(),
        CommandState::Cancelled
    );
}
