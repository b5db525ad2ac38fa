//! Booting from software RAID: firmware reads no arrays, so every disk of the array gets what
//! firmware reads. For UEFI that is an EFI system partition on each disk, joined to an array
//! whose superblock is at its end: firmware sees a plain FAT file system, the deployed system
//! keeps all of them alike. For a BIOS it is a partition for GRUB's second stage.

use ironic_ondisk::partition_table::gpt::{EFI_SYSTEM, GptPartition};
use ironic_ondisk::partition_table::guid::Guid;
use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::boot::image::copy;
use crate::disk::boot::place::{Layout, Place};
use crate::disk::filesystem::fat;
use crate::disk::filesystem::identity;
use crate::disk::filesystem::mount::{mount, unmount};
use crate::disk::partition::device;
use crate::disk::partition::layout::Role;
use crate::disk::partition::table::{Partition, Table};
use crate::failure::{Failure, FailureKind};
use crate::machine::block::{self, BlockDevice, Kind};
use crate::system::foreign_root::ForeignRoot;
use crate::system::{Cmd, Disk, System};
use crate::task::Task;

/// Bytes of an EFI system partition.
const ESP_SIZE: u64 = 550 << 20;
/// Bytes of a partition for GRUB's second stage.
const BIOS_SIZE: u64 = 2 << 20;
/// Names of the partitions, which deployed systems and operators find below
/// `/dev/disk/by-partlabel`; the disk's number among the array's follows.
const ESP_NAME: &str = "uefi-holder-";
const BIOS_NAME: &str = "bios-boot-part-";
/// No array for booting is larger.
const LARGEST_ESP: u64 = 4 << 30;
/// Partitions start at multiples of this.
const ALIGNMENT: u64 = 1 << 20;
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
    let mut holders: Vec<String> = Vec::new();
    for member in &array.members {
        let parent = devices
            .iter()
            .find(|device| device.name == *member)
            .and_then(|device| device.parent.clone());
        let holder = parent.unwrap_or_else(|| member.clone());
        if !holders.contains(&holder) {
            holders.push(holder);
        }
    }
    holders
}

/// Arrays that may be for booting: small mirrors on the same disks.
#[must_use]
pub fn mirrors(
    devices: &[BlockDevice],
    root: &BlockDevice,
    is_mirror: impl Fn(&str) -> bool,
) -> Vec<String> {
    let disks = holders(devices, root);
    let found = devices.iter().filter(|device| {
        device.kind == Kind::Raid
            && device.name != root.name
            && device.size <= LARGEST_ESP
            && is_mirror(&device.name)
            && {
                let own = holders(devices, device);
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
/// `SoftwareRAIDError`. Nothing is changed when a disk has no GPT or no place.
pub async fn prepare_uefi(
    system: &System,
    root: &BlockDevice,
    source: Option<&Place>,
    task: &Task,
) -> Result<EspArray, Failure> {
    let devices = probe(system).await?;
    let is_moved = source.is_some_and(|place| place.is_partition_uuid);
    let source = source.filter(|place| !place.is_partition_uuid);
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
    let name = free_name(is_taken).ok_or_else(|| failed("all array names are taken"))?;
    let disks = holders(&devices, root);
    let wanted = numbered(&disks, |number| NewPartition {
        name: format!("{ESP_NAME}{number}"),
        kind: EFI_SYSTEM,
        size: ESP_SIZE,
    });
    let members = add_partitions(system, wanted).await?;
    let mut nodes = Vec::new();
    for (disk, number) in &members {
        nodes.push(appeared(system, device::of(system, disk, *number)).await?);
    }
    run(system, create(&name, &nodes)).await?;
    fill(system, &name, source).await?;
    task.phase(format!(
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
/// `SoftwareRAIDError`: a disk cannot be read.
pub async fn existing(system: &System, root: &BlockDevice) -> Result<Option<EspArray>, Failure> {
    existing_among(system, &probe(system).await?, root).await
}

/// The same, if its file system has this identity: it was moved there.
///
/// # Errors
/// `SoftwareRAIDError`: a disk cannot be read.
pub async fn moved(
    system: &System,
    root: &BlockDevice,
    uuid: &str,
) -> Result<Option<EspArray>, Failure> {
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
) -> Result<Option<EspArray>, Failure> {
    let is_mirror = |name: &str| {
        let name = name.trim_start_matches("/dev/");
        let level = format!("/sys/class/block/{name}/md/level");
        system.root.read_optional(level).as_deref() == Some("raid1")
    };
    for node in mirrors(devices, root, is_mirror) {
        let members = members(devices, &node);
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
/// `SoftwareRAIDError`.
pub async fn prepare_bios(system: &System, root: &BlockDevice) -> Result<Vec<String>, Failure> {
    let disks = holders(&probe(system).await?, root);
    let mut without = Vec::new();
    let wanted = numbered(&disks, |number| NewPartition {
        name: format!("{BIOS_NAME}{number}"),
        kind: Role::BiosBoot.gpt_kind(),
        size: BIOS_SIZE,
    });
    for (disk, partition) in wanted {
        if needs_bios_boot(system, &disk).await? {
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

fn members(devices: &[BlockDevice], array: &str) -> Vec<(String, u32)> {
    let Some(array) = devices.iter().find(|device| device.name == array) else {
        return Vec::new();
    };
    let numbered = |member: &String| {
        let parent = devices.iter().find(|device| device.name == *member)?;
        let parent = parent.parent.clone()?;
        let digits = member.trim_start_matches(|c: char| !c.is_ascii_digit());
        let number = member
            .strip_prefix(&parent)
            .unwrap_or(digits)
            .trim_start_matches('p');
        Some((parent, number.parse().ok()?))
    };
    array.members.iter().filter_map(numbered).collect()
}

async fn probe(system: &System) -> Result<Vec<BlockDevice>, Failure> {
    let system = system.clone();
    tokio::task::spawn_blocking(move || block::probe_with_partitions(&system))
        .await
        .map_err(|error| failed(&error.to_string()))
}

/// Whether all of these are EFI system partitions.
async fn are_efi_system(system: &System, members: &[(String, u32)]) -> Result<bool, Failure> {
    for (disk, number) in members {
        let marked = Layout::read(system, disk).await?.is_efi_system(*number);
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
) -> Result<Vec<(String, u32)>, Failure> {
    let opener = Arc::clone(&system.disks);
    let work = tokio::task::spawn_blocking(move || {
        let mut planned = Vec::new();
        for (name, partition) in wanted {
            let wrong = |error: &dyn std::fmt::Display| failed(&format!("{name}: {error}"));
            let mut disk = opener
                .open_shared(&PathBuf::from(&name))
                .map_err(|error| wrong(&error))?;
            let guid = Guid(uuid::Uuid::new_v4().to_bytes_le());
            let (table, number) =
                with_partition(disk.as_mut(), &partition, guid).map_err(|error| wrong(&error))?;
            planned.push((name, disk, table, number));
        }
        let mut added = Vec::new();
        for (name, mut disk, table, number) in planned {
            let written = table.write(disk.as_mut()).and_then(|()| disk.sync());
            written.map_err(|error| failed(&format!("{name}: {error}")))?;
            added.push((name, number));
        }
        Ok::<_, Failure>(added)
    });
    let added = work.await.map_err(|error| failed(&error.to_string()))??;
    for (disk, number) in &added {
        // A disk in use is not read again as a whole.
        let number = number.to_string();
        run(
            system,
            Cmd::new("partx").args(["--add", "--nr", &number, disk]),
        )
        .await?;
    }
    Ok(added)
}

/// The disk's table with one more partition, and that one's number.
fn with_partition(
    disk: &mut dyn Disk,
    wanted: &NewPartition,
    guid: Guid,
) -> Result<(Table, u32), String> {
    let (geometry, size) = (disk.geometry(), wanted.size);
    let sector = u64::from(geometry.sector_size);
    let table = Table::read(disk).map_err(|error| error.to_string())?;
    let Some(Table::Gpt(mut gpt, record)) = table else {
        return Err("it has no GUID partition table, so no EFI system partition".to_owned());
    };
    let partitions = Table::Gpt(gpt.clone(), record.clone()).partitions(geometry.sector_size);
    // The table's backup is as large as the table: 16 KiB of entries and a header.
    let end = geometry.size.saturating_sub((16 << 10) + sector);
    let start = gap(&partitions, ALIGNMENT, end, size)
        .ok_or_else(|| format!("no {} MiB are free between its partitions", size >> 20))?;
    let number = (1..)
        .find(|number| partitions.iter().all(|known| known.number != *number))
        .unwrap_or(1);
    gpt.insert(GptPartition {
        number,
        kind: wanted.kind,
        guid,
        first: start / sector,
        last: (start + size) / sector - 1,
    })
    .map_err(|error| error.to_string())?;
    gpt.set_name(number, &wanted.name);
    Ok((Table::Gpt(gpt, record), number))
}

async fn needs_bios_boot(system: &System, disk: &str) -> Result<bool, Failure> {
    let opener = Arc::clone(&system.disks);
    let path = PathBuf::from(disk);
    let work = tokio::task::spawn_blocking(move || {
        let mut disk = opener
            .open_to_read(&path)
            .map_err(|error| error.to_string())?;
        let table = Table::read(disk.as_mut()).map_err(|error| error.to_string())?;
        Ok(match table {
            Some(Table::Gpt(gpt, _)) => gpt
                .partitions()
                .all(|partition| partition.kind != Role::BiosBoot.gpt_kind()),
            _ => false,
        })
    });
    work.await
        .map_err(|error| failed(&error.to_string()))?
        .map_err(|error: String| failed(&format!("{disk}: {error}")))
}

/// Makes the array's file system, with the identity, the label and the content of `source`,
/// which is wiped then: two file systems of one identity would confuse the deployed system.
async fn fill(system: &System, array: &str, source: Option<&Place>) -> Result<(), Failure> {
    let Some(source) = source else {
        return make(
            system,
            array,
            "efi-part".to_owned(),
            uuid::Uuid::new_v4().as_fields().0,
        )
        .await;
    };
    let label = label(system, &source.node).await;
    let serial: String = source.uuid.split('-').collect();
    let serial = u32::from_str_radix(&serial, 16)
        .map_err(|_| failed(&format!("{} holds no FAT file system", source.node)))?;
    make(system, array, label, serial).await?;
    let read_only = ["-t", "vfat", "-o", "ro"];
    let from = mount(system, &read_only, &source.node, SOURCE)
        .await
        .map_err(|error| failed(&error.to_string()))?;
    let copied = async {
        let to = mount(system, &["-t", "vfat"], array, TARGET)
            .await
            .map_err(|error| error.to_string())?;
        let copied = tokio::task::spawn_blocking(move || {
            copy(&ForeignRoot::open(&from)?, "", &ForeignRoot::open(&to)?, "")
        })
        .await;
        let unmounted = unmount(system, TARGET).await;
        copied
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        unmounted.map_err(|error| error.to_string())
    };
    let copied = copied.await;
    let unmounted = unmount(system, SOURCE).await;
    copied.map_err(|error| {
        failed(&format!(
            "{} does not fit into {array}: {error}",
            source.node
        ))
    })?;
    unmounted.map_err(|error| failed(&error.to_string()))?;
    run(system, Cmd::new("wipefs").args(["-a", &source.node])).await
}

/// Makes an empty FAT file system.
async fn make(system: &System, array: &str, label: String, serial: u32) -> Result<(), Failure> {
    let opener = Arc::clone(&system.disks);
    let path = PathBuf::from(array);
    let work = tokio::task::spawn_blocking(move || {
        let mut disk = opener.open(&path).map_err(|error| error.to_string())?;
        let geometry = disk.geometry();
        let volume = fat::format(geometry.size, geometry.sector_size, &label, serial)
            .map_err(|error| error.to_string())?;
        let written = disk
            .zero(0, fat::tables(geometry.size))
            .and_then(|()| volume.write_to(disk.as_mut(), 0))
            .and_then(|()| disk.sync());
        written.map_err(|error| error.to_string())
    });
    work.await
        .map_err(|error| failed(&error.to_string()))?
        .map_err(|error| failed(&format!("{array}: {error}")))
}

/// The label of a FAT file system.
async fn label(system: &System, node: &str) -> String {
    let opener = Arc::clone(&system.disks);
    let path = PathBuf::from(node);
    let read = tokio::task::spawn_blocking(move || {
        let mut disk = opener.open_to_read(&path).ok()?;
        let mut head = [0; 512];
        disk.read_at(0, &mut head).ok()?;
        fat_label(&head)
    });
    let found = read.await.ok().flatten();
    found.unwrap_or_else(|| "esp".to_owned())
}

/// FAT32 has it further behind than its elders.
fn fat_label(head: &[u8; 512]) -> Option<String> {
    let place = if head[82..].starts_with(b"FAT32") {
        71
    } else if head[54..].starts_with(b"FAT") {
        43
    } else {
        return None;
    };
    let text = str::from_utf8(&head[place..place + 11]).ok()?.trim_end();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_- .".contains(&byte);
    let is_label = !text.is_empty() && text != "NO NAME" && !text.starts_with('-');
    (is_label && text.bytes().all(is_plain)).then(|| text.to_owned())
}

/// Waits a moment for the node of a new partition.
async fn appeared(system: &System, node: String) -> Result<String, Failure> {
    const LOOKS: u32 = 100;
    for _ in 0..LOOKS {
        if system.root.exists(&node) {
            return Ok(node);
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    Err(failed(&format!("the new partition {node} did not appear")))
}

async fn run(system: &System, cmd: Cmd) -> Result<(), Failure> {
    let done = system.run.run(cmd).await;
    done.map(drop).map_err(|error| failed(&error.to_string()))
}

fn failed(reason: &str) -> Failure {
    Failure::new(
        FailureKind::SoftwareRaid,
        format!("The boot partitions of the array could not be made: {reason}"),
    )
}

#[cfg(test)]
mod tests;
