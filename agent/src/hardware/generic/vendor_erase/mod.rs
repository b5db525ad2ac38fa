//! Disks that another hardware manager erases: a vendor's card, an array behind a controller.
//! The managers that know this machine better than we do are asked, disk by disk.

use std::sync::Arc;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use ironic_document::JsonObject;
use serde_json::Value;

use super::error::{EraseAttemptError, UnerasedDevice, VendorEraseError};
use crate::disk::erase::forget_partitions;
use crate::disk::erase::guard::{Erasable, Selection};
use crate::hardware::{PlannedAction, StepContext, StepError, VendorEraser};

/// A disk and what erases it.
pub(super) struct VendorErase<'a> {
    pub(super) disk: &'a Erasable,
    eraser: VendorEraser<'a>,
    /// What the manager would do; an error: it knows the disk and cannot erase it.
    planned: Result<Vec<PlannedAction>, VendorEraseError>,
}

/// How the erasing of other managers' disks ended.
#[derive(Debug, Default)]
pub(super) struct VendorEraseOutcome {
    /// What the managers answered, by the disks' names.
    pub(super) erased: JsonObject,
    /// Disks that are not theirs after all.
    pub(super) declined: Vec<String>,
    pub(super) failed: Vec<UnerasedDevice>,
}

/// The disks that others erase. A manager that does not tell what it would do is believed to
/// know the disk until it is asked to erase it.
pub(super) async fn find<'a>(
    ctx: StepContext<'a>,
    selection: &'a Selection,
) -> Vec<VendorErase<'a>> {
    let mut found = Vec::new();
    for disk in &selection.erasable {
        for eraser in ctx.erasers {
            let planned = match eraser.step.plan(ctx, &arguments(disk)).await {
                Err(error) if is_declined(&error) => continue,
                planned => planned.map_err(|error| eraser_error(eraser, error)),
            };
            found.push(VendorErase {
                disk,
                eraser: *eraser,
                planned,
            });
            break;
        }
    }
    found
}

impl VendorErase<'_> {
    pub(super) fn name(&self) -> &str {
        &self.disk.device().name
    }

    /// For a dry run.
    pub(super) fn actions(&self) -> Vec<PlannedAction> {
        let (name, manager) = (self.name(), self.eraser.manager);
        match &self.planned {
            Ok(actions) => {
                let lines: Vec<_> = actions.iter().map(|a| a.description.as_str()).collect();
                vec![PlannedAction {
                    description: format!("Let {manager} erase {name}: {}", lines.join("; ")),
                    device: name.to_owned(),
                    destructive: true,
                }]
            }
            Err(error) => vec![PlannedAction {
                description: format!("Fail to erase {name}: {error}"),
                device: name.to_owned(),
                destructive: false,
            }],
        }
    }

    async fn erase(&self, ctx: StepContext<'_>) -> Result<Option<Value>, VendorEraseError> {
        if let Err(error) = &self.planned {
            return Err(error.clone());
        }
        ctx.task.phase_ended(format!(
            "{} is asked to erase {}",
            self.eraser.manager,
            self.name()
        ));
        match self.eraser.step.run(ctx, &arguments(self.disk)).await {
            Ok(result) => {
                forget_partitions(ctx.system, self.name()).await;
                Ok(Some(result))
            }
            Err(error) if is_declined(&error) => Ok(None),
            Err(error) => Err(eraser_error(&self.eraser, error)),
        }
    }
}

/// Lets the managers erase their disks, `concurrency` at the same time. All have ended when
/// this returns. What a manager fails to erase is not tried by other means: it knew the disk.
pub(super) async fn erase(
    ctx: StepContext<'_>,
    disks: &[VendorErase<'_>],
    concurrency: u32,
) -> VendorEraseOutcome {
    let at_once = usize::try_from(concurrency).unwrap_or(usize::MAX).max(1);
    let mut running = Vec::new();
    for disk in disks {
        running.push(async move { (disk.name().to_owned(), disk.erase(ctx).await) }.boxed());
    }
    let mut ended: Vec<_> = stream::iter(running)
        .buffer_unordered(at_once)
        .collect()
        .await;
    ended.sort_by(|(left, _), (right, _)| right.cmp(left));
    let mut outcome = VendorEraseOutcome::default();
    for (device, result) in ended {
        match result {
            Ok(Some(result)) => {
                outcome.erased.insert(device, result);
            }
            Ok(None) => outcome.declined.push(device),
            Err(error) => outcome.failed.push(UnerasedDevice {
                device,
                attempts: vec![EraseAttemptError::Vendor(error)],
            }),
        }
    }
    outcome
}

fn arguments(disk: &Erasable) -> JsonObject {
    let device = [("device".to_owned(), disk.device().to_json())];
    device.into_iter().collect()
}

fn is_declined(error: &StepError) -> bool {
    matches!(error, StepError::Incompatible(_))
}

fn eraser_error(eraser: &VendorEraser<'_>, error: StepError) -> VendorEraseError {
    VendorEraseError {
        manager: eraser.manager.to_owned(),
        source: Arc::new(error),
    }
}

#[cfg(test)]
mod tests;
