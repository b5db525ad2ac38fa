//! The machine's disks, as the kernel shows them in `/sys/class/block`. udev's database is
//! asked where there is one; without it the same facts are read from the kernel.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::machine::block::mapped::Map;
use crate::machine::block::udev::Properties;
use crate::machine::raid;
use crate::machine::raid::root_volume;
use crate::machine::topology::Chain;
use crate::system::{PathPrefix, Simulation, System};
use identity::Identity;

pub mod guarded_filesystem;
pub mod hints;
mod identity;
pub mod mapped;
mod path_id;
mod scsi;
mod scsi_address;
mod transport;
pub mod udev;

/// A disk, with the facts that Ironic's root device hints and inventory know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockDevice {
    /// Device path, for example `/dev/sda`. In a simulation, the path of a file.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Model, white space trimmed; empty when unknown.
    pub model: String,
    /// Size in bytes.
    pub size: u64,
    /// Whether it spins.
    pub rotational: bool,
    /// World Wide Name.
    pub wwn: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// Vendor.
    pub vendor: Option<String>,
    /// World Wide Name with the vendor's extension.
    pub wwn_with_extension: Option<String>,
    /// The vendor's extension of the World Wide Name.
    pub wwn_vendor_extension: Option<String>,
    /// SCSI address `host:channel:target:lun`.
    pub hctl: Option<String>,
    /// The link in `/dev/disk/by-path`.
    pub by_path: Option<String>,
    /// Logical sector size in bytes.
    pub logical_sectors: Option<u32>,
    /// Physical sector size in bytes.
    pub physical_sectors: Option<u32>,
    /// Transport: `sata`, `nvme`, `usb`, ...
    pub tran: Option<String>,
    /// Further serial numbers by which root device hints may name it.
    pub other_serials: Vec<String>,
    /// Further World Wide Names, likewise.
    pub other_wwns: Vec<String>,
    /// Further links in `/dev/disk/by-path`, likewise.
    pub other_paths: Vec<String>,
    /// Whether it refuses to be written.
    pub read_only: bool,
    /// The whole disk or array that holds a partition, for example `/dev/sda`.
    pub parent: Option<String>,
    /// The disks and partitions that an array is made of.
    pub members: Vec<String>,
    /// The whole disks under an array.
    pub disks: Vec<String>,
    /// What the creator of an array called it.
    pub volume_name: Option<String>,
    /// Whether an array is the root volume, as the RAID configuration said when it was made.
    pub is_root_volume: Option<bool>,
}

/// What a block device is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A whole disk.
    #[default]
    Disk,
    /// A partition of a disk or of an array.
    Partition,
    /// A software RAID array.
    Raid,
    /// A file that plays a disk in a simulation.
    File,
}

/// Bytes below which a disk may be one that a BMC plays.
pub const LARGEST_VIRTUAL_MEDIUM: u64 = 4 << 30;

impl BlockDevice {
    /// Whether a BMC could play it as a drive: a small disk on USB. What is written on a disk
    /// of the machine, a label for example, makes no virtual media of it.
    #[must_use]
    pub fn may_be_virtual_media(&self) -> bool {
        self.kind == Kind::Disk
            && self.tran.as_deref() == Some("usb")
            && self.size < LARGEST_VIRTUAL_MEDIUM
    }

    /// The disk with the keys, and in the order, of Ironic's inventory.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "model": Some(&self.model).filter(|model| !model.is_empty()),
            "size": self.size,
            "rotational": self.rotational,
            "wwn": self.wwn,
            "serial": self.serial,
            "vendor": self.vendor,
            "wwn_with_extension": self.wwn_with_extension,
            "wwn_vendor_extension": self.wwn_vendor_extension,
            "hctl": self.hctl,
            "by_path": self.by_path,
            "logical_sectors": self.logical_sectors,
            "physical_sectors": self.physical_sectors,
            "tran": self.tran,
        })
    }
}

/// The disks that an operating system could be put on, in the order of their device numbers.
/// In a simulation the files of its directory. Blocks for milliseconds.
#[must_use]
pub fn probe(system: &System) -> Vec<BlockDevice> {
    let mut devices = probe_with_partitions(system);
    devices.retain(|device| device.kind != Kind::Partition);
    devices
}

/// The same disks with the partitions that the kernel found on them.
#[must_use]
pub fn probe_with_partitions(system: &System) -> Vec<BlockDevice> {
    if let Some(simulation) = &system.simulation {
        return simulated(simulation);
    }
    let links = by_path_links(&system.root);
    let mut devices: Vec<_> = system
        .root
        .names("/sys/class/block")
        .iter()
        .filter(|name| !is_no_disk(name))
        .filter_map(|name| read(&system.root, name, &links))
        .collect();
    // Device numbers follow detection within a driver, and put sda before sdaa.
    devices.sort_by_key(|(number, _)| *number);
    let disks: Vec<String> = devices
        .iter()
        .filter(|(_, device)| device.kind != Kind::Partition)
        .map(|(_, device)| device.name.clone())
        .collect();
    let paths = mapped::paths(&system.root);
    let is_known = |device: &BlockDevice| {
        let disk = device.parent.as_ref();
        disk.is_none_or(|disk| disks.contains(disk) && !paths.contains(disk))
            && !paths.contains(&device.name)
    };
    let mut devices: Vec<BlockDevice> = devices
        .into_iter()
        .map(|(_, device)| device)
        .filter(is_known)
        .collect();
    add_what_arrays_are(system, &mut devices);
    devices
}

fn add_what_arrays_are(system: &System, devices: &mut [BlockDevice]) {
    let roots = root_volume::read(&system.root);
    let told: Vec<_> = devices
        .iter()
        .map(|device| match device.kind {
            Kind::Raid => (
                raid::volume_name(system, &device.members, devices),
                raid::disks_of(&device.members, devices),
                roots.get(&device.name).copied(),
            ),
            _ => Default::default(),
        })
        .collect();
    for (device, (name, disks, is_root)) in devices.iter_mut().zip(told) {
        device.volume_name = name;
        device.disks = disks.into_iter().collect();
        device.is_root_volume = is_root;
    }
}

/// Loop devices, memory, floppies and optical drives are no disks to install to.
fn is_no_disk(name: &str) -> bool {
    let numbered = |prefix: &str| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    ["loop", "ram", "zram", "fd", "sr", "nbd"]
        .into_iter()
        .any(numbered)
}

fn simulated(simulation: &Simulation) -> Vec<BlockDevice> {
    let disks = simulation.disks().unwrap_or_else(|error| {
        tracing::warn!(%error, "the directory of the simulated disks cannot be read");
        Vec::new()
    });
    disks
        .into_iter()
        .filter(|(_, size)| *size > 0)
        .map(|(path, size)| BlockDevice {
            name: path.to_string_lossy().into_owned(),
            kind: Kind::File,
            size,
            logical_sectors: Some(512),
            physical_sectors: Some(512),
            ..BlockDevice::default()
        })
        .collect()
}

/// Major and minor number.
type Number = (u32, u32);

/// A block device from its directory; `None` for what is empty, hidden or no disk.
fn read(
    root: &PathPrefix,
    kernel_name: &str,
    links: &BTreeMap<String, Vec<String>>,
) -> Option<(Number, BlockDevice)> {
    const SECTOR: u64 = 512;
    let chain = Chain::resolve(root, format!("/sys/class/block/{kernel_name}"))?;
    let number = chain.attribute("dev")?;
    let (major, minor) = number.split_once(':')?;
    let sort_key = (major.parse().ok()?, minor.parse().ok()?);
    let size = chain.attribute("size")?.parse::<u64>().ok()? * SECTOR;
    // A path of a multipath NVMe namespace is hidden behind the namespace.
    let hidden = chain.attribute("hidden").as_deref() == Some("1");
    // SCSI type 5 is an optical drive.
    let optical = chain.attribute("device/type").as_deref() == Some("5");
    if size == 0 || hidden || optical {
        return None;
    }
    let kind = kind(&chain, kernel_name)?;
    let map = Map::read(&chain);
    let parent = (kind == Kind::Partition)
        .then(|| parent(root, &chain, kernel_name, map))
        .flatten();
    // What a map is called is what its first path is called.
    let first_path = match map {
        Some(Map::Multipath) => mapped::below(root, kernel_name)
            .first()
            .and_then(|path| Chain::resolve(root, format!("/sys/class/block/{path}"))),
        _ => None,
    };
    let hardware = first_path.as_ref().unwrap_or(&chain);
    // A partition has no queue of its own.
    let queue = |name: &str| {
        let path = if kind == Kind::Partition {
            "../queue"
        } else {
            "queue"
        };
        chain.attribute(&format!("{path}/{name}"))
    };
    let properties = Properties::of_block(root, &number);
    let names = match &first_path {
        Some(path) => Identity::of_map(root, path, &properties),
        None => Identity::read(&chain, &properties),
    };
    let name = device_path(kernel_name);
    let mut paths = links.get(&name).cloned().unwrap_or_default();
    if paths.is_empty() && kind == Kind::Disk {
        paths = path_id::links(&chain, kernel_name);
    }
    let device = BlockDevice {
        kind,
        size,
        rotational: queue("rotational").as_deref() == Some("1"),
        logical_sectors: queue("logical_block_size").and_then(|text| text.parse().ok()),
        physical_sectors: queue("physical_block_size").and_then(|text| text.parse().ok()),
        vendor: (kind == Kind::Disk)
            .then(|| hardware.attribute("device/vendor"))
            .flatten(),
        hctl: root
            .names(format!("{}/device/scsi_device", chain.path().display()))
            .into_iter()
            .next(),
        tran: (kind == Kind::Disk)
            .then(|| transport::transport(hardware).map(str::to_owned))
            .flatten(),
        read_only: chain.attribute("ro").as_deref() == Some("1"),
        members: match map {
            // Its paths are no devices of their own, and a partition has a parent.
            Some(Map::Multipath | Map::Partition) => Vec::new(),
            Some(Map::Raid) | None => {
                let members = mapped::below(root, kernel_name);
                members.iter().map(|name| device_path(name)).collect()
            }
        },
        by_path: paths.first().cloned(),
        other_paths: paths.into_iter().skip(1).collect(),
        parent,
        name,
        ..BlockDevice::default()
    };
    // What names a disk does not name its partitions.
    let device = if kind == Kind::Partition {
        device
    } else {
        names.put_into(device)
    };
    Some((sort_key, device))
}

/// The disk that a partition is on.
fn parent(
    root: &PathPrefix,
    chain: &Chain<'_>,
    kernel_name: &str,
    map: Option<Map>,
) -> Option<String> {
    if map.is_some() {
        return mapped::below(root, kernel_name)
            .first()
            .map(|name| device_path(name));
    }
    let folder = chain.path().parent()?.file_name()?;
    folder.to_str().map(device_path)
}

/// `None`: an array that is not assembled or joins disks without being RAID, a volume of LVM.
fn kind(chain: &Chain<'_>, kernel_name: &str) -> Option<Kind> {
    if kernel_name.starts_with("dm-") {
        return Some(match Map::read(chain)? {
            Map::Partition => Kind::Partition,
            Map::Multipath | Map::Raid => Kind::Disk,
        });
    }
    if chain.attribute("partition").is_some() {
        return Some(Kind::Partition);
    }
    if !is_array(kernel_name) {
        return Some(Kind::Disk);
    }
    let level = chain.attribute("md/level")?;
    level.contains("raid").then_some(Kind::Raid)
}

/// Whether a device that is no partition, or a partition of one, is a software RAID array by
/// its name.
pub(super) fn is_array(kernel_name: &str) -> bool {
    kernel_name.strip_prefix("md").is_some_and(|rest| {
        let rest = rest.strip_prefix('_').unwrap_or(rest);
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit())
            || kernel_name.starts_with("md_")
    })
}

/// The kernel writes `!` for the `/` in names like `cciss/c0d0`.
pub(super) fn device_path(kernel_name: &str) -> String {
    format!("/dev/{}", kernel_name.replace('!', "/"))
}

/// udev's links, by device. Of several the one that udev made first in history wins: the old
/// name of virtio disks, the short name of ATA disks.
fn by_path_links(root: &PathPrefix) -> BTreeMap<String, Vec<String>> {
    const FOLDER: &str = "/dev/disk/by-path";
    let mut links: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in root.names(FOLDER) {
        let path = format!("{FOLDER}/{name}");
        let Ok(target) = std::fs::read_link(root.path(&path)) else {
            continue;
        };
        // Targets are `../../sda`.
        let Some(device) = target.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        links
            .entry(format!("/dev/{device}"))
            .or_default()
            .push(path);
    }
    for paths in links.values_mut() {
        paths.sort_by_key(|path| (!path.contains("/virtio-"), path.len()));
    }
    links
}

#[cfg(test)]
mod tests;
