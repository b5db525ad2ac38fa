//! A reference orchestrator: deploys the nodes that a file names, through a gateway, and reports.
//!
//! `orchestrator-rust --gateway https://gw.example:9997 --ca gw-ca.crt --cert me.crt --key me.key
//! DEPLOYMENTS.json`
//!
//! The file maps names or UUIDs of nodes to what each is to hold:
//!
//! `{"rack1-1": {"image": {"urls": ["https://images.example/debian-12.raw"], "sha256": "..."}}}`
//!
//! Each node is deployed as soon as its agent can be called, through this gateway or another one:
//! inventory, plan, erase, write, reboot. The identifiers of the commands are made of the file's
//! content, and what became of them is kept beside it: an orchestrator that is started again goes
//! on where it was, and gives no order to another boot of the machine. `--run NAME` makes them
//! others.

mod client;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use client::{AgentNode, AnyError, Gateway};
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command::Verb;
use ironic_agent_protocol::v1::watch_command_response::Event;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What one node is to hold.
#[derive(Debug, Clone, Deserialize)]
struct Deployment {
    image: ImageSource,
}

#[derive(Debug, Clone, Deserialize)]
struct ImageSource {
    urls: Vec<String>,
    sha256: String,
}

/// What is done to a node, in this order.
fn commands(image: &ImageSource) -> [(&'static str, Verb); 3] {
    let mut erase = v1::EraseCommand::default();
    let policy = erase.policy.insert(v1::ErasePolicy::default());
    policy.set_scope(v1::EraseScope::Metadata);
    let digest = v1::ImageDigest {
        algorithm: v1::DigestAlgorithm::Sha256.into(),
        value: image.sha256.clone(),
        ..v1::ImageDigest::default()
    };
    let write = v1::WriteImageCommand {
        image: Some(v1::Image {
            urls: image.urls.clone(),
            digest: Some(digest),
            ..v1::Image::default()
        }),
        ..v1::WriteImageCommand::default()
    };
    [
        ("erase", Verb::Erase(erase)),
        ("write", Verb::WriteImage(write)),
        ("reboot", Verb::RunImage(v1::RunImageCommand::default())),
    ]
}

/// A UUID that the same text always gives.
fn identifier(text: &str) -> String {
    let digest = Sha256::digest(text);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = (
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..32],
    );
    format!(
        "{}-{}-8{}-8{}-{}",
        parts.0, parts.1, parts.2, parts.3, parts.4
    )
}

/// Takes a node to its image.
async fn deploy(
    name: &str,
    node: &AgentNode,
    image: &ImageSource,
    run: &str,
    seconds: &mut BTreeMap<&'static str, f64>,
) -> Result<(), AnyError> {
    let inventory = ironic_document::object(node.inventory().await?, "inventory")?;
    let (cpu, disks) = (&inventory["cpu"]["count"], &inventory["disks"]);
    let disks: Vec<&Value> = disks.as_array().into_iter().flatten().collect();
    eprintln!("{name}: {cpu} CPUs, {} disks", disks.len());
    for (step, verb) in commands(image) {
        let began = Instant::now();
        let command = v1::Command {
            verb: Some(verb),
            ..v1::Command::default()
        };
        for action in node.plan(&command).await?.actions {
            eprintln!("{name}: {step}: {}", action.description);
        }
        let order = v1::ExecuteCommandRequest {
            id: identifier(&format!("{run}/{name}/{step}")),
            command: Some(command),
            ..v1::ExecuteCommandRequest::default()
        };
        let record = node.execute(order, |event| {
            if let Event::Milestone(milestone) = event {
                eprintln!("{name}: {step}: {}", milestone.text);
            }
        });
        match record.await? {
            Some(record) if record.state() == v1::CommandState::Succeeded => {}
            Some(record) => {
                let failure = record.failure.unwrap_or_default();
                return Err(format!("{step}: {}: {}", failure.kind, failure.details).into());
            }
            // That the machine boots is what was ordered.
            None if step == "reboot" => {}
            None => return Err(format!("{step}: the machine has booted again").into()),
        }
        seconds.insert(step, began.elapsed().as_secs_f64());
    }
    Ok(())
}

/// The node's part of the report. What goes wrong is in it.
async fn report(name: String, node: AgentNode, job: Deployment, run: String) -> Value {
    let mut seconds = BTreeMap::new();
    let done = deploy(&name, &node, &job.image, &run, &mut seconds).await;
    let state = if done.is_ok() { "deployed" } else { "failed" };
    eprintln!("{name}: {state}");
    let error = done.err().map(|error| error.to_string());
    json!({"node": name, "state": state, "seconds": seconds, "error": error})
}

/// Watches the fleet and deploys each node of the file when it is there.
async fn orchestrate(
    gateway: Gateway,
    deployments: &BTreeMap<String, Deployment>,
    run: &str,
) -> Result<Vec<Value>, AnyError> {
    let (seen, mut nodes) = mpsc::unbounded_channel();
    let watch = client::watch(gateway.channel.clone(), move |node| {
        let _ = seen.send(node);
    });
    let mut watching = tokio::spawn(watch);
    let (mut begun, mut deploying) = (HashSet::new(), JoinSet::new());
    while begun.len() < deployments.len() {
        let node: v1::Node = tokio::select! {
            Some(node) = nodes.recv() => node,
            ended = &mut watching => return Err(ended?.err().map_or("the watch ended".into(), Into::into)),
        };
        let known = |name: &String| deployments.get_key_value(name);
        let Some((name, job)) = known(&node.name).or_else(|| known(&node.uuid)) else {
            continue;
        };
        let there = [v1::NodeState::Attached, v1::NodeState::Elsewhere];
        if there.contains(&node.state()) && begun.insert(name.clone()) {
            let agent = gateway.node(node.uuid);
            deploying.spawn(report(name.clone(), agent, job.clone(), run.to_owned()));
        }
    }
    watching.abort();
    Ok(deploying.join_all().await)
}

#[tokio::main]
async fn main() -> Result<ExitCode, AnyError> {
    let mut options = BTreeMap::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = argument.starts_with("--").then(|| arguments.next());
        match value.flatten() {
            Some(value) => options.insert(argument, value),
            None => options.insert("file".to_owned(), argument),
        };
    }
    let file = options
        .get("file")
        .ok_or("the file of deployments is missing")?;
    let text = fs::read_to_string(file)?;
    let deployments: BTreeMap<String, Deployment> = serde_json::from_str(&text)?;
    let run = options.get("--run").unwrap_or(&text);
    let reports = orchestrate(client::connect(&options)?, &deployments, run).await?;
    println!("{}", serde_json::to_string_pretty(&reports)?);
    let deployed = reports.iter().all(|report| report["state"] == "deployed");
    Ok(ExitCode::from(u8::from(!deployed)))
}
