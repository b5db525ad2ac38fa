//! Several gateways that share their nodes, with a real NATS server between them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use ironic_shim::config::ShimConfig;
use ironic_transport::Listen;
use tempfile::TempDir;

use super::gateway::gateway_config;
use super::ironic::FakeIronic;
use super::shim::{Shim, free_port};
use super::tls::Authority;

/// A program of `tests/programs.list`. `None`, with a line, where there are none; in CI that is a
/// failure.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let Some(bin) = std::env::var_os("TEST_PROGRAMS") else {
        assert!(std::env::var_os("CI").is_none(), "TEST_PROGRAMS is not set");
        eprintln!("SKIPPED: needs {name} of TEST_PROGRAMS; run `make unit`");
        return None;
    };
    Some(Path::new(&bin).join(name))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the agent does not run this program"
)]
fn command(program: &Path) -> Command {
    Command::new(program)
}

/// A NATS server on loopback. Dropping it kills it.
pub(crate) struct NatsServer {
    program: PathBuf,
    arguments: Vec<String>,
    port: u16,
    running: Option<Child>,
}

impl NatsServer {
    /// Starts one.
    pub(crate) fn start(arguments: &[&str]) -> Option<Self> {
        let mut server = Self {
            program: program("nats-server")?,
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
            port: free_port(),
            running: None,
        };
        server.run();
        Some(server)
    }

    /// What option `directory` says.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Starts it, again at the same address, and waits until it accepts.
    pub(crate) fn run(&mut self) {
        let port = self.port.to_string();
        let child = command(&self.program)
            .args(["--addr", "127.0.0.1", "--port", &port])
            .args(&self.arguments)
            .stderr(Stdio::null())
            .spawn();
        self.running = Some(child.unwrap());
        let end = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < end, "nats-server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill().unwrap();
            running.wait().unwrap();
        }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What the replicas of a site share.
pub(crate) struct Site {
    pub(crate) ironic: FakeIronic,
    pub(crate) nats: NatsServer,
    pub(crate) authority: Authority,
    /// Certificates, and a state directory for each replica.
    pub(crate) directory: TempDir,
    gateway_url: String,
}

impl Site {
    /// A site without replicas.
    pub(crate) async fn new() -> Option<Self> {
        let nats = NatsServer::start(&[])?;
        Some(Self {
            ironic: FakeIronic::start().await,
            nats,
            authority: Authority::new(),
            directory: tempfile::tempdir().unwrap(),
            // Nobody listens there: what a load balancer would do is done by the test.
            gateway_url: format!("http://127.0.0.1:{}", free_port()),
        })
    }

    /// The configuration of one replica.
    pub(crate) fn config(&self) -> ShimConfig {
        let state = tempfile::tempdir_in(self.directory.path()).unwrap();
        let signed = self.authority.sign();
        let write = |name: &str, text: &str| {
            let path = state.path().join(name);
            fs::write(&path, text).unwrap();
            Some(path)
        };
        let peer = free_port();
        let config = ShimConfig {
            gateway_url: Some(self.gateway_url.parse().unwrap()),
            directory: vec![self.nats.url()],
            peer_listen: Some(Listen::Tcp(([127, 0, 0, 1], peer).into())),
            peer_url: Some(format!("https://127.0.0.1:{peer}").parse().unwrap()),
            peer_tls_cert_file: write("peer.crt", &signed.pem),
            peer_tls_key_file: write("peer.key", &signed.key),
            peer_tls_ca_file: write("peer-ca.crt", &self.authority.pem),
            ..gateway_config(&self.ironic, &state)
        };
        // It goes with the directory of the site.
        let _ = state.keep();
        config
    }

    /// Starts a replica.
    pub(crate) async fn replica(&self) -> Shim {
        Shim::start(self.config()).await
    }
}

/// Calls the listener of a replica for the others as curl does, with a certificate.
pub(crate) async fn curl(shim: &Shim, identity: Option<(&Path, &Path)>, path: &str) -> Output {
    let config = &shim.config;
    let mut curl = command(&program("curl").unwrap());
    curl.args(["--silent", "--show-error", "--max-time", "20", "--include"])
        .arg("--cacert")
        .arg(config.peer_tls_ca_file.as_ref().unwrap());
    if let Some((certificate, key)) = identity {
        curl.arg("--cert").arg(certificate).arg("--key").arg(key);
    }
    let url = config.peer_url.as_ref().unwrap();
    let node = super::ironic::NODE;
    curl.args(["--header", &format!("Ironic-Node: {node}")])
        .args(["--header", "Ironic-Origin: http 80 127.0.0.1:1"])
        .arg(format!("{url}{path}"));
    // The cable to the agent is moved by this thread.
    let ended = tokio::task::spawn_blocking(move || curl.output().unwrap());
    ended.await.unwrap()
}
