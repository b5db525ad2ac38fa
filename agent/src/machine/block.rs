//! The machine's disks.

use crate::system::System;

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
    /// Whether it refuses to be written.
    pub read_only: bool,
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

/// The disks that an operating system could be put on, in the kernel's order. In a simulation
/// the files of its directory. Blocks for milliseconds.
#[must_use]
pub fn probe(_system: &System) -> Vec<BlockDevice> {
    Vec::new()
}
