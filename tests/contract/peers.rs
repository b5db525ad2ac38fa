//! Several gateways that share their nodes: real gateways, a real agent, a real NATS server.

use std::fs;
use std::time::{Duration, Instant};

use ironic_shim::config::ShimConfig;
use tokio_util::sync::CancellationToken;

use crate::support::gateway::{Cable, Machine, SYNC, ask, ask_node};
use crate::support::http::{Answer, Line};
use crate::support::ironic::{NODE, TOKEN};
use crate::support::replicas::{NatsServer, Site, curl};
use crate::support::shim::Shim;
use crate::support::tls::Authority;

const HEARTBEAT: &str = "/v1/heartbeat/";

/// A node that nobody has.
const STRANGER: &str = "00000000-0000-4000-8000-000000000001";

/// Without what differs from one answer to the next.
fn comparable(mut answer: Answer) -> Answer {
    answer.headers.retain(|(name, _)| name != "Date");
    answer
}

/// Two replicas, and an agent that is attached to the first of them.
struct Pair {
    site: Site,
    a: Shim,
    b: Shim,
    machine: Machine,
    cable: Cable,
}

impl Pair {
    async fn new() -> Option<Self> {
        let site = Site::new().await?;
        let a = site.replica().await;
        let b = site.replica().await;
        let cable = Cable::to(&a).await;
        Some(Self {
            site,
            a,
            b,
            machine: Machine::new(),
            cable,
        })
    }
}

/// A request as the conductor sends it: repeated when it gets no answer.
async fn insist(gateway: &Shim, path: &str) -> Answer {
    let target = format!("/nodes/{NODE}{path}?agent_token={TOKEN}&wait=true");
    loop {
        let mut line = Line::open(gateway.rest).await;
        line.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"))
            .await;
        if let Some(answer) = line.answer_or_end().await {
            return answer;
        }
    }
}

/// How many commands the agent has executed.
async fn count(gateway: &Shim) -> usize {
    let list = insist(gateway, "/v1/commands/").await.json();
    list["commands"].as_array().unwrap().len()
}

/// Has one command executed, as the conductor does: what gets no answer is looked up in the list
/// of commands, and repeated if it is not there.
async fn execute(gateway: &Shim, before: usize) {
    let target = format!("/nodes/{NODE}/v1/commands/?agent_token={TOKEN}&wait=true");
    let length = SYNC.len();
    while count(gateway).await == before {
        let mut line = Line::open(gateway.rest).await;
        line.send(format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
        ))
        .await;
        line.send(SYNC).await;
        if let Some(answer) = line.answer_or_end().await {
            assert_eq!(answer.json()["command_status"], "SUCCEEDED", "{answer:?}");
        }
    }
}

#[tokio::test]
async fn the_other_gateway_answers_with_the_same_bytes() {
    let Some(pair) = Pair::new().await else {
        return;
    };
    let _agent = pair.machine.start_agent(&pair.cable.url);
    pair.site.ironic.wait_for(HEARTBEAT, 1).await;
    let done = ask(&pair.b, "POST", "/v1/commands/", SYNC).await;
    assert_eq!(done.json()["command_status"], "SUCCEEDED", "{done:?}");
    let id = done.json()["id"].as_str().unwrap().to_owned();

    let token = format!("agent_token={TOKEN}");
    let command = format!("/v1/commands/{id}?{token}");
    let list = format!("/v1/commands/?{token}");
    let large = vec![b'x'; 200 * 1024];
    let requests: Vec<(&str, &str, &str, &[u8])> = vec![
        ("GET", "/", "", b""),
        ("GET", "/v1/", "", b""),
        ("HEAD", "/v1/status", "", b""),
        ("GET", "/v1/commands", "", b""),
        ("GET", "/v1/nothing", "", b""),
        ("GET", &list, "", b""),
        ("HEAD", &list, "", b""),
        ("GET", &list, "Connection: close\r\n", b""),
        (
            "GET",
            &list,
            "Ironic-Node: x\r\nIronic-Verdict: not-here\r\nIronic-Origin: x\r\n",
            b"",
        ),
        ("GET", &command, "", b""),
        ("GET", "/v1/commands/?agent_token=wrong", "", b""),
        ("DELETE", &list, "", b""),
        ("get", &list, "", b""),
        ("POST", &list, "", b""),
        ("POST", &list, "", b"{"),
        ("POST", &list, "", &large),
        ("POST", &list, "", br#"{"name": "no.such", "params": {}}"#),
        ("POST", "/v1/commands/?agent_token=wrong", "", SYNC),
        ("POST", "/v1/commands/?agent_token=wrong", "", &large),
    ];
    for (method, path, headers, body) in requests {
        let target = format!("/nodes/{NODE}{path}");
        let mut answers = Vec::new();
        for gateway in [&pair.a, &pair.b] {
            let mut line = Line::open(gateway.rest).await;
            let answer = line.ask(method, &target, headers, body).await;
            answers.push(comparable(answer));
        }
        assert_eq!(answers[0], answers[1], "{method} {path} {headers:?}");
    }
    // A node that nobody knows is unknown to both.
    for gateway in [&pair.a, &pair.b] {
        let answer = ask_node(gateway.rest, STRANGER, TOKEN, "GET", "/v1/commands/", b"").await;
        assert_eq!(answer.fault().0, 404, "{answer:?}");
    }
}

#[tokio::test]
async fn an_agent_that_moves_is_found_where_it_went() {
    let Some(pair) = Pair::new().await else {
        return;
    };
    let _agent = pair.machine.start_agent(&pair.cable.url);
    pair.site.ironic.wait_for(HEARTBEAT, 1).await;
    let mut executed = 0;
    for round in 1..=6 {
        for gateway in [&pair.a, &pair.b] {
            execute(gateway, executed).await;
            executed += 1;
            assert_eq!(count(gateway).await, executed, "none is executed twice");
        }
        // The connection to one gateway is cut, and the next one leads to the other.
        pair.cable
            .lead_to(if round % 2 == 1 { &pair.b } else { &pair.a });
        pair.cable.cut();
    }
}

#[tokio::test]
async fn the_agent_of_a_gateway_that_dies_answers_through_the_other() {
    let Some(pair) = Pair::new().await else {
        return;
    };
    let _agent = pair.machine.start_agent(&pair.cable.url);
    pair.site.ironic.wait_for(HEARTBEAT, 1).await;
    let first = ask(&pair.b, "POST", "/v1/commands/", SYNC).await.json();
    // The other one has never seen this token, and knows it when the first one is gone.
    let died = Instant::now();
    let state = pair.a.die().await.state_dir;
    pair.cable.lead_to(&pair.b);
    let list = insist(&pair.b, "/v1/commands/").await.json();
    eprintln!("answered {:?} after its gateway was killed", died.elapsed());
    assert_eq!(list["commands"][0]["id"], first["id"], "{list}");
    assert!(died.elapsed() < Duration::from_secs(15));
    // It was proved there, and digests only are kept.
    let kept = fs::read_to_string(pair.b.config.state_dir.join("proved-tokens.jsonl")).unwrap();
    assert!(kept.contains(NODE) && !kept.contains(TOKEN), "{kept}");
    assert!(state.exists());
}

#[tokio::test]
async fn what_is_known_goes_on_while_nats_is_away() {
    let Some(mut pair) = Pair::new().await else {
        return;
    };
    let _agent = pair.machine.start_agent(&pair.cable.url);
    pair.site.ironic.wait_for(HEARTBEAT, 1).await;
    ask(&pair.b, "POST", "/v1/commands/", SYNC).await;
    pair.site.nats.kill();
    for gateway in [&pair.a, &pair.b] {
        let answer = ask(gateway, "GET", "/v1/commands/", b"").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // An agent that moves in the meantime is found: gateways tell each other directly.
    pair.cable.lead_to(&pair.b);
    pair.cable.cut();
    execute(&pair.a, 1).await;
    // A node that is not known here may be known elsewhere: nobody can say, until NATS is back.
    let target = format!("/nodes/{STRANGER}/v1/commands/");
    let mut held = Line::open(pair.b.rest).await;
    held.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"))
        .await;
    let soon = tokio::time::timeout(Duration::from_millis(500), held.has_ended()).await;
    assert!(soon.is_err(), "answered while nobody can know");
    pair.site.nats.run();
    let answer = held.answer().await;
    assert_eq!(answer.fault().0, 404, "{answer:?}");
}

#[tokio::test]
async fn only_a_gateway_is_believed_to_be_one() {
    let Some(pair) = Pair::new().await else {
        return;
    };
    let _agent = pair.machine.start_agent(&pair.cable.url);
    pair.site.ironic.wait_for(HEARTBEAT, 1).await;
    ask(&pair.b, "POST", "/v1/commands/", SYNC).await;
    let path = format!("/nodes/{NODE}/v1/commands/?agent_token={TOKEN}");

    let agents = Authority::new().sign();
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (directory.path().join("crt"), directory.path().join("key"));
    fs::write(&certificate, &agents.pem).unwrap();
    fs::write(&key, &agents.key).unwrap();
    for identity in [None, Some((certificate.as_path(), key.as_path()))] {
        let refused = curl(&pair.a, identity, &path).await;
        assert!(!refused.status.success(), "{refused:?}");
        assert!(refused.stdout.is_empty(), "{refused:?}");
    }

    let config = &pair.b.config;
    let certificate = config.peer_tls_cert_file.as_deref().unwrap();
    let identity = Some((certificate, config.peer_tls_key_file.as_deref().unwrap()));
    let answer = curl(&pair.a, identity, &path).await;
    assert!(answer.stdout.starts_with(b"HTTP/2 200"), "{answer:?}");
    // A gateway that does not hold the node says so and asks nobody.
    let answer = curl(&pair.b, identity, &path).await;
    assert!(answer.stdout.starts_with(b"HTTP/2 421"), "{answer:?}");
    let answer = curl(&pair.a, identity, "/replica/v1/update").await;
    assert!(answer.stdout.starts_with(b"HTTP/2 400"), "{answer:?}");
}

#[tokio::test]
async fn a_large_body_passes() {
    let Some(pair) = Pair::new().await else {
        return;
    };
    let _agent = pair.machine.start_agent(&pair.cable.url);
    pair.site.ironic.wait_for(HEARTBEAT, 1).await;
    let size = 64 * 1024 * 1024;
    let body = format!(
        r#"{{"name": "standby.sync", "params": {{"padding": "{}"}}}}"#,
        "x".repeat(size)
    );
    let mut answers = Vec::new();
    for gateway in [&pair.a, &pair.b] {
        let start = Instant::now();
        let answer = ask(gateway, "POST", "/v1/commands/", body.as_bytes()).await;
        eprintln!("64 MiB: {:?}, {}", start.elapsed(), answer.status_line);
        answers.push((answer.status, answer.json()["faultstring"].clone()));
    }
    assert_eq!(answers[0], answers[1]);
    // One that is larger than allowed is refused by the gateway that holds the node.
    let target = format!("/nodes/{NODE}/v1/commands/?agent_token={TOKEN}");
    let mut line = Line::open(pair.b.rest).await;
    let length = 161 * 1024 * 1024;
    line.send(format!(
        "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    ))
    .await;
    let answer = line.answer().await;
    assert_eq!(answer.fault().0, 413, "{answer:?}");
    assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
}

/// Why a gateway does not start.
async fn refusal(config: ShimConfig) -> String {
    let started = ironic_shim::app::Shim::start(config, CancellationToken::new()).await;
    format!("{:#}", started.expect_err("it is refused"))
}

#[tokio::test]
async fn nats_servers_that_refuse_a_gateway_are_named_and_others_are_joined() {
    let Some(mut site) = Site::new().await else {
        return;
    };
    let Some(nats) = NatsServer::start(&["--user", "gw", "--pass", "s3cret"]) else {
        return;
    };
    site.nats = nats;
    let file = site.directory.path().join("credentials");
    let config = |text: &str| {
        fs::write(&file, text).unwrap();
        ShimConfig {
            directory_credentials_file: Some(file.clone()),
            ..site.config()
        }
    };
    let wrong = refusal(config("gw:wrong\n")).await;
    assert!(wrong.contains("directory_credentials_file"), "{wrong}");
    assert!(!wrong.contains("wrong"), "no secret: {wrong}");
    let none = refusal(site.config()).await;
    assert!(none.contains("directory_credentials_file"), "{none}");
    let a = Shim::start(config("gw:s3cret\n")).await;
    let b = Shim::start(config("gw:s3cret\n")).await;
    let agent = Machine::new();
    let _agent = agent.start_agent(&a.url);
    site.ironic.wait_for(HEARTBEAT, 1).await;
    let answer = ask(&b, "POST", "/v1/commands/", SYNC).await;
    assert_eq!(answer.json()["command_status"], "SUCCEEDED", "{answer:?}");
}

#[tokio::test]
async fn nats_may_ask_for_tls_and_a_certificate() {
    let Some(mut site) = Site::new().await else {
        return;
    };
    let authority = Authority::new();
    let write = |name: &str, text: &str| {
        let path = site.directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (server, gateway) = (authority.sign(), authority.sign());
    let ca = write("nats-ca.crt", &authority.pem);
    let certificate = write("gateway.crt", &gateway.pem);
    let key = write("gateway.key", &gateway.key);
    let server_certificate = write("nats.crt", &server.pem);
    let server_key = write("nats.key", &server.key);
    let nats = NatsServer::start(&[
        "--tlsverify",
        "--tlscert",
        server_certificate.to_str().unwrap(),
        "--tlskey",
        server_key.to_str().unwrap(),
        "--tlscacert",
        ca.to_str().unwrap(),
    ]);
    let Some(nats) = nats else {
        return;
    };
    site.nats = nats;
    let config = || ShimConfig {
        directory_ca_file: Some(ca.clone()),
        directory_cert_file: Some(certificate.clone()),
        directory_key_file: Some(key.clone()),
        ..site.config()
    };
    let a = Shim::start(config()).await;
    let b = Shim::start(config()).await;
    let machine = Machine::new();
    let _agent = machine.start_agent(&a.url);
    site.ironic.wait_for(HEARTBEAT, 1).await;
    let answer = ask(&b, "POST", "/v1/commands/", SYNC).await;
    assert_eq!(answer.json()["command_status"], "SUCCEEDED", "{answer:?}");
}

#[tokio::test]
async fn a_gateway_starts_without_nats_and_joins_when_it_is_there() {
    let Some(mut site) = Site::new().await else {
        return;
    };
    site.nats.kill();
    let a = site.replica().await;
    let b = site.replica().await;
    let machine = Machine::new();
    let _agent = machine.start_agent(&a.url);
    site.ironic.wait_for(HEARTBEAT, 1).await;
    let answer = ask(&a, "POST", "/v1/commands/", SYNC).await;
    assert_eq!(answer.json()["command_status"], "SUCCEEDED", "{answer:?}");
    let held = ask(&b, "GET", "/v1/commands/", b"");
    tokio::pin!(held);
    let soon = tokio::time::timeout(Duration::from_millis(300), &mut held).await;
    assert!(soon.is_err(), "nobody can know yet");
    site.nats.run();
    assert_eq!(held.await.status, 200);
}

/// How long small calls take through the gateway that holds the node, and through the other.
/// Run it with `--ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn what_forwarding_costs() {
    let Some(pair) = Pair::new().await else {
        return;
    };
    let _agent = pair.machine.start_agent(&pair.cable.url);
    pair.site.ironic.wait_for(HEARTBEAT, 1).await;
    ask(&pair.b, "POST", "/v1/commands/", SYNC).await;
    for (name, gateway) in [
        ("local", &pair.a),
        ("forwarded", &pair.b),
        ("local", &pair.a),
    ] {
        let target = format!("/nodes/{NODE}/v1/commands/?agent_token={TOKEN}");
        let mut line = Line::open(gateway.rest).await;
        let mut times = Vec::new();
        for _ in 0..500 {
            let start = Instant::now();
            line.ask("GET", &target, "", b"").await;
            times.push(start.elapsed());
        }
        times.sort();
        eprintln!("{name}: p50 {:?}, p99 {:?}", times[250], times[495]);
    }
}
