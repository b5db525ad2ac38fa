//! The machine's network interfaces.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use crate::machine::network::lldp;
use crate::machine::network::port_name;
use crate::machine::topology::Chain;
use crate::system::network::NetworkLink;
use crate::system::{PathPrefix, System};

/// A network interface, with the facts that Ironic's inventory knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's name.
    pub name: String,
    /// The permanent hardware address, or else the present one; lower case
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
    /// LLDP elements that its switch sent; `None` when they were not collected.
    pub lldp: Option<Vec<lldp::LldpElement>>,
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
    let index = |name: &str| links.iter().position(|link| link.name == name);
    names.sort_by_key(|name| index(name).unwrap_or(usize::MAX));
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
    let names: Vec<&str> = interfaces.iter().map(|known| known.name.as_str()).collect();
    let port_names = port_name::names(&system.root, &names);
    for (interface, port_name) in interfaces.iter_mut().zip(port_names) {
        interface.bios_device_name = port_name;
    }
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

fn read(root: &PathPrefix, name: &str, link: Option<&NetworkLink>) -> Option<Interface> {
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
mod tests;
