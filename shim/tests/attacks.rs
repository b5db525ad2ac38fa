//! What strangers can do to the shim, and what one request can: the program as a process, on
//! loopback, with its memory, its log and an honest client's response times measured.
//!
//! `make attacks` takes a minute and wants an idle machine: attackers and shim share its cores,
//! and every answer must come within a second. The same attacks for longer:
//! `ATTACK_SECONDS=60 cargo test -p ironic-shim --test attacks -- --ignored --nocapture`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "the whole file is a test, also outside its test functions; its subject is a process"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command_service_server::{CommandService, CommandServiceServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::{Request, Response, Status};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const MIB: u64 = 1024 * 1024;

/// What the shim may take while it is attacked.
const MAX_MEMORY_BYTES: u64 = 64 * MIB;
const MAX_LOG_BYTES: u64 = 16 * MIB;
const TIMEOUT: Duration = Duration::from_secs(1);

/// How soon an attacker comes back who was turned away. With six hundred of them that is a
/// thousand new connections a second, and yet not a measurement of how busy this machine is.
const RECONNECT: Duration = Duration::from_millis(250);

/// An agent that tells its status and remembers how large the orders were.
#[derive(Debug, Default, Clone)]
struct Agent {
    orders: Arc<Mutex<Vec<usize>>>,
}

type Answers<T> = Pin<Box<dyn futures_util::Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl CommandService for Agent {
    async fn get_status(
        &self,
        _: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        Ok(Response::new(v1::GetStatusResponse {
            version: "1".into(),
            ..Default::default()
        }))
    }

    async fn execute_command(
        &self,
        request: Request<v1::ExecuteCommandRequest>,
    ) -> Result<Response<v1::ExecuteCommandResponse>, Status> {
        let size = prost::Message::encoded_len(request.get_ref());
        self.orders.lock().unwrap().push(size);
        Err(Status::internal("this agent only listens"))
    }

    async fn get_command(
        &self,
        _: Request<v1::GetCommandRequest>,
    ) -> Result<Response<v1::GetCommandResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_commands(
        &self,
        _: Request<v1::ListCommandsRequest>,
    ) -> Result<Response<v1::ListCommandsResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    type WatchCommandStream = Answers<v1::WatchCommandResponse>;

    async fn watch_command(
        &self,
        _: Request<v1::WatchCommandRequest>,
    ) -> Result<Response<Self::WatchCommandStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn cancel_command(
        &self,
        _: Request<v1::CancelCommandRequest>,
    ) -> Result<Response<v1::CancelCommandResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_inventory(
        &self,
        _: Request<v1::GetInventoryRequest>,
    ) -> Result<Response<v1::GetInventoryResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    type CollectLogsStream = Answers<v1::CollectLogsResponse>;

    async fn collect_logs(
        &self,
        _: Request<v1::CollectLogsRequest>,
    ) -> Result<Response<Self::CollectLogsStream>, Status> {
        Err(Status::unimplemented(""))
    }

    type FollowLogsStream = Answers<v1::FollowLogsResponse>;

    async fn follow_logs(
        &self,
        _: Request<v1::FollowLogsRequest>,
    ) -> Result<Response<Self::FollowLogsStream>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// A runtime that serves until it is dropped.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// A shim in front of an agent.
struct Shim {
    child: Child,
    agent: Agent,
    address: SocketAddr,
    log: PathBuf,
    directory: tempfile::TempDir,
    /// Serves the agent.
    _runtime: tokio::runtime::Runtime,
}

impl Drop for Shim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let ended = self.child.wait();
        if thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(20).collect();
            println!("{ended:?}, the last lines of its log first: {last:#?}");
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Shim {
    fn start(more: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        fs::write(path("nothing.conf"), "[DEFAULT]\n").unwrap();
        fs::write(path("token"), TOKEN).unwrap();
        let agent = Agent::default();
        let runtime = runtime();
        let socket = path("agent.sock");
        let listener = runtime.block_on(async { tokio::net::UnixListener::bind(&socket).unwrap() });
        let service =
            CommandServiceServer::new(agent.clone()).max_decoding_message_size(usize::MAX);
        runtime.spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(tokio_stream::wrappers::UnixListenerStream::new(listener)),
        );
        let log = directory.path().join("log");
        let port = free_port();
        let child = Command::new(env!("CARGO_BIN_EXE_ironic-shim"))
            .args(["--config-file", &path("nothing.conf")])
            .args(["--state-dir", &path("")])
            .args(["--listen_host", "127.0.0.1"])
            .args(["--listen_port", &port.to_string()])
            .args(["--agent", &format!("unix:{socket}")])
            .args([
                "--conductor-listen",
                &format!("unix:{}", path("conductor.sock")),
            ])
            .args(["--agent_token_file", &path("token")])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let shim = Self {
            child,
            agent,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            log,
            directory,
            _runtime: runtime,
        };
        let is_ready = || {
            let log = fs::read_to_string(&shim.log).unwrap();
            log.contains("event=rest_listener_open") || log.contains("ironic-shim version=")
        };
        wait_until("the shim has started", is_ready);
        shim
    }

    /// A figure of the process in bytes: `VmHWM`, `VmRSS`.
    fn memory(&self, figure: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with(figure))
            .unwrap();
        let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kilobytes * 1024
    }

    /// Begins the peak of its memory anew, and says where it is.
    fn settle(&self) -> u64 {
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
        self.memory("VmHWM")
    }

    /// Bytes that the kernel holds for peers of the listener that do not take them.
    fn unsent(&self) -> u64 {
        let port = format!(":{:04X}", self.address.port());
        let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
        let unsent = sockets.lines().skip(1).filter_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let sent = columns[4].split_once(':').unwrap().0;
            columns[1]
                .ends_with(&port)
                .then(|| u64::from_str_radix(sent, 16).unwrap())
        });
        unsent.sum()
    }
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within a minute");
        thread::sleep(Duration::from_millis(20));
    }
}

/// One request over a connection of its own: the status line and the body.
fn ask(address: SocketAddr, request: &[u8]) -> std::io::Result<String> {
    let mut peer = TcpStream::connect(address)?;
    peer.set_read_timeout(Some(Duration::from_secs(120)))?;
    peer.write_all(request)?;
    let mut answer = String::new();
    peer.read_to_string(&mut answer)?;
    Ok(answer)
}

fn status(address: SocketAddr) -> std::io::Result<String> {
    ask(
        address,
        b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
}

/// Asks for the status ten times a second, in a thread of its own, until it is dropped.
struct Honest {
    stop: Arc<AtomicBool>,
    asking: Option<thread::JoinHandle<Vec<Result<Duration, String>>>>,
}

impl Honest {
    fn ask(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let asking = thread::spawn(move || {
            let mut answers = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let start = Instant::now();
                let answer = status(address);
                answers.push(match answer {
                    Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => Ok(start.elapsed()),
                    other => Err(format!("{other:?}")),
                });
                thread::sleep(Duration::from_millis(100));
            }
            answers
        });
        Self {
            stop,
            asking: Some(asking),
        }
    }

    /// How many answers came, and the slowest. All of them must have come, in time.
    fn end(mut self, what: &str) -> (usize, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        let answers = self.asking.take().unwrap().join().unwrap();
        let mut slowest = Duration::ZERO;
        for answer in &answers {
            let took = answer
                .as_ref()
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            slowest = slowest.max(*took);
        }
        assert!(slowest <= TIMEOUT, "{what}: an answer took {slowest:?}");
        (answers.len(), slowest)
    }
}

/// What one connection of an attacker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attack {
    /// Says nothing.
    Silent,
    /// Sends its request byte by byte.
    SlowHead,
    /// Sends a large head without an end.
    LargeHead,
    /// Asks and asks, and reads nothing.
    Unread,
    /// Sends a body that is refused byte by byte.
    SlowBody,
    /// Sends a large body that is refused, in chunks without an end.
    EndlessBody,
    /// Guesses tokens, as fast as it is answered.
    Guesses,
    /// Speaks no HTTP, again and again.
    Nonsense,
    /// Connects and goes away.
    Knocks,
    /// Says the beginning of a TLS handshake.
    HalfHandshake,
}

const ATTACKS: [Attack; 9] = [
    Attack::Silent,
    Attack::SlowHead,
    Attack::LargeHead,
    Attack::Unread,
    Attack::SlowBody,
    Attack::EndlessBody,
    Attack::Guesses,
    Attack::Nonsense,
    Attack::Knocks,
];

impl Attack {
    /// How many connections at once, far more than there are places: but those that make
    /// work with each byte would only show how much work this machine can do.
    fn connections(self) -> u8 {
        match self {
            Self::Guesses | Self::Nonsense | Self::Knocks | Self::EndlessBody => 20,
            _ => 200,
        }
    }

    async fn run(self, peer: &mut tokio::net::TcpStream) -> std::io::Result<()> {
        const POST: &[u8] = b"POST /v1/commands/ HTTP/1.1\r\nHost: x\r\n";
        let pause = || tokio::time::sleep(Duration::from_millis(500));
        match self {
            Self::Silent => {}
            Self::SlowHead => {
                for byte in b"GET /v1/status HTTP/1.1\r\nHost: x".iter().cycle() {
                    peer.write_u8(*byte).await?;
                    pause().await;
                }
            }
            Self::LargeHead => {
                peer.write_all(b"GET / HTTP/1.1\r\nX: ").await?;
                peer.write_all(&[b'x'; 31 * 1024]).await?;
            }
            Self::Unread => loop {
                peer.write_all(&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100))
                    .await?;
            },
            Self::SlowBody => {
                peer.write_all(POST).await?;
                peer.write_all(b"Content-Length: 1000000\r\n\r\n").await?;
                loop {
                    peer.write_u8(b'x').await?;
                    pause().await;
                }
            }
            Self::EndlessBody => {
                peer.write_all(POST).await?;
                peer.write_all(b"Transfer-Encoding: chunked\r\n\r\n")
                    .await?;
                loop {
                    peer.write_all(b"1000\r\n").await?;
                    peer.write_all(&[b'x'; 0x1000]).await?;
                    peer.write_all(b"\r\n").await?;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            Self::Guesses => loop {
                peer.write_all(b"GET /v1/commands/?agent_token=guess HTTP/1.1\r\nHost: x\r\n\r\n")
                    .await?;
                if peer.read(&mut [0; 1024]).await? == 0 {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            },
            Self::Nonsense => {
                peer.write_all(b"\x1b[2J nonsense \x07\r\n\r\n").await?;
                return Ok(());
            }
            Self::Knocks => return Ok(()),
            Self::HalfHandshake => peer.write_all(b"\x16\x03\x01\x02\x00\x01").await?,
        }
        // Holds the place until it is taken away.
        peer.read(&mut [0]).await.map(|_| ())
    }
}

/// Attackers at work, until they are dropped.
struct Attackers {
    runtime: Option<tokio::runtime::Runtime>,
    /// How often a connection was made.
    made: Arc<AtomicUsize>,
}

impl Attackers {
    /// Two thirds of them share the honest client's address, the others have one each.
    fn begin(address: SocketAddr, attacks: &[Attack]) -> Self {
        let runtime = runtime();
        let made = Arc::new(AtomicUsize::new(0));
        for attack in attacks.iter().copied() {
            for number in 0..attack.connections() {
                for own in [None, Some(Ipv4Addr::new(127, 0, 1, number + 1)), None] {
                    let made = Arc::clone(&made);
                    runtime.spawn(async move {
                        loop {
                            let socket = tokio::net::TcpSocket::new_v4().unwrap();
                            let own = own.unwrap_or(Ipv4Addr::LOCALHOST);
                            socket.bind((IpAddr::from(own), 0).into()).unwrap();
                            if let Ok(mut peer) = socket.connect(address).await {
                                made.fetch_add(1, Ordering::Relaxed);
                                // Refusals are what it is for.
                                let _ = attack.run(&mut peer).await;
                            }
                            tokio::time::sleep(RECONNECT).await;
                        }
                    });
                }
            }
        }
        Self {
            runtime: Some(runtime),
            made,
        }
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// One attack: what it looked like from outside is printed, and bounded.
fn attacked(shim: &Shim, what: &str, attacks: &[Attack], time: Duration) {
    let attackers = Attackers::begin(shim.address, attacks);
    let honest = Honest::ask(shim.address);
    let end = Instant::now() + time;
    let mut unsent = 0;
    while Instant::now() < end {
        thread::sleep(Duration::from_millis(250));
        unsent = unsent.max(shim.unsent());
    }
    let (answers, slowest) = honest.end(what);
    let memory = shim.memory("VmHWM");
    let log = fs::metadata(&shim.log).unwrap().len();
    println!(
        "{what:16} {:6} connections  {answers:4} answers, slowest {:4} ms  memory {:3} MiB  unsent {:3} MiB  log {:5} KiB",
        attackers.made.load(Ordering::Relaxed),
        slowest.as_millis(),
        memory / MIB,
        unsent / MIB,
        log / 1024,
    );
    assert!(answers > 3, "{what}: {answers} answers");
    assert!(memory <= MAX_MEMORY_BYTES, "{what}: {memory} bytes");
    assert!(
        unsent <= MAX_MEMORY_BYTES,
        "{what}: {unsent} bytes in send queues"
    );
    assert!(log <= MAX_LOG_BYTES, "{what}: a log of {log} bytes");
}

fn under_every_attack(time: Duration) {
    let shim = Shim::start(&[]);
    wait_until("the agent answers", || {
        status(shim.address).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 "))
    });
    for attack in ATTACKS {
        attacked(&shim, &format!("{attack:?}"), &[attack], time);
    }
    let log = fs::read(&shim.log).unwrap();
    assert!(!log.contains(&0x1b), "a control character");
    let log = String::from_utf8(log).unwrap();
    assert!(log.contains("similar lines were left out"), "{log}");
}

#[test]
#[ignore = "measures time on an idle machine: make attacks"]
fn an_honest_client_is_answered_under_every_attack() {
    under_every_attack(Duration::from_secs(2));
}

/// The same for as long as `ATTACK_SECONDS` says, each.
#[test]
#[ignore = "takes ten times ATTACK_SECONDS"]
fn an_honest_client_is_answered_under_every_attack_for_long() {
    let seconds = std::env::var("ATTACK_SECONDS").map_or(60, |text| text.parse().unwrap());
    under_every_attack(Duration::from_secs(seconds));
    let shim = Shim::start(&[]);
    let time = Duration::from_secs(seconds);
    attacked(&shim, "all at once", &ATTACKS, time);
}

/// Handshakes that do not end hold no places either.
#[test]
#[ignore = "measures time on an idle machine: make attacks"]
fn an_honest_client_is_answered_while_handshakes_do_not_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let signed = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    fs::write(path("cert"), signed.cert.pem()).unwrap();
    fs::write(path("key"), signed.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (path("cert"), path("key"));
    let shim = Shim::start(&[
        "--listen_tls",
        "--tls_cert_file",
        &certificate,
        "--tls_key_file",
        &key,
    ]);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(signed.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    let ask = || {
        let name = rustls_pki_types::ServerName::IpAddress(shim.address.ip().into());
        let mut session = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
        let mut peer = TcpStream::connect(shim.address).unwrap();
        let mut stream = rustls::Stream::new(&mut session, &mut peer);
        stream
            .write_all(b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    };
    wait_until("the agent answers", || ask().starts_with("HTTP/1.1 200 "));
    let attackers = Attackers::begin(shim.address, &[Attack::Silent, Attack::HalfHandshake]);
    let end = Instant::now() + Duration::from_secs(4);
    let mut slowest = Duration::ZERO;
    while Instant::now() < end {
        let start = Instant::now();
        assert!(ask().starts_with("HTTP/1.1 200 "));
        slowest = slowest.max(start.elapsed());
        thread::sleep(Duration::from_millis(50));
    }
    let memory = shim.memory("VmHWM");
    println!(
        "handshakes       {:6} connections  slowest {:4} ms  memory {:3} MiB",
        attackers.made.load(Ordering::Relaxed),
        slowest.as_millis(),
        memory / MIB
    );
    assert!(slowest <= TIMEOUT, "{slowest:?}");
    assert!(memory <= MAX_MEMORY_BYTES, "{memory} bytes");
}

/// A command with a large argument.
fn post(node: &str) -> Vec<u8> {
    let body = format!(
        r#"{{"name": "clean.get_clean_steps", "params": {{"node": {node}, "ports": []}}}}"#
    );
    let head = format!(
        "POST /v1/commands/?agent_token={TOKEN} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

fn repeated(before: &str, unit: &str, after: &str, length: usize) -> String {
    let count = length / unit.len();
    [before, &unit.repeat(count), after].concat()
}

/// With the token: a request takes four times its body at most, no time out of proportion,
/// and none of the others'.
#[test]
fn one_request_takes_memory_and_time_in_proportion() {
    const LARGE: usize = 40 << 20;
    let shim = Shim::start(&[]);
    let nested = "[".repeat(190);
    let closed = "]".repeat(190);
    let cases = [
        ("lists", repeated("{\"a\": [", "[],", "0]}", LARGE), false),
        ("objects", repeated("{\"a\": [", "{},", "0]}", LARGE), false),
        (
            "small objects",
            repeated("{\"a\": [", "{\"a\":0},", "0]}", LARGE),
            false,
        ),
        ("numbers", repeated("{\"a\": [", "0,", "0]}", LARGE), false),
        (
            "empty texts",
            repeated("{\"a\": [", "\"\",", "0]}", LARGE),
            false,
        ),
        ("keys", repeated("{", "\"a\":0,", "\"b\":0}", LARGE), false),
        (
            "escapes",
            repeated("{\"a\": \"", "\\u0041", "\"}", LARGE),
            true,
        ),
        ("digits", repeated("{\"a\": 1", "0", "}", LARGE), false),
        ("NaN", repeated("{\"a\": [", "NaN,", "0]}", 8 << 20), false),
        (
            "nested NaN",
            repeated(
                &format!("{{\"a\": {nested}"),
                "NaN,",
                &format!("0{closed}}}"),
                8 << 20,
            ),
            false,
        ),
        (
            "a config drive",
            repeated("{\"a\": \"", "H", "\"}", 90 << 20),
            true,
        ),
        (
            "a node",
            repeated(
                "{\"a\": [",
                "{\"mac\": \"52:54:00:00:00:00\", \"pxe\": true},",
                "0]}",
                700_000,
            ),
            true,
        ),
    ];
    for (what, node, passes) in cases {
        let request = post(&node);
        let length = u64::try_from(request.len()).unwrap();
        drop(node);
        wait_until("memory is given back", || {
            shim.memory("VmRSS") < MAX_MEMORY_BYTES
        });
        let before = shim.settle();
        let orders = shim.agent.orders.lock().unwrap().len();
        let honest = Honest::ask(shim.address);
        let start = Instant::now();
        let answer = ask(shim.address, &request).unwrap();
        let took = start.elapsed();
        let (_, slowest) = honest.end(what);
        let memory = shim.memory("VmHWM").saturating_sub(before);
        println!(
            "{what:16} {:3} MiB  {:5} ms  memory {:4} MiB = {:4.1} x  others {:3} ms  {}",
            length / MIB,
            took.as_millis(),
            memory / MIB,
            f64::from(u32::try_from(memory / 1024).unwrap())
                / f64::from(u32::try_from(length / 1024).unwrap()),
            slowest.as_millis(),
            answer.lines().next().unwrap_or_default(),
        );
        assert!(
            memory <= (4 * length).max(32 * MIB),
            "{what}: {memory} bytes"
        );
        assert!(took < Duration::from_secs(20), "{what}: {took:?}");
        let has_arrived = shim.agent.orders.lock().unwrap().len() > orders;
        assert_eq!(has_arrived, passes, "{what}: {answer}");
    }
}

/// Answers every request over HTTP with one document.
fn serve(document: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for peer in listener.incoming() {
            let mut peer = peer.unwrap();
            // A request is one packet here.
            let _request = peer.read(&mut [0; 4096]);
            let head = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                document.len()
            );
            let _ = peer.write_all(head.as_bytes());
            let _ = peer.write_all(&document);
        }
    });
    url
}

fn lookup(shim: &Shim) -> v1::lookup_response::Outcome {
    use v1::conductor_service_client::ConductorServiceClient;
    let socket = shim.directory.path().join("conductor.sock");
    runtime().block_on(async {
        let endpoint = format!("unix:{}", Path::display(&socket));
        let channel = tonic::transport::Endpoint::from_shared(endpoint).unwrap();
        let channel = channel.connect().await.unwrap();
        let mut conductor =
            ConductorServiceClient::new(channel).max_decoding_message_size(usize::MAX);
        let answer = conductor.lookup(v1::LookupRequest {
            addresses: vec!["52:54:00:00:00:00".into()],
            ..v1::LookupRequest::default()
        });
        answer.await.unwrap().into_inner().outcome.unwrap()
    })
}

/// The largest answer that is read of Ironic, in the worst form and in a usual one.
#[test]
fn an_answer_of_ironic_takes_memory_in_proportion() {
    const LARGE: usize = 16_000_000;
    let document = |extra: String| {
        let node = format!(
            r#"{{"uuid": "u", "properties": {{}}, "instance_info": {{}}, "extra": {extra}}}"#
        );
        format!(r#"{{"node": {node}, "config": {{"heartbeat_timeout": 300}}}}"#).into_bytes()
    };
    let cases = [
        (
            "lists",
            document(repeated("{\"a\": [", "[],", "0]}", LARGE)),
            false,
        ),
        (
            "small objects",
            document(repeated("{\"a\": [", "{\"a\":0},", "0]}", LARGE)),
            false,
        ),
        (
            "a large text",
            document(repeated("{\"a\": \"", "x", "\"}", LARGE)),
            true,
        ),
    ];
    for (what, document, passes) in cases {
        let length = u64::try_from(document.len()).unwrap();
        let url = serve(document);
        let shim = Shim::start(&["--api_url", &url, "--ironic_api_version", "1.68"]);
        let before = shim.settle();
        let outcome = lookup(&shim);
        let memory = shim.memory("VmHWM").saturating_sub(before);
        println!(
            "lookup, {what:16} {:3} MiB  memory {:4} MiB",
            length / MIB,
            memory / MIB
        );
        let is_found = matches!(outcome, v1::lookup_response::Outcome::Session(_));
        assert_eq!(is_found, passes, "{what}");
        assert!(memory <= 4 * length, "{what}: {memory} bytes");
    }
}
