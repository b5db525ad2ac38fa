//! Sizes that on-disk formats share.

/// One mebibyte in bytes.
pub const MIB: u64 = 1 << 20;
/// The sector that formats count in when they do not count in the disk's own: 512 bytes.
pub const SECTOR: u64 = 512;
