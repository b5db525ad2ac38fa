//! The page of a gateway with as many nodes as wanted, of which some change all the time:
//!
//!     cargo run --release --example crowded_page -- 10000 300
//!
//! serves 10,000 nodes with 300 changes per second at a free port of the loopback address and prints
//! the URL. A third argument is where the same nodes are served by `FleetService`: `unix:PATH` or
//! `ADDRESS:PORT`. Nothing of it is real; `tests/page/run` measures a browser with it, and
//! `tests/bench/agentctl` a watch.

mod crowd;

use std::time::Duration;

use anyhow::Context;
use ironic_shim::agents::{AgentRegistry, Proofs};
use ironic_shim::config::ShimConfig;
use ironic_shim::fleet::{DrainRequests, Fleet, FleetAccess, FleetParts, FleetViewer};
use ironic_shim::metrics::Metrics;
use ironic_shim::page::{PageServer, PageService};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crowd::Crowd;

/// How often nodes change.
const TICK: Duration = Duration::from_millis(20);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut numbers = std::env::args()
        .skip(1)
        .take(2)
        .map(|text| text.parse::<u32>());
    let mut number = |name, default| {
        let given = numbers.next().unwrap_or(Ok(default));
        given.with_context(|| {
            format!("usage: crowded_page [NODES [CHANGES [FLEET]]]: {name} is no number")
        })
    };
    let (nodes, changes) = (number("NODES", 10_000)?, number("CHANGES", 300)?);
    let fleet = Fleet::default();
    let viewer = FleetViewer::new(fleet.clone(), FleetAccess::default());
    let service = PageService::new(viewer, Metrics::new(), "localhost");
    let listen = "127.0.0.1:0".parse()?;
    let server = PageServer::bind(&listen, &ShimConfig::default(), service).await?;
    if let Some(listen) = std::env::args().nth(3) {
        serve_fleet(fleet.clone(), &listen).await?;
    }
    let mut crowd = Crowd::new(fleet, nodes);
    println!("http://{}/", server.listen);
    tokio::spawn(server.serve(CancellationToken::new()));
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut owed = 0.0;
    loop {
        ticks.tick().await;
        owed += f64::from(changes) * TICK.as_secs_f64();
        while owed >= 1.0 {
            owed -= 1.0;
            crowd.change();
        }
    }
}

/// Serves the nodes by gRPC. No agent is attached: they are only seen.
async fn serve_fleet(fleet: Fleet, listen: &str) -> anyhow::Result<()> {
    let config = ShimConfig {
        fleet_listen: Some(listen.parse()?),
        insecure_fleet_listen: true,
        ..ShimConfig::default()
    };
    let stop = CancellationToken::new();
    let parts = FleetParts {
        fleet,
        agents: AgentRegistry::new(Proofs::new(&std::env::temp_dir())),
        access: FleetAccess::default(),
        follower: None,
        drain: DrainRequests::new(&stop, Duration::ZERO),
        stop: stop.clone(),
    };
    let open = parts.open(&config).await?;
    let open = open.context("FLEET names no address")?;
    tokio::spawn(open.server.run(stop));
    Ok(())
}
