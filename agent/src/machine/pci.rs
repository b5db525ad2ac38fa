//! The machine's PCI devices.

use serde_json::{Value, json};

use crate::system::{PathPrefix, System};

const DEVICES: &str = "/sys/bus/pci/devices";

/// A PCI function. Numbers are hexadecimal texts without `0x`, as the kernel writes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PciDevice {
    /// Vendor, four digits.
    pub vendor: String,
    /// Device, four digits.
    pub product: String,
    /// Class, six digits.
    pub class: String,
    /// Revision, two digits.
    pub revision: Option<String>,
    /// Its address: `0000:00:03.0`.
    pub bus: String,
    /// Its NUMA node, as a text; `-1` on machines without.
    pub numa_node: Option<String>,
}

impl PciDevice {
    /// The device with the keys of an inspection report.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "vendor_id": self.vendor,
            "product_id": self.product,
            "class": self.class,
            "revision": self.revision,
            "bus": self.bus,
            "numa_node_id": self.numa_node,
        })
    }
}

/// All functions, by address. One whose numbers cannot be read is left out.
///
/// # Errors
/// The kernel shows no list.
pub fn probe(system: &System) -> std::io::Result<Vec<PciDevice>> {
    // A machine without PCI has the directory still.
    std::fs::read_dir(system.root.path(DEVICES))?;
    let names = system.root.names(DEVICES);
    Ok(names
        .into_iter()
        .filter_map(|bus| {
            let device = read(&system.root, &bus);
            if device.is_none() {
                tracing::warn!(%bus, "left out: its vendor, device or class cannot be read");
            }
            device
        })
        .collect())
}

fn read(root: &PathPrefix, bus: &str) -> Option<PciDevice> {
    let attribute = |name: &str| root.read_optional(format!("{DEVICES}/{bus}/{name}"));
    let number = |name: &str| {
        let text = attribute(name)?;
        let digits = text.trim().strip_prefix("0x")?;
        let fine = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        fine.then(|| digits.to_owned())
    };
    Some(PciDevice {
        vendor: number("vendor")?,
        product: number("device")?,
        class: number("class")?,
        revision: number("revision"),
        numa_node: attribute("numa_node").map(|text| text.trim().to_owned()),
        bus: bus.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::testing::FakeMachine;

    #[test]
    fn reads_functions_and_leaves_out_what_is_broken() {
        let mut machine = FakeMachine::new();
        assert!(probe(&machine.system()).is_err());
        let mut device = |bus: &str, attributes: &[(&str, &str)]| {
            for (name, text) in attributes {
                machine.file(&format!("sys/bus/pci/devices/{bus}/{name}"), text);
            }
        };
        let whole = [
            ("vendor", "0x1234"),
            ("device", "0x5678"),
            ("class", "0x060000"),
            ("revision", "0x01"),
            ("numa_node", "-1"),
        ];
        device("foo", &whole);
        device("less", &whole[..3]);
        device(
            "wrong",
            &[("vendor", "wrong"), ("device", "0x1"), ("class", "0x2")],
        );
        let found: Vec<_> = probe(&machine.system())
            .unwrap()
            .iter()
            .map(PciDevice::to_json)
            .collect();
        assert_eq!(
            found,
            [
                json!({"vendor_id": "1234", "product_id": "5678", "class": "060000",
                    "revision": "01", "bus": "foo", "numa_node_id": "-1"}),
                json!({"vendor_id": "1234", "product_id": "5678", "class": "060000",
                    "revision": null, "bus": "less", "numa_node_id": null}),
            ]
        );
    }
}
