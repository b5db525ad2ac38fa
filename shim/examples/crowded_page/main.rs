//! The page of a gateway with as many nodes as wanted, of which some change all the time:
//!
//!     cargo run --release --example crowded_page -- 10000 300
//!
//! serves 10,000 nodes with 300 changes per second at a free port of the loopback address and prints
//! the URL. Nothing of it is real; `tests/page/run` measures a browser with it.

mod crowd;

use std::time::Duration;

use anyhow::Context;
use ironic_shim::config::ShimConfig;
use ironic_shim::fleet::{Fleet, FleetAccess, FleetViewer};
use ironic_shim::metrics::Metrics;
use ironic_shim::page::{PageServer, PageService};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crowd::Crowd;

/// How often nodes change.
const TICK: Duration = Duration::from_millis(20);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u32>());
    let mut number = |name, default| {
        let given = numbers.next().unwrap_or(Ok(default));
        given.with_context(|| format!("usage: crowded_page [NODES [CHANGES]]: {name} is no number"))
    };
    let (nodes, changes) = (number("NODES", 10_000)?, number("CHANGES", 300)?);
    let fleet = Fleet::default();
    let viewer = FleetViewer::new(fleet.clone(), FleetAccess::default());
    let service = PageService::new(viewer, Metrics::new(), "localhost");
    let listen = "127.0.0.1:0".parse()?;
    let server = PageServer::bind(&listen, &ShimConfig::default(), service).await?;
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
