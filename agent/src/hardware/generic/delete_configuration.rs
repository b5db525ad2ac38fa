//! Step `delete_configuration`: the machine's software RAID goes, but for what the node's skip
//! list keeps.

use futures_util::FutureExt as _;

use ironic_document::JsonObject;

use super::selection::left_alone_result;
use crate::config::AgentConfig;
use crate::disk::erase::guard::keep_by_name::ArrayDecision;
use crate::disk::raid;
use crate::hardware::{
    Description, Offer, PlanFuture, PlannedAction, RunFuture, Step, StepContext, StepError,
    StepPhase,
};

/// The step.
#[derive(Debug)]
pub(super) struct DeleteConfiguration;

static DESCRIPTION: Description = Description::without_arguments("delete_configuration", "raid");

impl Step for DeleteConfiguration {
    fn description(&self) -> &Description {
        &DESCRIPTION
    }

    fn offer(&self, phase: StepPhase, _config: &AgentConfig) -> Option<Offer> {
        (phase != StepPhase::Deploy).then(|| Offer::abortable_at(0))
    }

    fn plan<'a>(&'a self, ctx: StepContext<'a>, _arguments: &'a JsonObject) -> PlanFuture<'a> {
        async move { actions(ctx).await }.boxed()
    }

    fn run<'a>(&'a self, ctx: StepContext<'a>, _arguments: &'a JsonObject) -> RunFuture<'a> {
        async move {
            let left_alone = delete(ctx).await?;
            Ok(left_alone_result(&left_alone))
        }
        .boxed()
    }
}

/// Answers what is left alone, each with the reason.
pub(super) async fn delete(ctx: StepContext<'_>) -> Result<Vec<(String, String)>, StepError> {
    let guard = ctx.config.guard_special_filesystems;
    let left_alone = raid::delete(ctx.system, ctx.node, guard, ctx.task).await?;
    for (name, reason) in &left_alone {
        ctx.task
            .warn(format!("{name} keeps its superblock: {reason}"));
    }
    Ok(left_alone)
}

pub(super) async fn actions(ctx: StepContext<'_>) -> Result<Vec<PlannedAction>, StepError> {
    let guard = ctx.config.guard_special_filesystems;
    let deletion = raid::plan_deletion(ctx.system, ctx.node, guard).await?;
    let left_alone = deletion.left_alone();
    let lone = deletion.lone.iter().map(|name| {
        let left = left_alone.iter().find(|(left, _)| left == name);
        PlannedAction {
            description: match left {
                Some((_, reason)) => format!("Leave the superblock of {name} alone: {reason}"),
                None => format!("Remove the superblock of {name}, whose array is not running"),
            },
            destructive: left.is_none(),
            device: name.clone(),
        }
    });
    let lone: Vec<_> = lone.collect();
    let actions = deletion.arrays.into_iter().map(|(array, decision)| {
        let name = &array.name;
        let description = match &decision {
            ArrayDecision::Keep => format!("Leave array {name} alone"),
            ArrayDecision::Wipe { because_of } => {
                format!("Wipe array {name}, which shares disks with {because_of}")
            }
            ArrayDecision::Delete => format!(
                "Remove array {name} and all that is on {}",
                array.disks.join(", ")
            ),
        };
        PlannedAction {
            description,
            destructive: decision != ArrayDecision::Keep,
            device: array.name,
        }
    });
    Ok(actions.chain(lone).collect())
}
