//! The machine's disks.

/// A disk, with the facts that Ironic's root device hints and inventory know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockDevice {
    /// Device path, for example `/dev/sda`. In a simulation, the path of a file.
    pub name: String,
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
}
