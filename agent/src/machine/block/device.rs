//! What is known of a block device.

use serde_json::{Value, json};

/// A disk, with the facts that Ironic's root device hints and inventory know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockDevice {
    /// Device path, for example `/dev/sda`. In a simulation, the path of a file.
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
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
pub enum DeviceKind {
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
pub const MAX_VIRTUAL_MEDIUM_BYTES: u64 = 4 << 30;

impl BlockDevice {
    /// Whether a BMC could play it as a drive: a small disk on USB. What is written on a disk
    /// of the machine, a label for example, does not make it virtual media.
    #[must_use]
    pub fn may_be_virtual_media(&self) -> bool {
        self.kind == DeviceKind::Disk
            && self.tran.as_deref() == Some("usb")
            && self.size < MAX_VIRTUAL_MEDIUM_BYTES
    }

    /// Whether it is a device that was seen before, by what the hardware says of itself. Its name
    /// is another question: a name goes to the device that comes first.
    #[must_use]
    pub fn has_hardware_of(&self, earlier: &Self) -> bool {
        self.kind == earlier.kind
            && self.size == earlier.size
            && agree(&self.serials(), &earlier.serials())
            && agree(&self.wwns(), &earlier.wwns())
    }

    /// Whether the hardware says anything of itself by which others of its size differ.
    #[must_use]
    pub fn has_identity(&self) -> bool {
        self.serial.is_some() || self.wwn.is_some()
    }

    fn serials(&self) -> Vec<&String> {
        self.serial.iter().chain(&self.other_serials).collect()
    }

    fn wwns(&self) -> Vec<&String> {
        self.wwn.iter().chain(&self.other_wwns).collect()
    }

    /// Whether device-mapper made it: a disk that is reached by several paths, an array of
    /// firmware, or a partition of one of these.
    #[must_use]
    pub fn is_map(&self) -> bool {
        self.name.starts_with("/dev/dm-")
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

/// Whether two devices may have the same names of a kind. One that udev has not looked at yet has
/// fewer of them, but none that the other has not: disks of one kind may share one of several.
fn agree(own: &[&String], others: &[&String]) -> bool {
    let are_all = |some: &[&String], of: &[&String]| some.iter().all(|name| of.contains(name));
    own.is_empty() == others.is_empty() && (are_all(own, others) || are_all(others, own))
}
