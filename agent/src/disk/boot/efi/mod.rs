//! Making UEFI firmware boot what was written: the boot loaders on the EFI system partition
//! become entries of the firmware's boot menu.

use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::boot::entry;
use crate::disk::boot::error::{BootCause, BootError};
use crate::disk::boot::layout::BootLayout;
use crate::disk::boot::loader::{self, FoundLoaders, Loader, Machine};
use crate::disk::boot::raid::{self, EspArray};
use crate::disk::filesystem::identity;
use crate::disk::filesystem::mount::{mount, unmount};
use crate::disk::partition::device;
use crate::disk::partition::table::{self, Partition};
use crate::machine::block::{BlockDevice, DeviceKind};
use crate::system::{Cmd, DiskError, RunError, System};
use crate::task::Task;

/// Where the partition is mounted.
const MOUNT_POINT: &str = "/run/ironic-agent/esp";
/// Whether the firmware is one of 64 bits.
const FIRMWARE_BITS: &str = "/sys/firmware/efi/fw_platform_size";
/// Where the firmware's variables are.
const VARIABLES: &str = "/sys/firmware/efi/efivars";

/// What became of making the firmware boot a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entries {
    /// The firmware has entries for the loaders.
    Made,
    /// The EFI system partition holds no loader that this machine could start. Nothing was
    /// changed.
    NoLoader {
        /// The partition.
        partition: String,
    },
    /// The program that speaks to the firmware is not installed. Nothing was looked at.
    NoProgram,
}

/// Finds the boot loaders on the EFI system partition of `device` and enters them into the
/// firmware's boot menu.
///
/// # Errors
/// No EFI system partition, or the firmware's variables cannot be written.
pub async fn install(
    system: &System,
    device: &BlockDevice,
    efi_system_part_uuid: Option<&str>,
    task: &Task,
) -> Result<Entries, BootError> {
    let name = &device.name;
    task.check()?;
    let version = Cmd::new("efibootmgr").arg("--version");
    match system.run.run(version).await {
        Ok(_) => {}
        Err(RunError::Missing { program }) => {
            task.warn(format!(
                "{program} is not installed: the firmware learns nothing about {name}"
            ));
            return Ok(Entries::NoProgram);
        }
        Err(error) => return Err(failed(name, error)),
    }
    device::announce(system, name).await;
    let esp = find_esp(system, device, efi_system_part_uuid).await?;
    let node = match &esp {
        Esp::Own(number) => device::of(system, name, *number),
        Esp::Moved(array) => array.node.clone(),
    };
    let FoundLoaders { loaders, left_out } = find_loaders(system, &node)
        .await
        .map_err(|error| failed(name, error))?;
    for why in left_out {
        task.warn(format!("the EFI system partition {node}: {why}"));
    }
    if loaders.is_empty() {
        return Ok(Entries::NoLoader { partition: node });
    }
    let targets = match esp {
        Esp::Own(number) => targets(system, device, number, task).await?,
        Esp::Moved(array) => on_members(array.members).collect(),
    };
    let mut entered = Ok(());
    for target in &targets {
        entered = enter(system, target, &loaders, task).await;
        if entered.is_err() {
            break;
        }
    }
    // Firmware may be reset right after this command.
    let synced = system.run.run(Cmd::new("sync")).await;
    entered.map_err(|error| failed(name, error))?;
    synced.map_err(|error| failed(name, error))?;
    task.phase_ended(format!("boot entries for {name} made"));
    Ok(Entries::Made)
}

/// What an entry of the firmware points to: a disk, the partition on it, and what distinguishes
/// its label from those of the other disks of an array.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BootTarget {
    disk: String,
    number: u32,
    suffix: String,
}

/// Where the loaders are that the firmware can read. Those of an array it cannot: they move
/// to all of its disks first.
async fn targets(
    system: &System,
    device: &BlockDevice,
    number: u32,
    task: &Task,
) -> Result<Vec<BootTarget>, BootError> {
    if device.kind != DeviceKind::Raid {
        return Ok(vec![BootTarget {
            disk: device.name.clone(),
            number,
            suffix: String::new(),
        }]);
    }
    let layout = BootLayout::read(system, &device.name).await?;
    let source = layout.numbered(number);
    let array = raid::prepare_uefi(system, device, source.as_ref(), task).await?;
    Ok(on_members(array.members).collect())
}

/// Where the EFI system partition is.
enum Esp {
    /// The partition of this number.
    Own(u32),
    /// Where it went when the array was made bootable before.
    Moved(EspArray),
}

/// Finds the EFI system partition. One on the array's disks counts only if it is this image's:
/// the image's own has lost its file system, or the one there has the identity that is asked
/// for. An earlier deployment may have left another.
async fn find_esp(
    system: &System,
    device: &BlockDevice,
    uuid: Option<&str>,
) -> Result<Esp, BootError> {
    let is_array = device.kind == DeviceKind::Raid;
    let number = match (find_partition(system, &device.name, uuid).await, uuid) {
        (Ok(partition), _) => partition.number,
        (Err(error @ BootError::NoEfiSystemPartition { .. }), Some(uuid)) if is_array => {
            let moved = raid::moved(system, device, uuid).await?;
            return moved.map(Esp::Moved).ok_or(error);
        }
        (Err(error), _) => return Err(error),
    };
    if is_array {
        let layout = BootLayout::read(system, &device.name).await?;
        let own = layout.numbered(number);
        if own.is_none_or(|own| own.is_partition_uuid)
            && let Some(array) = raid::existing(system, device).await?
        {
            return Ok(Esp::Moved(array));
        }
    }
    Ok(Esp::Own(number))
}

/// An array has an entry for each of its disks.
fn on_members(members: Vec<(String, u32)>) -> impl Iterator<Item = BootTarget> {
    let numbered = (0..).zip(members);
    numbered.map(|(index, (disk, number)): (u32, _)| BootTarget {
        disk,
        number,
        suffix: format!(" (RAID, part{index})"),
    })
}

async fn find_partition(
    system: &System,
    name: &str,
    uuid: Option<&str>,
) -> Result<Partition, BootError> {
    let disks = Arc::clone(&system.disks);
    let (path, uuid) = (PathBuf::from(name), uuid.map(str::to_owned));
    let read = tokio::task::spawn_blocking(move || -> Result<_, BootCause> {
        // Not alone: the partitions of a map claim it.
        let mut disk = disks.open_shared(&path)?;
        // The partition's node must be there when it is mounted. One that is in use keeps the
        // kernel from reading the table again, which may be the one that it knows.
        let is_reread = match disk.reread_table() {
            Err(error @ DiskError::Busy { .. }) => {
                tracing::warn!(%error, "the new partitions are not known yet");
                false
            }
            reread => reread.map(|()| true)?,
        };
        let partitions = table::partitions_of(disk.as_mut())?;
        let chosen = choose(&partitions, uuid.as_deref());
        // Ironic names it by its file system, where we made it.
        let named = || {
            let mut known = partitions.iter().copied();
            known.find(|partition| {
                let found = identity::read(disk.as_mut(), partition.offset, partition.size);
                let found = found.ok().flatten();
                found
                    .zip(uuid.as_ref())
                    .is_some_and(|(found, uuid)| found.eq_ignore_ascii_case(uuid))
            })
        };
        Ok((chosen.or_else(named), is_reread))
    });
    let read = read.await.map_err(|error| failed(name, error))?;
    let (chosen, is_reread) = read.map_err(|error| failed(name, error))?;
    let chosen = chosen.ok_or_else(|| BootError::NoEfiSystemPartition {
        device: name.to_owned(),
    })?;
    if !is_reread && !system.root.exists(device::of(system, name, chosen.number)) {
        device::add_to_kernel(system, name).await;
    }
    Ok(chosen)
}

/// The partition that is marked as what it is, else the one that was named.
fn choose(partitions: &[Partition], uuid: Option<&str>) -> Option<Partition> {
    let named = |partition: &&Partition| {
        partition
            .guid
            .zip(uuid)
            .is_some_and(|(guid, uuid)| guid.to_string().eq_ignore_ascii_case(uuid))
    };
    partitions
        .iter()
        .find(|partition| partition.is_efi_system)
        .or_else(|| partitions.iter().find(named))
        .copied()
}

/// Mounts the partition read-only, looks, and unmounts it again.
async fn find_loaders(system: &System, node: &str) -> Result<FoundLoaders, BootCause> {
    let bits = system.root.read_optional(FIRMWARE_BITS);
    let firmware = Machine::of_firmware(std::env::consts::ARCH, bits.as_deref());
    let mounted = mount(system, &["-t", "vfat", "-o", "ro"], node, MOUNT_POINT).await?;
    let found = tokio::task::spawn_blocking(move || loader::search(&mounted, firmware)).await;
    let unmounted = unmount(system, MOUNT_POINT).await;
    let found = found?;
    unmounted?;
    found.map_err(|source| BootCause::Search {
        partition: node.to_owned(),
        source,
    })
}

/// Replaces the entries of these labels. Deletions come first: some firmware takes back what
/// was added before a deletion.
async fn enter(
    system: &System,
    target: &BootTarget,
    loaders: &[Loader],
    task: &Task,
) -> Result<(), RunError> {
    let run = async |args: &[&str]| {
        let cmd = Cmd::new("efibootmgr").args(args.iter().copied());
        system.run.run(cmd).await
    };
    if system.root.exists(VARIABLES) && system.root.names(VARIABLES).is_empty() {
        let mount = ["-t", "efivarfs", "efivarfs", VARIABLES];
        // If that fails, efibootmgr says so better.
        let _ = system.run.run(Cmd::new("mount").args(mount)).await;
    }
    let number = target.number.to_string();
    for loader in loaders {
        let label = format!("{}{}", loader.label, target.suffix);
        let entries = entry::parse(&run(&["-v"]).await?.stdout);
        for entry in entries.iter().filter(|entry| entry.label == label) {
            run(&["-b", &entry.number, "-B"]).await?;
            task.say(format!("boot entry {} {label} removed", entry.number));
        }
        let create = ["-v", "-c", "-d", &target.disk, "-p", &number, "-w"];
        let what = ["-L", &label, "-l", &loader.path];
        let made = run(&[&create[..], &what[..]].concat()).await?;
        task.say(format!("boot entry {label} for {} made", loader.path));
        let entries = entry::parse(&made.stdout);
        if !entries.iter().any(|entry| entry.label == label) {
            task.warn(format!(
                "the firmware does not list the boot entry {label} after it was made"
            ));
        }
    }
    Ok(())
}

fn failed(device: &str, cause: impl Into<BootCause>) -> BootError {
    BootError::Firmware {
        device: device.to_owned(),
        source: cause.into(),
    }
}

#[cfg(test)]
mod tests;
