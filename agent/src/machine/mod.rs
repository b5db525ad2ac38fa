//! What this machine is. Read only: every file is types, `parse(&str)` and a thin `probe`.

use ironic_document::JsonObject;
use serde_json::{Map, Value, json};

use crate::config::AgentConfig;
use crate::system::System;

pub mod block;
pub mod firmware;
pub mod ironic_node;
pub mod memory;
pub mod network;
pub mod pci;
pub mod processor;
pub mod raid;
mod topology;
pub mod usb;

#[cfg(test)]
pub(crate) mod testing;

pub use firmware::boot::{BootMode, mode as boot_mode};
pub use topology::connected_nodes;

/// What the machine is, as Ironic's inspection and lookup take it: the keys, and their order,
/// of the Python agent's inventory. Reads the kernel only and takes milliseconds, or as long as
/// LLDP is waited for where `collect_lldp` is set; blocks.
#[must_use]
pub fn inventory(system: &System, config: &AgentConfig) -> JsonObject {
    let list = |items: Vec<Value>| Value::Array(items);
    let mut interfaces = network::interface::probe(system);
    if config.collect_lldp {
        let mut heard = network::lldp_listener::collect(system, config.lldp_timeout);
        for interface in &mut interfaces {
            interface.lldp = heard.remove(&interface.name);
        }
    }
    let disks = block::probe(system);
    let bmc = firmware::bmc::probe(system, config.agent_skip_bmc_detect);
    let entries = [
        (
            "interfaces",
            list(
                interfaces
                    .iter()
                    .map(network::interface::Interface::to_json)
                    .collect(),
            ),
        ),
        ("cpu", processor::cpu::probe(system).to_json()),
        (
            "disks",
            list(disks.iter().map(block::BlockDevice::to_json).collect()),
        ),
        ("memory", memory::probe(system).to_json()),
        ("bmc_address", json!(bmc.address)),
        ("bmc_v6address", json!(bmc.v6address)),
        ("system_vendor", firmware::dmi::probe(system).to_json()),
        (
            "boot",
            json!({
                "current_boot_mode": boot_mode(system).word(),
                "pxe_interface": firmware::boot::interface(system),
            }),
        ),
        ("hostname", json!(hostname(system))),
    ];
    let mut inventory: Map<_, _> = entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    if let Some(mac) = bmc.mac {
        inventory.insert("bmc_mac".to_owned(), mac.into());
    }
    inventory
}

/// The machine's name.
#[must_use]
pub fn hostname(system: &System) -> String {
    let name = system.root.read_optional("/proc/sys/kernel/hostname");
    name.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::machine::testing::FakeMachine;
    use crate::system::network::NetworkLink;

    /// What a real Python agent posted, from a machine with one NIC, a virtio and an NVMe disk.
    const RECORDED: &str = include_str!("../../samples/inventory.json");

    fn machine() -> FakeMachine {
        let mut machine = FakeMachine::new();
        machine.virtio_disk("vda", 4294967296, "DISK-0");
        machine.nvme_disk("nvme0n1", 4294967296, "DISK-1", "eui.0025385b71b00000");
        machine.interface(
            NetworkLink {
                index: 2,
                name: "enp0s2".into(),
                address: vec![0x52, 0x54, 0, 0xe2, 0xe0, 1],
                ip_addresses: vec!["10.0.2.15".parse().unwrap(), "fec0::1".parse().unwrap()],
                ..NetworkLink::default()
            },
            Some("0000:00:02.0"),
        );
        machine
            .file("proc/meminfo", "MemTotal: 2968812 kB")
            .file(
                "proc/cpuinfo",
                "processor : 0\nmodel name : QEMU\nflags : fpu de\n",
            )
            .file("proc/sys/kernel/hostname", "ramdisk")
            .file("sys/class/dmi/id/sys_vendor", "QEMU")
            .directory("sys/firmware/efi");
        machine
    }

    /// The shape of a document: its keys in their order, and the types of its values.
    fn shape(value: &Value) -> String {
        match value {
            Value::Null => "null".to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            Value::Number(_) => "number".to_owned(),
            Value::String(_) => "text".to_owned(),
            Value::Array(items) => format!("[{}]", items.first().map(shape).unwrap_or_default()),
            Value::Object(object) => {
                let entries: Vec<_> = object
                    .iter()
                    .map(|(key, value)| format!("{key}: {}", shape(value)))
                    .collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }

    #[test]
    fn has_the_shape_of_the_recorded_one() {
        let recorded: Value = serde_json::from_str(RECORDED).unwrap();
        let inventory = Value::Object(inventory(&machine().system(), &AgentConfig::default()));
        // The recorded lsblk did not know the transport of virtio disks.
        let ours = shape(&inventory).replace("tran: text", "tran: null");
        assert_eq!(ours, shape(&recorded));
    }

    #[test]
    fn what_switches_say_is_listed_when_it_is_asked_for() {
        let mut machine = FakeMachine::new();
        for (name, index) in [("eth0", 2), ("deaf", 3), ("silent", 4)] {
            let link = NetworkLink {
                index,
                name: name.into(),
                address: vec![2, 0, 0, 0, 0, u8::try_from(index).unwrap()],
                ..NetworkLink::default()
            };
            machine.interface(link, Some(&format!("0000:02:00.{index}")));
        }
        for (asked, expected) in [
            (true, json!([[[1, "02"]], null, []])),
            (false, json!([null, null, null])),
        ] {
            let config = AgentConfig {
                collect_lldp: asked,
                ..AgentConfig::default()
            };
            let inventory = inventory(&machine.system(), &config);
            let interfaces = inventory["interfaces"].as_array().unwrap();
            let heard: Vec<_> = interfaces.iter().map(|i| i["lldp"].clone()).collect();
            assert_eq!(json!(heard), expected);
        }
    }

    #[test]
    fn this_machine_is_read_in_time() {
        let system = System::linux();
        let start = Instant::now();
        let inventory = inventory(&system, &AgentConfig::default());
        let elapsed = start.elapsed();
        assert!(!inventory["hostname"].as_str().unwrap().is_empty());
        assert!(inventory["memory"]["total"].as_u64().unwrap() > 0);
        // The goal is 20 ms on an idle machine; other tests run beside this one.
        assert!(elapsed.as_millis() < 500, "{elapsed:?}");
        println!("inventory: {elapsed:?}");
    }
}
