//! Step `erase_devices`: the data of every disk goes, by the drive itself where it can.

use futures_util::FutureExt as _;
use ironic_document::JsonObject;
use serde_json::Value;

use super::error::{EraseAttemptError, EraseDevicesError, UnerasedDevice};
use super::selection::{left_alone, left_alone_entries, select, stopped};
use super::vendor_erase::{self, VendorErase};
use crate::config::AgentConfig;
use crate::disk::erase::guard::Scope;
use crate::disk::erase::{self, PlannedErase};
use crate::hardware::{
    Description, Offer, PlanFuture, PlannedAction, RunFuture, Step, StepContext, StepPhase,
};
use crate::machine::block::BlockDevice;

/// The step.
#[derive(Debug)]
pub(super) struct EraseDevices;

static DESCRIPTION: Description = Description::without_arguments("erase_devices", "deploy");

impl Step for EraseDevices {
    fn description(&self) -> &Description {
        &DESCRIPTION
    }

    fn offer(&self, phase: StepPhase, _config: &AgentConfig) -> Option<Offer> {
        (phase == StepPhase::Clean).then(|| Offer::abortable_at(10))
    }

    fn plan<'a>(&'a self, ctx: StepContext<'a>, _arguments: &'a JsonObject) -> PlanFuture<'a> {
        async move {
            let selection = select(ctx, Scope::Disks).await?;
            let others = vendor_erase::find(ctx, &selection).await;
            let is_ours = |device: &BlockDevice| others.iter().all(|o| o.name() != device.name);
            let planned = erase::plan_some(ctx.system, ctx.node, &selection, is_ours).await?;
            let mut actions = stopped(&selection);
            actions.extend(others.iter().flat_map(VendorErase::actions));
            actions.extend(planned.iter().map(action));
            actions.extend(left_alone(&selection));
            Ok(actions)
        }
        .boxed()
    }

    fn run<'a>(&'a self, ctx: StepContext<'a>, _arguments: &'a JsonObject) -> RunFuture<'a> {
        async move {
            let selection = select(ctx, Scope::Disks).await?;
            for (name, reason) in &selection.left_alone {
                ctx.task.warn(format!("{name} is left alone: {reason}"));
            }
            let concurrency = ctx.node.erase_options().concurrency;
            // What is wrong with the operator's options is found before a disk is touched.
            erase::check(ctx.node)?;
            let others = vendor_erase::find(ctx, &selection).await;
            let is_ours = |device: &BlockDevice| others.iter().all(|o| o.name() != device.name);
            let mut planned = erase::plan_some(ctx.system, ctx.node, &selection, is_ours).await?;
            selection.firmware.stop(ctx.system, ctx.task).await?;
            let outcome = vendor_erase::erase(ctx, &others, concurrency).await;
            ctx.task.check()?;
            let is_declined = |device: &BlockDevice| outcome.declined.contains(&device.name);
            planned.extend(erase::plan_some(ctx.system, ctx.node, &selection, is_declined).await?);
            let erased = erase::erase(ctx.system, &planned, concurrency, ctx.task).await;
            ctx.task.check()?;
            let ours = erased.err().unwrap_or_default();
            let mut failed = outcome.failed;
            failed.extend(ours.into_iter().map(|failed| UnerasedDevice {
                device: failed.device.clone(),
                attempts: vec![EraseAttemptError::Disk(failed)],
            }));
            if !failed.is_empty() {
                return Err(EraseDevicesError::Data(failed).into());
            }
            let arrays = selection.firmware.arrays.iter();
            let disks = planned.iter().map(|planned| planned.disk);
            let names = disks
                .chain(arrays)
                .map(|erased| erased.device().name.clone());
            let names = names.map(|name| (name, Value::Null));
            let left = left_alone_entries(&selection);
            Ok(Value::Object(
                outcome
                    .erased
                    .into_iter()
                    .chain(names)
                    .chain(left)
                    .collect(),
            ))
        }
        .boxed()
    }
}

/// What a plan does, for a dry run.
pub(super) fn action(planned: &PlannedErase<'_>) -> PlannedAction {
    let device = planned.disk.device();
    let name = &device.name;
    match &planned.plan {
        Ok(plan) => PlannedAction {
            description: format!("Erase {name} {}", plan.describe(device.size)),
            device: name.clone(),
            destructive: true,
        },
        Err(reason) => PlannedAction {
            description: format!("Fail to erase {name}: {reason}"),
            device: name.clone(),
            destructive: false,
        },
    }
}

#[cfg(test)]
mod tests;
