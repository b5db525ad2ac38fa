//! One block device, as its directory in `/sys/class/block` shows it.

use std::collections::BTreeMap;

use ironic_ondisk::size::SECTOR;

use super::device::{BlockDevice, DeviceKind};
use super::identity::DiskNames;
use super::kernel_name::{device_path, is_array};
use super::{path_id, transport};
use crate::machine::block::mapped::{self, Map};
use crate::machine::block::udev::Properties;
use crate::machine::topology::Chain;
use crate::system::PathPrefix;

/// Major and minor number.
type Number = (u32, u32);

/// The directory of a block device that is a disk, a partition or an array.
pub(super) struct SysfsDevice<'a> {
    root: &'a PathPrefix,
    kernel_name: &'a str,
    chain: Chain<'a>,
    /// `major:minor`.
    number: String,
    size: u64,
    kind: DeviceKind,
    map: Option<Map>,
    /// The first path of a multipath map.
    first_path: Option<Chain<'a>>,
}

impl<'a> SysfsDevice<'a> {
    /// Reads the directory; `None` for what is empty, hidden or an optical drive.
    pub(super) fn read(root: &'a PathPrefix, kernel_name: &'a str) -> Option<Self> {
        let chain = Chain::resolve(root, format!("/sys/class/block/{kernel_name}"))?;
        let number = chain.attribute("dev")?;
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
        // What a map is called is what its first path is called.
        let first_path = match map {
            Some(Map::Multipath) => mapped::below(root, kernel_name)
                .first()
                .and_then(|path| Chain::resolve(root, format!("/sys/class/block/{path}"))),
            _ => None,
        };
        Some(Self {
            root,
            kernel_name,
            chain,
            number,
            size,
            kind,
            map,
            first_path,
        })
    }

    /// The device with its number. `links` are udev's, by device.
    pub(super) fn numbered_device(
        &self,
        links: &BTreeMap<String, Vec<String>>,
    ) -> Option<(Number, BlockDevice)> {
        let (major, minor) = self.number.split_once(':')?;
        let number = (major.parse().ok()?, minor.parse().ok()?);
        let device = self.device(links);
        // What names a disk does not name its partitions.
        let device = if self.kind == DeviceKind::Partition {
            device
        } else {
            self.names().put_into(device)
        };
        Some((number, device))
    }

    fn device(&self, links: &BTreeMap<String, Vec<String>>) -> BlockDevice {
        let hardware = self.first_path.as_ref().unwrap_or(&self.chain);
        let is_disk = self.kind == DeviceKind::Disk;
        let name = device_path(self.kernel_name);
        let mut paths = links.get(&name).cloned().unwrap_or_default();
        if paths.is_empty() && is_disk {
            paths = path_id::links(&self.chain, self.kernel_name);
        }
        let scsi_device = format!("{}/device/scsi_device", self.chain.path().display());
        let transport = || transport::transport(hardware).map(str::to_owned);
        BlockDevice {
            kind: self.kind,
            size: self.size,
            rotational: self.queue("rotational").as_deref() == Some("1"),
            logical_sectors: self
                .queue("logical_block_size")
                .and_then(|t| t.parse().ok()),
            physical_sectors: self
                .queue("physical_block_size")
                .and_then(|t| t.parse().ok()),
            vendor: hardware.attribute("device/vendor").filter(|_| is_disk),
            hctl: self.root.names(scsi_device).into_iter().next(),
            tran: is_disk.then(transport).flatten(),
            read_only: self.chain.attribute("ro").as_deref() == Some("1"),
            members: self.members(),
            by_path: paths.first().cloned(),
            other_paths: paths.into_iter().skip(1).collect(),
            parent: self.parent(),
            name,
            ..BlockDevice::default()
        }
    }

    /// A limit of the device's queue. A partition has no queue of its own.
    fn queue(&self, name: &str) -> Option<String> {
        let folder = match self.kind {
            DeviceKind::Partition => "../queue",
            _ => "queue",
        };
        self.chain.attribute(&format!("{folder}/{name}"))
    }

    fn names(&self) -> DiskNames {
        let properties = Properties::of_block(self.root, &self.number);
        match &self.first_path {
            Some(path) => DiskNames::of_map(self.root, path, &properties),
            None => DiskNames::read(&self.chain, &properties),
        }
    }

    fn members(&self) -> Vec<String> {
        match self.map {
            // The paths of a map are not devices of their own, and a partition has a parent.
            Some(Map::Multipath | Map::Partition) => Vec::new(),
            Some(Map::Raid) | None => {
                let members = mapped::below(self.root, self.kernel_name);
                members.iter().map(|name| device_path(name)).collect()
            }
        }
    }

    /// The disk that a partition is on.
    fn parent(&self) -> Option<String> {
        if self.kind != DeviceKind::Partition {
            return None;
        }
        if self.map.is_some() {
            return mapped::below(self.root, self.kernel_name)
                .first()
                .map(|name| device_path(name));
        }
        let folder = self.chain.path().parent()?.file_name()?;
        folder.to_str().map(device_path)
    }
}

/// `None`: an array that is not assembled or joins disks without being RAID, a volume of LVM.
fn kind(chain: &Chain<'_>, kernel_name: &str) -> Option<DeviceKind> {
    if kernel_name.starts_with("dm-") {
        return Some(match Map::read(chain)? {
            Map::Partition => DeviceKind::Partition,
            Map::Multipath | Map::Raid => DeviceKind::Disk,
        });
    }
    if chain.attribute("partition").is_some() {
        return Some(DeviceKind::Partition);
    }
    if !is_array(kernel_name) {
        return Some(DeviceKind::Disk);
    }
    let level = chain.attribute("md/level")?;
    level.contains("raid").then_some(DeviceKind::Raid)
}

/// udev's links, by device. Of several the one that udev made first in history wins: the old
/// name of virtio disks, the short name of ATA disks.
pub(super) fn by_path_links(root: &PathPrefix) -> BTreeMap<String, Vec<String>> {
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
