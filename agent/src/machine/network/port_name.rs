//! Which port of the machine's case an interface is, by what firmware and slots say: the names
//! that the program `biosdevname` gives.

use std::path::Component;

use crate::machine::topology::Chain;
use crate::system::PathPrefix;

/// Where an interface is on the case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Port {
    /// On the main board: its number there (SMBIOS type 41).
    Embedded(u32),
    /// On a card in this slot: its device, and its port there.
    Slot(String, String, u32),
}

/// The names of interfaces, in their order: `em1` is the first one on the main board, `p3p2` the second
/// one of the card in slot 3. Ports of virtual machines, functions that a port lends to a
/// virtual machine, VLANs and what firmware does not describe have none.
pub(super) fn names(root: &PathPrefix, interfaces: &[&str]) -> Vec<Option<String>> {
    if is_virtual(root) {
        return vec![None; interfaces.len()];
    }
    let slots: Vec<(String, String)> = root
        .names("/sys/bus/pci/slots")
        .into_iter()
        .filter_map(|slot| {
            let address = root.read_optional(format!("/sys/bus/pci/slots/{slot}/address"))?;
            Some((address, slot))
        })
        .collect();
    let ports: Vec<Option<Port>> = interfaces
        .iter()
        .map(|interface| port(root, &slots, interface))
        .collect();
    let name = |port: &Port| match port {
        Port::Embedded(number) => format!("em{number}"),
        Port::Slot(slot, ..) => {
            let is_before = |other: &&Port| {
                matches!(other, Port::Slot(same, ..) if same == slot) && *other < port
            };
            let before = ports.iter().flatten().filter(is_before).count();
            format!("p{slot}p{}", before + 1)
        }
    };
    ports.iter().map(|port| port.as_ref().map(name)).collect()
}

/// The kernel shows programs in a virtual machine that they are in one.
fn is_virtual(root: &PathPrefix) -> bool {
    root.read_optional("/proc/cpuinfo")
        .is_some_and(|text| text.split_whitespace().any(|word| word == "hypervisor"))
}

fn port(root: &PathPrefix, slots: &[(String, String)], interface: &str) -> Option<Port> {
    let device = Chain::resolve(root, format!("/sys/class/net/{interface}/device"))?;
    if root.exists(device.path().join("physfn")) {
        return None;
    }
    if let Some(number) = device.attribute("index") {
        return number.parse().ok().map(Port::Embedded);
    }
    let addresses = device
        .path()
        .components()
        .rev()
        .filter_map(|part| match part {
            Component::Normal(part) => part.to_str()?.rsplit_once('.'),
            _ => None,
        });
    let slot = addresses.into_iter().find_map(|(address, _function)| {
        let (_, slot) = slots.iter().find(|(taken, _)| taken == address)?;
        Some(slot.clone())
    })?;
    let of_device = root.read_optional(format!("/sys/class/net/{interface}/dev_port"));
    let of_device = of_device.and_then(|text| text.parse().ok()).unwrap_or(0);
    let address = device.path().display().to_string();
    Some(Port::Slot(slot, address, of_device))
}

#[cfg(test)]
mod tests {
    use crate::machine::network::interface::{self, Interface};
    use crate::machine::testing::FakeMachine;
    use crate::system::network::NetworkLink;

    fn machine(ports: &[(&str, &str)]) -> FakeMachine {
        let mut machine = FakeMachine::new();
        for (index, (name, pci)) in (2..).zip(ports) {
            let link = NetworkLink {
                index,
                name: (*name).to_owned(),
                address: vec![0, 0x0c, 0x29, 0x8c, 0x11, u8::try_from(index).unwrap()],
                ..NetworkLink::default()
            };
            machine.interface(link, Some(pci));
        }
        machine
    }

    fn names(machine: &FakeMachine) -> Vec<(String, String)> {
        let name_of = |interface: Interface| {
            let name = interface.bios_device_name.unwrap_or_default();
            (interface.name, name)
        };
        interface::probe(&machine.system())
            .into_iter()
            .map(name_of)
            .collect()
    }

    #[test]
    fn ports_are_named_by_board_and_slot() {
        let mut machine = machine(&[
            ("eth0", "0000:02:00.1"),
            ("eth1", "0000:02:00.0"),
            ("eth2", "0000:00:03.0/0000:05:00.0/0000:06:00.0"),
            ("eth3", "0000:07:00.0"),
            ("eth4", "0000:02:00.2"),
        ]);
        let slots = [
            ("3", "0000:02:00"),
            ("5-1", "0000:05:00"),
            ("9", "0000:09:00"),
        ];
        for (slot, address) in slots {
            machine.file(&format!("sys/bus/pci/slots/{slot}/address"), address);
        }
        let device = "sys/devices/pci0000:00";
        machine
            .file(&format!("{device}/0000:07:00.0/index"), "1")
            .directory(&format!("{device}/0000:02:00.2/physfn"));
        let expected = [
            ("eth0", "p3p2"),
            ("eth1", "p3p1"),
            ("eth2", "p5-1p1"),
            ("eth3", "em1"),
            ("eth4", ""),
        ];
        assert_eq!(names(&machine), expected.map(|(a, b)| (a.into(), b.into())));

        // Slots of virtual machines are made up.
        machine.file("proc/cpuinfo", "flags\t: fpu vme hypervisor lm\n");
        assert!(names(&machine).iter().all(|(_, name)| name.is_empty()));
    }

    #[test]
    fn ports_of_one_function_follow_their_number() {
        let mut machine = machine(&[("eth0", "0000:02:00.0")]);
        machine.file("sys/bus/pci/slots/2/address", "0000:02:00");
        let device = "sys/devices/pci0000:00/0000:02:00.0";
        let link = NetworkLink {
            index: 9,
            name: "eth1".into(),
            address: vec![0, 0x0c, 0x29, 0x8c, 0x11, 9],
            ..NetworkLink::default()
        };
        machine.interface(link, None);
        machine
            .link("sys/devices/virtual/net/eth1/device", device)
            .file("sys/devices/virtual/net/eth1/dev_port", "0")
            .file(&format!("{device}/net/eth0/dev_port"), "1");
        let expected = [("eth0", "p2p2"), ("eth1", "p2p1")];
        assert_eq!(names(&machine), expected.map(|(a, b)| (a.into(), b.into())));
    }
}
