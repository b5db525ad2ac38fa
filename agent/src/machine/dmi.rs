//! Who made this machine and its firmware.

use serde_json::{Value, json};

use crate::system::System;

/// The machine's maker. Empty texts are unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SystemVendor {
    /// Product.
    pub product_name: String,
    /// Serial number.
    pub serial_number: String,
    /// Manufacturer.
    pub manufacturer: String,
    /// The firmware's maker.
    pub firmware_vendor: String,
    /// The firmware's version.
    pub firmware_version: String,
    /// The firmware's date, as its maker wrote it.
    pub firmware_date: String,
}

impl SystemVendor {
    /// The maker with the keys, and in the order, of Ironic's inventory.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "product_name": self.product_name,
            "serial_number": self.serial_number,
            "manufacturer": self.manufacturer,
            "firmware": {
                "vendor": self.firmware_vendor,
                "version": self.firmware_version,
                "build_date": self.firmware_date,
            },
        })
    }
}

/// Reads the maker's facts: SMBIOS, or the device tree of machines without it.
#[must_use]
pub fn probe(system: &System) -> SystemVendor {
    let dmi = |name: &str| {
        let text = system
            .root
            .read_optional(format!("/sys/class/dmi/id/{name}"));
        text.map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    };
    // Texts of the device tree end with a zero.
    let tree = |name: &str| {
        let text = system
            .root
            .read_optional(format!("/proc/device-tree/{name}"));
        text.map(|text| text.trim_end_matches('\0').to_owned())
    };
    SystemVendor {
        product_name: dmi("product_name")
            .or_else(|| tree("model"))
            .unwrap_or_default(),
        serial_number: dmi("product_serial")
            .or_else(|| tree("serial-number"))
            .unwrap_or_default(),
        manufacturer: dmi("sys_vendor").unwrap_or_default(),
        firmware_vendor: dmi("bios_vendor").unwrap_or_default(),
        firmware_version: dmi("bios_version").unwrap_or_default(),
        firmware_date: dmi("bios_date").unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::testing::FakeMachine;

    #[test]
    fn reads_smbios_and_the_device_tree() {
        let mut machine = FakeMachine::new();
        assert_eq!(probe(&machine.system()), SystemVendor::default());
        machine.bytes("proc/device-tree/model", b"Board X\0");
        assert_eq!(probe(&machine.system()).product_name, "Board X");
        for (name, text) in [
            ("product_name", "ABC123 (GENERIC_SERVER)"),
            ("product_serial", "1234567"),
            ("sys_vendor", "GENERIC "),
            ("bios_vendor", "BIOSVNDR"),
            ("bios_version", "1.2.3"),
            ("bios_date", "03/30/2023"),
        ] {
            machine.file(&format!("sys/class/dmi/id/{name}"), text);
        }
        assert_eq!(
            probe(&machine.system()).to_json(),
            json!({
                "product_name": "ABC123 (GENERIC_SERVER)", "serial_number": "1234567",
                "manufacturer": "GENERIC",
                "firmware": {"vendor": "BIOSVNDR", "version": "1.2.3", "build_date": "03/30/2023"},
            })
        );
    }
}
