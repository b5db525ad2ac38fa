//! Booting from software RAID: firmware reads no arrays, so every disk of the array gets what
//! firmware reads. For UEFI that is an EFI system partition on each disk, joined to an array
//! whose superblock is at its end: firmware sees a plain FAT file system, the deployed system
//! keeps all of them alike. For a BIOS it is a partition for GRUB's second stage.

use std::path::PathBuf;
use std::sync::Arc;

use ironic_ondisk::partition_table::gpt::GptPartition;
use ironic_ondisk::partition_table::guid::Guid;
use ironic_ondisk::partition_table::kinds::{BIOS_BOOT, EFI_SYSTEM};
use ironic_ondisk::size::MIB;

use crate::disk::boot::error::{BootArrayError, BootCause, BootError};
use crate::disk::boot::image::copy;
use crate::disk::boot::layout::{BootLayout, LocatedPartition};
use crate::disk::filesystem::fat;
use crate::disk::filesystem::identity;
use crate::disk::filesystem::mount::{mount, unmount};
use crate::disk::partition::device;
use crate::disk::partition::table::{Partition, PartitionTable, TableError};
use crate::machine::block::{self, BlockDevice, DeviceKind, StackedDevices, kernel_name_of};
use crate::system::foreign_root::ForeignRoot;
use crate::system::{Cmd, Disk, System};
use crate::task::Task;

/// Bytes of an EFI system partition.
const ESP_SIZE: u64 = 550 * MIB;
/// Bytes of a partition for GRUB's second stage.
const BIOS_SIZE: u64 = 2 * MIB;
/// Names of the partitions, which deployed systems and operators find below
/// `/dev/disk/by-partlabel`; the disk's number among the array's follows.
const ESP_NAME: &str = "uefi-holder-";
const BIOS_NAME: &str = "bios-boot-part-";
/// No array for booting is larger.
const MAX_ESP_BYTES: u64 = 4 << 30;
/// Partitions start at multiples of this.
const ALIGNMENT: u64 = MIB;
/// Arrays that Linux has names for.
const ARRAYS: u32 = 128;
/// Where the file system that is copied is.
const SOURCE: &str = "/run/ironic-agent/esp-source";
/// Where the new one is.
const TARGET: &str = "/run/ironic-agent/esp-array";

/// The EFI system partition of an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EspArray {
    /// Its device node: `/dev/md1`.
    pub node: String,
    /// The disks and the numbers of the partitions that it is made of, in their order.
    pub members: Vec<(String, u32)>,
}

/// The disks on which an array lies, in the order of its members.
#[must_use]
pub fn holders(devices: &[BlockDevice], array: &BlockDevice) -> Vec<String> {
    StackedDevices::new(devices).disks(&array.members)
}

/// Arrays that may be for booting: small mirrors on the same disks.
#[must_use]
pub fn mirrors(
    devices: &[BlockDevice],
    root: &BlockDevice,
    is_mirror: impl Fn(&str) -> bool,
) -> Vec<String> {
    let stacked = StackedDevices::new(devices);
    let disks = stacked.disks(&root.members);
    let found = devices.iter().filter(|device| {
        device.kind == DeviceKind::Raid
            && device.name != root.name
            && device.size <= MAX_ESP_BYTES
            && is_mirror(&device.name)
            && {
                let own = stacked.disks(&device.members);
                own.len() == disks.len() && own.iter().all(|disk| disks.contains(disk))
            }
    });
    found.map(|device| device.name.clone()).collect()
}

/// The first name of an array that is not taken.
#[must_use]
pub fn free_name(is_taken: impl Fn(&str) -> bool) -> Option<String> {
    (0..ARRAYS)
        .map(|number| format!("/dev/md{number}"))
        .find(|name| !is_taken(name))
}

/// Where `size` bytes are free between and behind partitions: the first such place.
#[must_use]
pub fn gap(partitions: &[Partition], first: u64, end: u64, size: u64) -> Option<u64> {
    let mut taken: Vec<(u64, u64)> = partitions
        .iter()
        .map(|partition| (partition.offset, partition.offset + partition.size))
        .collect();
    taken.push((end, end));
    taken.sort_unstable();
    let mut start = first.next_multiple_of(ALIGNMENT);
    for (from, to) in taken {
        if start.checked_add(size)? <= from {
            return Some(start);
        }
        start = start.max(to.next_multiple_of(ALIGNMENT));
    }
    None
}

/// The program that makes the array.
#[must_use]
pub fn create(name: &str, members: &[String]) -> Cmd {
    let count = members.len().to_string();
    Cmd::new("mdadm")
        .args(["--create", name, "--force", "--run", "--metadata=1.0"])
        .args(["--level", "1", "--name", "esp", "--raid-devices", &count])
        .args(members.iter().map(String::as_str))
}

/// Gives the array `root` an EFI system partition on each of its disks, with the content of
/// `source`, the image's own within the array, where firmware does not find it. One without a
/// file system was moved there before, and what is there stays. Without any, it gets an empty
/// file system: what an earlier deployment left is not booted.
///
/// # Errors
/// Nothing is changed when a disk has no GPT or no room.
pub async fn prepare_uefi(
    system: &System,
    root: &BlockDevice,
    source: Option<&LocatedPartition>,
    task: &Task,
) -> Result<EspArray, BootError> {
    let devices = probe(system).await.map_err(BootArrayError::from)?;
    let is_moved = source.is_some_and(|source| source.is_partition_uuid);
    let source = source.filter(|source| !source.is_partition_uuid);
    if let Some(array) = existing_among(system, &devices, root).await? {
        if !is_moved {
            fill(system, &array.node, source).await?;
        }
        return Ok(array);
    }
    // Those that do not run have one, too.
    let is_taken = |name: &str| {
        let directory = name.replace("/dev/", "/sys/block/");
        system.root.exists(directory) || devices.iter().any(|device| device.name == name)
    };
    let name = free_name(is_taken).ok_or(BootArrayError::NoArrayName)?;
    let disks = holders(&devices, root);
    let wanted = numbered(&disks, |number| NewPartition {
        name: format!("{ESP_NAME}{number}"),
        kind: EFI_SYSTEM.gpt,
        size: ESP_SIZE,
    });
    let members = add_partitions(system, wanted).await?;
    let mut nodes = Vec::new();
    for (disk, number) in &members {
        let node = device::of(system, disk, *number);
        let waited = device::wait_for(system, &node).await;
        waited.map_err(|missing| BootArrayError::NoDevice { node: missing.0 })?;
        nodes.push(node);
    }
    run(system, create(&name, &nodes)).await?;
    fill(system, &name, source).await?;
    task.phase_ended(format!(
        "EFI system partitions of {disks:?} joined to {name}"
    ));
    Ok(EspArray {
        node: name,
        members,
    })
}

/// The EFI system partition that the array `root` was given before.
///
/// # Errors
/// A disk cannot be read.
pub async fn existing(system: &System, root: &BlockDevice) -> Result<Option<EspArray>, BootError> {
    let devices = probe(system).await.map_err(BootArrayError::from)?;
    existing_among(system, &devices, root).await
}

/// The same, if its file system has this identity: it was moved there.
///
/// # Errors
/// A disk cannot be read.
pub async fn moved(
    system: &System,
    root: &BlockDevice,
    uuid: &str,
) -> Result<Option<EspArray>, BootError> {
    let Some(array) = existing(system, root).await? else {
        return Ok(None);
    };
    let found = identity_of(system, &array.node).await;
    Ok(Some(array).filter(|_| found.eq_ignore_ascii_case(uuid)))
}

async fn existing_among(
    system: &System,
    devices: &[BlockDevice],
    root: &BlockDevice,
) -> Result<Option<EspArray>, BootError> {
    let is_mirror = |name: &str| {
        let level = kernel_name_of(name).and_then(|name| {
            let level = format!("/sys/class/block/{name}/md/level");
            system.root.read_optional(level)
        });
        level.as_deref() == Some("raid1")
    };
    for node in mirrors(devices, root, is_mirror) {
        let members = members(system, devices, &node);
        // The tenant's data may be a small mirror, too.
        if are_efi_system(system, &members).await? {
            return Ok(Some(EspArray { node, members }));
        }
    }
    Ok(None)
}

/// The identity of the file system that an array is; empty if it has none.
pub async fn identity_of(system: &System, node: &str) -> String {
    let opener = Arc::clone(&system.disks);
    let path = PathBuf::from(node);
    let read = tokio::task::spawn_blocking(move || {
        let mut disk = opener.open_to_read(&path).ok()?;
        let size = disk.geometry().size;
        identity::read(disk.as_mut(), 0, size).ok().flatten()
    });
    read.await.ok().flatten().unwrap_or_default()
}

/// Gives each disk of the array `root` that has a GPT a partition for GRUB's second stage.
/// Answers the disks.
///
/// # Errors
/// A disk cannot be read or written.
pub async fn prepare_bios(system: &System, root: &BlockDevice) -> Result<Vec<String>, BootError> {
    let devices = probe(system).await.map_err(BootArrayError::from)?;
    let disks = holders(&devices, root);
    let mut without = Vec::new();
    let wanted = numbered(&disks, |number| NewPartition {
        name: format!("{BIOS_NAME}{number}"),
        kind: BIOS_BOOT.gpt,
        size: BIOS_SIZE,
    });
    for (disk, partition) in wanted {
        let needs_one = needs_bios_boot(system, &disk).await;
        if needs_one.map_err(in_device(&disk))? {
            without.push((disk, partition));
        }
    }
    add_partitions(system, without).await?;
    Ok(disks)
}

/// A partition for a disk of an array.
#[derive(Debug)]
struct NewPartition {
    name: String,
    kind: Guid,
    size: u64,
}

/// Each disk with its partition, by the disk's number among the array's.
fn numbered(
    disks: &[String],
    partition: impl Fn(usize) -> NewPartition,
) -> Vec<(String, NewPartition)> {
    let numbered = disks.iter().enumerate();
    numbered
        .map(|(number, disk)| (disk.clone(), partition(number)))
        .collect()
}

/// The disks of an array's members, with the numbers of the partitions that these are.
fn members(system: &System, devices: &[BlockDevice], array: &str) -> Vec<(String, u32)> {
    let Some(array) = devices.iter().find(|device| device.name == array) else {
        return Vec::new();
    };
    let numbered = |member: &String| {
        let partition = devices.iter().find(|device| device.name == *member)?;
        let number = device::number_of(system, member)?;
        Some((partition.parent.clone()?, number))
    };
    array.members.iter().filter_map(numbered).collect()
}

async fn probe(system: &System) -> Result<Vec<BlockDevice>, BootCause> {
    let system = system.clone();
    let probed = tokio::task::spawn_blocking(move || block::probe_with_partitions(&system));
    Ok(probed.await?)
}

/// Whether all of these are EFI system partitions.
async fn are_efi_system(system: &System, members: &[(String, u32)]) -> Result<bool, BootError> {
    for (disk, number) in members {
        let marked = BootLayout::read(system, disk).await?.is_efi_system(*number);
        if !marked {
            return Ok(false);
        }
    }
    Ok(!members.is_empty())
}

/// Adds one partition to each disk: all places are found before the first table is written.
/// The array uses the disks' other partitions all the while.
async fn add_partitions(
    system: &System,
    wanted: Vec<(String, NewPartition)>,
) -> Result<Vec<(String, u32)>, BootArrayError> {
    let opener = Arc::clone(&system.disks);
    let work = tokio::task::spawn_blocking(move || {
        let mut planned = Vec::new();
        for (name, partition) in wanted {
            let opened = opener.open_shared(&PathBuf::from(&name));
            let mut disk = opened.map_err(in_device(&name))?;
            let (table, number) = with_partition(&name, disk.as_mut(), &partition)?;
            planned.push((name, disk, table, number));
        }
        let mut added = Vec::new();
        for (name, mut disk, table, number) in planned {
            let written = table.write(disk.as_mut()).and_then(|()| disk.sync());
            written.map_err(in_device(&name))?;
            added.push((name, number));
        }
        Ok::<_, BootArrayError>(added)
    });
    let added = work.await.map_err(BootCause::from)??;
    for (disk, number) in &added {
        if device::is_map(system, disk) {
            device::add_to_kernel(system, disk).await;
            continue;
        }
        // A disk in use is not read again as a whole.
        let number = number.to_string();
        let add = Cmd::new("partx").args(["--add", "--nr", &number, disk]);
        run(system, add).await?;
    }
    Ok(added)
}

/// The table of a disk with one more partition, and that one's number.
fn with_partition(
    name: &str,
    disk: &mut dyn Disk,
    wanted: &NewPartition,
) -> Result<(PartitionTable, u32), BootArrayError> {
    let (geometry, size) = (disk.geometry(), wanted.size);
    let sector = u64::from(geometry.sector_size);
    let table = PartitionTable::read(disk).map_err(in_device(name))?;
    let Some(PartitionTable::Gpt(mut gpt, record)) = table else {
        return Err(BootArrayError::NoGpt {
            disk: name.to_owned(),
        });
    };
    let partitions =
        PartitionTable::Gpt(gpt.clone(), record.clone()).partitions(geometry.sector_size);
    // The table's backup is as large as the table: 16 KiB of entries and a header.
    let end = geometry.size.saturating_sub((16 << 10) + sector);
    let start = gap(&partitions, ALIGNMENT, end, size).ok_or_else(|| BootArrayError::NoRoom {
        disk: name.to_owned(),
        mib: size / MIB,
    })?;
    let number = (1..)
        .find(|number| partitions.iter().all(|known| known.number != *number))
        .unwrap_or(1);
    let inserted = gpt.insert(GptPartition {
        number,
        kind: wanted.kind,
        guid: Guid(uuid::Uuid::new_v4().to_bytes_le()),
        first: start / sector,
        last: (start + size) / sector - 1,
    });
    inserted
        .map_err(TableError::from)
        .map_err(in_device(name))?;
    gpt.set_name(number, &wanted.name);
    Ok((PartitionTable::Gpt(gpt, record), number))
}

async fn needs_bios_boot(system: &System, disk: &str) -> Result<bool, BootCause> {
    let opener = Arc::clone(&system.disks);
    let path = PathBuf::from(disk);
    let work = tokio::task::spawn_blocking(move || {
        let mut disk = opener.open_to_read(&path)?;
        Ok(match PartitionTable::read(disk.as_mut())? {
            Some(PartitionTable::Gpt(gpt, _)) => gpt
                .partitions()
                .all(|partition| partition.kind != BIOS_BOOT.gpt),
            _ => false,
        })
    });
    work.await?
}

/// Makes the array's file system, with the identity, the label and the content of `source`,
/// which is wiped then: two file systems of one identity would confuse the deployed system.
async fn fill(
    system: &System,
    array: &str,
    source: Option<&LocatedPartition>,
) -> Result<(), BootArrayError> {
    let Some(source) = source else {
        let serial = uuid::Uuid::new_v4().as_fields().0;
        let made = make(system, array, "efi-part".to_owned(), serial).await;
        return made.map_err(in_device(array));
    };
    let label = label(system, &source.node).await;
    let serial: String = source.uuid.split('-').collect();
    let serial = u32::from_str_radix(&serial, 16).map_err(|_| BootArrayError::NoFat {
        partition: source.node.clone(),
    })?;
    let made = make(system, array, label, serial).await;
    made.map_err(in_device(array))?;
    let read_only = ["-t", "vfat", "-o", "ro"];
    let from = mount(system, &read_only, &source.node, SOURCE).await;
    let copied = copy_content(system, from.map_err(BootCause::from)?, array).await;
    let unmounted = unmount(system, SOURCE).await;
    copied.map_err(|cause| BootArrayError::Content {
        partition: source.node.clone(),
        array: array.to_owned(),
        source: cause,
    })?;
    unmounted.map_err(BootCause::from)?;
    run(system, Cmd::new("wipefs").args(["-a", &source.node])).await
}

/// Copies all files of a mounted file system to that of the array.
async fn copy_content(system: &System, from: PathBuf, array: &str) -> Result<(), BootCause> {
    let to = mount(system, &["-t", "vfat"], array, TARGET).await?;
    let copied = tokio::task::spawn_blocking(move || {
        copy(&ForeignRoot::open(&from)?, "", &ForeignRoot::open(&to)?, "")
    })
    .await;
    let unmounted = unmount(system, TARGET).await;
    copied??;
    Ok(unmounted?)
}

/// Makes an empty FAT file system.
async fn make(system: &System, array: &str, label: String, serial: u32) -> Result<(), BootCause> {
    let opener = Arc::clone(&system.disks);
    let path = PathBuf::from(array);
    let work = tokio::task::spawn_blocking(move || {
        let mut disk = opener.open(&path)?;
        let geometry = disk.geometry();
        let volume = fat::format(geometry.size, geometry.sector_size, &label, serial)?;
        disk.zero(0, fat::tables(geometry.size))?;
        volume.write_to(disk.as_mut(), 0)?;
        Ok(disk.sync()?)
    });
    work.await?
}

/// The label of a file system, if every system can mount it by that.
async fn label(system: &System, node: &str) -> String {
    let opener = Arc::clone(&system.disks);
    let path = PathBuf::from(node);
    let read = tokio::task::spawn_blocking(move || {
        let mut disk = opener.open_to_read(&path).ok()?;
        let size = disk.geometry().size;
        identity::label(disk.as_mut(), 0, size).ok().flatten()
    });
    let found = read.await.ok().flatten();
    let found = found.filter(|label| is_portable(label));
    found.unwrap_or_else(|| "esp".to_owned())
}

fn is_portable(label: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_- .".contains(&byte);
    !label.is_empty() && !label.starts_with('-') && label.bytes().all(is_plain)
}

async fn run(system: &System, cmd: Cmd) -> Result<(), BootArrayError> {
    let done = system.run.run(cmd).await;
    Ok(done.map(drop).map_err(BootCause::from)?)
}

/// Names the device that something stood in the way of.
fn in_device<E: Into<BootCause>>(device: &str) -> impl FnOnce(E) -> BootArrayError {
    let device = device.to_owned();
    |cause| BootArrayError::Device {
        device,
        source: cause.into(),
    }
}

#[cfg(test)]
mod tests;
