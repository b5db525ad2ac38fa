//! Steps `burnin_cpu`, `burnin_gpu`, `burnin_disk`, `burnin_memory`, `burnin_network`: load for
//! hours or days, so that what is going to break breaks before it is needed.
//!
//! Options stand in the node's `driver_info`; their values are handed to the programs as they
//! are.

use std::borrow::Cow;

use futures_util::FutureExt as _;
use ironic_document::JsonObject;
use serde_json::Value;

use error::BurnInError;
use program::{execute, log_output};

use crate::config::AgentConfig;
use crate::disk::erase::guard::{self, Scope, Selection};
use crate::disk::partition::device;
use crate::failure::Failure;
use crate::hardware::{
    Description, Offer, PlanFuture, PlannedAction, RunFuture, Step, StepContext, StepPhase,
};
use crate::system::Cmd;

mod disk;
pub mod error;
mod load;
mod network;
mod options;
mod pairing;
mod program;
mod role;

/// One of the steps.
#[derive(Debug)]
pub(super) struct BurnIn {
    description: Description,
    target: BurnInTarget,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BurnInTarget {
    Cpu,
    Gpu,
    Disk,
    Memory,
    Network,
}

const fn step(name: &'static str, target: BurnInTarget) -> BurnIn {
    BurnIn {
        description: Description {
            name: Cow::Borrowed(name),
            interface: Cow::Borrowed("deploy"),
            reboot_requested: false,
            arguments: Cow::Borrowed(&[]),
        },
        target,
    }
}

/// Processors.
pub(super) static CPU: BurnIn = step("burnin_cpu", BurnInTarget::Cpu);
/// Graphics cards.
pub(super) static GPU: BurnIn = step("burnin_gpu", BurnInTarget::Gpu);
/// Disks: what is on them is lost.
pub(super) static DISK: BurnIn = step("burnin_disk", BurnInTarget::Disk);
/// Memory.
pub(super) static MEMORY: BurnIn = step("burnin_memory", BurnInTarget::Memory);
/// The network, with a partner.
pub(super) static NETWORK: BurnIn = step("burnin_network", BurnInTarget::Network);

impl Step for BurnIn {
    fn description(&self) -> &Description {
        &self.description
    }

    fn offer(&self, phase: StepPhase, _config: &AgentConfig) -> Option<Offer> {
        match phase {
            StepPhase::Clean => Some(Offer::abortable_at(0)),
            StepPhase::Deploy => None,
            // A node in service holds data.
            StepPhase::Service => {
                (self.target != BurnInTarget::Disk).then(|| Offer::abortable_at(0))
            }
        }
    }

    fn plan<'a>(&'a self, ctx: StepContext<'a>, _arguments: &'a JsonObject) -> PlanFuture<'a> {
        async move {
            let only = |command: &Cmd| PlannedAction {
                description: format!("Run {command}"),
                ..PlannedAction::default()
            };
            Ok(match self.target {
                BurnInTarget::Cpu => vec![only(&load::cpu(ctx.node))],
                BurnInTarget::Memory => vec![only(&load::memory(ctx.node))],
                BurnInTarget::Gpu => vec![only(&load::gpu(ctx.node).1)],
                BurnInTarget::Network => network::plan(ctx.node)?
                    .into_iter()
                    .map(|description| PlannedAction {
                        description,
                        ..PlannedAction::default()
                    })
                    .collect(),
                BurnInTarget::Disk => {
                    let selection = select(ctx).await?;
                    let mut actions = vec![only(&disk::command(ctx.node, &names(&selection)))];
                    actions.extend(names(&selection).into_iter().map(|name| PlannedAction {
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

    fn run<'a>(&'a self, ctx: StepContext<'a>, _arguments: &'a JsonObject) -> RunFuture<'a> {
        async move {
            match self.target {
                BurnInTarget::Cpu => {
                    log_output(&execute(ctx, load::cpu(ctx.node)).await?.stderr);
                }
                BurnInTarget::Memory => {
                    log_output(&execute(ctx, load::memory(ctx.node)).await?.stderr);
                }
                BurnInTarget::Gpu => load::burn_gpus(ctx).await?,
                BurnInTarget::Network => network::run(ctx).await?,
                BurnInTarget::Disk => {
                    let selection = select(ctx).await?;
                    for (name, reason) in &selection.left_alone {
                        ctx.task.warn(format!("{name} is left alone: {reason}"));
                    }
                    let names = names(&selection);
                    for name in &names {
                        device::release(ctx.system, name).await;
                    }
                    disk::run(ctx, &names).await?;
                }
            }
            Ok(Value::Null)
        }
        .boxed()
    }
}

/// Disks whose content may be lost: the same rules as for erasing them.
async fn select(ctx: StepContext<'_>) -> Result<Selection, BurnInError> {
    let guard = ctx.config.guard_special_filesystems;
    let selected = guard::select(ctx.system, ctx.node, guard, Scope::Disks).await;
    Ok(selected.map_err(Failure::from)?)
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

#[cfg(test)]
mod tests;
