//! The machine's network interfaces.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use crate::machine::network::lldp;
use crate::machine::network::port_name;
use crate::machine::topology::Chain;
use crate::system::network::Link;
use crate::system::{PathPrefix, System};

/// A network interface, with the facts that Ironic's inventory knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's name.
    pub name: String,
    /// The permanent hardware address, or the present one where there is none; lower case
    /// with colons.
    pub mac_address: String,
    /// Its IP addresses in the kernel's order.
    pub addresses: Vec<IpAddr>,
    /// Whether there is a signal on the wire.
    pub has_carrier: bool,
    /// Vendor number as the kernel writes it, `0x15b3`.
    pub vendor: Option<String>,
    /// Device number, likewise.
    pub product: Option<String>,
    /// What an InfiniBand interface calls itself to DHCP servers.
    pub client_id: Option<String>,
    /// The port of the machine's case, `em1` or `p3p2`, where firmware tells.
    pub bios_device_name: Option<String>,
    /// LLDP elements that its switch sent; `None` when nobody listened.
    pub lldp: Option<Vec<lldp::Element>>,
    /// The highest speed in Mbit/s that it could have, or else the present one; `None` on
    /// virtual interfaces.
    pub speed_mbps: Option<u32>,
    /// The device's name on its bus: a PCI address, or `virtio2`.
    pub pci_address: Option<String>,
    /// The kernel's driver.
    pub driver: Option<String>,
}

impl Interface {
    /// The first IPv4 address.
    #[must_use]
    pub fn ipv4_address(&self) -> Option<String> {
        let first = self.addresses.iter().find(|address| address.is_ipv4());
        first.map(ToString::to_string)
    }

    /// The first IPv6 address; a link-local one with its scope, `fe80::1%eth0`.
    #[must_use]
    pub fn ipv6_address(&self) -> Option<String> {
        self.addresses.iter().find_map(|address| match address {
            IpAddr::V6(address) if address.is_unicast_link_local() => {
                Some(format!("{address}%{}", self.name))
            }
            IpAddr::V6(address) => Some(address.to_string()),
            IpAddr::V4(_) => None,
        })
    }

    /// The interface with the keys, and in the order, of Ironic's inventory.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "mac_address": self.mac_address,
            "ipv4_address": self.ipv4_address(),
            "ipv6_address": self.ipv6_address(),
            "has_carrier": self.has_carrier,
            "lldp": self.lldp.as_deref().map(lldp::to_json),
            "vendor": self.vendor,
            "product": self.product,
            "client_id": self.client_id,
            "biosdevname": self.bios_device_name,
            "speed_mbps": self.speed_mbps,
            "pci_address": self.pci_address,
            "driver": self.driver,
        })
    }
}

/// The interfaces to hardware, VLANs and bonds, in the kernel's order. Loopback, bridges,
/// tunnels and interfaces without a hardware address are left out. Blocks for milliseconds.
#[must_use]
pub fn probe(system: &System) -> Vec<Interface> {
    let links = system.network.links().unwrap_or_else(|error| {
        tracing::warn!(%error, "the kernel does not tell the addresses of interfaces");
        Vec::new()
    });
    let mut names = system.root.names("/sys/class/net");
    let place = |name: &str| links.iter().position(|link| link.name == name);
    names.sort_by_key(|name| place(name).unwrap_or(usize::MAX));
    let mut interfaces: Vec<Interface> = names
        .iter()
        .filter(|name| is_listed(&system.root, name))
        .filter_map(|name| {
            let link = links.iter().find(|link| link.name == *name);
            let mut interface = read(&system.root, name, link)?;
            let highest = system.network.highest_speed(name);
            interface.speed_mbps = highest.or(interface.speed_mbps);
            Some(interface)
        })
        .collect();
    port_name::name(&system.root, &mut interfaces);
    interfaces
}

/// The first IPv4 address of the interface with this name, of whatever kind it is: bridges,
/// bonds, teams, VLANs and ends of virtual wires have addresses, too, though the inventory
/// does not list them all.
#[must_use]
pub fn ipv4_address(system: &System, name: &str) -> Option<Ipv4Addr> {
    let links = system.network.links().unwrap_or_else(|error| {
        tracing::warn!(%error, "the kernel does not tell the addresses of interfaces");
        Vec::new()
    });
    let link = links.into_iter().find(|link| link.name == name)?;
    link.ip_addresses.iter().find_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    })
}

fn is_listed(root: &PathPrefix, name: &str) -> bool {
    // `eth0.100`: all digits after the first dot.
    let vlan = name
        .split_once('.')
        .is_some_and(|(_, tag)| !tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_digit()));
    let has = |part| root.exists(format!("/sys/class/net/{name}/{part}"));
    vlan || has("device") || has("bonding")
}

fn read(root: &PathPrefix, name: &str, link: Option<&Link>) -> Option<Interface> {
    let chain = Chain::resolve(root, format!("/sys/class/net/{name}"))?;
    let vendor = chain.attribute("device/vendor");
    let hardware_address = link
        .and_then(|link| text(&link.permanent_address).or_else(|| text(&link.address)))
        .or_else(|| chain.attribute("address").filter(|text| !is_zero(text)))?
        .to_ascii_lowercase();
    let (mac_address, client_id) = match infiniband(vendor.as_deref(), &hardware_address) {
        Some((mac, client)) => (mac, Some(client)),
        None => (hardware_address, None),
    };
    // Interfaces to the BMC hang on USB and have addresses that are the same on every
    // machine (HPE: fa:...). Virtual machines use such addresses, too, but not on USB.
    if mac_address.starts_with("fa:") && chain.has_parent("usb") {
        tracing::info!(interface = name, %mac_address, "left out: it leads to the BMC");
        return None;
    }
    let last_of_link = |path: &str| {
        let link = std::fs::read_link(root.path(chain.path()).join(path)).ok()?;
        Some(link.file_name()?.to_str()?.to_owned())
    };
    Some(Interface {
        name: name.to_owned(),
        mac_address,
        addresses: link
            .map(|link| link.ip_addresses.clone())
            .unwrap_or_default(),
        // Reading fails while the interface is down.
        has_carrier: chain.attribute("carrier").as_deref() == Some("1"),
        vendor,
        client_id,
        bios_device_name: None,
        lldp: None,
        product: chain.attribute("device/device"),
        // -1 when unknown, and an error without a link.
        speed_mbps: chain
            .attribute("speed")
            .and_then(|speed| speed.parse().ok())
            .filter(|speed| *speed > 0),
        pci_address: last_of_link("device"),
        driver: last_of_link("device/driver"),
    })
}

/// The Ethernet-like address of a Mellanox InfiniBand port, by which Ironic knows it, and its
/// DHCP client identifier: both are made of its GUID, the last eight of twenty octets.
fn infiniband(vendor: Option<&str>, address: &str) -> Option<(String, String)> {
    const MELLANOX: &str = "0x15b3";
    const CLIENT: &str = "ff:00:00:00:00:00:02:00:00:02:c9:00";
    let octets: Vec<&str> = address.split(':').collect();
    let guid = (vendor == Some(MELLANOX) && octets.len() == 20)
        .then(|| octets.get(12..))
        .flatten()?;
    let mac = [guid.get(..3)?, guid.get(5..)?].concat().join(":");
    Some((mac, format!("{CLIENT}:{}", guid.join(":"))))
}

/// `00:0c:29:8c:11:b1`; `None` for no address and for one of zeros.
fn text(address: &[u8]) -> Option<String> {
    let octets: Vec<_> = address.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = octets.join(":");
    (!is_zero(&text)).then_some(text)
}

fn is_zero(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'0' || byte == b':')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::testing::{FakeMachine, Programs};

    fn link(name: &str, last: u8, addresses: &[&str]) -> Link {
        Link {
            index: u32::from(last),
            name: name.into(),
            address: vec![0, 0x0c, 0x29, 0x8c, 0x11, last],
            ip_addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            ..Link::default()
        }
    }

    #[test]
    fn hardware_vlans_and_bonds_are_listed() {
        let mut machine = FakeMachine::new();
        machine.interface(link("lo", 1, &["127.0.0.1"]), None);
        let eth0 = machine.interface(
            link(
                "eth0",
                2,
                &["192.168.1.2", "192.168.1.3", "fd00::101", "fe80::1"],
            ),
            Some("0000:02:00.0"),
        );
        machine
            .file(&format!("{eth0}/carrier"), "1")
            .file(&format!("{eth0}/speed"), "25000");
        let bond = machine.interface(link("bond0", 3, &[]), None);
        machine.directory(&format!("{bond}/bonding"));
        machine.interface(link("eth0.100", 4, &["fe80::2"]), None);
        machine.interface(link("eth0.1.2", 5, &[]), None);
        machine.interface(link("br0", 6, &[]), None);
        let interfaces = probe(&machine.system());
        let names: Vec<_> = interfaces.iter().map(|i| i.name.as_str()).collect();
        assert_eq!(names, ["eth0", "bond0", "eth0.100"]);
        assert_eq!(
            interfaces[0].to_json(),
            json!({
                "name": "eth0", "mac_address": "00:0c:29:8c:11:02",
                "ipv4_address": "192.168.1.2", "ipv6_address": "fd00::101",
                "has_carrier": true, "lldp": null, "vendor": "0x8086", "product": "0x10d3",
                "client_id": null, "biosdevname": null, "speed_mbps": 100_000,
                "pci_address": "0000:02:00.0", "driver": "e1000e",
            })
        );
        assert!(!interfaces[1].has_carrier);
        assert_eq!(
            (interfaces[1].speed_mbps, &interfaces[1].driver),
            (None, &None)
        );
        assert_eq!(
            interfaces[2].ipv6_address().as_deref(),
            Some("fe80::2%eth0.100")
        );
    }

    #[test]
    fn a_virtio_interface_has_the_name_of_its_bus_for_an_address() {
        let mut machine = FakeMachine::new();
        machine.interface(link("eth0", 2, &[]), Some("virtio2"));
        machine.file("sys/devices/pci0000:00/virtio2/vendor", "0x1af4");
        let found = probe(&machine.system()).remove(0).to_json();
        assert_eq!(
            [&found["pci_address"], &found["vendor"]],
            ["virtio2", "0x1af4"]
        );
    }

    #[test]
    fn the_permanent_address_wins_unless_it_is_none() {
        let cases = [
            (vec![0x52, 0x54, 0, 0xAB, 0, 1], Some("52:54:00:ab:00:01")),
            (vec![0; 6], Some("00:0c:29:8c:11:02")),
            (vec![], Some("00:0c:29:8c:11:02")),
        ];
        for (permanent, mac) in cases {
            let mut machine = FakeMachine::new();
            let link = Link {
                permanent_address: permanent,
                ..link("eth0", 2, &[])
            };
            machine.interface(link, Some("0000:02:00.0"));
            let interfaces = probe(&machine.system());
            assert_eq!(interfaces.first().map(|i| i.mac_address.as_str()), mac);
        }
        let mut machine = FakeMachine::new();
        let none = Link {
            address: vec![0; 6],
            ..link("eth0", 2, &[])
        };
        machine.interface(none, Some("0000:02:00.0"));
        assert_eq!(probe(&machine.system()), []);
    }

    #[test]
    fn infiniband_ports_have_an_address_of_ethernet_and_a_client_identifier() {
        let address = "a0:00:00:27:fe:80:00:00:00:00:00:00:7c:fe:90:03:00:29:26:52";
        let expected = (
            "7c:fe:90:29:26:52".to_owned(),
            "ff:00:00:00:00:00:02:00:00:02:c9:00:7c:fe:90:03:00:29:26:52".to_owned(),
        );
        assert_eq!(infiniband(Some("0x15b3"), address), Some(expected));
        assert_eq!(infiniband(Some("0x8086"), address), None);
        assert_eq!(infiniband(Some("0x15b3"), "7c:fe:90:29:26:52"), None);

        let mut machine = FakeMachine::new();
        let octets = address.split(':').map(|text| u8::from_str_radix(text, 16));
        let port = machine.interface(
            Link {
                address: octets.collect::<Result<_, _>>().unwrap(),
                ..link("ib0", 2, &[])
            },
            Some("0000:02:00.0"),
        );
        machine.file(&format!("{port}/device/vendor"), "0x15b3");
        let found = probe(&machine.system()).remove(0);
        assert_eq!(found.mac_address, "7c:fe:90:29:26:52");
        assert!(found.client_id.unwrap().starts_with("ff:00:00:00:00:00:02"));
    }

    #[test]
    fn any_interface_may_be_asked_for_its_address() {
        let mut machine = FakeMachine::new();
        machine.interface(link("br0", 2, &["fe80::1", "192.0.2.7", "192.0.2.8"]), None);
        machine.interface(link("veth0", 3, &["fe80::2"]), None);
        let system = machine.system();
        assert_eq!(probe(&system), []);
        let first = "192.0.2.7".parse().ok();
        assert_eq!(ipv4_address(&system, "br0"), first);
        assert_eq!(ipv4_address(&system, "veth0"), None);
        assert_eq!(ipv4_address(&system, "br1"), None);
    }

    /// The same with the kernel's own interfaces, in a network of the test's own.
    #[test]
    fn interfaces_of_every_kind_have_their_address() {
        const NAME: &str = "interfaces_of_every_kind_have_their_address";
        const WITHIN: &str = "IRONIC_TEST_IN_A_NETWORK_OF_ITS_OWN";
        const KINDS: [(&str, &str); 6] = [
            ("link0", "link0 type veth peer name link1"),
            ("br0", "br0 type bridge"),
            ("bond0", "bond0 type bond"),
            ("team0", "team0 type team"),
            ("link1.5", "link link1 name link1.5 type vlan id 5"),
            ("dummy0", "dummy0 type dummy"),
        ];
        let Some(programs) = Programs::find(NAME) else {
            return;
        };
        if std::env::var_os(WITHIN).is_none() {
            let status = programs
                .command("unshare")
                .args(["--map-root-user", "--net"])
                .arg(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    &format!("machine::network::interface::tests::{NAME}"),
                    "--nocapture",
                ])
                .env(WITHIN, "1")
                .status()
                .unwrap();
            assert!(status.success());
            return;
        }
        let ip = |arguments: String| {
            let words: Vec<&str> = arguments.split_whitespace().collect();
            programs
                .command("ip")
                .args(words)
                .output()
                .unwrap()
                .status
                .success()
        };
        let mut made = Vec::new();
        for (index, (name, how)) in (1..).zip(KINDS) {
            if !ip(format!("link add {how}")) {
                eprintln!("this kernel has no {name}");
                continue;
            }
            assert!(
                ip(format!("address add 192.0.2.{index}/24 dev {name}")),
                "{name}"
            );
            let expected = format!("192.0.2.{index}").parse().ok();
            assert_eq!(ipv4_address(&System::linux(), name), expected, "{name}");
            made.push(name);
        }
        assert!(made.contains(&"br0") && made.contains(&"link0"), "{made:?}");
    }

    #[test]
    fn only_on_usb_does_the_address_of_a_bmc_hide_an_interface() {
        let bmc = Link {
            address: vec![0xfa, 0x16, 0x3e, 0, 0, 1],
            ..link("eth0", 2, &[])
        };
        let mut machine = FakeMachine::new();
        machine.interface(bmc.clone(), Some("0000:02:00.0"));
        assert_eq!(probe(&machine.system()).len(), 1);
        let mut machine = FakeMachine::new();
        machine.interface(bmc, Some("0000:00:14.0/usb1/1-1/1-1:1.0"));
        assert_eq!(probe(&machine.system()), []);
    }
}
