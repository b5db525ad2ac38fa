//! The REST server: connections, bodies, TLS, and how it closes. Contract rows 29, 30 and
//! 64 to 70.

use std::time::{Duration, Instant};

use ironic_shim::agents::{AgentKey, Client};
use ironic_shim::rest::{CloseReason, RestSettings};
use ironic_text::Secret;
use serde_json::json;

use super::support::agents::{Act, Agent, Script, TOKEN};
use super::support::front::{Front, with_token};
use super::support::http::Line;

const SYNC: &str = r#"{"name": "standby.sync", "params": {}}"#;

async fn scripted() -> (Script, Agent, Front) {
    with(RestSettings::default()).await
}

async fn with(settings: RestSettings) -> (Script, Agent, Front) {
    let script = Script::default();
    let agent = Agent::scripted(&script).await;
    let front = Front::with(&agent.endpoint, Some(TOKEN), settings, None).await;
    (script, agent, front)
}

/// Row 29.
#[tokio::test]
async fn a_body_may_come_in_chunks() {
    let (_, _agent, front) = scripted().await;
    let mut line = front.line().await;
    let target = with_token("/v1/commands/");
    line.send(format!(
        "POST {target} HTTP/1.1\r\nHost: shim\r\nTransfer-Encoding: chunked\r\n\r\n"
    ))
    .await;
    for part in SYNC.as_bytes().chunks(7) {
        line.send(format!("{:x}\r\n", part.len())).await;
        line.send(part).await;
        line.send("\r\n").await;
    }
    line.send("0\r\n\r\n").await;
    assert_eq!(line.answer().await.json()["command_status"], "SUCCEEDED");
    // The connection is as good as before.
    assert_eq!(line.ask("GET", "/v1/status", "", b"").await.status, 200);
}

/// Row 30, and what the Python agent has no limit for: a config drive of 64 MiB in base64
/// passes and reaches the verb whole.
#[tokio::test]
async fn a_config_drive_of_64_mib_passes() {
    let (script, _agent, front) = scripted().await;
    script.act("deploy.execute_deploy_step", Act::Answer(json!("written")));
    let drive = "H".repeat(64 * 1024 * 1024 / 3 * 4);
    let parameters = json!({"step": {"step": "write_image", "interface": "deploy", "args": {"configdrive": drive}}, "node": {}, "ports": []});
    let answer = front.finish("deploy.execute_deploy_step", parameters).await;
    assert_eq!(
        answer.json()["command_result"],
        json!({"result": "execute_deploy_step: written"})
    );
}

/// A body over the limit is refused by name, whether or not its length is announced, and the
/// client gets to read that although it is still sending.
#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let (_, _agent, front) = with(RestSettings {
        body_limit: 1024 * 1024,
        ..RestSettings::default()
    })
    .await;
    let refusal = (413, "413 Request Entity Too Large: The request body is larger than the limit of 1048576 bytes (1 MiB).".to_owned());
    let target = with_token("/v1/commands/");
    let answer = front
        .ask("POST", &target, &vec![b' '; 8 * 1024 * 1024])
        .await;
    assert_eq!(answer.fault(), refusal);
    assert_eq!(answer.header("connection"), Some("close"));

    let mut line = front.line().await;
    line.send(format!(
        "POST {target} HTTP/1.1\r\nHost: shim\r\nTransfer-Encoding: chunked\r\n\r\n"
    ))
    .await;
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    for _ in 0..64 {
        line.send(&chunk).await;
    }
    assert_eq!(line.answer().await.fault(), refusal);

    // Exactly the limit is a body like any other.
    let mut body = SYNC.as_bytes().to_vec();
    body.resize(1024 * 1024, b' ');
    assert_eq!(front.ask("POST", &target, &body).await.status, 200);
    body.push(b' ');
    assert_eq!(front.ask("POST", &target, &body).await.fault(), refusal);
}

/// A client that asks before it sends is answered before it sends.
#[tokio::test]
async fn a_body_is_called_for_when_it_is_wanted() {
    let (_, _agent, front) = scripted().await;
    let head = |target: &str, length: usize| {
        format!(
            "POST {target} HTTP/1.1\r\nHost: shim\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let mut line = front.line().await;
    line.send(head(&with_token("/v1/commands/"), SYNC.len()))
        .await;
    assert_eq!(line.answer().await.status, 100);
    line.send(SYNC).await;
    assert_eq!(line.answer().await.status, 200);

    for (target, length, status) in [
        ("/v1/commands/".to_owned(), 38, 401),
        ("/v1/status".to_owned(), 38, 405),
        (with_token("/v1/commands/"), usize::MAX / 2, 413),
    ] {
        let mut line = front.line().await;
        line.send(head(&target, length)).await;
        let answer = line.answer().await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("connection"), Some("close"));
    }
}

/// What nobody wants is drained: the connection stays usable.
#[tokio::test]
async fn a_refused_body_does_not_break_the_connection() {
    let (_, _agent, front) = scripted().await;
    let mut line = front.line().await;
    let body = vec![b'x'; 1024 * 1024];
    for (method, target, status) in [
        ("POST", "/v1/commands/", 401),
        ("POST", "/v1/status", 405),
        ("PUT", "/nope", 404),
        ("POST", "/v1/commands", 308),
        ("GET", "/v1/status", 200),
    ] {
        let answer = line.ask(method, target, "", &body).await;
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(answer.header("connection"), None);
    }
}

#[tokio::test]
async fn requests_may_be_sent_ahead() {
    let (_, _agent, front) = scripted().await;
    let mut line = front.line().await;
    let request = "GET /v1/status HTTP/1.1\r\nHost: shim\r\n\r\n";
    line.send(request.repeat(50)).await;
    line.send("GET /nope HTTP/1.1\r\nHost: shim\r\nConnection: close\r\n\r\n")
        .await;
    for _ in 0..50 {
        assert_eq!(line.answer().await.status, 200);
    }
    let last = line.answer().await;
    assert_eq!(
        (last.status, last.header("connection")),
        (404, Some("close"))
    );
    assert!(line.has_ended().await);
}

/// Row 67, and a client without a Host header.
#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let (_, _agent, front) = scripted().await;
    let mut line = front.line().await;
    line.send("GET / HTTP/1.0\r\n\r\n").await;
    let answer = line.answer().await;
    assert_eq!(answer.status, 200);
    let link = &answer.json()["versions"][0]["links"][0]["href"];
    let port = front.address.port();
    assert_eq!(link, &format!("http://ironic-python-agent:{port}/v1"));
    assert!(line.has_ended().await);

    let mut line = front.line().await;
    for _ in 0..2 {
        line.send("GET /v1/status HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
            .await;
        let answer = line.answer().await;
        let kept = answer.header("connection").unwrap().to_ascii_lowercase();
        assert_eq!((answer.status, kept.as_str()), (200, "keep-alive"));
    }
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let (_, _agent, front) = scripted().await;
    for nonsense in [
        "BOGUS\r\n\r\n",
        "GET /v1/status HTTP/2.0\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\r\n\r\n",
    ] {
        let mut line = front.line().await;
        line.send(nonsense).await;
        let answer = line.head().await.unwrap();
        assert_eq!(answer.status, 400, "{nonsense:?}");
        assert!(line.has_ended().await);
    }
    // A head without end is cut off.
    let mut line = front.line().await;
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n", "x".repeat(200 * 1024));
    // The server may hang up before all of it is sent.
    let _ = line.try_send(long).await;
    let refused = line.head().await.map(|answer| answer.status);
    assert!(matches!(refused, None | Some(431)), "{refused:?}");
}

/// Row 68, with a tenth of a second in place of ten: an idle connection ends in silence, one
/// that never asked is answered why.
#[tokio::test]
async fn quiet_connections_end() {
    let (_, _agent, front) = with(RestSettings {
        head: Duration::from_millis(100),
        ..RestSettings::default()
    })
    .await;
    let mut line = front.line().await;
    assert_eq!(line.ask("GET", "/v1/status", "", b"").await.status, 200);
    let start = Instant::now();
    assert!(line.has_ended().await);
    assert!(
        start.elapsed() >= Duration::from_millis(90),
        "{:?}",
        start.elapsed()
    );

    for begun in ["", "GET /v1/status HTTP/1.1\r\nHost"] {
        let mut line = front.line().await;
        line.send(begun).await;
        assert_eq!(line.answer().await.status, 408, "{begun:?}");
        assert!(line.has_ended().await);
    }
    // Also when it is the second request that comes too slowly.
    let mut line = front.line().await;
    assert_eq!(line.ask("GET", "/v1/status", "", b"").await.status, 200);
    line.send("GET /v1").await;
    assert_eq!(line.answer().await.status, 408);
}

/// A body that stalls is given up with a reason.
#[tokio::test]
async fn a_body_that_stalls_is_given_up() {
    let (_, _agent, front) = with(RestSettings {
        body_stall: Duration::from_millis(50),
        ..RestSettings::default()
    })
    .await;
    let mut line = front.line().await;
    let target = with_token("/v1/commands/");
    line.send(format!(
        "POST {target} HTTP/1.1\r\nHost: shim\r\nContent-Length: 38\r\n\r\n{{\"na"
    ))
    .await;
    let (status, text) = line.answer().await.fault();
    assert_eq!(status, 408);
    assert!(
        text.starts_with("408 Request Timeout: The request body stalled"),
        "{text}"
    );
}

/// Row 64 and 65: the answer is delivered, then nobody listens any more.
#[tokio::test]
async fn the_listener_closes_after_the_last_answer() {
    for (name, parameters, ending) in [
        (
            "rescue.finalize_rescue",
            json!({"rescue_password": "$5$salt$hash", "hashed": true}),
            CloseReason::Rescued,
        ),
        ("system.lockdown", json!({}), CloseReason::LockedDown),
    ] {
        // What is idle does not end by itself, nor is it given up.
        let (script, _agent, front) = with(RestSettings {
            head: Duration::from_secs(600),
            closing: Duration::from_secs(600),
            ..RestSettings::default()
        })
        .await;
        // A failure leaves the listener open.
        script.act(
            name,
            Act::Fail(ironic_agent::failure::FailureKind::CommandExecution, "no"),
        );
        let answer = front.run(name, parameters.clone()).await;
        assert_eq!(answer.json()["command_status"], "FAILED");
        assert_eq!(answer.json()["command_name"], name);

        let mut idle = front.line().await;
        assert_eq!(idle.ask("GET", "/v1/status", "", b"").await.status, 200);
        script.act(name, Act::Answer(serde_json::Value::Null));
        let start = Instant::now();
        let answer = front.run(name, parameters).await;
        let result = answer.json();
        assert_eq!(answer.status, 200);
        assert_eq!(result["command_status"], "SUCCEEDED");
        assert_eq!(result["command_result"], serde_json::Value::Null);
        assert_eq!(result["command_name"], name.split_once('.').unwrap().1);
        assert!(idle.has_ended().await);
        assert_eq!(front.ending.await.unwrap(), ending);
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{:?}",
            start.elapsed()
        );
        let refused = tokio::net::TcpStream::connect(front.address)
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

/// Behind a gateway only that node's service ends, and the others go on.
#[tokio::test]
async fn a_gateway_closes_one_listener_of_many() {
    let agent = Agent::scripted(&Script::default()).await;
    let front = Front::alone(RestSettings::default(), None).await;
    for node in ["aa", "bb"] {
        front.know(AgentKey::Node(node.into()), &agent.endpoint, Some(TOKEN));
    }
    assert_eq!(front.get("/v1/status").await.status, 404);
    let answer = front
        .post("/nodes/AA/v1/commands/", "system.lockdown", json!({}))
        .await;
    assert_eq!(answer.json()["command_status"], "SUCCEEDED");
    let mut line = front.line().await;
    line.send("GET /nodes/aa/v1/status HTTP/1.1\r\nHost: shim\r\n\r\n")
        .await;
    assert!(line.has_ended().await);
    assert_eq!(front.get("/nodes/bb/v1/status").await.status, 200);
}

/// Row 69: plain HTTP at a TLS port is not answered. Links name the scheme.
#[tokio::test]
async fn a_tls_listener_speaks_nothing_else() {
    let agent = Agent::scripted(&Script::default()).await;
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(server));
    let front = Front::with(
        &agent.endpoint,
        Some(TOKEN),
        RestSettings::default(),
        Some(acceptor),
    )
    .await;

    let mut plain = front.line().await;
    plain
        .send("GET /v1/status HTTP/1.1\r\nHost: shim\r\n\r\n")
        .await;
    assert!(plain.has_ended().await);

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(client));
    let stream = tokio::net::TcpStream::connect(front.address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
    let mut line = Line::over(connector.connect(name, stream).await.unwrap());
    let answer = line.ask("GET", "/v1", "", b"").await;
    assert_eq!(answer.header("location"), Some("https://shim/v1/"));
    let answer = line.ask("GET", "/", "", b"").await;
    assert_eq!(
        answer.json()["versions"][0]["links"][0]["href"],
        "https://shim/v1"
    );
}

/// An agent that is replaced takes its place; the old connection's clean-up changes nothing.
#[tokio::test]
async fn a_new_agent_takes_the_place_of_the_old() {
    let (_, old, front) = scripted().await;
    front.run("standby.sync", json!({})).await;
    let (_, old_generation) = front.agents.find(&AgentKey::Root).unwrap();
    let new = Agent::scripted(&Script::default()).await;
    let client = Client::new(&new.endpoint, &ironic_transport::grpc::TlsFiles::default()).unwrap();
    let token = Secret::new(TOKEN);
    let generation =
        front
            .agents
            .register_client(AgentKey::Root, client, Some(token), String::new());
    drop(old);
    assert!(!front.agents.remove(&AgentKey::Root, old_generation));
    assert_eq!(front.list().await, Vec::<serde_json::Value>::new());
    assert!(front.agents.remove(&AgentKey::Root, generation));
    assert_eq!(front.get("/v1/status").await.status, 404);
}
