//! Making software RAID by `mdadm`; `deletion` removes it.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ironic_ondisk::partition_table::guid::Guid;
use serde_json::{Value, json};

use crate::disk::erase::guard::keep_by_name::{self, Fate};
use crate::disk::erase::guard::{self, IDLE_MEMBER, Scope};
use crate::disk::erase::metadata;
use crate::disk::partition::table::{Entry, Table};
use crate::disk::raid::plan::{Layout, Part, Planned};
use crate::failure::{Failure, FailureKind};
use crate::machine::block::guarded_filesystem;
use crate::machine::block::hints;
use crate::machine::block::{BlockDevice, Kind};
use crate::machine::firmware::boot;
use crate::machine::ironic_node::{DiskLabel, Node};
use crate::machine::raid::root_volume;
use crate::machine::raid::{self, Array};
use crate::system::{Cmd, Disk, DiskError, RunError, System};
use crate::task::Task;

mod deletion;
pub mod plan;

pub use deletion::{Deletion, delete, plan_deletion};

/// Type of the partitions of Linux RAID: A19D880F-05FC-4D3B-A006-743F0F84911E.
const GPT_RAID: Guid = Guid([
    0x0f, 0x88, 0x9d, 0xa1, 0xfc, 0x05, 0x3b, 0x4d, 0xa0, 0x06, 0x74, 0x3f, 0x0f, 0x84, 0x91, 0x1e,
]);
const MBR_RAID: u8 = 0xfd;
/// How often, and how far apart, a partition's node is looked for.
const NODE_TRIES: u32 = 100;
const NODE_PAUSE: Duration = Duration::from_millis(100);
/// How often a member that is missing is added.
const ADD_TRIES: u32 = 3;

fn failed(text: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::SoftwareRaid, unknown(text))
}

fn program_failed(text: impl std::fmt::Display, error: RunError) -> Failure {
    error.failure(FailureKind::SoftwareRaid, unknown(text))
}

fn unknown(text: impl std::fmt::Display) -> String {
    format!("Software RAID caused unknown error: {text}")
}

/// What creating a configuration does.
#[derive(Debug, Clone, PartialEq)]
pub struct Creation {
    /// What is made; `None`: nothing, all of it is there.
    pub layout: Option<Layout>,
    /// The configuration with the disks of each volume, for Ironic.
    pub result: Value,
}

/// Whether a configuration is one.
///
/// # Errors
/// `SoftwareRaid` with everything that is wrong with it.
pub fn validate(node: &Node, config: &Value) -> Result<(), Failure> {
    read(node, config).map(|_| ())
}

fn read(node: &Node, config: &Value) -> Result<Option<Vec<plan::Volume>>, Failure> {
    let needs_names = !keep_by_name::volumes(node).is_empty();
    plan::read(config, needs_names).map_err(|error| {
        failed(format!(
            "Could not validate Software RAID config for {}: {error}",
            node.uuid()
        ))
    })
}

/// Decides what must be made. `ignored`: arrays that are about to be removed. Reads only.
///
/// # Errors
/// `SoftwareRaid`: the configuration is wrong, or the machine is not free for it;
/// `ProtectedDevice`, `BlockDeviceErase`: a disk that must not be written.
pub async fn plan_creation(
    system: &System,
    node: &Node,
    guard: bool,
    config: &Value,
    is_cleared: bool,
) -> Result<Creation, Failure> {
    let nothing = Creation {
        layout: None,
        result: json!({}),
    };
    let Some(volumes) = read(node, config)? else {
        return Ok(nothing);
    };
    let selection = guard::select(system, node, guard, Scope::Some).await?;
    let skipping = !keep_by_name::volumes(node).is_empty();
    let facts = {
        let (system, node) = (system.clone(), node.clone());
        let devices = selection.devices.clone();
        let read = tokio::task::spawn_blocking(move || Facts::read(&system, &node, devices));
        read.await.map_err(failed)??
    };
    let existing: Vec<(&Array, &Fate)> = facts
        .arrays
        .iter()
        .zip(&facts.fates)
        .filter(|(_, fate)| !(is_cleared && **fate == Fate::Delete))
        .collect();
    let volumes = without_existing(volumes, &existing, &keep_by_name::volumes(node), skipping)?;
    let mut result = config.clone();
    if volumes.is_empty() {
        return Ok(Creation {
            layout: None,
            result,
        });
    }
    let kept: HashSet<&String> = existing
        .iter()
        .filter(|(_, fate)| **fate != Fate::Delete)
        .flat_map(|(array, _)| &array.disks)
        .collect();
    let disks: Vec<BlockDevice> = facts
        .devices
        .iter()
        .filter(|device| device.kind == Kind::Disk && !device.read_only)
        .filter(|device| !selection.is_virtual_media(&device.name))
        .filter(|device| !kept.contains(&device.name) && !facts.skipped.contains(&device.name))
        .cloned()
        .collect();
    let chosen = plan::choose(&volumes, &disks).map_err(failed)?;
    let union: BTreeSet<&String> = chosen.iter().flatten().collect();
    check_free(&union, &facts, &selection.left_alone, is_cleared)?;
    let boot_mode = node.boot_mode(boot::mode(system));
    let kind = (boot_mode, node.disk_label(boot_mode));
    let numbers = existing
        .iter()
        .filter_map(|(array, _)| array.name.strip_prefix("/dev/md")?.parse().ok())
        .collect();
    let layout = plan::lay_out(&volumes, &chosen, &disks, kind, &numbers).map_err(failed)?;
    for (volume, names) in volumes.iter().zip(&chosen) {
        if let Some(Value::Object(entry)) = result
            .get_mut("logical_disks")
            .and_then(|entries| entries.get_mut(volume.index))
        {
            entry.insert("block_devices".to_owned(), json!(names));
        }
    }
    Ok(Creation {
        layout: Some(layout),
        result,
    })
}

/// The machine as this room needs it.
struct Facts {
    devices: Vec<BlockDevice>,
    arrays: Vec<Array>,
    fates: Vec<Fate>,
    /// Disks that the node's skip list describes.
    skipped: HashSet<String>,
}

impl Facts {
    fn read(system: &System, node: &Node, devices: Vec<BlockDevice>) -> Result<Self, Failure> {
        let allowed = hints::without_skipped(&devices, node)
            .map_err(|error| failed(format!("skip_block_devices cannot be understood: {error}")))?;
        let allowed: HashSet<&String> = allowed.iter().map(|device| &device.name).collect();
        let skipped: HashSet<String> = devices
            .iter()
            .filter(|device| !allowed.contains(&device.name))
            .flat_map(|device| [Some(device.name.clone()), device.parent.clone()])
            .flatten()
            .collect();
        let arrays = raid::probe(system, &devices);
        let volumes = keep_by_name::volumes(node);
        refuse_idle(system, &devices, &arrays, &volumes)?;
        let mut fates = keep_by_name::classify(&arrays, &volumes);
        for (array, fate) in arrays.iter().zip(&mut fates) {
            let below = array
                .disks
                .iter()
                .chain(&array.members)
                .chain([&array.name]);
            if below.into_iter().any(|name| skipped.contains(name)) {
                *fate = Fate::Keep;
            }
        }
        Ok(Self {
            devices,
            arrays,
            fates,
            skipped,
        })
    }
}

/// What is kept must be running: nobody knows which disks an array has that is not, and its
/// neighbours on them would be taken for free.
fn refuse_idle(
    system: &System,
    devices: &[BlockDevice],
    arrays: &[Array],
    kept: &HashSet<String>,
) -> Result<(), Failure> {
    let is_running = |volume: &String| {
        let mut names = arrays.iter().map(|array| array.volume_name.as_ref());
        names.any(|name| name == Some(volume))
    };
    let idle: HashSet<&String> = kept.iter().filter(|volume| !is_running(volume)).collect();
    if idle.is_empty() {
        return Ok(());
    }
    for device in devices.iter().filter(|device| device.kind != Kind::Raid) {
        // A disk that cannot be read is named by whoever is to write it.
        let content = guarded_filesystem::probe(system, device).unwrap_or_default();
        if let Some(volume) = content.volume_name.filter(|name| idle.contains(name)) {
            return Err(failed(format!(
                "skip_block_devices keeps volume '{volume}', of which a member is on {}, but its \
                 array is not running: start it (mdadm --assemble), or take the volume off \
                 properties/skip_block_devices of the node",
                device.name
            )));
        }
    }
    Ok(())
}

/// The volumes that are not there yet.
fn without_existing(
    volumes: Vec<plan::Volume>,
    existing: &[(&Array, &Fate)],
    kept: &HashSet<String>,
    skipping: bool,
) -> Result<Vec<plan::Volume>, Failure> {
    if !skipping {
        return Ok(volumes);
    }
    let mut left = volumes;
    for (array, fate) in existing {
        let Some(name) = &array.volume_name else {
            return Err(failed(format!(
                "{} has no volume name, so it cannot be told whether it is to be kept",
                array.name
            )));
        };
        let is_wanted = left.iter().any(|volume| volume.name.as_ref() == Some(name));
        let may_stay = match fate {
            Fate::Keep => is_wanted || kept.contains(name) || name == "esp",
            Fate::Wipe { .. } => is_wanted,
            Fate::Delete => false,
        };
        if !may_stay {
            return Err(failed(format!(
                "existing array {} (volume {name}) should not be there: run delete_configuration \
                 first",
                array.name
            )));
        }
        left.retain(|volume| volume.name.as_ref() != Some(name));
    }
    Ok(left)
}

/// Nothing lies on the disks that are chosen, and nothing keeps them from being written.
fn check_free(
    chosen: &BTreeSet<&String>,
    facts: &Facts,
    left_alone: &[(String, String)],
    is_cleared: bool,
) -> Result<(), Failure> {
    let goes: HashSet<&String> = facts
        .arrays
        .iter()
        .zip(&facts.fates)
        .filter(|(_, fate)| is_cleared && **fate == Fate::Delete)
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
        let list: Vec<_> = partitioned.into_iter().collect();
        return Err(failed(format!(
            "Partitions detected on devices {} during RAID config",
            list.join(", ")
        )));
    }
    // What is left of an array that is not there is removed with the others.
    let stays = |(name, reason): &&(String, String)| {
        chosen.contains(name) && !goes.contains(name) && !(is_cleared && reason == IDLE_MEMBER)
    };
    match left_alone.iter().find(stays) {
        Some((name, reason)) => Err(failed(format!("{name} cannot be used: {reason}"))),
        None => Ok(()),
    }
}

/// Makes partition tables and arrays.
///
/// # Errors
/// `SoftwareRaid`, `CommandExecution`.
pub async fn create(system: &System, layout: &Layout, task: &Task) -> Result<(), Failure> {
    let arrays = layout.arrays.iter();
    let said = arrays.map(|array| (array.device.as_str(), array.is_root));
    root_volume::remember(&system.root, said)
        .map_err(|error| failed(format!("the root volume cannot be remembered: {error}")))?;
    let tables = open_and_write(system, layout).await;
    tables?;
    for (disk, parts) in &layout.disks {
        for part in parts {
            wait_for_node(
                system,
                &crate::disk::partition::device::of(system, disk, part.number),
            )
            .await?;
        }
        task.phase(format!("{} partitions on {disk}", parts.len()));
    }
    for array in &layout.arrays {
        task.check()?;
        create_array(system, array).await?;
        task.phase(format!(
            "array {} ({}) made of {} partitions",
            array.device,
            array.name,
            array.members.len()
        ));
    }
    Ok(())
}

/// All tables are computed, on disks that are all open, before the first is written.
async fn open_and_write(system: &System, layout: &Layout) -> Result<(), Failure> {
    let (disks, layout) = (Arc::clone(&system.disks), layout.clone());
    let written = tokio::task::spawn_blocking(move || -> Result<(), String> {
        let mut tables = Vec::new();
        for (name, parts) in &layout.disks {
            let failed = |error: &dyn std::fmt::Display| {
                format!("Failed to create partitions on {name}: {error}")
            };
            let disk = disks
                .open(&PathBuf::from(name))
                .map_err(|error| failed(&error))?;
            let table = table(layout.label, disk.geometry(), parts).map_err(|e| failed(&e))?;
            tables.push((name, disk, table, parts));
        }
        for (name, disk, table, parts) in &mut tables {
            write_table(disk.as_mut(), table, parts)
                .map_err(|error| format!("Failed to create partitions on {name}: {error}"))?;
        }
        Ok(())
    });
    written.await.map_err(failed)?.map_err(failed)
}

/// What an earlier life left at the ends of the disk or of a partition goes before the kernel
/// sees the partition: somebody might assemble an old array of it.
fn write_table(disk: &mut dyn Disk, table: &Table, parts: &[Part]) -> Result<(), DiskError> {
    let size = disk.geometry().size;
    metadata::zero_ends_of(disk, 0, size)?;
    for part in parts {
        metadata::zero_ends_of(disk, part.offset, part.size)?;
    }
    table.write(disk)?;
    disk.sync()?;
    disk.reread_table()
}

fn table(
    label: DiskLabel,
    geometry: crate::system::disk::Geometry,
    parts: &[Part],
) -> Result<Table, crate::disk::partition::table::TableError> {
    let guid = || Guid(uuid::Uuid::new_v4().to_bytes_le());
    let mut table = Table::empty(label, geometry, guid())?;
    for part in parts {
        table.insert(
            geometry.sector_size,
            Entry {
                number: part.number,
                offset: part.offset,
                size: part.size,
                gpt_kind: GPT_RAID,
                mbr_kind: MBR_RAID,
                guid: guid(),
                is_active: false,
            },
        )?;
    }
    Ok(table)
}

async fn wait_for_node(system: &System, node: &str) -> Result<(), Failure> {
    for _ in 0..NODE_TRIES {
        if system.root.exists(node) {
            return Ok(());
        }
        tokio::time::sleep(NODE_PAUSE).await;
    }
    Err(failed(format!("partition {node} did not appear")))
}

async fn create_array(system: &System, array: &Planned) -> Result<(), Failure> {
    let device = &array.device;
    let members: Vec<String> = array
        .members
        .iter()
        .map(|(disk, number)| crate::disk::partition::device::of(system, disk, *number))
        .collect();
    let count = members.len().to_string();
    let create = Cmd::new("mdadm")
        .args([
            "--create",
            device.as_str(),
            "--force",
            "--run",
            "--metadata=1",
        ])
        .args(["--level", array.level, "--name", array.name.as_str()])
        .args(["--raid-devices", count.as_str()])
        .args(members.iter().map(String::as_str));
    let created = system.run.run(create).await;
    created
        .map_err(|error| program_failed(format!("Failed to create md device {device}"), error))?;
    let detail = Cmd::new("mdadm").args(["--detail", device.as_str()]);
    let detail = system.run.run(detail).await;
    let detail =
        detail.map_err(|error| program_failed(format!("Failed to look at {device}"), error))?;
    let there = members_of(&detail.text());
    for member in members.iter().filter(|member| !there.contains(*member)) {
        tracing::warn!(array = %device, %member, "is missing and is added");
        let mut tries = 1;
        loop {
            let add = Cmd::new("mdadm").args(["--add", device.as_str(), member.as_str()]);
            match system.run.run(add).await {
                Ok(_) => break,
                Err(_) if tries < ADD_TRIES => tries += 1,
                Err(error) => {
                    let text = format!("Failed re-add {member} to {device}");
                    return Err(program_failed(text, error));
                }
            }
        }
    }
    Ok(())
}

/// The members that `mdadm --detail` prints: the last words of the lines of its table. Names
/// and event counts may look like paths.
fn members_of(detail: &str) -> BTreeSet<String> {
    detail
        .lines()
        .skip(1)
        .filter(|line| !line.contains(" : "))
        .filter_map(|line| line.split_whitespace().last())
        .filter(|word| word.starts_with("/dev/"))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests;
