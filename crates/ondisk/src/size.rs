//! Sizes that on-disk formats share.

/// One mebibyte in bytes.
pub const MIB: u64 = 1 << 20;
/// One gibibyte in bytes.
pub const GIB: u64 = 1 << 30;
/// The sector that formats count in when they do not count in the disk's own: 512 bytes.
pub const SECTOR: u64 = 512;

/// Size and sectors of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Size in bytes.
    pub size: u64,
    /// Logical sector size in bytes: the unit of partition tables.
    pub sector_size: u32,
}

impl Geometry {
    /// Bytes of a sector, never 0.
    #[must_use]
    pub fn sector(self) -> u64 {
        u64::from(self.sector_size.max(1))
    }

    /// How many whole sectors there are.
    #[must_use]
    pub fn sectors(self) -> u64 {
        self.size / self.sector()
    }
}
