//! Making a deployed system boot: what firmware, GRUB and the kernel need to find it.

mod arguments;
pub mod efi;
pub mod entry;
mod error;
pub mod grub;
pub mod image;
mod kernel_entry;
pub mod kexec;
pub mod layout;
pub mod loader;
pub mod raid;

pub use error::{BootArrayError, BootCause, BootError};
pub use kexec::KexecError;
