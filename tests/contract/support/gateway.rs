//! A gateway, and real agents that listen nowhere, each with a life of its own.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ironic_agent::app;
use ironic_agent::config::{AgentConfig, GrpcListen, Shared};
use ironic_agent::system::{PathPrefix, System};
use ironic_program::CommonSettings;
use ironic_shim::config::ShimConfig;
use ironic_transport::Endpoint;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

use super::http::{Answer, Line};
use super::ironic::{FakeIronic, NODE, TOKEN};
use super::shim::{Shim, config};

/// A gateway without TLS on loopback.
pub fn gateway_config(ironic: &FakeIronic, state: &TempDir) -> ShimConfig {
    let config = config(&[&ironic.url], state);
    let url = format!("http://127.0.0.1:{}", config.listen_port);
    ShimConfig {
        gateway_url: Some(url.parse().unwrap()),
        ..config
    }
}

/// A request below the URL of the recorded node.
pub async fn ask(shim: &Shim, method: &str, path: &str, body: &[u8]) -> Answer {
    ask_node(shim.rest, NODE, TOKEN, method, path, body).await
}

/// A request below the URL of a node. The connection is its own.
pub async fn ask_node(
    gateway: SocketAddr,
    node: &str,
    token: &str,
    method: &str,
    path: &str,
    body: &[u8],
) -> Answer {
    let target = format!("/nodes/{node}{path}?agent_token={token}&wait=true");
    let mut line = Line::open(gateway).await;
    line.ask(method, &target, "", body).await
}

/// What a synchronous command that changes nothing is sent as.
pub const SYNC: &[u8] = br#"{"name": "standby.sync", "params": {}}"#;

/// A machine: its disks, its addresses, and what its agent keeps.
pub struct Machine {
    directory: TempDir,
}

impl Machine {
    /// A machine with one card and one disk of 16 MiB.
    pub fn new() -> Self {
        Self::with_address("52:54:00:e2:e0:01")
    }

    /// The same with this address of the card.
    pub fn with_address(mac: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        let card = root.join("sys/class/net/simulated0");
        // Nothing is mounted: without the kernel's list no disk is erased.
        fs::create_dir_all(root.join("proc/self")).unwrap();
        fs::write(root.join("proc/self/mounts"), "").unwrap();
        fs::create_dir_all(&card).unwrap();
        fs::write(card.join("address"), format!("{mac}\n")).unwrap();
        fs::create_dir_all(root.join("sys/devices/card")).unwrap();
        symlink("../../../devices/card", card.join("device")).unwrap();
        fs::create_dir(directory.path().join("disks")).unwrap();
        let disk = fs::File::create(directory.path().join("disks/sda")).unwrap();
        disk.set_len(16 * 1024 * 1024).unwrap();
        let machine = Self { directory };
        machine.boot("11111111-1111-1111-1111-111111111111");
        machine
    }

    /// From now on this is another boot.
    pub fn boot(&self, boot_id: &str) {
        let random = self.directory.path().join("root/proc/sys/kernel/random");
        fs::create_dir_all(&random).unwrap();
        fs::write(random.join("boot_id"), boot_id).unwrap();
    }

    /// Its disk.
    pub fn disk(&self) -> std::path::PathBuf {
        self.directory.path().join("disks/sda")
    }

    /// Where its agent keeps what must survive a restart.
    pub fn state(&self) -> std::path::PathBuf {
        self.directory.path().join("state")
    }

    /// Starts its agent, which calls the gateway at these addresses.
    pub fn start_agent(&self, conductor: &str) -> AttachedAgent {
        self.start_agent_with(conductor, |config| config)
    }

    /// The same with other options.
    pub fn start_agent_with(
        &self,
        conductor: &str,
        change: impl FnOnce(AgentConfig) -> AgentConfig,
    ) -> AttachedAgent {
        let config = AgentConfig {
            common: CommonSettings::default(),
            grpc_listen: GrpcListen::Nowhere,
            conductor: conductor.parse().unwrap(),
            state_dir: self.state(),
            simulate: Some(self.directory.path().join("disks")),
            lookup_interval: Duration::from_millis(100),
            ..AgentConfig::default()
        };
        AttachedAgent::start(self.directory.path(), change(config))
    }
}

/// The process of an agent. Dropping it kills it.
pub struct AttachedAgent(Option<Runtime>);

impl AttachedAgent {
    fn start(directory: &Path, config: AgentConfig) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let mut system = System::simulated(directory.join("disks"));
        system.root = PathPrefix::new(directory.join("root"));
        runtime.spawn(async move {
            let ended = app::serve(Shared::new(config), system).await;
            eprintln!("the agent has ended: {ended:?}");
        });
        Self(Some(runtime))
    }
}

impl Drop for AttachedAgent {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A TCP proxy whose connections can be cut.
pub struct Cable {
    /// Where it listens.
    pub url: String,
    /// Where new connections lead to.
    target: Arc<Mutex<String>>,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
    stalled: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Cable {
    /// Leads to the gRPC services of a gateway.
    pub async fn to(gateway: &Shim) -> Self {
        Self::to_address(address(gateway)).await
    }

    /// The same, with so many bytes per second in each direction.
    pub async fn slow(gateway: &Shim, bytes_per_second: usize) -> Self {
        Self::open(address(gateway), Some(bytes_per_second)).await
    }

    /// The same as [`Self::to`], to any `HOST:PORT`.
    pub async fn to_address(target: String) -> Self {
        Self::open(target, None).await
    }

    async fn open(target: String, rate: Option<usize>) -> Self {
        let target = Arc::new(Mutex::new(target));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections: Arc<Mutex<Vec<AbortHandle>>> = Arc::default();
        let stalled = watch::Sender::new(false);
        let accepting = tokio::spawn({
            let (connections, target) = (Arc::clone(&connections), Arc::clone(&target));
            let stalled = stalled.clone();
            async move {
                while let Ok((mut near, _)) = listener.accept().await {
                    let target = target.lock().unwrap().clone();
                    let mut stalled = stalled.subscribe();
                    let carrying = tokio::spawn(async move {
                        let Ok(mut far) = TcpStream::connect(&target).await else {
                            return;
                        };
                        let stalled = async { drop(stalled.wait_for(|stalled| *stalled).await) };
                        let carry = async {
                            match rate {
                                Some(rate) => carry_slowly(near, far, rate).await,
                                None => copy_bidirectional(&mut near, &mut far).await.map(|_| ()),
                            }
                        };
                        tokio::select! {
                            _ = carry => {}
                            // Both ends stay open.
                            () = stalled => std::future::pending().await,
                        }
                    });
                    connections.lock().unwrap().push(carrying.abort_handle());
                }
            }
        });
        Self {
            url,
            target,
            connections,
            stalled,
            accepting,
        }
    }

    /// From now on nothing is carried, and no end hears of it: as if the machine behind it were
    /// gone.
    pub fn stall(&self) {
        self.stalled.send_replace(true);
    }

    /// From now on new connections lead to another gateway.
    pub fn lead_to(&self, gateway: &Shim) {
        *self.target.lock().unwrap() = address(gateway);
    }

    /// Ends the connections that there are.
    pub fn cut(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            connection.abort();
        }
    }
}

/// Carries so many bytes per second in each direction, until one of them ends.
async fn carry_slowly(near: TcpStream, far: TcpStream, rate: usize) -> io::Result<()> {
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    tokio::select! {
        ended = copy_slowly(near_in, far_out, rate) => ended,
        ended = copy_slowly(far_in, near_out, rate) => ended,
    }
}

async fn copy_slowly(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    rate: usize,
) -> io::Result<()> {
    let mut part = vec![0; rate / 50];
    loop {
        let length = from.read(&mut part).await?;
        if length == 0 {
            return Ok(());
        }
        to.write_all(&part[..length]).await?;
        tokio::time::sleep(Duration::from_secs_f64(length as f64 / rate as f64)).await;
    }
}

fn address(gateway: &Shim) -> String {
    match gateway.url.parse().unwrap() {
        Endpoint::Http(url) => url.trim_start_matches("http://").to_owned(),
        other => panic!("{other}"),
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}
