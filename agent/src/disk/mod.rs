//! Shaping disks: tables, metadata, boot entries.

mod boot_arguments;
pub mod boot_efi;
pub mod boot_entry;
pub mod boot_grub;
pub mod boot_image;
mod boot_loader;
pub mod boot_place;
pub mod boot_raid;
pub mod erase;
pub mod fat;
pub mod firmware;
pub mod identity;
pub mod inject;
pub mod iso;
pub mod keep;
pub mod layout;
pub mod medium;
pub mod metadata;
pub mod mount;
pub mod node;
pub mod plan_raid;
pub mod protect;
pub mod raid;
pub mod swap;
pub mod table;
pub mod tree;
pub mod volume;
