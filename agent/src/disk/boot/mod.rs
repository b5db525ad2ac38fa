//! Making a deployed system boot: what firmware, GRUB and the kernel need to find it.

mod arguments;
pub mod efi;
pub mod entry;
pub mod grub;
pub mod image;
mod loader;
pub mod place;
pub mod raid;
