//! How this machine was started.

use crate::system::System;

/// The firmware's way of booting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BootMode {
    /// UEFI: it keeps boot entries.
    Uefi,
    /// BIOS: it runs the first sector.
    Bios,
}

impl BootMode {
    /// The word that Ironic uses.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Uefi => "uefi",
            Self::Bios => "bios",
        }
    }
}

/// How this machine booted.
#[must_use]
pub fn mode(system: &System) -> BootMode {
    if system.root.exists("/sys/firmware/efi") {
        BootMode::Uefi
    } else {
        BootMode::Bios
    }
}
