//! Step `erase_devices_express`: quick and thorough where the hardware is: NVMe drives are
//! formatted, of other disks the metadata goes.

use futures_util::FutureExt as _;

use ironic_document::JsonObject;

use super::erase_devices_metadata::destroy_arrays;
use super::error::{EraseAttemptError, EraseDevicesError, UnerasedDevice};
use super::selection::{left_alone, left_alone_result, select, stopped};
use crate::config::AgentConfig;
use crate::disk::erase::guard::{Scope, Selection};
use crate::disk::erase::metadata;
use crate::disk::erase::{self, EraseMethod, PlannedErase, nvme};
use crate::failure::Failure;
use crate::hardware::{
    Description, Offer, PlanFuture, PlannedAction, RunFuture, Step, StepContext, StepPhase,
};
use crate::machine::block::BlockDevice;

/// The step.
#[derive(Debug)]
pub(super) struct EraseDevicesExpress;

static DESCRIPTION: Description = Description::without_arguments("erase_devices_express", "deploy");

impl Step for EraseDevicesExpress {
    fn description(&self) -> &Description {
        &DESCRIPTION
    }

    fn offer(&self, phase: StepPhase, _config: &AgentConfig) -> Option<Offer> {
        (phase == StepPhase::Clean).then(|| Offer::abortable_at(0))
    }

    fn plan<'a>(&'a self, ctx: StepContext<'a>, _arguments: &'a JsonObject) -> PlanFuture<'a> {
        async move {
            let selection = select(ctx, Scope::Everything).await?;
            let (drives, others) = split(ctx, &selection).await?;
            let drives = drives.iter().map(|drive| {
                let device = drive.disk.device();
                (device.name.clone(), way(drive))
            });
            let others = others
                .into_iter()
                .map(|name| (name.clone(), format!("Destroy the metadata of {name}")));
            let mut actions: Vec<_> = drives
                .chain(others)
                .map(|(device, description)| PlannedAction {
                    description,
                    device,
                    destructive: true,
                })
                .collect();
            actions.extend(stopped(&selection));
            actions.extend(left_alone(&selection));
            Ok(actions)
        }
        .boxed()
    }

    fn run<'a>(&'a self, ctx: StepContext<'a>, _arguments: &'a JsonObject) -> RunFuture<'a> {
        async move {
            let selection = select(ctx, Scope::Everything).await?;
            for (name, reason) in &selection.left_alone {
                ctx.task.warn(format!("{name} is left alone: {reason}"));
            }
            let (drives, mut names) = split(ctx, &selection).await?;
            destroy_arrays(ctx, &selection).await?;
            let concurrency = ctx.node.erase_options().concurrency;
            let formatted = erase::erase(ctx.system, &drives, concurrency, ctx.task).await;
            let mut unformatted = formatted.err().unwrap_or_default();
            // What could not be formatted gets what other disks get, and so do its partitions:
            // their file systems are found again when a table names the same places.
            let remains = |device: &BlockDevice| {
                let disk = device.parent.as_ref().unwrap_or(&device.name);
                unformatted.iter().any(|failed| failed.device == *disk)
            };
            let erasable = selection.erasable.iter().map(|erasable| erasable.device());
            names.extend(
                erasable
                    .filter(|device| remains(device))
                    .map(|device| device.name.clone()),
            );
            let mut failed = Vec::new();
            for device in selection.erasable.iter().map(|erasable| erasable.device()) {
                if !names.contains(&device.name) {
                    continue;
                }
                ctx.task.check()?;
                let destroyed =
                    metadata::destroy(ctx.system, device, ctx.node.uuid(), ctx.task).await;
                if let Err(failure) = destroyed {
                    let first = unformatted.extract_if(.., |failed| failed.device == device.name);
                    let first = first.map(EraseAttemptError::Disk);
                    failed.push(UnerasedDevice {
                        device: device.name.clone(),
                        attempts: first.chain([Failure::from(failure).into()]).collect(),
                    });
                }
            }
            ctx.task.check()?;
            if failed.is_empty() {
                return Ok(left_alone_result(&selection.left_alone));
            }
            Err(EraseDevicesError::Express(failed).into())
        }
        .boxed()
    }
}

/// What happens to a drive, for a dry run.
fn way(drive: &PlannedErase<'_>) -> String {
    let device = drive.disk.device();
    let name = &device.name;
    match &drive.plan {
        Ok(plan) if !plan.methods.is_empty() => format!(
            "Erase {name} {}; if that fails, destroy its metadata",
            plan.describe(device.size)
        ),
        Ok(plan) => format!("Destroy the metadata of {name}: {}", plan.notes.join("; ")),
        Err(reason) => format!("Destroy the metadata of {name}: {reason}"),
    }
}

/// The NVMe drives that will be formatted, and the names of all other devices. Partitions go
/// with their drive.
async fn split<'a>(
    ctx: StepContext<'_>,
    selection: &'a Selection,
) -> Result<(Vec<PlannedErase<'a>>, Vec<String>), Failure> {
    let enabled = ctx.node.erase_options().nvme_secure_erase;
    let mut drives = Vec::new();
    if enabled {
        let is_drive = |device: &_| nvme::is_namespace(device);
        drives = erase::plan_some(ctx.system, ctx.node, selection, is_drive).await?;
    }
    for drive in &mut drives {
        if let Ok(plan) = &mut drive.plan {
            // Overwriting is not quick.
            plan.methods
                .retain(|method| !matches!(method, EraseMethod::Overwrite { .. }));
        }
    }
    let is_formatted = |name: Option<&str>| {
        drives
            .iter()
            .any(|drive| Some(drive.disk.device().name.as_str()) == name && drive.plan.is_ok())
    };
    let names = selection
        .erasable
        .iter()
        .map(|erasable| erasable.device())
        .filter(|device| {
            let is_planned = drives.iter().any(|d| d.disk.device().name == device.name);
            !is_planned && !is_formatted(device.parent.as_deref())
        })
        .map(|device| device.name.clone())
        .collect();
    Ok((drives, names))
}

#[cfg(test)]
mod tests;
