//! The manufacturers of this machine and its firmware, as `lshw` shows them: from SMBIOS, then
//! from the device tree.

use serde_json::{Value, json};
use uuid::Uuid;

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

/// The machine's UUID as SMBIOS says it, lower case with hyphens. Empty if SMBIOS has none, or
/// only the all-zeros or all-ones value by which firmware says that nobody has set one.
///
/// That of a simulated machine is made of the directory of its disks: the facts of the machine
/// that it runs on are those of many simulations.
#[must_use]
pub fn system_uuid(system: &System) -> String {
    if let Some(simulation) = &system.simulation {
        return simulation.system_uuid().to_string();
    }
    let text = system
        .root
        .read_optional("/sys/class/dmi/id/product_uuid")
        .unwrap_or_default();
    let uuid = Uuid::try_parse(stripped(&text).as_str());
    uuid.ok()
        .filter(|uuid| !uuid.is_nil() && !uuid.is_max())
        .map_or_else(String::new, |uuid| uuid.to_string())
}

/// `product (remark)`; without an empty remark.
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
mod tests;
