//! The page of a gateway, as a browser asks for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ironic_shim::config::ShimConfig;
use ironic_shim::fleet::{Fleet, FleetAccess, FleetViewer, Labels};
use ironic_shim::metrics::{Metrics, Observation};
use ironic_shim::page::{PageServer, PageService};
use ironic_transport::Listen;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::support::gateway::{Machine, SYNC, ask, gateway_config};
use crate::support::http::{Answer, Line};
use crate::support::ironic::{FakeIronic, NODE};
use crate::support::shim::{Shim, free_port};
use crate::support::tls::{Authority, Signed};

const LIMIT: Duration = Duration::from_secs(60);

/// A server of the page alone, with a fleet that the test changes.
struct Page {
    fleet: Fleet,
    metrics: Metrics,
    address: SocketAddr,
    stop: CancellationToken,
}

impl Page {
    async fn new() -> Self {
        let (fleet, metrics) = (Fleet::default(), Metrics::new());
        let viewer = FleetViewer::new(fleet.clone(), FleetAccess::default());
        let service = PageService::new(viewer, metrics.clone(), "gw.example");
        let listen = Listen::Tcp("127.0.0.1:0".parse().unwrap());
        let config = ShimConfig::default();
        let server = PageServer::bind(&listen, &config, service);
        let server = server.await.unwrap();
        let Listen::Tcp(address) = server.listen else {
            unreachable!("it listens as it was asked to")
        };
        let stop = CancellationToken::new();
        tokio::spawn(server.serve(stop.clone()));
        Self {
            fleet,
            metrics,
            address,
            stop,
        }
    }

    /// Waits until so many viewers are counted.
    async fn wait_for_viewers(&self, wanted: usize) {
        let series = format!("ironic_shim_page_viewers {wanted}\n");
        let waiting = async {
            while !self.metrics.text(&Observation::default()).contains(&series) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(LIMIT, waiting).await;
        assert!(waited.is_ok(), "there never were {wanted} viewers");
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A browser that reads events.
struct Viewer<S = TcpStream> {
    stream: S,
    read: String,
    last_id: String,
}

/// An event.
struct ServerEvent {
    name: String,
    data: Value,
}

impl Viewer<TcpStream> {
    async fn open(address: SocketAddr, headers: &str) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), headers).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Viewer<S> {
    async fn over(mut stream: S, headers: &str) -> Self {
        let head = format!("GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut viewer = Self {
            stream,
            read: String::new(),
            last_id: String::new(),
        };
        let head = viewer.until("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        viewer
    }

    /// What comes up to a text, without it.
    async fn until(&mut self, end: &str) -> String {
        let reading = async {
            loop {
                if let Some((before, after)) = self.read.split_once(end) {
                    let (before, after) = (before.to_owned(), after.to_owned());
                    self.read = after;
                    return before;
                }
                let mut chunk = vec![0; 64 * 1024];
                let length = self.stream.read(&mut chunk).await.unwrap();
                assert_ne!(length, 0, "the events end: {}", self.read);
                self.read += std::str::from_utf8(&chunk[..length]).unwrap();
            }
        };
        tokio::time::timeout(LIMIT, reading).await.unwrap()
    }

    async fn event(&mut self) -> ServerEvent {
        loop {
            // Lengths of chunks stand between them, on lines of their own.
            let text = self.until("\n\n").await;
            let field = |name: &str| {
                let found = text.lines().find_map(|line| line.strip_prefix(name));
                found.map(str::to_owned)
            };
            if let Some(id) = field("id: ") {
                self.last_id = id;
            }
            if let (Some(name), Some(data)) = (field("event: "), field("data: ")) {
                let data = serde_json::from_str(&data).unwrap();
                return ServerEvent { name, data };
            }
        }
    }

    /// The next event with this name.
    async fn next(&mut self, name: &str) -> Value {
        loop {
            let event = self.event().await;
            if event.name == name {
                return event.data;
            }
        }
    }

    /// Reads until something of this kind has happened to a node.
    async fn until_kind(&mut self, kind: &str) -> Value {
        loop {
            let changes = self.next("changes").await;
            let happened = changes["events"].as_array();
            let kinds = happened.into_iter().flatten();
            if let Some(found) = kinds.into_iter().find(|event| event["kind"] == kind) {
                return found.clone();
            }
        }
    }
}

async fn get(address: SocketAddr, path: &str) -> Answer {
    let mut line = Line::open(address).await;
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    line.send(head).await;
    line.answer().await
}

fn page_config(ironic: &FakeIronic, state: &TempDir, port: u16) -> ShimConfig {
    ShimConfig {
        page_listen: Some(format!("127.0.0.1:{port}").parse().unwrap()),
        ..gateway_config(ironic, state)
    }
}

#[tokio::test]
async fn an_operator_sees_a_node_come_work_and_go() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let port = free_port();
    let address: SocketAddr = ([127, 0, 0, 1], port).into();
    let shim = Shim::start(page_config(&ironic, &state, port)).await;
    let mut viewer = Viewer::open(address, "").await;
    let hello = viewer.next("hello").await;
    assert!(
        hello["version"]
            .as_str()
            .unwrap()
            .starts_with("ironic-shim ")
    );
    assert_eq!(viewer.next("nodes").await["last"], true);

    let machine = Machine::new();
    let agent = machine.start_agent(&shim.url);
    assert_eq!(viewer.until_kind("attached").await["uuid"], NODE);
    ask(&shim, "POST", "/v1/commands/", SYNC).await;
    let ended = viewer.until_kind("ended").await;
    assert_eq!(
        (&ended["name"], &ended["state"]),
        (&"standby.sync".into(), &"succeeded".into())
    );
    let node = get(address, &format!("/nodes/{NODE}")).await.json();
    let history = node["history"].as_array().unwrap();
    let kinds: Vec<_> = history.iter().map(|entry| &entry["kind"]).collect();
    let expected = ["attached", "started", "ended"];
    let is_in_order = kinds.windows(3).any(|kinds| kinds == expected);
    assert!(is_in_order, "{kinds:?}");
    assert_eq!(node["command"]["name"], "standby.sync");
    let token = ironic_text::Secret::new(crate::support::ironic::TOKEN);
    assert!(!node.to_string().contains(token.reveal()));

    // A browser that comes back hears what it has missed, and not the list again.
    let last_id = viewer.last_id.clone();
    drop((viewer, agent));
    let header = format!("Last-Event-ID: {last_id}\r\n");
    let mut viewer = Viewer::open(address, &header).await;
    assert!(viewer.next("hello").await.get("events").is_none());
    let first = viewer.event().await;
    assert_eq!(first.name, "changes");
    let is_lost = first.data["events"][0]["kind"] == "lost";
    assert!(is_lost || viewer.until_kind("lost").await["uuid"] == NODE);

    // One that comes new hears the list and the last events.
    let mut viewer = Viewer::open(address, "").await;
    let hello = viewer.next("hello").await;
    let events = hello["events"].as_array().unwrap();
    assert!(
        events.iter().any(|event| event["kind"] == "lost"),
        "{hello}"
    );
    assert_eq!(viewer.next("nodes").await["rows"][0]["state"], "away");
}

#[tokio::test]
async fn what_is_not_of_the_page_is_refused() {
    let page = Page::new().await;
    let index = get(page.address, "/").await;
    assert_eq!(index.status, 200);
    let policy = index.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    for path in ["/metrics", "/nodes/unknown", "/../page.js", "/page.js/"] {
        let answer = get(page.address, path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.header("content-security-policy").is_some());
    }
    let mut line = Line::open(page.address).await;
    line.send("POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        .await;
    let refused = line.answer().await;
    assert_eq!(
        (refused.status, refused.header("allow")),
        (405, Some("GET, HEAD"))
    );
    // A name that somebody else has made point here.
    line.send("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        .await;
    assert_eq!(line.answer().await.status, 421);
    line.send("HEAD /page.css HTTP/1.1\r\nHost: gw.example\r\n\r\n")
        .await;
    let head = line.head().await.unwrap();
    let length: usize = head.header("content-length").unwrap().parse().unwrap();
    assert!(head.status == 200 && length > 1000, "{head:?}");
    // Nothing of a body came: the connection still answers.
    let tag = head.header("etag").unwrap();
    line.send(format!(
        "GET /page.css HTTP/1.1\r\nHost: [::1]\r\nIf-None-Match: {tag}\r\n\r\n"
    ))
    .await;
    assert_eq!(line.head().await.unwrap().status, 304);
}

#[tokio::test]
async fn a_viewer_that_stops_reading_is_cut_off() {
    let page = Page::new().await;
    // More than the kernel's queues take.
    for number in 0..10_000 {
        let labels = Labels::from([("label".to_owned(), "x".repeat(200))]);
        page.fleet.describe(&format!("{number:036}"), "", &labels);
    }
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let silent = socket.connect(page.address).await.unwrap();
    let silent = Viewer::over(silent, "").await;
    page.wait_for_viewers(1).await;
    let mut reading = Viewer::open(page.address, "").await;
    while reading.next("nodes").await["last"] != true {}
    page.wait_for_viewers(2).await;
    page.wait_for_viewers(1).await;
    // The other one was not disturbed.
    page.fleet.add("new");
    assert_eq!(reading.until_kind("added").await["uuid"], "new");
    drop(silent);
}

#[tokio::test]
async fn only_certificates_of_operators_see_the_page_from_elsewhere() {
    let state = tempfile::tempdir().unwrap();
    let (operators, agents) = (Authority::new(), Authority::new());
    let server = operators.sign();
    let write = |name: &str, text: &str| {
        let path = state.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let ironic = FakeIronic::start().await;
    let port = free_port();
    let mut config = page_config(&ironic, &state, port);
    config.page_listen = Some(format!("0.0.0.0:{port}").parse().unwrap());
    let open = ironic_shim::app::Shim::start(config.clone(), CancellationToken::new()).await;
    let error = open.unwrap_err().to_string();
    for option in ["page_listen", "fleet_tls_ca_file", "insecure_fleet_listen"] {
        assert!(error.contains(option), "{error}");
    }
    config.fleet_tls_cert_file = Some(write("gw.crt", &server.pem));
    config.fleet_tls_key_file = Some(write("gw.key", &server.key));
    config.fleet_tls_ca_file = Some(write("ca.crt", &operators.pem));
    let shim = Shim::start(config).await;
    let look = async |client: Option<Signed>| {
        let tls = client_tls(&operators, client);
        let peer = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = TlsConnector::from(tls).connect(name, peer).await.ok()?;
        let mut line = Line::over(stream);
        // Over TLS any name may stand there: the certificate says whose it is.
        line.try_send("GET / HTTP/1.1\r\nHost: gw.elsewhere\r\n\r\n")
            .await
            .ok()?;
        line.answer_or_end().await.map(|answer| answer.status)
    };
    assert_eq!(look(Some(operators.sign())).await, Some(200));
    assert_eq!(look(Some(agents.sign())).await, None);
    assert_eq!(look(None).await, None);
    // SIGHUP reads the files again, for the page as well.
    write("ca.crt", &agents.pem);
    assert_eq!(look(Some(operators.sign())).await, Some(200));
    shim.certificates.as_ref().unwrap().reload().unwrap();
    assert_eq!(look(Some(operators.sign())).await, None);
    assert_eq!(look(Some(agents.sign())).await, Some(200));
}

fn client_tls(authority: &Authority, client: Option<Signed>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let pem = CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap();
    roots.add(pem).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(Signed { pem, key }) => {
            let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}
