//! Making software RAID.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use ironic_ondisk::partition_table::guid::Guid;
use ironic_ondisk::partition_table::kinds::LINUX_RAID;
use serde_json::{Value, json};

use crate::disk::erase::guard::keep_by_name::{self, ArrayDecision};
use crate::disk::erase::guard::{self, IDLE_MEMBER, Scope, Selection};
use crate::disk::erase::metadata;
use crate::disk::partition::device;
use crate::disk::partition::table::{PartitionEntry, PartitionTable, TableError};
use crate::disk::raid::error::{ArrayAction, PartitionCause, RaidError};
use crate::disk::raid::facts::RaidFacts;
use crate::disk::raid::plan::{self, PlannedArray, RaidLayout, RaidPartition, RaidVolume, Volumes};
use crate::machine::block::{BlockDevice, DeviceKind};
use crate::machine::firmware::boot;
use crate::machine::ironic_node::{DiskLabel, Node};
use crate::machine::raid::{Array, root_volume};
use crate::system::disk::Geometry;
use crate::system::{Cmd, Disk, DiskError, Output, System};
use crate::task::Task;

/// How often a member that is missing is added.
const ADD_TRIES: u32 = 3;

/// What creating a configuration does.
#[derive(Debug, Clone, PartialEq)]
pub struct Creation {
    /// What is made; `None`: nothing, all of it is there.
    pub layout: Option<RaidLayout>,
    /// The configuration with the disks of each volume, for Ironic.
    pub result: Value,
}

/// Checks the configuration of a node.
///
/// # Errors
/// Everything that is wrong with it.
pub fn validate(node: &Node, config: &Value) -> Result<(), RaidError> {
    read(node, config).map(drop)
}

fn read(node: &Node, config: &Value) -> Result<Option<Vec<RaidVolume>>, RaidError> {
    let needs_names = !keep_by_name::volumes(node).is_empty();
    plan::read(config, needs_names).map_err(|source| RaidError::Config {
        node: node.uuid().to_owned(),
        source,
    })
}

/// Decides what must be made. `is_cleared`: the arrays that may be removed are about to be.
/// Reads only.
///
/// # Errors
/// The configuration is wrong, the machine is not free for it, or a disk must not be written.
pub async fn plan_creation(
    system: &System,
    node: &Node,
    guard: bool,
    config: &Value,
    is_cleared: bool,
) -> Result<Creation, RaidError> {
    let Some(volumes) = read(node, config)? else {
        return Ok(Creation {
            layout: None,
            result: json!({}),
        });
    };
    let mut selection = guard::select(system, node, guard, Scope::Some).await?;
    let devices = std::mem::take(&mut selection.devices);
    let machine = FreeMachine {
        facts: RaidFacts::read(system, node, devices).await?,
        selection,
        is_cleared,
    };
    let volumes = without_existing(volumes, &machine.existing(), &keep_by_name::volumes(node))?;
    if volumes.is_empty() {
        return Ok(Creation {
            layout: None,
            result: config.clone(),
        });
    }
    let disks = machine.candidates();
    let chosen = plan::choose(&volumes, &disks)?;
    check_free(&chosen.iter().flatten().collect(), &machine)?;
    let boot_mode = node.boot_mode(boot::mode(system));
    let placed = Volumes {
        volumes: &volumes,
        chosen: &chosen,
        boot_mode,
        label: node.disk_label(boot_mode),
    };
    Ok(Creation {
        layout: Some(plan::lay_out(placed, &disks, &machine.array_numbers())?),
        result: with_disks(config, &volumes, &chosen),
    })
}

/// The configuration with the disks of each volume.
fn with_disks(config: &Value, volumes: &[RaidVolume], chosen: &[Vec<String>]) -> Value {
    let mut result = config.clone();
    for (volume, names) in volumes.iter().zip(chosen) {
        if let Some(Value::Object(entry)) = result
            .get_mut("logical_disks")
            .and_then(|entries| entries.get_mut(volume.index))
        {
            entry.insert("block_devices".to_owned(), json!(names));
        }
    }
    result
}

/// The machine as it is, or as it is once the arrays that may be removed are.
struct FreeMachine {
    facts: RaidFacts,
    selection: Selection,
    is_cleared: bool,
}

impl FreeMachine {
    /// The arrays that are there then.
    fn existing(&self) -> Vec<(&Array, &ArrayDecision)> {
        let all = self.facts.existing();
        all.filter(|(_, decision)| !(self.is_cleared && **decision == ArrayDecision::Delete))
            .collect()
    }

    /// The disks that volumes may be made on.
    fn candidates(&self) -> Vec<BlockDevice> {
        let existing = self.existing();
        let kept: HashSet<&String> = existing
            .iter()
            .filter(|(_, decision)| **decision != ArrayDecision::Delete)
            .flat_map(|(array, _)| &array.disks)
            .collect();
        let facts = &self.facts;
        facts
            .devices
            .iter()
            .filter(|device| device.kind == DeviceKind::Disk && !device.read_only)
            .filter(|device| !self.selection.is_virtual_media(&device.name))
            .filter(|device| !kept.contains(&device.name) && !facts.skipped.contains(&device.name))
            .cloned()
            .collect()
    }

    /// The numbers of the arrays that are there then.
    fn array_numbers(&self) -> BTreeSet<u32> {
        let existing = self.existing().into_iter();
        existing
            .filter_map(|(array, _)| array.name.strip_prefix("/dev/md")?.parse().ok())
            .collect()
    }
}

/// The volumes that are not there yet.
fn without_existing(
    volumes: Vec<RaidVolume>,
    existing: &[(&Array, &ArrayDecision)],
    kept: &HashSet<String>,
) -> Result<Vec<RaidVolume>, RaidError> {
    // Without names to keep, arrays that are there do not matter here.
    if kept.is_empty() {
        return Ok(volumes);
    }
    let mut left = volumes;
    let is_lower = |array: &Array| {
        let mut others = existing.iter().flat_map(|(other, _)| &other.members);
        others.any(|member| *member == array.name)
    };
    // What another array lies on is not a volume of its own.
    for (array, decision) in existing.iter().filter(|(array, _)| !is_lower(array)) {
        let Some(name) = &array.volume_name else {
            return Err(RaidError::NoVolumeName {
                array: array.name.clone(),
            });
        };
        let is_wanted = left.iter().any(|volume| volume.name.as_ref() == Some(name));
        let may_stay = match decision {
            ArrayDecision::Keep => is_wanted || kept.contains(name) || name == "esp",
            ArrayDecision::Wipe { .. } => is_wanted,
            ArrayDecision::Delete => false,
        };
        if !may_stay {
            return Err(RaidError::UnwantedArray {
                array: array.name.clone(),
                volume: name.clone(),
            });
        }
        left.retain(|volume| volume.name.as_ref() != Some(name));
    }
    Ok(left)
}

/// Nothing lies on the disks that are chosen, and nothing keeps them from being written.
fn check_free(chosen: &BTreeSet<&String>, machine: &FreeMachine) -> Result<(), RaidError> {
    let (facts, is_cleared) = (&machine.facts, machine.is_cleared);
    let goes: HashSet<&String> = facts
        .existing()
        .filter(|(_, decision)| is_cleared && **decision == ArrayDecision::Delete)
        .flat_map(|(array, _)| &array.disks)
        .collect();
    let partitioned: BTreeSet<&str> = facts
        .devices
        .iter()
        .filter_map(|device| device.parent.as_ref())
        .filter(|disk| chosen.contains(disk) && !goes.contains(disk))
        .map(String::as_str)
        .collect();
    if !partitioned.is_empty() {
        let disks = partitioned.into_iter().map(str::to_owned);
        return Err(RaidError::Partitioned(disks.collect()));
    }
    // What is left of an array that is not there is removed with the others.
    let stays = |(name, reason): &&(String, String)| {
        chosen.contains(name) && !goes.contains(name) && !(is_cleared && reason == IDLE_MEMBER)
    };
    match machine.selection.left_alone.iter().find(stays) {
        Some((disk, reason)) => Err(RaidError::LeftAlone {
            disk: disk.clone(),
            sentence: reason.clone(),
        }),
        None => Ok(()),
    }
}

/// Makes partition tables and arrays.
///
/// # Errors
/// A disk or `mdadm` failed.
pub async fn create(system: &System, layout: &RaidLayout, task: &Task) -> Result<(), RaidError> {
    let arrays = layout.arrays.iter();
    let said = arrays.map(|array| (array.device.as_str(), array.is_root));
    root_volume::remember(&system.root, said).map_err(RaidError::RootVolume)?;
    for disk in layout.disks.keys() {
        device::release(system, disk).await;
    }
    write_tables(system, layout).await?;
    for (disk, partitions) in &layout.disks {
        device::announce(system, disk).await;
        for partition in partitions {
            let node = device::of(system, disk, partition.number);
            let waited = device::wait_for(system, &node).await;
            waited.map_err(|missing| RaidError::NoDevice { node: missing.0 })?;
        }
        task.phase_ended(format!("{} partitions on {disk}", partitions.len()));
    }
    for array in &layout.arrays {
        task.check()?;
        create_array(system, array).await?;
        task.phase_ended(format!(
            "array {} ({}) made of {} partitions",
            array.device,
            array.name,
            array.members.len()
        ));
    }
    Ok(())
}

/// Computes all tables, on disks that are all open, before it writes the first.
async fn write_tables(system: &System, layout: &RaidLayout) -> Result<(), RaidError> {
    let (disks, layout) = (Arc::clone(&system.disks), layout.clone());
    let written = tokio::task::spawn_blocking(move || {
        let in_disk = |name: &String, source: PartitionCause| RaidError::Partitions {
            disk: name.clone(),
            source,
        };
        let mut tables = Vec::new();
        for (name, partitions) in &layout.disks {
            let disk = disks.open(&PathBuf::from(name));
            let disk = disk.map_err(|error| in_disk(name, error.into()))?;
            let table = table(layout.label, disk.geometry(), partitions);
            let table = table.map_err(|error| in_disk(name, error.into()))?;
            tables.push((name, disk, table, partitions));
        }
        for (name, disk, table, partitions) in &mut tables {
            write_table(disk.as_mut(), table, partitions)
                .map_err(|error| in_disk(name, error.into()))?;
        }
        Ok(())
    });
    written.await?
}

/// What an earlier use left at the ends of the disk or of a partition goes before the kernel
/// sees the partition: an old array might be assembled from it.
fn write_table(
    disk: &mut dyn Disk,
    table: &PartitionTable,
    partitions: &[RaidPartition],
) -> Result<(), DiskError> {
    let size = disk.geometry().size;
    metadata::zero_ends_of(disk, 0, size)?;
    for partition in partitions {
        metadata::zero_ends_of(disk, partition.offset, partition.size)?;
    }
    table.write(disk)?;
    disk.sync()?;
    disk.reread_table()
}

fn table(
    label: DiskLabel,
    geometry: Geometry,
    partitions: &[RaidPartition],
) -> Result<PartitionTable, TableError> {
    let guid = || Guid(uuid::Uuid::new_v4().to_bytes_le());
    let mut table = PartitionTable::empty(label, geometry, guid())?;
    for partition in partitions {
        table.insert(
            geometry.sector_size,
            PartitionEntry {
                number: partition.number,
                offset: partition.offset,
                size: partition.size,
                kind: LINUX_RAID,
                guid: guid(),
                is_active: false,
            },
        )?;
    }
    Ok(table)
}

async fn create_array(system: &System, array: &PlannedArray) -> Result<(), RaidError> {
    let name = &array.device;
    let members: Vec<String> = array
        .members
        .iter()
        .map(|(disk, number)| device::of(system, disk, *number))
        .collect();
    let count = members.len().to_string();
    let create = Cmd::new("mdadm")
        .args([
            "--create",
            name.as_str(),
            "--force",
            "--run",
            "--metadata=1",
        ])
        .args(["--level", array.level, "--name", array.name.as_str()])
        .args(["--raid-devices", count.as_str()])
        .args(members.iter().map(String::as_str));
    run(system, create, || ArrayAction::Create(name.clone())).await?;
    let detail = Cmd::new("mdadm").args(["--detail", name.as_str()]);
    let detail = run(system, detail, || ArrayAction::Detail(name.clone())).await?;
    let there = members_of(&detail.text());
    for member in members.iter().filter(|member| !there.contains(*member)) {
        tracing::warn!(array = %name, %member, "is missing and is added");
        let mut tries = 1;
        loop {
            let add = Cmd::new("mdadm").args(["--add", name.as_str(), member.as_str()]);
            match system.run.run(add).await {
                Ok(_) => break,
                Err(_) if tries < ADD_TRIES => tries += 1,
                Err(source) => {
                    let action = ArrayAction::Add {
                        member: member.clone(),
                        array: name.clone(),
                    };
                    return Err(RaidError::Program { action, source });
                }
            }
        }
    }
    Ok(())
}

async fn run(
    system: &System,
    command: Cmd,
    action: impl FnOnce() -> ArrayAction,
) -> Result<Output, RaidError> {
    let ran = system.run.run(command).await;
    ran.map_err(|source| RaidError::Program {
        action: action(),
        source,
    })
}

/// The members that `mdadm --detail` prints: the last words of the lines of its table. Names
/// and event counts may look like paths.
pub(super) fn members_of(detail: &str) -> BTreeSet<String> {
    detail
        .lines()
        .skip(1)
        .filter(|line| !line.contains(" : "))
        .filter_map(|line| line.split_whitespace().last())
        .filter(|word| word.starts_with("/dev/"))
        .map(str::to_owned)
        .collect()
}
