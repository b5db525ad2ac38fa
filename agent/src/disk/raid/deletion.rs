//! Removing arrays, and what they left on disks.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ironic_text::error_chain;

use crate::disk::erase::guard::keep_by_name::ArrayDecision;
use crate::disk::erase::guard::{self, Scope};
use crate::disk::erase::metadata;
use crate::disk::partition::device;
use crate::disk::raid::error::{ArrayAction, ClearError, RaidError};
use crate::disk::raid::facts::RaidFacts;
use crate::machine::block::guarded_filesystem;
use crate::machine::block::{BlockDevice, DeviceKind};
use crate::machine::ironic_node::Node;
use crate::machine::raid::Array;
use crate::system::{Cmd, RunError, System};
use crate::task::Task;

/// How often the disks are gone through.
const PASSES: u32 = 2;
/// How much of a superblock goes.
const SUPERBLOCK: u64 = 4096;

/// What the removal of the configuration does.
#[derive(Debug)]
pub struct Deletion {
    /// What becomes of each array.
    pub arrays: Vec<(Array, ArrayDecision)>,
    /// Disks and partitions with a superblock of Linux RAID whose array is not running.
    pub lone: Vec<String>,
    /// Disks that the node's skip list describes.
    skipped: HashSet<String>,
    devices: Vec<BlockDevice>,
}

impl Deletion {
    /// Disks of which nothing is touched.
    fn protected(&self) -> BTreeSet<&String> {
        let stay = self
            .arrays
            .iter()
            .filter(|(_, decision)| *decision != ArrayDecision::Delete);
        let disks = stay.flat_map(|(array, _)| &array.disks);
        self.skipped.iter().chain(disks).collect()
    }

    /// Why a device that may have a superblock keeps it.
    fn reason(&self, device: &BlockDevice) -> Option<&'static str> {
        let disk = device.parent.as_ref().unwrap_or(&device.name);
        let is_disk = |other: &BlockDevice| {
            other.name == *disk && matches!(other.kind, DeviceKind::Disk | DeviceKind::File)
        };
        if self.skipped.contains(disk) {
            Some("skip_block_devices names it, or the disk under it")
        } else if self.protected().contains(disk) {
            Some("an array of which its disk has a member is kept")
        } else if device.read_only {
            Some("it is read-only")
        } else if !self.devices.iter().any(is_disk) {
            Some("it lies on an array")
        } else {
            None
        }
    }

    /// The devices that keep a superblock, with the reason.
    #[must_use]
    pub fn left_alone(&self) -> Vec<(String, String)> {
        let devices = self.devices.iter();
        let lone = devices.filter(|device| self.lone.contains(&device.name));
        lone.filter_map(|device| Some((device.name.clone(), self.reason(device)?.to_owned())))
            .collect()
    }
}

/// What becomes of each array when the configuration is removed. Reads only, after arrays
/// that are not running were started.
///
/// # Errors
/// The skip list cannot be understood, or an array must not be removed.
pub async fn plan_deletion(
    system: &System,
    node: &Node,
    guard: bool,
) -> Result<Deletion, RaidError> {
    // What is mounted or shared is found before anything is touched: the arrays themselves,
    // and what else is on their disks.
    let selection = guard::select(system, node, guard, Scope::Some).await?;
    let facts = RaidFacts::read(system, node, selection.devices).await?;
    let arrays: Vec<_> = facts.arrays.into_iter().zip(facts.decisions).collect();
    let going = arrays
        .iter()
        .filter(|(_, decision)| *decision == ArrayDecision::Delete);
    let disks = going.flat_map(|(array, _)| array.disks.iter().cloned());
    guard::check_disks(system, node, guard, disks.collect()).await?;
    let running: HashSet<&String> = arrays
        .iter()
        .flat_map(|(array, _)| &array.members)
        .collect();
    let devices = facts.devices.iter();
    let idle =
        devices.filter(|device| device.kind != DeviceKind::Raid && !running.contains(&device.name));
    let lone = with_superblock(system, idle.cloned().collect()).await?;
    let deletion = Deletion {
        arrays,
        lone,
        skipped: facts.skipped,
        devices: facts.devices,
    };
    let cleared = deletion
        .devices
        .iter()
        .filter(|device| deletion.lone.contains(&device.name) && deletion.reason(device).is_none());
    guard::check_content(system, node, guard, cleared.cloned().collect()).await?;
    Ok(deletion)
}

/// Those of some devices that have a superblock of Linux RAID. One that cannot be read has none
/// that could be removed.
async fn with_superblock(
    system: &System,
    devices: Vec<BlockDevice>,
) -> Result<Vec<String>, RaidError> {
    let system = system.clone();
    let look = move || {
        let is_member = |device: &&BlockDevice| {
            guarded_filesystem::probe(&system, device).is_ok_and(|content| content.raid_member)
        };
        let members = devices.iter().filter(is_member);
        members.map(|device| device.name.clone()).collect()
    };
    Ok(tokio::task::spawn_blocking(look).await?)
}

/// Removes arrays, their members' superblocks and their disks' partitions, but those that the
/// node's skip list keeps. Every disk and partition is examined, whether or not an array runs:
/// one that was moved here, or that lost the others of its array, has a superblock, too.
/// Answers what is left alone, each with the reason.
///
/// # Errors
/// As [`plan_deletion`]; something remains.
pub async fn delete(
    system: &System,
    node: &Node,
    guard: bool,
    task: &Task,
) -> Result<Vec<(String, String)>, RaidError> {
    let mut unremovable = Vec::new();
    for pass in 0..=PASSES {
        task.check()?;
        ignore(system, Cmd::new("mdadm").args(["--assemble", "--scan"])).await;
        let deletion = plan_deletion(system, node, guard).await?;
        let arrays = &deletion.arrays;
        let remaining: Vec<_> = arrays
            .iter()
            .filter(|(_, decision)| *decision == ArrayDecision::Delete)
            .map(|(array, _)| format!("'{}'", array.name))
            .collect();
        if remaining.is_empty() && unremovable.is_empty() && pass > 0 {
            return Ok(deletion.left_alone());
        }
        if pass == PASSES {
            return Err(RaidError::Remaining([remaining, unremovable].concat()));
        }
        unremovable = delete_once(system, &deletion, task).await?;
    }
    Ok(Vec::new())
}

/// Answers which superblocks are still there, and why.
async fn delete_once(
    system: &System,
    deletion: &Deletion,
    task: &Task,
) -> Result<Vec<String>, RaidError> {
    let emptied = remove_arrays(system, deletion, task).await?;
    let remaining = remove_superblocks(system, deletion, task).await;
    for disk in emptied {
        device::release(system, disk).await;
        ignore(system, Cmd::new("wipefs").args(["-af", disk.as_str()])).await;
        if let Err(error) = clear_disk(system, disk).await {
            let error = error_chain(&error);
            tracing::warn!(%disk, %error, "its partition table may still be there");
        }
    }
    Ok(remaining)
}

/// Answers the disks that hold nothing else than what was removed.
async fn remove_arrays<'a>(
    system: &System,
    deletion: &'a Deletion,
    task: &Task,
) -> Result<BTreeSet<&'a String>, RaidError> {
    let mut holders: BTreeSet<&String> = BTreeSet::new();
    for (array, decision) in &deletion.arrays {
        let name = array.name.as_str();
        match decision {
            ArrayDecision::Keep => {}
            ArrayDecision::Wipe { because_of } => {
                ignore(system, Cmd::new("wipefs").args(["-af", name])).await;
                task.phase_ended(format!(
                    "{name} wiped; it stays, since it shares disks with {because_of}"
                ));
            }
            ArrayDecision::Delete => {
                holders.extend(&array.disks);
                ignore(system, Cmd::new("wipefs").args(["-af", name])).await;
                ignore(system, Cmd::new("mdadm").args(["--stop", name])).await;
                for member in &array.members {
                    clear_member(system, member).await?;
                }
                task.phase_ended(format!("array {name} removed"));
            }
        }
    }
    Ok(holders.difference(&deletion.protected()).copied().collect())
}

/// Answers which superblocks are still there, and why.
async fn remove_superblocks(system: &System, deletion: &Deletion, task: &Task) -> Vec<String> {
    let mut remaining = Vec::new();
    // Partitions first: what a disk has in common with its last partition is the partition's.
    let (partitions, disks): (Vec<_>, Vec<_>) = deletion
        .devices
        .iter()
        .filter(|device| device.kind != DeviceKind::Raid)
        .partition(|device| device.kind == DeviceKind::Partition);
    for device in partitions.into_iter().rev().chain(disks.into_iter().rev()) {
        // Superblocks on other disks are not ours to remove while arrays are kept there.
        if deletion.reason(device).is_some() {
            continue;
        }
        let name = &device.name;
        if deletion.lone.contains(name) {
            device::release(system, name).await;
        }
        if let Err(error) = clear_member(system, name).await {
            let error = error_chain(&error);
            tracing::warn!(device = %name, %error, "may keep a superblock");
        }
        match clear_superblocks(system, device).await {
            Ok(false) => {}
            Ok(true) => task.phase_ended(format!("superblock of {name} removed")),
            Err(error) => {
                let reason = error_chain(&error);
                remaining.push(format!("'{name}' (its superblock: {reason})"));
            }
        }
    }
    remaining
}

/// Removes what `mdadm` left: it knows more formats, but it may not be installed. Answers
/// whether there was anything.
async fn clear_superblocks(system: &System, device: &BlockDevice) -> Result<bool, ClearError> {
    let (system, device) = (system.clone(), device.clone());
    let cleared = tokio::task::spawn_blocking(move || -> Result<bool, ClearError> {
        // What cannot be read has none that could be removed.
        let offsets = guarded_filesystem::superblocks(&system, &device).unwrap_or_default();
        if offsets.is_empty() {
            return Ok(false);
        }
        // Alone: what is mounted or in an array stays as it is.
        let mut disk = system.disks.open(Path::new(&device.name))?;
        for offset in &offsets {
            let length = SUPERBLOCK.min(device.size.saturating_sub(*offset));
            disk.zero(*offset, length)?;
        }
        disk.sync()?;
        Ok(true)
    });
    cleared.await?
}

/// The partition table goes, also from the kernel's memory.
async fn clear_disk(system: &System, disk: &str) -> Result<(), ClearError> {
    let (disks, path) = (Arc::clone(&system.disks), PathBuf::from(disk));
    let cleared = tokio::task::spawn_blocking(move || {
        let mut disk = disks.open(&path)?;
        metadata::zero_ends(disk.as_mut())?;
        Ok(disk.reread_table()?)
    });
    cleared.await?
}

/// Removes the superblock of a device that has one.
async fn clear_member(system: &System, member: &str) -> Result<(), RaidError> {
    if system.simulation.is_some() {
        return Ok(());
    }
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
        Err(source) => Err(RaidError::Program {
            action: ArrayAction::Examine(member.to_owned()),
            source,
        }),
    }
}

/// Runs a program whose failure shows later.
async fn ignore(system: &System, command: Cmd) {
    let text = command.to_string();
    if let Err(error) = system.run.run(command).await {
        tracing::warn!(command = %text, %error, "failed");
    }
}
