//! Prints how many heartbeats per second reach an Ironic that 10,000 agents lost and got
//! back, with our schedule and with a fixed retry of five seconds.
//!
//! `cargo run --release -p ironic-agent --example heartbeat_storm`

use std::time::Duration;

use ironic_agent::conductor::heartbeat::{InvalidTimeout, Timeout};
mod storm;

use storm::{Loss, Rate, Rule, Scenario, simulate};

fn main() -> Result<(), InvalidTimeout> {
    let timeout = Timeout::from_secs(300.0)?;
    println!("10,000 agents, heartbeat timeout 300 s; beats per second, peak / mean (ratio)");
    println!("storm: from 10 s after the loss until every agent is back");
    println!("landing: the 10 s after Ironic's return");
    println!("echo: regular beats afterwards; the mean is what 10,000 agents send anyhow\n");
    println!(
        "{:<12} {:>6}  {:<12} {:>24} {:>24} {:>24}",
        "loss", "outage", "rule", "storm", "landing", "echo"
    );
    for loss in [Loss::AtOnce, Loss::OneByOne] {
        for seconds in [10, 60, 300] {
            for rule in [Rule::Jittered, Rule::FixedRetry] {
                let outage = Duration::from_secs(seconds);
                let scenario = Scenario {
                    agents: 10_000,
                    timeout,
                    loss,
                    outage,
                    rule,
                    seed: 1,
                };
                let arrivals = simulate(&scenario);
                println!(
                    "{:<12} {:>4} s  {:<12} {:>24} {:>24} {:>24}",
                    match loss {
                        Loss::AtOnce => "at once",
                        Loss::OneByOne => "one by one",
                    },
                    seconds,
                    match rule {
                        Rule::Jittered => "ours",
                        Rule::FixedRetry => "fixed 5 s",
                    },
                    show(arrivals.storm()),
                    show(arrivals.landing(outage)),
                    show(arrivals.echo(&scenario)),
                );
            }
        }
    }
    Ok(())
}

fn show(rate: Rate) -> String {
    format!("{} / {:.0} ({:.2})", rate.peak, rate.mean, rate.ratio())
}
