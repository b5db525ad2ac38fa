//! Shaping disks: tables, metadata, boot entries.

pub mod boot_efi;
pub mod metadata;
