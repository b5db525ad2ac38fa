//! Erasing whole disks: what the drive can do itself, or else overwriting.
//!
//! First every drive is asked what it can do and a [`ErasePlan`] is made for each; a dry run ends
//! here. Then the plans are carried out, several at a time. A disk that fails does not stop
//! the others.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use ironic_text::error_chain;
use tokio::time::Instant;

pub mod ata;
mod error;
pub mod guard;
pub mod metadata;
pub mod nvme;
mod overrides;
pub mod plan;
mod run;
mod scsi;
mod time;

pub use error::{
    Attempt, EraseError, EraseFailure, MethodError, NoSecureErase, NvmeError, StatusError,
    Unerasable,
};
pub use overrides::{EraseOverrides, InvalidOverrides};
pub use plan::{EraseMethod, ErasePlan, Facts};
use run::{EraseProgress, EraseWatch};

use crate::disk::erase::guard::{Erasable, Selection};
use crate::disk::partition;
use crate::machine::block::{BlockDevice, DeviceKind};
use crate::machine::ironic_node::{EraseOptions, Node};
use crate::system::{Cmd, System};
use crate::task::Task;

/// A disk with its plan, or why there is none.
#[derive(Debug)]
pub struct PlannedErase<'a> {
    /// The disk.
    pub disk: &'a Erasable,
    /// How it will be erased.
    pub plan: Result<ErasePlan, Unerasable>,
}

/// Whether the operator's overrides can be understood.
///
/// # Errors
/// They cannot.
pub fn check(node: &Node) -> Result<(), InvalidOverrides> {
    EraseOverrides::of(node).map(drop)
}

/// Asks each drive that is wanted what it can do and plans how to erase it. Changes nothing.
///
/// # Errors
/// The operator's overrides cannot be understood.
pub async fn plan_some<'a>(
    system: &System,
    node: &Node,
    selection: &'a Selection,
    is_wanted: impl Fn(&BlockDevice) -> bool,
) -> Result<Vec<PlannedErase<'a>>, InvalidOverrides> {
    let overrides = EraseOverrides::of(node)?;
    let options = node.erase_options();
    let mut planned = Vec::new();
    let wanted = selection.erasable.iter();
    for disk in wanted.filter(|disk| is_wanted(disk.device())) {
        let facts = inspect(system, disk.device(), selection, (&options, &overrides)).await;
        planned.push(PlannedErase {
            disk,
            plan: ErasePlan::new(&facts, &options, &overrides),
        });
    }
    Ok(planned)
}

async fn inspect(
    system: &System,
    device: &BlockDevice,
    selection: &Selection,
    (options, overrides): (&EraseOptions, &EraseOverrides),
) -> Facts {
    let name = &device.name;
    let mut facts = Facts {
        size: device.size,
        ..Facts::default()
    };
    if device.kind != DeviceKind::Disk {
        return facts;
    }
    if nvme::is_namespace(device) {
        if !options.nvme_secure_erase {
            return facts;
        }
        let controller = nvme::inspect(system, name).await;
        facts.nvme = Some(controller.map_err(Arc::new));
        let of_drive = |other: &&BlockDevice| {
            nvme::is_namespace(other)
                && other.name != *name
                && nvme::controller_of(&other.name) == nvme::controller_of(name)
        };
        facts.siblings = selection
            .devices
            .iter()
            .filter(of_drive)
            .map(|other| other.name.clone())
            .collect();
        let may_go = |name: &String| {
            let mut erasable = selection.erasable.iter();
            erasable.any(|erasable| erasable.device().name == *name)
        };
        facts.bystanders = facts.siblings.clone();
        facts.bystanders.retain(|name| !may_go(name));
        return facts;
    }
    if options.ata_secure_erase {
        facts.ata = ata::inspect(system, name).await;
    }
    if overrides.sanitize && facts.ata.is_none() && device.hctl.is_some() {
        facts.scsi = scsi::inspect(system, name).await;
    }
    facts
}

/// Erases the disks, `concurrency` at the same time; namespaces of one NVMe drive one after
/// the other. All of them have ended when this returns.
///
/// # Errors
/// Each disk that was not erased, in the order of the plans.
pub async fn erase(
    system: &System,
    planned: &[PlannedErase<'_>],
    concurrency: u32,
    task: &Task,
) -> Result<(), Vec<EraseFailure>> {
    let board = EraseProgress::new(task, planned.iter().map(|planned| planned.disk.device()));
    let mut drives: Vec<(&str, Vec<usize>)> = Vec::new();
    for (index, one) in planned.iter().enumerate() {
        let name = &one.disk.device().name;
        let drive = nvme::controller_of(name).unwrap_or(name);
        match drives.iter_mut().find(|(known, _)| *known == drive) {
            Some((_, indices)) => indices.push(index),
            None => drives.push((drive, vec![index])),
        }
    }
    let mut running: Vec<BoxFuture<'_, Vec<(usize, EraseFailure)>>> = Vec::new();
    for (_, indices) in drives {
        running.push(erase_drive(system, planned, indices, &board).boxed());
    }
    let at_once = usize::try_from(concurrency).unwrap_or(usize::MAX).max(1);
    let mut failed: Vec<_> = stream::iter(running)
        .buffer_unordered(at_once)
        .concat()
        .await;
    failed.sort_by_key(|(index, _)| *index);
    if failed.is_empty() {
        Ok(())
    } else {
        Err(failed.into_iter().map(|(_, failed)| failed).collect())
    }
}

/// Erases what lies on one drive, by their indices among all that is planned.
async fn erase_drive(
    system: &System,
    planned: &[PlannedErase<'_>],
    indices: Vec<usize>,
    board: &EraseProgress<'_>,
) -> Vec<(usize, EraseFailure)> {
    let mut failed = Vec::new();
    for index in indices {
        let one = &planned[index];
        if let Err(error) = erase_one(system, one, board).await {
            let device = one.disk.device().name.clone();
            tracing::error!(%device, reason = %error, "could not be erased");
            failed.push((index, EraseFailure { device, error }));
        }
    }
    failed
}

async fn erase_one(
    system: &System,
    planned: &PlannedErase<'_>,
    board: &EraseProgress<'_>,
) -> Result<(), EraseError> {
    let task = board.task;
    let device = planned.disk.device();
    let name = &device.name;
    let plan = planned.plan.as_ref().map_err(Clone::clone)?;
    for note in &plan.notes {
        task.warn(format!("{name}: {note}"));
    }
    partition::device::release(system, name).await;
    let mut attempts = Vec::new();
    if plan.methods.is_empty() {
        attempts.extend(plan.notes.iter().cloned().map(Attempt::Unplanned));
    }
    let begin = Instant::now();
    for method in &plan.methods {
        if task.is_cancelled() {
            attempts.push(Attempt::Cancelled);
            break;
        }
        let start = Instant::now();
        if plan
            .deadline
            .is_some_and(|deadline| begin.elapsed() >= deadline)
        {
            attempts.push(Attempt::NoTimeLeft);
            break;
        }
        let watch = EraseWatch {
            board,
            device,
            // What the operator allows is for the disk, what is usual for each way.
            began: plan.deadline.map_or(start, |_| begin),
            deadline: plan.limit(method, device.size),
            stall: plan.stall,
        };
        let way = method.describe();
        tracing::info!(device = %name, means = %way, "erasing");
        board.report(name, 0);
        match carry_out(system, name, method, &watch).await {
            Ok(()) => {
                forget_partitions(system, name).await;
                board.finish(name);
                let seconds = start.elapsed().as_secs();
                task.phase_ended(format!("{name} erased by {way} in {seconds} s"));
                return Ok(());
            }
            Err(source) => {
                let reason = error_chain(&source);
                task.warn(format!("{name} was not erased by {way}: {reason}"));
                let method = way;
                attempts.push(Attempt::Method { method, source });
            }
        }
    }
    Err(EraseError::Failed(attempts))
}

/// Makes the kernel look again, which still knows the partitions that were erased: the next search
/// for a free disk would find them. That it cannot does not make the erasure fail.
pub async fn forget_partitions(system: &System, name: &str) {
    let (disks, path) = (std::sync::Arc::clone(&system.disks), name.to_owned());
    let looked = tokio::task::spawn_blocking(move || {
        disks.open(std::path::Path::new(&path))?.reread_table()
    });
    match looked.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(device = %name, %error, "the kernel still knows the erased partitions");
        }
        Err(error) => tracing::error!(device = %name, %error, "the disk was not looked at again"),
    }
}

async fn carry_out(
    system: &System,
    name: &str,
    method: &EraseMethod,
    watch: &EraseWatch<'_>,
) -> Result<(), MethodError> {
    match method {
        EraseMethod::Ata(security) => ata::erase(system, name, security, watch).await,
        EraseMethod::Format(format) => nvme::format(system, name, *format, watch).await,
        EraseMethod::SanitizeNvme(action) => nvme::sanitize(system, name, *action, watch).await,
        EraseMethod::SanitizeScsi(action) => scsi::sanitize(system, name, *action, watch).await,
        EraseMethod::Overwrite {
            iterations,
            zeroize,
        } if system.simulation.is_none() => {
            let zero: &[&str] = if *zeroize { &["--zero"] } else { &[] };
            let command = Cmd::new("shred")
                .arg("--force")
                .args(zero.iter().copied())
                .args(["--verbose", "--iterations"])
                .args([iterations.to_string().as_str(), name])
                .ends_with_agent();
            let passes = u64::from(*iterations) + u64::from(*zeroize);
            watch.run_writer(system, command, passes).await.map(|_| ())
        }
        EraseMethod::Overwrite { .. } => zero_file(system, name).await,
    }
}

/// A file that plays a disk is zeroed: no programs run in a simulation.
async fn zero_file(system: &System, name: &str) -> Result<(), MethodError> {
    let (disks, path) = (Arc::clone(&system.disks), PathBuf::from(name));
    let zeroed = tokio::task::spawn_blocking(move || {
        let mut disk = disks.open(&path)?;
        let size = disk.geometry().size;
        disk.zero(0, size)?;
        Ok(disk.sync()?)
    });
    zeroed.await?
}
