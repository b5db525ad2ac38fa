//! Removing arrays, and what they left on disks.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::super::keep::Fate;
use super::super::metadata;
use super::super::protect::{self, Scope};
use super::{Facts, failed, program_failed};
use crate::failure::Failure;
use crate::machine::array::Array;
use crate::machine::block::{self, Kind};
use crate::machine::node::Node;
use crate::system::{Cmd, DiskError, RunError, System};
use crate::task::Task;

/// How often the disks are gone through.
const PASSES: u32 = 2;

/// What the removal of the configuration does.
#[derive(Debug)]
pub struct Deletion {
    /// What becomes of each array.
    pub arrays: Vec<(Array, Fate)>,
    /// Disks that the node's skip list describes.
    skipped: HashSet<String>,
}

/// What becomes of each array when the configuration is removed. Reads only, after arrays
/// that are not running were started.
///
/// # Errors
/// `SoftwareRaid`: the skip list cannot be understood. `ProtectedDevice`, `BlockDeviceErase`:
/// an array that must not be removed.
pub async fn plan_deletion(system: &System, node: &Node, guard: bool) -> Result<Deletion, Failure> {
    // What is mounted or shared is found before anything is touched: the arrays themselves,
    // and what else is on their disks.
    let selection = protect::select(system, node, guard, Scope::Some).await?;
    let facts = {
        let (system, node) = (system.clone(), node.clone());
        let read = move || Facts::read(&system, &node, selection.devices);
        tokio::task::spawn_blocking(read).await.map_err(failed)??
    };
    let arrays: Vec<_> = facts.arrays.into_iter().zip(facts.fates).collect();
    let going = arrays.iter().filter(|(_, fate)| *fate == Fate::Delete);
    let disks = going.flat_map(|(array, _)| array.disks.iter().cloned());
    protect::check_disks(system, node, guard, disks.collect()).await?;
    Ok(Deletion {
        arrays,
        skipped: facts.skipped,
    })
}

/// Removes arrays, their members' superblocks and their disks' partitions, but those that the
/// node's skip list keeps.
///
/// # Errors
/// As [`plan_deletion`]; `SoftwareRaid`: something remains.
pub async fn delete(system: &System, node: &Node, guard: bool, task: &Task) -> Result<(), Failure> {
    for pass in 0..=PASSES {
        task.check()?;
        ignore(system, Cmd::new("mdadm").args(["--assemble", "--scan"])).await;
        let deletion = plan_deletion(system, node, guard).await?;
        let arrays = &deletion.arrays;
        let remaining: Vec<_> = arrays
            .iter()
            .filter(|(_, fate)| *fate == Fate::Delete)
            .map(|(array, _)| format!("'{}'", array.name))
            .collect();
        let is_wiping = arrays
            .iter()
            .any(|(_, fate)| matches!(fate, Fate::Wipe { .. }));
        if remaining.is_empty() && (pass > 0 || !is_wiping) {
            return Ok(());
        }
        if pass == PASSES {
            return Err(failed(format!(
                "Unable to clean all softraid correctly. Remaining [{}]",
                remaining.join(", ")
            )));
        }
        delete_once(system, &deletion, task).await?;
    }
    Ok(())
}

async fn delete_once(system: &System, deletion: &Deletion, task: &Task) -> Result<(), Failure> {
    let mut protected: BTreeSet<&String> = deletion.skipped.iter().collect();
    let mut holders: BTreeMap<&String, ()> = BTreeMap::new();
    for (array, fate) in &deletion.arrays {
        let name = array.name.as_str();
        match fate {
            Fate::Keep => protected.extend(&array.disks),
            Fate::Wipe { because_of } => {
                protected.extend(&array.disks);
                ignore(system, Cmd::new("wipefs").args(["-af", name])).await;
                task.phase(format!(
                    "{name} wiped; it stays, since it shares disks with {because_of}"
                ));
            }
            Fate::Delete => {
                holders.extend(array.disks.iter().map(|disk| (disk, ())));
                ignore(system, Cmd::new("wipefs").args(["-af", name])).await;
                ignore(system, Cmd::new("mdadm").args(["--stop", name])).await;
                for member in &array.members {
                    clear_member(system, member).await?;
                }
                task.phase(format!("array {name} removed"));
            }
        }
    }
    let probed = system.clone();
    let devices = tokio::task::spawn_blocking(move || block::probe_with_partitions(&probed));
    let devices = devices.await.map_err(failed)?;
    let (partitions, disks): (Vec<_>, Vec<_>) = devices
        .iter()
        .filter(|device| device.kind != Kind::Raid)
        .partition(|device| device.kind == Kind::Partition);
    for device in partitions.into_iter().rev().chain(disks.into_iter().rev()) {
        let disk = device.parent.as_ref().unwrap_or(&device.name);
        let on_array = !devices
            .iter()
            .any(|d| d.name == *disk && d.kind == Kind::Disk);
        // Superblocks on other disks are not ours to remove while arrays are kept there.
        if protected.contains(disk) || on_array || device.read_only {
            continue;
        }
        if let Err(error) = clear_member(system, &device.name).await {
            tracing::warn!(device = %device.name, %error, "may keep a superblock");
        }
    }
    for disk in holders.into_keys().filter(|disk| !protected.contains(disk)) {
        ignore(system, Cmd::new("wipefs").args(["-af", disk.as_str()])).await;
        if let Err(error) = clear_disk(system, disk).await {
            tracing::warn!(%disk, %error, "its partition table may still be there");
        }
    }
    Ok(())
}

/// The partition table goes, also from the kernel's memory.
async fn clear_disk(system: &System, disk: &str) -> Result<(), String> {
    let (disks, path) = (Arc::clone(&system.disks), PathBuf::from(disk));
    let cleared = tokio::task::spawn_blocking(move || {
        let mut disk = disks.open(&path)?;
        metadata::zero_ends(disk.as_mut())?;
        disk.reread_table()
    });
    let cleared = cleared.await.map_err(|error| error.to_string())?;
    cleared.map_err(|error: DiskError| error.to_string())
}

/// Removes the superblock of a device that has one.
async fn clear_member(system: &System, member: &str) -> Result<(), Failure> {
    match system
        .run
        .run(Cmd::new("mdadm").args(["--examine", member]))
        .await
    {
        Ok(_) => {
            let zero = Cmd::new("mdadm").args(["--zero-superblock", member]);
            ignore(system, zero).await;
            Ok(())
        }
        Err(RunError::Failed { stderr, .. }) if stderr.contains("No md superblock detected") => {
            Ok(())
        }
        Err(error) => Err(program_failed(
            format!("Failed to examine device {member}"),
            error,
        )),
    }
}

/// Runs a program whose failure shows later.
async fn ignore(system: &System, command: Cmd) {
    let text = command.to_string();
    if let Err(error) = system.run.run(command).await {
        tracing::warn!(command = %text, %error, "failed");
    }
}
