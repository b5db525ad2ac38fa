//! Step `erase_devices`: the data of every disk goes, by the drive itself where it can.

use futures_util::FutureExt as _;
use serde_json::{Value, json};

use super::vendor_erase::{self, VendorErase};
use crate::config::Config;
use crate::disk::erase::guard::{self, Scope, Selection};
use crate::disk::erase::{self, Planned};
use crate::failure::{Failure, FailureKind};
use crate::hardware::{
    Action, Description, Object, Offer, Phase, Planning, Running, Step, StepContext, StepError,
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

    fn offer(&self, phase: Phase, _config: &Config) -> Option<Offer> {
        (phase == Phase::Clean).then(|| Offer::abortable_at(10))
    }

    fn plan<'a>(&'a self, ctx: StepContext<'a>, _arguments: &'a Object) -> Planning<'a> {
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

    fn run<'a>(&'a self, ctx: StepContext<'a>, _arguments: &'a Object) -> Running<'a> {
        async move {
            let selection = select(ctx, Scope::Disks).await?;
            for (name, reason) in &selection.left_alone {
                ctx.task.warn(format!("{name} is left alone: {reason}"));
            }
            let concurrency = ctx.node.erase_options().concurrency;
            // What is wrong with the operator's wishes is found before a disk is touched.
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
            let failed = [outcome.failed, erased.err().unwrap_or_default()].concat();
            if !failed.is_empty() {
                let list: Vec<_> = failed
                    .iter()
                    .map(|failed| format!("\"{}\": {}", failed.device, failed.reason))
                    .collect();
                return Err(StepError::Failure(Failure::new(
                    FailureKind::BlockDeviceErase,
                    format!("Failed to erase the device(s): {}", list.join("; ")),
                )));
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

pub(super) async fn select(ctx: StepContext<'_>, scope: Scope) -> Result<Selection, Failure> {
    let guard = ctx.config.guard_special_filesystems;
    guard::select(ctx.system, ctx.node, guard, scope).await
}

/// What a plan does, for a dry run.
pub(super) fn action(planned: &Planned<'_>) -> Action {
    let device = planned.disk.device();
    let name = &device.name;
    match &planned.plan {
        Ok(plan) => Action {
            description: format!("Erase {name} {}", plan.describe(device.size)),
            device: name.clone(),
            destructive: true,
        },
        Err(reason) => Action {
            description: format!("Fail to erase {name}: {reason}"),
            device: name.clone(),
            destructive: false,
        },
    }
}

/// The arrays of firmware that are stopped, for a dry run.
pub(super) fn stopped(selection: &Selection) -> Vec<Action> {
    let arrays = selection.firmware.to_stop.iter();
    let action = |name: &String| Action {
        description: format!("Stop array {name}, whose disks are erased"),
        device: name.clone(),
        destructive: true,
    };
    arrays.map(action).collect()
}

/// What is not touched and why, for the result: nobody shall believe that it is erased.
fn left_alone_entries(selection: &Selection) -> impl Iterator<Item = (String, Value)> + '_ {
    let left = selection.left_alone.iter();
    left.map(|(name, reason)| (name.clone(), Value::from(format!("left alone: {reason}"))))
}

/// The result of a step that has none but this.
pub(super) fn left_alone_result<'a>(
    left_alone: impl IntoIterator<Item = &'a (String, String)>,
) -> Value {
    let entries: Object = left_alone
        .into_iter()
        .map(|(name, reason)| (name.clone(), Value::from(reason.clone())))
        .collect();
    if entries.is_empty() {
        return Value::Null;
    }
    json!({ "left_alone": entries })
}

/// What is not touched and why, for a dry run.
pub(super) fn left_alone(selection: &Selection) -> impl Iterator<Item = Action> + '_ {
    selection.left_alone.iter().map(|(name, reason)| Action {
        description: format!("Leave {name} alone: {reason}"),
        device: name.clone(),
        destructive: false,
    })
}

#[cfg(test)]
mod tests;
