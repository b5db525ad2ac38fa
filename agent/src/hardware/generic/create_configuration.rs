//! Step `create_configuration`: the software RAID that the node is to have.

use futures_util::FutureExt as _;
use ironic_document::JsonObject;
use serde_json::{Value, json};

use crate::config::AgentConfig;
use crate::disk::raid;
use crate::disk::raid::plan::RaidLayout;
use crate::hardware::{
    Description, Offer, PlanFuture, PlannedAction, RunFuture, Step, StepContext, StepError,
    StepPhase,
};

/// The step.
#[derive(Debug)]
pub(super) struct CreateConfiguration;

static DESCRIPTION: Description = Description::without_arguments("create_configuration", "raid");

impl Step for CreateConfiguration {
    fn description(&self) -> &Description {
        &DESCRIPTION
    }

    fn offer(&self, phase: StepPhase, _config: &AgentConfig) -> Option<Offer> {
        (phase != StepPhase::Deploy).then(|| Offer::abortable_at(0))
    }

    fn plan<'a>(&'a self, ctx: StepContext<'a>, _arguments: &'a JsonObject) -> PlanFuture<'a> {
        async move {
            let creation = plan(ctx, &target(ctx), false).await?;
            Ok(creation.layout.iter().flat_map(actions).collect())
        }
        .boxed()
    }

    fn run<'a>(&'a self, ctx: StepContext<'a>, _arguments: &'a JsonObject) -> RunFuture<'a> {
        async move { create(ctx, &target(ctx)).await }.boxed()
    }
}

fn target(ctx: StepContext<'_>) -> Value {
    let target = ctx.node.0.get("target_raid_config");
    target.cloned().unwrap_or_default()
}

pub(super) async fn plan(
    ctx: StepContext<'_>,
    config: &Value,
    is_cleared: bool,
) -> Result<raid::Creation, StepError> {
    let guard = ctx.config.guard_special_filesystems;
    let planned = raid::plan_creation(ctx.system, ctx.node, guard, config, is_cleared).await;
    Ok(planned?)
}

pub(super) async fn create(ctx: StepContext<'_>, config: &Value) -> Result<Value, StepError> {
    let creation = plan(ctx, config, false).await?;
    if let Some(layout) = &creation.layout {
        raid::create(ctx.system, layout, ctx.task).await?;
    }
    Ok(if creation.result.is_null() {
        json!({})
    } else {
        creation.result
    })
}

/// What a layout changes, for a dry run.
pub(super) fn actions(layout: &RaidLayout) -> Vec<PlannedAction> {
    let disks = layout.disks.iter().map(|(disk, parts)| PlannedAction {
        description: format!("Make {} partitions for RAID on {disk}", parts.len()),
        device: disk.clone(),
        destructive: true,
    });
    let arrays = layout.arrays.iter().map(|array| {
        let members: Vec<_> = array
            .members
            .iter()
            .map(|(disk, _)| disk.as_str())
            .collect();
        PlannedAction {
            description: format!(
                "Make array {} ({}, level {}) on {}",
                array.device,
                array.name,
                array.level,
                members.join(", ")
            ),
            device: array.device.clone(),
            destructive: false,
        }
    });
    disks.chain(arrays).collect()
}
