//! Many agents in one process, for measuring a gateway: the real agent, once for each of N
//! simulated machines, with an address and a disk of its own, and no port.
//!
//! ```text
//! cargo run --release -p ironic-agent --example fleet -- --agents 1000 --ironic 127.0.0.1:6385 \
//!     --conductor http://127.0.0.1:9998
//! ironic-shim --gateway_url http://127.0.0.1:9999 --conductor_listen 127.0.0.1:9998 \
//!     --api_url http://127.0.0.1:6385 --state_dir /tmp/gateway
//! ```
//!
//! `--ironic` serves what agents need of an Ironic API; without it the machines must be enrolled
//! in a real one. It is steered by HTTP, see `ironic.rs`; `make bench` measures a gateway so.
//! A line each second says what has happened. To see how a gateway takes agents
//! that are gone or stand still, end part of them by `--kill`, or run several fleets and stop
//! one of the processes by SIGSTOP.

mod arrivals;
mod count;
mod ironic;
mod machine;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing_subscriber::prelude::*;

use arrivals::Arrivals;
use count::Counts;
use ironic::StandIn;
use machine::{GatewayAccess, Machine};

/// Runs many agents in one process.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many.
    #[arg(long, default_value_t = 100)]
    agents: u32,
    /// The number of the first one: several fleets have machines of their own.
    #[arg(long, default_value_t = 0)]
    first: u32,
    #[command(flatten)]
    gateway: GatewayAccess,
    /// Serve a stand-in for the Ironic API at this address.
    #[arg(long)]
    ironic: Option<SocketAddr>,
    /// The heartbeat timeout that the stand-in tells, in seconds.
    #[arg(long, default_value_t = 300)]
    heartbeat_timeout: u32,
    /// Over how many seconds the agents start.
    #[arg(long, default_value_t = 10.0)]
    start_over: f64,
    /// End this share of the agents and start them again, `--kill-every` seconds.
    #[arg(long, default_value_t = 0.0)]
    kill: f64,
    /// Seconds from one `--kill` to the next.
    #[arg(long, default_value_t = 60)]
    kill_every: u64,
    /// Stop after this many seconds.
    #[arg(long)]
    seconds: Option<u64>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let counts = Counts::default();
    tracing_subscriber::registry().with(counts.clone()).init();
    let limit = raise_descriptor_limit()?;
    anyhow::ensure!(
        u64::from(arguments.agents) * 2 + 100 < limit,
        "{} agents need more than the {limit} descriptors of this process: raise ulimit -n",
        arguments.agents
    );
    let arrivals = Arc::new(Arrivals::default());
    let (restarts, restarted) = mpsc::unbounded_channel();
    if let Some(address) = arguments.ironic {
        let stand_in = StandIn {
            heartbeat_timeout: arguments.heartbeat_timeout,
            arrivals: Arc::clone(&arrivals),
            restarts,
        };
        ironic::serve(address, stand_in)
            .await
            .with_context(|| format!("cannot serve the stand-in for Ironic at {address}"))?;
    }
    let directory = tempfile::tempdir().context("no directory for the machines")?;
    let mut agents = Vec::new();
    let gap = Duration::from_secs_f64(arguments.start_over / f64::from(arguments.agents.max(1)));
    let gateway = Arc::new(arguments.gateway.clone());
    let started = Instant::now();
    tokio::spawn(report(counts, arrivals, started));
    for number in arguments.first..arguments.first + arguments.agents {
        let machine = Machine::create(directory.path(), number)?;
        let agent = tokio::spawn(machine.clone().run_agent(Arc::clone(&gateway)));
        agents.push((machine, agent));
        tokio::time::sleep(gap).await;
    }
    let ends = async {
        match arguments.seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = ends => {}
        () = restart(&arguments, restarted, &gateway, &mut agents) => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(())
}

/// Ends the first agents of the list and starts them again: as often as the arguments say, and
/// when the stand-in is asked for it.
async fn restart(
    arguments: &Arguments,
    mut asked: mpsc::UnboundedReceiver<f64>,
    gateway: &Arc<GatewayAccess>,
    agents: &mut [(Machine, JoinHandle<()>)],
) {
    let mut period = tokio::time::interval(Duration::from_secs(arguments.kill_every.max(1)));
    period.tick().await;
    loop {
        let share = tokio::select! {
            _ = period.tick() => arguments.kill,
            Some(share) = asked.recv() => share,
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a list"
        )]
        let ended = (agents.len() as f64 * share.clamp(0.0, 1.0)) as usize;
        for (machine, agent) in &mut agents[..ended] {
            agent.abort();
            *agent = tokio::spawn(machine.clone().run_agent(Arc::clone(gateway)));
        }
    }
}

/// A line each second.
async fn report(counts: Counts, arrivals: Arc<Arrivals>, started: Instant) {
    let mut before = 0;
    println!("seconds attached attaches lost beats beats_per_second memory_kib");
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let beats = arrivals.total();
        let now = counts.read();
        println!(
            "{:.0} {} {} {} {beats} {} {}",
            started.elapsed().as_secs_f64(),
            now.attaches.saturating_sub(now.losses),
            now.attaches,
            now.losses,
            beats - before,
            resident_kib().unwrap_or(0),
        );
        before = beats;
    }
}

/// The memory of this process.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn raise_descriptor_limit() -> anyhow::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum;
    let maximum = limit.maximum;
    setrlimit(Resource::Nofile, Rlimit { current, maximum })
        .context("the limit of descriptors cannot be raised")?;
    Ok(current.unwrap_or(u64::MAX))
}
