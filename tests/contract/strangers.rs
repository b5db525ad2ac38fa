//! Strangers who reach the shim's `ConductorService`: they get no token, take nobody's place
//! and close nothing.

use std::net::SocketAddr;
use std::time::Duration;

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::conductor_service_client::ConductorServiceClient;
use ironic_agent_protocol::v1::heartbeat_request::Message;
use ironic_agent_protocol::v1::{FarewellReason, HeartbeatVerdict};
use ironic_program::CommonSettings;
use ironic_shim::config::ShimConfig;
use ironic_transport::Listen;
use ironic_transport::grpc::{self, Dialer, TlsFiles};
use ironic_transport::listener::ConnectionLimits;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::gateway::{Machine, SYNC, ask, gateway_config};
use crate::support::http::Line;
use crate::support::ironic::{FakeIronic, Reply, TOKEN};
use crate::support::shim::{Shim, config, found, hello};
use crate::support::tls::Authority;

const TIMEOUT: Duration = Duration::from_secs(20);
const STRANGE: &str = "strange-strange-strange-strange-strange";

fn plain(config: ShimConfig) -> ShimConfig {
    ShimConfig {
        enable_auto_tls: false,
        ..config
    }
}

fn stranger() -> v1::Hello {
    v1::Hello {
        agent_token: STRANGE.into(),
        ..hello()
    }
}

fn farewell() -> Message {
    Message::Farewell(v1::Farewell {
        reason: FarewellReason::LockedDown.into(),
    })
}

/// The status of a request for the list of commands.
async fn list(shim: &Shim, token: &str) -> String {
    let mut stream = TcpStream::connect(shim.rest).await.unwrap();
    let request = format!(
        "GET /v1/commands/?agent_token={token} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

/// No agent is there, so who passes hears that.
async fn passes(shim: &Shim, token: &str) -> bool {
    let status = list(shim, token).await;
    assert!(
        status.contains(" 401 ") || status.contains(" 503 "),
        "{status}"
    );
    status.contains(" 503 ")
}

async fn refused(shim: &mut Shim, hello: v1::Hello, then: Option<Message>) -> tonic::Status {
    let mut session = shim.session(hello).await.unwrap();
    if let Some(message) = then {
        session.say(message).await;
    }
    session.hear().await.unwrap_err()
}

/// A server that takes few connections, and what its clients show. The server ends with the test.
async fn small_server(directory: &TempDir) -> (SocketAddr, TlsFiles) {
    let authority = Authority::new();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    };
    let signed = authority.sign();
    let files = TlsFiles {
        certificate: write("crt", &signed.pem),
        key: write("key", &signed.key),
        authorities: write("ca", &authority.pem),
    };
    let limits = ConnectionLimits {
        authenticated: 8,
        unauthenticated: 3,
        per_peer: 3,
        wait: Duration::from_secs(60),
        stall: Duration::from_secs(60),
    };
    let listen = Listen::Tcp("127.0.0.1:0".parse().unwrap());
    let (bound, Listen::Tcp(address)) = grpc::bind(&listen, "small", limits).await.unwrap() else {
        panic!("not at an address");
    };
    let tls = grpc::server_tls(&files).unwrap();
    let (_, health) = tonic_health::server::health_reporter();
    let router = tonic::transport::Server::builder().add_service(health);
    tokio::spawn(bound.serve(router, tls, std::future::pending::<()>()));
    (address, files)
}

#[tokio::test]
async fn connections_with_a_certificate_are_not_evicted() {
    let directory = tempfile::tempdir().unwrap();
    let (address, files) = small_server(&directory).await;
    let endpoint = format!("https://{address}").parse().unwrap();
    let dialer = Dialer::new(&endpoint, &files).unwrap();
    let mut agents = Vec::new();
    for _ in 0..5 {
        let mut agent = dialer.dial(TIMEOUT, |_| {}).await.unwrap();
        // In TLS 1.3 the client is done first: the server's settings say that it is, too.
        assert!(agent.read(&mut [0; 256]).await.unwrap() > 0);
        agents.push(agent);
    }
    // More strangers than there is room for: the first of them make way.
    let mut strangers = Vec::new();
    for _ in 0..12 {
        strangers.push(TcpStream::connect(address).await.unwrap());
    }
    let mut nothing = [0];
    let ended = tokio::time::timeout(TIMEOUT, strangers[0].read(&mut nothing)).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "{ended:?}");
    for agent in &mut agents {
        let closed =
            tokio::time::timeout(Duration::from_millis(50), agent.read(&mut nothing)).await;
        assert!(closed.is_err(), "{closed:?}");
    }
}

#[tokio::test]
async fn an_address_for_everybody_must_be_wanted() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let open = |insecure| ShimConfig {
        conductor_listen: Listen::Tcp("0.0.0.0:0".parse().unwrap()),
        insecure_conductor_listen: insecure,
        ..plain(config(&[&ironic.url], &state))
    };
    let stop = CancellationToken::new();
    let started = ironic_shim::app::Shim::start(open(false), stop.clone()).await;
    let error = format!("{:#}", started.unwrap_err());
    assert!(error.contains("--insecure_conductor_listen"), "{error}");
    assert!(error.contains("0.0.0.0:0"), "{error}");
    let started = ironic_shim::app::Shim::start(open(true), stop.clone()).await;
    started.unwrap();
    stop.cancel();
}

#[tokio::test]
async fn a_token_is_handed_out_once() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let mut shim = Shim::start(plain(config(&[&ironic.url], &state))).await;
    let token = |session: v1::Session| session.config.unwrap().agent_token;
    assert_eq!(token(found(shim.lookup().await)), TOKEN);
    for _ in 0..3 {
        assert_eq!(token(found(shim.lookup().await)), "******");
    }
}

#[tokio::test]
async fn an_unauthenticated_session_replaces_none_and_closes_nothing() {
    // Before the agent has come, and after.
    for agent_is_first in [false, true] {
        let state = tempfile::tempdir().unwrap();
        let ironic = FakeIronic::start().await;
        let mut shim = Shim::start(plain(config(&[&ironic.url], &state))).await;
        let mut agent = None;
        if agent_is_first {
            let mut session = shim.session(hello()).await.unwrap();
            let answer = session.beat().await.unwrap();
            assert_eq!(answer.verdict(), HeartbeatVerdict::Accepted);
            assert!(passes(&shim, TOKEN).await);
            agent = Some(session);
        }

        let mut session = shim.session(stranger()).await.unwrap();
        let answer = session.beat().await.unwrap();
        assert_eq!(answer.verdict(), HeartbeatVerdict::Refused, "{answer:?}");
        assert!(!passes(&shim, STRANGE).await);
        session.say(farewell()).await;
        let status = session.hear().await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
        for (hello, message) in [
            (stranger(), farewell()),
            (
                v1::Hello {
                    agent_token: String::new(),
                    ..hello()
                },
                farewell(),
            ),
        ] {
            let status = refused(&mut shim, hello, Some(message)).await;
            assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
        }

        // The agent is served as if nothing had been.
        let mut session = match agent {
            Some(session) => session,
            None => shim.session(hello()).await.unwrap(),
        };
        let answer = session.beat().await.unwrap();
        assert_eq!(answer.verdict(), HeartbeatVerdict::Accepted);
        assert!(passes(&shim, TOKEN).await);
        assert!(!passes(&shim, STRANGE).await);

        // Somebody else's node, with a token that is right for it.
        let other = v1::Hello {
            node_uuid: "11111111-2222-4333-8444-555555555555".into(),
            ..hello()
        };
        let status = refused(&mut shim, other, None).await;
        assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
        assert!(passes(&shim, TOKEN).await);

        // Its own farewell counts.
        session.say(farewell()).await;
        wait_until_closed(&shim).await;
    }
}

#[tokio::test]
async fn after_a_restart_the_agent_is_known_by_its_token() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let mut shim = Shim::start(plain(config(&[&ironic.url], &state))).await;
    shim.session(hello()).await.unwrap().beat().await.unwrap();
    let config = shim.die().await;
    let mut shim = Shim::start(config).await;
    let beats = ironic.seen("/v1/heartbeat/").len();

    let status = refused(&mut shim, stranger(), Some(farewell())).await;
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    assert!(!passes(&shim, STRANGE).await);
    let mut session = shim.session(hello()).await.unwrap();
    let begin = tokio::time::Instant::now();
    while !passes(&shim, TOKEN).await {
        assert!(begin.elapsed() < Duration::from_secs(30));
    }
    session.say(farewell()).await;
    wait_until_closed(&shim).await;
    assert_eq!(ironic.seen("/v1/heartbeat/").len(), beats);
}

async fn wait_until_closed(shim: &Shim) {
    let closed = async {
        while TcpStream::connect(shim.rest).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let closed = tokio::time::timeout(Duration::from_secs(30), closed).await;
    closed.expect("the REST listener closes");
}

#[tokio::test]
async fn connections_that_say_nothing_keep_no_agent_away() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let shim = Shim::start(gateway_config(&ironic, &state)).await;
    let address = shim.url.trim_start_matches("http://").to_owned();
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(&address).await.unwrap());
    }
    let machine = Machine::new();
    let _agent = machine.start_agent(&shim.url);
    ironic.wait_for("/v1/heartbeat/", 1).await;
    let answer = ask(&shim, "POST", "/v1/commands/", SYNC).await;
    assert_eq!(answer.json()["command_status"], "SUCCEEDED", "{answer:?}");
    drop(silent);
}

#[tokio::test]
async fn a_state_directory_that_is_full_costs_no_agent_and_is_named() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    // Nothing can be written below a file, whoever tries.
    let occupied = state.path().join("occupied");
    std::fs::write(&occupied, "").unwrap();
    let config = ShimConfig {
        state_dir: occupied.join("state"),
        metrics_listen: Some("127.0.0.1:0".parse().unwrap()),
        ..gateway_config(&ironic, &state)
    };
    let shim = Shim::start(config).await;
    let machine = Machine::new();
    let _agent = machine.start_agent(&shim.url);
    ironic.wait_for("/v1/heartbeat/", 1).await;
    let answer = ask(&shim, "POST", "/v1/commands/", SYNC).await;
    assert_eq!(answer.json()["command_status"], "SUCCEEDED", "{answer:?}");
    let mut line = Line::open(shim.metrics.unwrap()).await;
    let ready = line.ask("GET", "/readyz", "", b"").await;
    assert_eq!(ready.status, 200, "{ready:?}");
    let named = ready.json()["dependencies"]["state_dir"].clone();
    assert_eq!(named["status"], "degraded", "{ready:?}");
    assert!(
        named["reason"].as_str().unwrap().contains("state_dir"),
        "{named}"
    );
}

#[tokio::test]
async fn reports_beyond_what_is_read_at_once_come_back_later() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let late = std::sync::Arc::new(tokio::sync::Notify::new());
    let path = "/v1/continue_inspection";
    ironic.script(path, std::iter::repeat_n(Reply::Late(late.clone()), 8));
    let config = gateway_config(&ironic, &state);
    let config = ShimConfig {
        common: CommonSettings {
            inspection_callback_url: vec![format!("{}{path}", ironic.url)],
            ..config.common
        },
        ..config
    };
    let shim = Shim::start(config).await;
    let mut reports = tokio::task::JoinSet::new();
    for number in 0..20 {
        // Each agent has its own connection, which has two at once.
        let url = shim.url.clone();
        reports.spawn(async move {
            let mut conductor = ConductorServiceClient::connect(url).await.unwrap();
            let report = serde_json::json!({"inventory": {"interfaces": [number]}});
            let report = report.as_object().unwrap().clone();
            let report = ironic_document::to_struct(report, "report").unwrap();
            let request = v1::SubmitInspectionRequest {
                report: Some(report),
                system_uuid: String::new(),
            };
            conductor.submit_inspection(request).await
        });
    }
    let mut deferred = 0;
    while deferred < 12 {
        let refused = reports.join_next().await.unwrap().unwrap().unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
        let wait = refused
            .get_details_retry_info()
            .unwrap()
            .retry_delay
            .unwrap();
        assert!((5..=15).contains(&wait.as_secs()), "{wait:?}");
        deferred += 1;
    }
    let answering = async {
        loop {
            late.notify_waiters();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answered = async {
        while let Some(report) = reports.join_next().await {
            report.unwrap().unwrap();
        }
    };
    tokio::select! {
        () = answered => {}
        () = answering => {}
    }
}
