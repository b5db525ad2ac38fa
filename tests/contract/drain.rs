//! A gateway that is emptied before it stops: what its agents have begun ends, they attach
//! elsewhere, and who asks for them sees no error.

use std::time::Duration;

use ironic_agent_protocol::v1;
use ironic_shim::config::ShimConfig;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::gateway::{Machine, SYNC, ask, gateway_config};
use crate::support::http::{Answer, Line};
use crate::support::ironic::{FakeIronic, NODE, TOKEN};
use crate::support::shim::{Shim, hello};

const HEARTBEAT: &str = "/v1/heartbeat/";
const LIMIT: Duration = Duration::from_secs(30);

fn draining_within(config: ShimConfig, seconds: u64) -> ShimConfig {
    ShimConfig {
        drain_timeout: Duration::from_secs(seconds),
        ..config
    }
}

/// Two gateways that know nothing of each other, before one Ironic.
struct Two {
    ironic: FakeIronic,
    first: Shim,
    second: Shim,
    _states: [tempfile::TempDir; 2],
}

impl Two {
    async fn new(seconds: u64) -> Self {
        let states = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let ironic = FakeIronic::start().await;
        let mut gateways = Vec::new();
        for state in &states {
            let config = draining_within(gateway_config(&ironic, state), seconds);
            // Ironic knows one address of both.
            let config = ShimConfig {
                gateway_url: Some("http://gw.example:9999".parse().unwrap()),
                ..config
            };
            gateways.push(Shim::start(config).await);
        }
        let second = gateways.pop().unwrap();
        let first = gateways.pop().unwrap();
        Self {
            ironic,
            first,
            second,
            _states: states,
        }
    }

    fn addresses(&self) -> String {
        format!("{},{}", self.first.url, self.second.url)
    }
}

fn is_attached(gateway: &Shim) -> bool {
    let text = metrics(gateway);
    text.contains("\nironic_shim_attachments 1\n")
}

fn metrics(gateway: &Shim) -> String {
    let gateway = gateway.gateway.as_ref().unwrap();
    let observation = ironic_shim::metrics::Observation::default();
    gateway.agents().metrics().text(&observation)
}

/// The head of the answer to a command; nothing if the connection ends without one.
async fn command(gateway: &Shim) -> Option<Answer> {
    // A gateway that has ended accepts no connection.
    let stream = TcpStream::connect(gateway.rest).await.ok()?;
    let mut line = Line::over(stream);
    let target = format!("/nodes/{NODE}/v1/commands/?agent_token={TOKEN}&wait=true");
    let length = SYNC.len();
    let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    line.send(head).await;
    line.send(SYNC).await;
    line.head().await
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(LIMIT, waiting).await.is_ok(), "{what}");
}

#[tokio::test]
async fn an_agent_with_two_gateways_moves_and_its_command_ends_where_it_began() {
    let two = Two::new(20).await;
    let machine = Machine::new();
    let _agent = machine.start_agent(&two.addresses());
    two.ironic.wait_for(HEARTBEAT, 1).await;
    until("attached", || {
        is_attached(&two.first) || is_attached(&two.second)
    })
    .await;
    let (old, new) = if is_attached(&two.first) {
        (&two.first, &two.second)
    } else {
        (&two.second, &two.first)
    };
    // Commands one after the other, so that one is always in flight. The one that comes when the
    // agent has left is held, and its connection ends without an answer: Ironic repeats it.
    let asking = async {
        let start = Instant::now();
        let mut answers = Vec::new();
        while let Some(answer) = command(old).await {
            answers.push(answer);
            assert!(start.elapsed() < LIMIT, "{}", metrics(old));
        }
        answers
    };
    old.gateway.as_ref().unwrap().drain();
    let answers = asking.await;
    assert!(!answers.is_empty());
    for answer in &answers {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert!(is_attached(new), "{:?}", two.ironic.seen(HEARTBEAT));
    // The old one is left by the attachment and by the heartbeats, and ends before its time.
    until("the old gateway ends", || old.has_ended()).await;
    assert!(
        metrics(old).contains("detaches_total{cause=\"moved\"} 1"),
        "{}",
        metrics(old)
    );
    let beats = two.ironic.seen(HEARTBEAT).len();
    let answer = ask(new, "POST", "/v1/commands/", SYNC).await;
    assert_eq!(answer.json()["command_status"], "SUCCEEDED", "{answer:?}");
    let list = ask(new, "GET", "/v1/commands/", b"").await.json();
    let commands = list["commands"].as_array().unwrap();
    assert_eq!(commands.len(), answers.len() + 1, "each was executed once");
    assert!(two.ironic.seen(HEARTBEAT).len() >= beats);
}

#[tokio::test]
async fn an_agent_with_one_address_stays_until_the_end_and_comes_back_with_the_gateway() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let mut shim = Shim::start(draining_within(gateway_config(&ironic, &state), 3)).await;
    let machine = Machine::new();
    let _agent = machine.start_agent(&shim.url);
    ironic.wait_for(HEARTBEAT, 1).await;
    let first = ask(&shim, "POST", "/v1/commands/", SYNC).await.json();
    shim.gateway.as_ref().unwrap().drain();
    // No new sessions: the reason says what to do.
    let refused = shim.session(hello()).await;
    let refused = refused.err().expect("it is refused at once");
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    let reason = refused.get_details_error_info().unwrap();
    assert_eq!(reason.reason, "GATEWAY_DRAINING", "{reason:?}");
    // What is attached is served.
    let list = ask(&shim, "GET", "/v1/commands/", b"").await.json();
    assert_eq!(list["commands"][0]["id"], first["id"], "{list}");
    until("the gateway ends", || shim.has_ended()).await;
    let listen = shim.url.trim_start_matches("http://").parse().unwrap();
    let config = ShimConfig {
        conductor_listen: listen,
        ..shim.die().await
    };
    let shim = Shim::start(config).await;
    let list = ask(&shim, "GET", "/v1/commands/", b"").await.json();
    assert_eq!(list["commands"][0]["id"], first["id"], "{list}");
}

#[tokio::test]
async fn an_agent_that_does_not_know_of_draining_is_cut_off_at_the_end() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let mut shim = Shim::start(draining_within(gateway_config(&ironic, &state), 2)).await;
    shim.lookup().await;
    let (sender, requests) = tokio::sync::mpsc::channel(4);
    let hello = v1::AttachHello {
        node_uuid: NODE.into(),
        agent_token: TOKEN.into(),
        agent_version: "0".into(),
        boot_id: "b".into(),
        counter: 1,
    };
    let first = v1::AttachRequest {
        hello: Some(hello),
        ..v1::AttachRequest::default()
    };
    sender.send(first).await.unwrap();
    let answers = shim.conductor.attach(ReceiverStream::new(requests)).await;
    let mut answers = answers.unwrap().into_inner();
    assert!(answers.message().await.unwrap().unwrap().accepted.is_some());
    let start = Instant::now();
    shim.gateway.as_ref().unwrap().drain();
    let mut was_asked = false;
    let ended = loop {
        match answers.message().await {
            Ok(Some(response)) => was_asked |= response.draining.is_some(),
            Ok(None) => break None,
            Err(status) => break Some(status),
        }
    };
    assert!(was_asked, "it was asked within half of the time");
    assert!(start.elapsed() >= Duration::from_secs(2), "{ended:?}");
    until("the gateway ends", || shim.has_ended()).await;
}

#[tokio::test]
async fn readiness_and_health_leave_before_the_agents_do() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let config = ShimConfig {
        metrics_listen: Some("127.0.0.1:0".parse().unwrap()),
        ..draining_within(gateway_config(&ironic, &state), 20)
    };
    let shim = Shim::start(config).await;
    let machine = Machine::new();
    let _agent = machine.start_agent(&shim.url);
    until("attached", || is_attached(&shim)).await;
    shim.gateway.as_ref().unwrap().drain();
    let mut line = Line::open(shim.metrics.unwrap()).await;
    let answer = line.ask("GET", "/readyz", "", b"").await;
    assert_eq!(answer.status, 503, "{answer:?}");
    let named = answer.json()["dependencies"]["sessions"]["reason"].clone();
    assert!(named.as_str().unwrap().contains("draining"), "{named}");
    assert_eq!(line.ask("GET", "/healthz", "", b"").await.status, 200);
    assert!(is_attached(&shim), "the agent is still there");
}
