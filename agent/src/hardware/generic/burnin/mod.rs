//! Steps `burnin_cpu`, `burnin_gpu`, `burnin_disk`, `burnin_memory`, `burnin_network`: load for
//! hours or days, so that what is going to break breaks before it is needed.
//!
//! Options stand in the node's `driver_info`; their values are handed to the programs as they
//! are.

use std::borrow::Cow;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::Value;

use crate::config::Config;
use crate::disk::erase::guard::{self, Scope, Selection};
use crate::failure::{Failure, FailureKind};
use crate::hardware::{
    Action, Description, Object, Offer, Phase, Planning, Running, Step, StepContext,
};
use crate::machine::ironic_node::Node;
use crate::system::{Cmd, Output, RunError};

mod disk;
mod network;
mod pairing;

/// One of the steps.
#[derive(Debug)]
pub(super) struct BurnIn {
    description: Description,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cpu,
    Gpu,
    Disk,
    Memory,
    Network,
}

const fn step(name: &'static str, kind: Kind) -> BurnIn {
    BurnIn {
        description: Description {
            name: Cow::Borrowed(name),
            interface: Cow::Borrowed("deploy"),
            reboot_requested: false,
            arguments: Cow::Borrowed(&[]),
        },
        kind,
    }
}

/// Processors.
pub(super) static CPU: BurnIn = step("burnin_cpu", Kind::Cpu);
/// Graphics cards.
pub(super) static GPU: BurnIn = step("burnin_gpu", Kind::Gpu);
/// Disks: what is on them is lost.
pub(super) static DISK: BurnIn = step("burnin_disk", Kind::Disk);
/// Memory.
pub(super) static MEMORY: BurnIn = step("burnin_memory", Kind::Memory);
/// The network, with a partner.
pub(super) static NETWORK: BurnIn = step("burnin_network", Kind::Network);

/// The programs end by themselves; this is for those that do not.
const LONGEST: Duration = Duration::from_secs(60 * 24 * 3600);
/// Bytes of what they say that are kept.
const OUTPUT: usize = 1 << 20;

impl Step for BurnIn {
    fn description(&self) -> &Description {
        &self.description
    }

    fn offer(&self, phase: Phase, _config: &Config) -> Option<Offer> {
        match phase {
            Phase::Clean => Some(Offer::abortable_at(0)),
            Phase::Deploy => None,
            // A node in service holds data.
            Phase::Service => (self.kind != Kind::Disk).then(|| Offer::abortable_at(0)),
        }
    }

    fn plan<'a>(&'a self, ctx: StepContext<'a>, _arguments: &'a Object) -> Planning<'a> {
        async move {
            let only = |command: &Cmd| Action {
                description: format!("Run {command}"),
                ..Action::default()
            };
            Ok(match self.kind {
                Kind::Cpu => vec![only(&cpu(ctx.node))],
                Kind::Memory => vec![only(&memory(ctx.node))],
                Kind::Gpu => vec![only(&gpu(ctx.node).1)],
                Kind::Network => network::plan(ctx.node)?
                    .into_iter()
                    .map(|description| Action {
                        description,
                        ..Action::default()
                    })
                    .collect(),
                Kind::Disk => {
                    let selection = select(ctx).await?;
                    let mut actions = vec![only(&disk::command(ctx.node, &names(&selection)))];
                    actions.extend(names(&selection).into_iter().map(|name| Action {
                        description: format!("Overwrite {name} with test patterns"),
                        device: name,
                        destructive: true,
                    }));
                    actions
                }
            })
        }
        .boxed()
    }

    fn run<'a>(&'a self, ctx: StepContext<'a>, _arguments: &'a Object) -> Running<'a> {
        async move {
            match self.kind {
                Kind::Cpu => said(&execute(ctx, cpu(ctx.node)).await?.stderr),
                Kind::Memory => said(&execute(ctx, memory(ctx.node)).await?.stderr),
                Kind::Gpu => burn_gpus(ctx).await?,
                Kind::Network => network::run(ctx).await?,
                Kind::Disk => {
                    let selection = select(ctx).await?;
                    for (name, reason) in &selection.left_alone {
                        ctx.task.warn(format!("{name} is left alone: {reason}"));
                    }
                    disk::run(ctx, &names(&selection)).await?;
                }
            }
            Ok(Value::Null)
        }
        .boxed()
    }
}

/// Disks whose content may be lost: the same rules as for erasing them.
async fn select(ctx: StepContext<'_>) -> Result<Selection, Failure> {
    let guard = ctx.config.guard_special_filesystems;
    guard::select(ctx.system, ctx.node, guard, Scope::Disks).await
}

fn names(selection: &Selection) -> Vec<String> {
    let mut names: Vec<_> = selection
        .erasable
        .iter()
        .map(|erasable| erasable.device().name.clone())
        .collect();
    names.sort();
    names
}

/// An option of the node as text; `None` when it is absent, null or empty.
fn option(node: &Node, name: &str) -> Option<String> {
    let value = node.value("driver_info", &format!("agent_burnin_{name}"))?;
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    (!text.is_empty()).then_some(text)
}

fn option_or(node: &Node, name: &str, default: &str) -> String {
    option(node, name).unwrap_or_else(|| default.to_owned())
}

/// Runs a program until it ends or the step is cancelled, which kills it.
async fn execute(ctx: StepContext<'_>, command: Cmd) -> Result<Output, Failure> {
    let line = command.to_string();
    tracing::info!(command = %line, "burn-in");
    tokio::select! {
        output = ctx.system.run.run(command.timeout(LONGEST).tail(OUTPUT).ends_with_agent()) => {
            output.map_err(|error| failed(&line, error))
        }
        () = ctx.task.cancelled() => Err(ctx.task.cancellation()),
    }
}

fn failed(line: &str, error: RunError) -> Failure {
    if let RunError::Missing { program } = error {
        let details = format!("Burn-in failed: {program} is not in this ramdisk ({line})");
        return Failure {
            program: Some(program),
            ..Failure::execution(details)
        };
    }
    error.failure(FailureKind::CommandExecution, "Burn-in failed")
}

/// Results are for the log, where whoever burns machines in collects them.
fn said(output: &[u8]) {
    for line in String::from_utf8_lossy(output).lines() {
        tracing::info!("burn-in: {line}");
    }
}

fn cpu(node: &Node) -> Cmd {
    let log = option(node, "cpu_outputfile");
    Cmd::new("stress-ng")
        .args(["--cpu".to_owned(), option_or(node, "cpu_cpu", "0")])
        .args([
            "--timeout".to_owned(),
            option_or(node, "cpu_timeout", "86400"),
        ])
        .arg("--metrics-brief")
        .args(
            log.into_iter()
                .flat_map(|file| ["--log-file".to_owned(), file]),
        )
}

fn memory(node: &Node) -> Cmd {
    let log = option(node, "vm_outputfile");
    Cmd::new("stress-ng")
        .args(["--vm".to_owned(), option_or(node, "vm_vm", "0")])
        .args([
            "--timeout".to_owned(),
            option_or(node, "vm_timeout", "86400"),
        ])
        .args([
            "--vm-bytes".to_owned(),
            option_or(node, "vm_vm-bytes", "98%"),
        ])
        .arg("--metrics-brief")
        .args(
            log.into_iter()
                .flat_map(|file| ["--log-file".to_owned(), file]),
        )
}

/// How the cards are listed, and how they are burnt in.
fn gpu(node: &Node) -> (Cmd, Cmd) {
    let directory = option_or(node, "gpu_install_dir", "/opt/gpu-burn");
    let program = || Cmd::new("./gpu_burn").directory(&directory);
    let burn = program()
        .args(["-m".to_owned(), option_or(node, "gpu_memory", "95%")])
        .arg(option_or(node, "gpu_timeout", "86400"));
    (program().arg("-l"), burn)
}

async fn burn_gpus(ctx: StepContext<'_>) -> Result<(), Failure> {
    let (list, burn) = gpu(ctx.node);
    let told = option_or(ctx.node, "gpu_count", "0");
    let expected: usize = told.parse().map_err(|_| {
        cleaning(format!(
            "agent_burnin_gpu_count must be a whole number, not '{told}'"
        ))
    })?;
    if expected > 0 {
        let listed = execute(ctx, list).await?.text();
        let found = listed.lines().filter(|line| line.starts_with("ID")).count();
        if found != expected {
            return Err(cleaning(format!(
                "gpu_burn found {found} graphics cards, agent_burnin_gpu_count is {expected}"
            )));
        }
    }
    said(&execute(ctx, burn).await?.stdout);
    Ok(())
}

fn cleaning(details: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Cleaning, details)
}

#[cfg(test)]
mod tests;
