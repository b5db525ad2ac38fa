//! Measures `FleetService.WatchNodes`: `watch_nodes [NODES] [CHANGES] [WATCHERS]`.
//!
//! Prints how long the first list of all nodes takes over a socket, how long a change takes to
//! each of the watchers, and what becomes of a watcher that does not read while more changes than
//! are kept for it. Ends by itself, after less than a minute with the numbers that are the default.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::fleet_service_client::FleetServiceClient;
use ironic_agent_protocol::v1::watch_nodes_response::Content;
use ironic_shim::agents::{AgentRegistry, Proofs};
use ironic_shim::config::ShimConfig;
use ironic_shim::fleet::{DrainRequests, Fleet, FleetAccess, FleetParts};
use ironic_shim::metrics::Metrics;
use ironic_transport::Listen;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use tonic_types::StatusExt as _;

/// The label that says when a change was made, in nanoseconds.
const CHANGED: &str = "changed";

const WINDOW: u32 = 65_535;

/// Changes while a watcher does not read: fewer than the gateway keeps, and more than it keeps
/// without cutting off who is behind.
const BURST: usize = 30_000;

fn uuid(number: usize) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

fn labels(changed: String) -> HashMap<String, String> {
    let rack = ("rack".to_owned(), "1".to_owned());
    [rack, (CHANGED.to_owned(), changed)].into()
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| match arguments.next() {
        Some(text) => text.parse().context("expected a number"),
        None => Ok(default),
    };
    let (nodes, changes, watchers) = (number(10_000)?, number(1000)?, number(10)?);
    let fleet = Fleet::default();
    for at in 0..nodes {
        fleet.describe(&uuid(at), &format!("node-{at}"), &labels(String::new()));
    }
    let state = std::env::temp_dir().join(format!("watch-nodes-{}", std::process::id()));
    let socket = serve(&fleet, &state).await?;
    let (sender, mut delays) = mpsc::channel(1024);
    let epoch = Instant::now();
    for at in 0..watchers {
        let begun = Instant::now();
        let watch = open(&socket, nodes).await?;
        if at == 0 {
            println!("first list of {nodes} nodes: {:?}", begun.elapsed());
        }
        tokio::spawn(watch_delays(watch, epoch, sender.clone()));
    }
    let expected = changes * watchers;
    let changed = fleet.clone();
    let changing = tokio::spawn(async move {
        for at in 0..changes {
            tokio::time::sleep(Duration::from_millis(2)).await;
            let now = epoch.elapsed().as_nanos().to_string();
            changed.describe(&uuid(at % nodes.max(1)), "", &labels(now));
        }
    });
    let mut all = Vec::with_capacity(expected);
    while all.len() < expected {
        all.push(delays.recv().await.context("the watches have ended")?);
    }
    changing.await?;
    all.sort_unstable();
    let at = |thousandths: usize| all.get(all.len() * thousandths / 1000);
    let (half, most, last) = (at(500), at(990), all.last());
    println!("{changes} changes to {watchers} watchers: p50 {half:?}, p99 {most:?}, max {last:?}");
    stall(&socket, &fleet, nodes).await?;
    std::fs::remove_dir_all(state)?;
    Ok(())
}

/// Opens a watch that is not read while the nodes change, until it is cut off; and goes on from its
/// last token. Fails if a change is lost, or heard twice.
async fn stall(socket: &str, fleet: &Fleet, nodes: usize) -> anyhow::Result<()> {
    anyhow::ensure!(nodes > 0, "without nodes nothing changes");
    let before = resident_kib()?;
    let mut watch = open(socket, nodes).await?;
    for number in 0..BURST {
        fleet.describe(&uuid(number % nodes), "", &labels(number.to_string()));
        if number % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    // The gateway looks every quarter of a second for who is about to lose its place.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let grown = resident_kib()?.saturating_sub(before);
    let mut heard = Heard::default();
    let status = heard.read(&mut watch).await?;
    let status = status.context("the watch that was not read goes on")?;
    let info = status.get_details_error_info();
    let reason = info.map(|info| info.reason).unwrap_or_default();
    anyhow::ensure!(reason == "WATCHER_SLOW", "it ends with {status:?}");
    let first = heard.numbers.len();
    let request = v1::WatchNodesRequest {
        resume_token: heard.token.clone(),
        selector: None,
    };
    let begun = Instant::now();
    let mut client = FleetServiceClient::new(connect(socket).await?);
    let mut watch = client.watch_nodes(request).await?.into_inner();
    let status = heard.read(&mut watch).await?;
    anyhow::ensure!(
        status.is_none(),
        "the watch that goes on has ended: {status:?}"
    );
    let expected: Vec<_> = (0..BURST).collect();
    anyhow::ensure!(heard.numbers == expected, "changes are lost or come twice");
    println!(
        "{BURST} changes to a watcher that does not read: cut off ({reason}) after {first}, \
         the others {:?} after it went on, 0 lost; {grown} KiB more in this process",
        begun.elapsed()
    );
    Ok(())
}

/// What a watcher has heard of the numbered changes.
#[derive(Default)]
struct Heard {
    numbers: Vec<usize>,
    token: String,
}

impl Heard {
    /// Reads up to the last of the changes, or to the status with which the watch ends.
    async fn read(
        &mut self,
        watch: &mut Streaming<v1::WatchNodesResponse>,
    ) -> anyhow::Result<Option<Status>> {
        while self.numbers.last() != Some(&(BURST - 1)) {
            let message = match watch.message().await {
                Ok(message) => message.context("a watch ends with a status")?,
                Err(status) => return Ok(Some(status)),
            };
            if !message.resume_token.is_empty() {
                self.token = message.resume_token;
            }
            let Some(Content::Events(events)) = message.content else {
                continue;
            };
            for event in events.events {
                let labels = event.node.unwrap_or_default().labels;
                let number = labels.get(CHANGED).context("a label is missing")?;
                self.numbers.push(number.parse()?);
            }
        }
        Ok(None)
    }
}

/// The memory of this process, which serves and watches.
fn resident_kib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("VmRSS is missing")?.parse()?)
}

/// A connection with the windows of HTTP/2 as they are by default: larger ones would take in thousands
/// of changes for a watcher that does not read.
async fn connect(socket: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(socket.to_owned())?;
    let endpoint = endpoint.initial_stream_window_size(WINDOW);
    let endpoint = endpoint.initial_connection_window_size(WINDOW);
    Ok(endpoint.connect().await?)
}

/// Reports how long each change took to come.
async fn watch_delays(
    mut watch: Streaming<v1::WatchNodesResponse>,
    epoch: Instant,
    delays: mpsc::Sender<Duration>,
) {
    while let Ok(Some(message)) = watch.message().await {
        let Some(Content::Events(events)) = message.content else {
            continue;
        };
        for event in events.events {
            let labels = event.node.unwrap_or_default().labels;
            let changed = labels.get(CHANGED).and_then(|at| at.parse().ok());
            let changed = Duration::from_nanos(changed.unwrap_or_default());
            let delay = epoch.elapsed().saturating_sub(changed);
            if delays.send(delay).await.is_err() {
                return;
            }
        }
    }
}

/// Serves the nodes at a socket. Answers its address.
async fn serve(fleet: &Fleet, state: &Path) -> anyhow::Result<String> {
    let socket = state.join("fleet.sock");
    let stop = CancellationToken::new();
    let parts = FleetParts {
        fleet: fleet.clone(),
        agents: AgentRegistry::of_gateway(Proofs::default(), Metrics::new(), None),
        access: FleetAccess::default(),
        follower: None,
        drain: DrainRequests::new(&stop, Duration::ZERO),
        stop: stop.clone(),
    };
    let config = ShimConfig {
        fleet_listen: Some(Listen::Unix(socket.clone())),
        state_dir: state.to_owned(),
        ..ShimConfig::default()
    };
    let open = parts.open(&config).await?.context("there is no listener")?;
    tokio::spawn(open.server.run(stop));
    Ok(format!("unix:{}", socket.display()))
}

/// Opens a watch and reads the whole list.
async fn open(socket: &str, nodes: usize) -> anyhow::Result<Streaming<v1::WatchNodesResponse>> {
    let mut client = FleetServiceClient::new(connect(socket).await?);
    let watch = client.watch_nodes(v1::WatchNodesRequest::default()).await?;
    let mut watch = watch.into_inner();
    let mut listed = 0;
    while let Some(message) = watch.message().await? {
        if let Some(Content::Nodes(list)) = message.content {
            listed += list.nodes.len();
            if list.complete {
                anyhow::ensure!(listed == nodes, "{listed} of {nodes} nodes");
                return Ok(watch);
            }
        }
    }
    anyhow::bail!("the watch has ended")
}
