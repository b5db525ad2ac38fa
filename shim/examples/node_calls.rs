//! Measures small calls of a node through a gateway: `node_calls URL NODE [CALLERS] [SECONDS] [PID]`,
//! where URL is its `fleet_listen` without TLS, `http://HOST:PORT` or `unix:PATH`. With an agent's
//! own `grpc_listen` as URL, the same calls go to the agent directly: it ignores NODE.
//!
//! Prints calls per second, and how long one takes; with PID, the process that is called, also the
//! calls for each second of processor time that it took. Each caller has a connection of its own and
//! one call at a time. `tests/bench/fleet` runs it.

use std::time::{Duration, Instant};

use anyhow::Context;
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command_service_client::CommandServiceClient;
use tokio::task::JoinSet;
use tonic::Request;
use tonic::transport::Endpoint;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context("URL is missing")?;
    let node = arguments.next().context("NODE is missing")?;
    let mut number = |default: u64| match arguments.next() {
        Some(text) => text.parse().context("expected a number"),
        None => Ok(default),
    };
    let (callers, seconds) = (number(16)?, number(10)?);
    let time = Duration::from_secs(seconds);
    let pid = arguments.next();
    let before = pid.as_deref().map(processor_time).transpose()?;
    let mut running = JoinSet::new();
    for _ in 0..callers {
        running.spawn(call(url.clone(), node.clone(), time));
    }
    let mut taken = Vec::new();
    while let Some(ended) = running.join_next().await {
        taken.extend(ended??);
    }
    taken.sort_unstable();
    let at = |thousandths: usize| taken.get(taken.len() * thousandths / 1000);
    let per_second = taken.len() as u64 / seconds.max(1);
    println!(
        "{callers} callers: {per_second} calls/s, p50 {:?}, p99 {:?}, max {:?}",
        at(500),
        at(990),
        taken.last()
    );
    if let (Some(pid), Some(before)) = (pid, before) {
        let used = processor_time(&pid)?.saturating_sub(before);
        // In hundredths of a second.
        let per_second = taken.len() as u64 * 100 / used.max(1);
        println!("{per_second} calls per second of processor time of {pid}");
    }
    Ok(())
}

/// What a process has used, in hundredths of a second: the unit of Linux for user space.
fn processor_time(pid: &str) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    // The name of the program, which may hold blanks, ends with the last parenthesis.
    let (_, rest) = text.rsplit_once(')').context("no such file is known")?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut next = || fields.next().and_then(|field| field.parse::<u64>().ok());
    let (user, system) = (next(), next());
    user.zip(system)
        .map(|(user, system)| user + system)
        .with_context(|| format!("{path} is not understood"))
}

/// Calls for some time. Answers how long each call took.
async fn call(url: String, node: String, time: Duration) -> anyhow::Result<Vec<Duration>> {
    let channel = Endpoint::from_shared(url)?.connect().await?;
    let mut calls = CommandServiceClient::new(channel);
    let mut taken = Vec::new();
    let end = Instant::now() + time;
    while Instant::now() < end {
        let mut request = Request::new(v1::GetStatusRequest {});
        request.metadata_mut().insert("node-uuid", node.parse()?);
        let begun = Instant::now();
        calls.get_status(request).await?;
        taken.push(begun.elapsed());
    }
    Ok(taken)
}
