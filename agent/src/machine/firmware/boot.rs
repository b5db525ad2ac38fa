//! How this machine was started.

use ironic_options::Parameters;

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

/// The interface that the network boot used: the kernel parameter `BOOTIF` as it is, usually
/// the type of the hardware and its address, `01-52-54-00-5e-09-ff`.
#[must_use]
pub fn interface(system: &System) -> Option<String> {
    Parameters::of_machine(&system.root.path("/"))
        .get("BOOTIF")
        .map(str::to_owned)
}

/// The hardware address in a `BOOTIF`, in lower case with colons: with or without the type of
/// the hardware in front, with dashes or colons.
#[must_use]
pub fn mac_of_interface(bootif: &str) -> String {
    let mac = bootif.replace('-', ":").to_ascii_lowercase();
    // Six octets are an address; the seventh, in front, is the type.
    match mac.split_once(':') {
        Some((_, address)) if mac.split(':').count() == 7 => address.to_owned(),
        _ => mac,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::testing::FakeMachine;

    #[test]
    fn reads_mode_and_interface() {
        let mut machine = FakeMachine::new();
        assert_eq!(mode(&machine.system()), BootMode::Bios);
        assert_eq!(interface(&machine.system()), None);
        machine
            .directory("sys/firmware/efi")
            .file("proc/cmdline", "quiet BOOTIF=boot:if ipa-debug=1");
        assert_eq!(mode(&machine.system()), BootMode::Uefi);
        assert_eq!(interface(&machine.system()).as_deref(), Some("boot:if"));
    }

    #[test]
    fn finds_the_address_in_every_form() {
        for form in [
            "01-52-54-00-5E-09-FF",
            "52-54-00-5e-09-ff",
            "52:54:00:5e:09:ff",
            "01:52:54:00:5e:09:ff",
        ] {
            assert_eq!(mac_of_interface(form), "52:54:00:5e:09:ff");
        }
    }
}
