//! Step `erase_devices_metadata`: every disk looks blank afterwards. Quick; the data itself
//! stays.

use futures_util::FutureExt as _;

use ironic_document::JsonObject;

use super::error::{EraseDevicesError, UnerasedDevice};
use super::selection::{left_alone, left_alone_result, select, stopped};
use crate::config::AgentConfig;
use crate::disk::erase::guard::{Scope, Selection};
use crate::disk::erase::metadata;
use crate::failure::Failure;
use crate::hardware::{
    Description, Offer, PlanFuture, PlannedAction, RunFuture, Step, StepContext, StepError,
    StepPhase,
};
use crate::task::Progress;

/// The step.
#[derive(Debug)]
pub(super) struct EraseDevicesMetadata;

static DESCRIPTION: Description =
    Description::without_arguments("erase_devices_metadata", "deploy");

impl Step for EraseDevicesMetadata {
    fn description(&self) -> &Description {
        &DESCRIPTION
    }

    fn offer(&self, phase: StepPhase, _config: &AgentConfig) -> Option<Offer> {
        match phase {
            StepPhase::Clean => Some(Offer::abortable_at(99)),
            StepPhase::Deploy => Some(Offer::at(0)),
            StepPhase::Service => None,
        }
    }

    fn plan<'a>(&'a self, ctx: StepContext<'a>, _arguments: &'a JsonObject) -> PlanFuture<'a> {
        async move {
            let selection = select(ctx, Scope::Everything).await?;
            let destroyed = selection.erasable.iter().map(|erasable| {
                let name = &erasable.device().name;
                PlannedAction {
                    description: format!("Destroy the metadata of {name}"),
                    device: name.clone(),
                    destructive: true,
                }
            });
            let mut actions = stopped(&selection);
            actions.extend(destroyed.chain(left_alone(&selection)));
            Ok(actions)
        }
        .boxed()
    }

    fn run<'a>(&'a self, ctx: StepContext<'a>, _arguments: &'a JsonObject) -> RunFuture<'a> {
        async move {
            let selection = select(ctx, Scope::Everything).await?;
            erase(ctx, &selection).await?;
            Ok(left_alone_result(&selection.left_alone))
        }
        .boxed()
    }
}

/// What is on arrays of firmware goes with the arrays: not all of it lies at the ends of disks.
pub(super) async fn destroy_arrays(
    ctx: StepContext<'_>,
    selection: &Selection,
) -> Result<(), Failure> {
    for array in &selection.firmware.arrays {
        metadata::destroy(ctx.system, array.device(), ctx.node.uuid(), ctx.task).await?;
    }
    Ok(selection.firmware.stop(ctx.system, ctx.task).await?)
}

/// Erases each device; one that fails does not keep the others from being erased.
async fn erase(ctx: StepContext<'_>, selection: &Selection) -> Result<(), StepError> {
    for (name, reason) in &selection.left_alone {
        ctx.task.warn(format!("{name} is left alone: {reason}"));
    }
    let devices: Vec<_> = selection
        .erasable
        .iter()
        .map(|erasable| erasable.device())
        .collect();
    destroy_arrays(ctx, selection).await?;
    let total = devices.len().try_into().ok();
    let mut failed = Vec::new();
    for (done, device) in (0..).zip(&devices) {
        ctx.task.check()?;
        ctx.task.progress(Progress {
            phase: "erase_metadata".into(),
            done,
            total,
            unit: "devices".into(),
            subject: device.name.clone(),
            ..Progress::default()
        });
        let destroyed = metadata::destroy(ctx.system, device, ctx.node.uuid(), ctx.task).await;
        if let Err(failure) = destroyed.map_err(Failure::from) {
            ctx.task.check()?;
            tracing::error!(device = %device.name, error = %failure, "could not be erased");
            failed.push(UnerasedDevice {
                device: device.name.clone(),
                attempts: vec![failure.into()],
            });
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(EraseDevicesError::Metadata(failed).into())
}

#[cfg(test)]
mod tests;
