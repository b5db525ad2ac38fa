//! Who made this machine and its firmware, as `lshw` tells it: SMBIOS, then the device tree.

use serde_json::{Value, json};

use crate::system::{PathPrefix, System};

/// The machine's maker. Empty texts are unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SystemVendor {
    /// Product, with the maker's order number in parentheses where SMBIOS has one.
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

/// Reads the maker's facts.
#[must_use]
pub fn probe(system: &System) -> SystemVendor {
    let smbios = |name: &str| {
        let path = format!("/sys/class/dmi/id/{name}");
        stripped(&system.root.read_optional(path).unwrap_or_default())
    };
    let vendor = SystemVendor {
        product_name: with_remark(&smbios("product_name"), &smbios("product_sku")),
        serial_number: smbios("product_serial"),
        manufacturer: smbios("sys_vendor"),
        firmware_vendor: smbios("bios_vendor"),
        firmware_version: smbios("bios_version"),
        firmware_date: smbios("bios_date"),
    };
    DeviceTree(&system.root).complete(vendor)
}

/// `product (remark)`; without the remark when there is none.
fn with_remark(product: &str, remark: &str) -> String {
    if remark.is_empty() {
        product.to_owned()
    } else {
        stripped(&format!("{product} ({remark})"))
    }
}

/// A text without control characters, and without blanks at its ends. It ends at a zero.
fn stripped(text: &str) -> String {
    let text = text.split('\0').next().unwrap_or_default();
    let text = text.trim_matches(|letter| letter <= ' ');
    text.chars().filter(|letter| *letter >= ' ').collect()
}

/// What firmware without SMBIOS tells: that of POWER, and of many ARM machines.
struct DeviceTree<'a>(&'a PathPrefix);

impl DeviceTree<'_> {
    /// A property's text; `None` when there is no such property.
    fn text(&self, name: &str) -> Option<String> {
        let text = self.0.read_optional(format!("/proc/device-tree/{name}"))?;
        Some(stripped(&text))
    }

    /// What the tree says goes before what SMBIOS says.
    fn complete(&self, mut vendor: SystemVendor) -> SystemVendor {
        if !self.0.exists("/proc/device-tree") {
            return vendor;
        }
        let first = |names: &[&str]| names.iter().find_map(|name| self.text(name));
        if let Some(product) = first(&["ibm,vendor-model", "model"]) {
            vendor.product_name = product;
        }
        if let Some(serial) = self.text("serial-number") {
            vendor.serial_number = serial;
        }
        if vendor.serial_number.is_empty() {
            let system = first(&["ibm,vendor-system-id", "system-id"]);
            vendor.serial_number = system.unwrap_or_default();
        }
        let kind = self.text("compatible").unwrap_or_default();
        if kind.starts_with("ibm,powernv") {
            vendor.manufacturer = self.text("vendor").unwrap_or_else(|| "IBM".to_owned());
            let model = self.text("model-name").unwrap_or_default();
            vendor.product_name = with_remark(&vendor.product_name, &model);
        } else if kind.contains("qemu,pseries") {
            vendor.manufacturer = self.text("vendor").unwrap_or_else(|| "IBM".to_owned());
            vendor.serial_number = self.text("host-serial").unwrap_or(vendor.serial_number);
            let hypervisor = self.text("hypervisor/compatible").unwrap_or_default();
            let model = self
                .text("host-model")
                .map(|model| format!(" Model# {model}"));
            let product = format!("{hypervisor}{}", model.unwrap_or_default());
            if !product.is_empty() {
                vendor.product_name = stripped(&product);
            }
        }
        vendor
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::testing::{FakeMachine, Programs};

    #[test]
    fn reads_smbios_and_the_device_tree() {
        let mut machine = FakeMachine::new();
        assert_eq!(probe(&machine.system()), SystemVendor::default());
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
        machine.bytes("proc/device-tree/model", b"Board X\0");
        let vendor = probe(&machine.system());
        assert_eq!(vendor.product_name, "Board X");
        assert_eq!(vendor.serial_number, "1234567");
    }

    #[test]
    fn the_order_number_follows_the_product() {
        for (product, sku, expected) in [
            (
                "PowerEdge R740",
                "SKU=0715;Model=R740",
                "PowerEdge R740 (SKU=0715;Model=R740)",
            ),
            (
                "ProLiant DL360 Gen10",
                " 867959-B21 ",
                "ProLiant DL360 Gen10 (867959-B21)",
            ),
            ("X", "", "X"),
            ("", "Y", "(Y)"),
            ("", "", ""),
        ] {
            let mut machine = FakeMachine::new();
            machine
                .file("sys/class/dmi/id/product_name", product)
                .file("sys/class/dmi/id/product_sku", sku);
            assert_eq!(probe(&machine.system()).product_name, expected);
        }
    }

    /// SMBIOS tables with the texts of a firmware and a system, and the entry point to them.
    fn smbios(machine: &mut FakeMachine, texts: &[&[u8]; 7]) {
        let [vendor, version, date, maker, product, serial, sku] = texts;
        let structure = |formatted: &[u8], texts: &[&[u8]]| {
            let mut bytes = formatted.to_vec();
            for text in texts {
                // A text that is empty would end the texts.
                bytes.extend(if text.is_empty() { b" " } else { *text });
                bytes.push(0);
            }
            bytes.push(0);
            bytes
        };
        let mut firmware = [0; 0x18];
        firmware[..6].copy_from_slice(&[0, 0x18, 0, 0, 1, 2]);
        firmware[8] = 3;
        let mut system = [0; 0x1b];
        system[..8].copy_from_slice(&[1, 0x1b, 1, 0, 1, 2, 0, 3]);
        system[0x19] = 4;
        let tables = [
            structure(&firmware, &[vendor, version, date]),
            structure(&system, &[maker, product, serial, sku]),
            structure(&[127, 4, 2, 0], &[b"end"]),
        ]
        .concat();
        let mut entry = *b"_SM3_\0\x18\x03\x03\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0";
        entry[12..16].copy_from_slice(&u32::try_from(tables.len()).unwrap().to_le_bytes());
        entry[5] = entry.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
        machine
            .bytes("sys/firmware/dmi/tables/smbios_entry_point", &entry)
            .bytes("sys/firmware/dmi/tables/DMI", &tables);
        for (name, text) in [
            ("bios_vendor", vendor),
            ("bios_version", version),
            ("bios_date", date),
            ("sys_vendor", maker),
            ("product_name", product),
            ("product_serial", serial),
            ("product_sku", sku),
        ] {
            let text = [*text, b"\n"].concat();
            machine.bytes(&format!("sys/class/dmi/id/{name}"), &text);
        }
    }

    #[test]
    fn the_maker_is_told_as_lshw_tells_it() {
        let Some(programs) = Programs::find("the_maker_is_told_as_lshw_tells_it") else {
            return;
        };
        // Debian's `lshw` cuts a text at a byte that is not UTF-8; that is not followed.
        let cases: [[&[u8]; 7]; 4] = [
            [
                b"Dell Inc.",
                b"2.19.1",
                b"06/04/2023",
                b"Dell Inc.",
                b"PowerEdge R740",
                b"ABC1234",
                b"SKU=NotProvided;ModelName=PowerEdge R740",
            ],
            [
                b"HPE",
                b"U32",
                b"02/20/2020",
                b" HPE ",
                b"ProLiant DL360 Gen10",
                b"CZ3  ",
                b"867959-B21",
            ],
            [
                b"American Megatrends",
                b"1",
                b"1",
                b"Supermicro",
                b"X11",
                b"",
                b"",
            ],
            [b"x", b"y", b"z", b"w", b"", b"0", b"only"],
        ];
        for texts in cases {
            let mut machine = FakeMachine::new();
            smbios(&mut machine, &texts);
            let ours = probe(&machine.system());
            let printed = programs.run_inside(&mut machine, "inside lshw -quiet -json");
            let printed: Value = serde_json::from_str(&printed).unwrap();
            let system = printed.get(0).unwrap_or(&printed);
            let children = |node: &Value| node["children"].as_array().cloned().unwrap_or_default();
            let core = children(system)
                .into_iter()
                .find(|node| node["id"] == "core")
                .unwrap();
            let firmware = children(&core)
                .into_iter()
                .find(|node| node["id"] == "firmware")
                .unwrap();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let expected = SystemVendor {
                product_name: text(&system["product"]),
                serial_number: text(&system["serial"]),
                manufacturer: text(&system["vendor"]),
                firmware_vendor: text(&firmware["vendor"]),
                firmware_version: text(&firmware["version"]),
                firmware_date: text(&firmware["date"]),
            };
            assert_eq!(ours, expected);
        }
    }

    #[test]
    fn a_byte_that_is_not_utf8_costs_nothing_but_itself() {
        let mut machine = FakeMachine::new();
        machine
            .bytes("sys/class/dmi/id/sys_vendor", b"M\xfcller GmbH\x01 \n")
            .bytes("sys/class/dmi/id/product_serial", b"\xff1234\n");
        let vendor = probe(&machine.system());
        assert_eq!(vendor.manufacturer, "M\u{fffd}ller GmbH");
        assert_eq!(vendor.serial_number, "\u{fffd}1234");
    }

    #[test]
    fn power_machines_say_what_they_are_in_the_device_tree() {
        let mut machine = FakeMachine::new();
        machine
            .bytes(
                "proc/device-tree/compatible",
                b"ibm,powernv\0ibm,p9-openbmc\0",
            )
            .bytes("proc/device-tree/model", b"9006-22P\0")
            .bytes("proc/device-tree/model-name", b"IBM Power System LC922\0")
            .bytes("proc/device-tree/system-id", b"78ABCDE\0");
        let vendor = probe(&machine.system());
        assert_eq!(vendor.product_name, "9006-22P (IBM Power System LC922)");
        assert_eq!(
            (vendor.serial_number.as_str(), vendor.manufacturer.as_str()),
            ("78ABCDE", "IBM")
        );
    }
}
