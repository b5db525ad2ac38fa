//! The machine's USB devices.

use serde_json::{Value, json};

use crate::system::System;

const DEVICES: &str = "/sys/bus/usb/devices";
/// The class of hubs, controllers included.
const HUB: &str = "09";

/// A USB device that is not a hub.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsbDevice {
    /// What it calls itself; may be empty.
    pub product: String,
    /// Its maker; may be empty.
    pub vendor: String,
    /// Bus and number: `USB:1:2`.
    pub handle: String,
}

impl UsbDevice {
    /// The device with the keys of an inspection report.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"product": self.product, "vendor": self.vendor, "handle": self.handle})
    }
}

/// All devices, by their ports.
#[must_use]
pub fn probe(system: &System) -> Vec<UsbDevice> {
    let root = &system.root;
    root.names(DEVICES)
        .iter()
        // `1-1:1.0` is an interface of device `1-1`.
        .filter(|name| !name.contains(':'))
        .filter_map(|name| {
            let attribute = |part: &str| root.read_optional(format!("{DEVICES}/{name}/{part}"));
            let number = |part: &str| attribute(part)?.trim().parse::<u32>().ok();
            if attribute("bDeviceClass")?.trim() == HUB {
                return None;
            }
            let text = |part: &str| attribute(part).unwrap_or_default().trim().to_owned();
            Some(UsbDevice {
                product: text("product"),
                vendor: text("manufacturer"),
                handle: format!("USB:{}:{}", number("busnum")?, number("devnum")?),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::testing::FakeMachine;

    #[test]
    fn lists_what_is_no_hub() {
        let mut machine = FakeMachine::new();
        assert_eq!(probe(&machine.system()), []);
        let mut device = |name: &str, class: &str, number: &str, product: Option<&str>| {
            let path = format!("sys/bus/usb/devices/{name}");
            machine
                .file(&format!("{path}/bDeviceClass"), class)
                .file(&format!("{path}/busnum"), "1")
                .file(&format!("{path}/devnum"), number);
            if let Some(product) = product {
                machine
                    .file(&format!("{path}/product"), product)
                    .file(&format!("{path}/manufacturer"), "MyVendor");
            }
        };
        device("usb1", "09", "1", Some("xHCI Host Controller"));
        device("1-1", "00", "2", Some("MyProduct"));
        device("1-2", "ff", "3", None);
        machine.file("sys/bus/usb/devices/1-1:1.0/bInterfaceClass", "08");
        let found: Vec<_> = probe(&machine.system())
            .iter()
            .map(UsbDevice::to_json)
            .collect();
        assert_eq!(
            found,
            [
                json!({"product": "MyProduct", "vendor": "MyVendor", "handle": "USB:1:2"}),
                json!({"product": "", "vendor": "", "handle": "USB:1:3"}),
            ]
        );
    }
}
