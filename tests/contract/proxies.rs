//! Agents that reach their gateway through a proxy which understands HTTP/2, with the time-outs
//! that it has when nobody changes them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::conductor_service_client::ConductorServiceClient;
use ironic_agent_protocol::v1::heartbeat_request::Message;
use ironic_tunnel::keep_alive;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use tonic::transport::Channel;

use crate::support::gateway::{Machine, SYNC, ask, gateway_config};
use crate::support::ironic::{FakeIronic, NODE, TOKEN};
use crate::support::shim::{Shim, free_port, hello};

/// Longer than the time-outs of 50 s and 60 s.
const SILENCE: Duration = Duration::from_secs(64);

/// What docs/gateway.md shows, and where the proxy and the gateway listen there.
const GUIDE: &str = include_str!("../../docs/gateway.md");
const PROXY: &str = "10.0.0.5:9998";
const GATEWAY: &str = "10.0.0.6:9998";

/// What nginx needs to run for a test: without a master process it needs no user of its own.
const NGINX: &str = "
master_process off; daemon off; pid nginx.pid; error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    SERVER
}
";

/// The block of the guide in this language.
fn block(language: &str) -> &'static str {
    let start = GUIDE.split_once(&format!("```{language}\n"));
    let (_, rest) = start.unwrap_or_else(|| panic!("no {language} in the guide"));
    rest.split_once("```").unwrap().0
}

/// A proxy in front of a gateway. It ends with its handle.
struct Proxy {
    process: Child,
    url: String,
    _directory: TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program with this name, or nothing where the tests have no programs.
fn program(name: &str) -> Option<PathBuf> {
    let Some(bin) = std::env::var_os("TEST_PROGRAMS") else {
        assert!(std::env::var_os("CI").is_none(), "TEST_PROGRAMS is not set");
        eprintln!("SKIPPED: {name} needs TEST_PROGRAMS; run `make unit`");
        return None;
    };
    Some(Path::new(&bin).join(name))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a proxy runs until the test has ended"
)]
impl Proxy {
    async fn nginx(gateway: &Shim) -> Option<Self> {
        let program = program("nginx")?;
        let start = |directory: &Path, configuration: &Path| {
            let mut command = Command::new(program);
            command
                .arg("-p")
                .arg(directory)
                .arg("-c")
                .arg(configuration);
            command.args(["-e", "stderr"]);
            command
        };
        let text = NGINX.replace("SERVER", block("nginx"));
        Some(Self::start(&text, gateway, start).await)
    }

    async fn haproxy(gateway: &Shim, mode: &str) -> Option<Self> {
        let program = program("haproxy")?;
        let mut text = block("haproxy").to_owned();
        if mode == "tcp" {
            text = text
                .replace("mode http", "mode tcp")
                .replace(" proto h2", "");
        }
        let start = |_: &Path, configuration: &Path| {
            let mut command = Command::new(program);
            command.arg("-db").arg("-f").arg(configuration);
            command
        };
        Some(Self::start(&text, gateway, start).await)
    }

    async fn start(
        configuration: &str,
        gateway: &Shim,
        command: impl FnOnce(&Path, &Path) -> Command,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let target = gateway.url.trim_start_matches("http://");
        let configuration = configuration
            .replace(PROXY, &address.to_string())
            .replace(GATEWAY, target);
        let file = directory.path().join("proxy.conf");
        fs::write(&file, configuration).unwrap();
        let mut process = command(directory.path(), &file)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).await.is_err() {
            assert_eq!(process.try_wait().unwrap(), None, "the proxy has ended");
            assert!(Instant::now() < deadline, "the proxy does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self {
            process,
            url: format!("http://{address}"),
            _directory: directory,
        }
    }

    fn client(&self) -> ConductorServiceClient<Channel> {
        let channel = Channel::from_shared(self.url.clone()).unwrap();
        ConductorServiceClient::new(channel.connect_lazy())
    }
}

/// Which messages came until `SILENCE` was over; a call that ended before is a failure.
async fn count_until<T>(
    end: Instant,
    what: &str,
    mut messages: impl Stream<Item = Result<T, Status>> + Unpin,
) -> usize {
    let mut count = 0;
    loop {
        match timeout_at(end, messages.next()).await {
            Err(_) => return count,
            Ok(Some(Ok(_))) => count += 1,
            Ok(ended) => panic!("{what} ended: {:?}", ended.map(|ended| ended.err())),
        }
    }
}

/// An agent that executes commands, and then a heartbeat session and an attachment in which
/// nothing happens.
async fn is_passed(gateway: &Shim, ironic: &FakeIronic, proxy: &Proxy) {
    let machine = Machine::new();
    let agent = machine.start_agent(&proxy.url);
    ironic.wait_for("/v1/heartbeat/", 1).await;
    let answer = ask(gateway, "POST", "/v1/commands/", SYNC).await;
    assert_eq!(answer.json()["command_status"], "SUCCEEDED", "{answer:?}");
    // More than a proxy keeps of a body by default, in both directions.
    let node = serde_json::json!({"uuid": NODE, "extra": "x".repeat(3 << 20)});
    let order = serde_json::json!({
        "name": "clean.get_clean_steps",
        "params": {"node": node, "ports": []},
    });
    let answer = ask(
        gateway,
        "POST",
        "/v1/commands/",
        order.to_string().as_bytes(),
    )
    .await;
    assert_eq!(answer.json()["command_status"], "SUCCEEDED", "{answer:?}");
    drop(agent);

    let mut client = proxy.client();
    let first = v1::HeartbeatRequest {
        message: Some(Message::Hello(hello())),
    };
    let requests = futures_util::stream::iter([first]).chain(futures_util::stream::pending());
    let requests = keep_alive(requests, || v1::HeartbeatRequest {
        message: Some(Message::KeepAlive(v1::KeepAlive {})),
    });
    let verdicts = client.heartbeat(requests).await.unwrap().into_inner();
    let first = v1::AttachRequest {
        hello: Some(v1::AttachHello {
            node_uuid: NODE.into(),
            agent_token: TOKEN.into(),
            agent_version: "0".into(),
            boot_id: "another".into(),
            counter: 1,
        }),
        ..v1::AttachRequest::default()
    };
    let requests = futures_util::stream::iter([first]).chain(futures_util::stream::pending());
    let requests = keep_alive(requests, v1::AttachRequest::default);
    let mut responses = client.attach(requests).await.unwrap().into_inner();
    let accepted = responses.message().await.unwrap().unwrap();
    assert!(accepted.accepted.is_some(), "{accepted:?}");

    let end = Instant::now() + SILENCE;
    let (verdicts, responses) = tokio::join!(
        count_until(end, "the heartbeat session", verdicts),
        count_until(end, "the attachment", responses),
    );
    assert!(verdicts >= 2 && responses >= 2, "{verdicts} {responses}");
}

#[tokio::test]
async fn proxies_pass_calls_in_which_nothing_happens_for_longer_than_their_time_outs() {
    let state = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let mut houses = Vec::new();
    for state in &state {
        let ironic = FakeIronic::start().await;
        houses.push((Shim::start(gateway_config(&ironic, state)).await, ironic));
    }
    let [nginx, http, tcp] = [&houses[0], &houses[1], &houses[2]];
    let (Some(through_nginx), Some(through_http), Some(through_tcp)) = (
        Proxy::nginx(&nginx.0).await,
        Proxy::haproxy(&http.0, "http").await,
        Proxy::haproxy(&tcp.0, "tcp").await,
    ) else {
        return;
    };
    tokio::join!(
        is_passed(&nginx.0, &nginx.1, &through_nginx),
        is_passed(&http.0, &http.1, &through_http),
        is_passed(&tcp.0, &tcp.1, &through_tcp),
    );
}
