//! `network_data.json` of a config drive: OpenStack's description of a machine's network, as Nova
//! writes it for instances and Ironic for its ramdisk.
//!
//! Links say which interfaces there are: cards by their hardware address, bonds and VLANs of other
//! links. Networks say how a link gets addresses, and services name DNS servers. What contradicts
//! itself or is not understood is left out by itself, and named.

use serde_json::{Map, Value};

use super::address;
use super::bond::{self, BondOption};
use super::problem::{NetworkProblem, NotAnObject, ProblemCause};
use super::request::{
    Addressing, CardSelector, Ipv6Method, NetworkRequest, RequestedBond, RequestedInterface,
    RequestedKind, StaticAddress, StaticRoute,
};

/// Links and networks that are read of one file.
const MAX_ITEMS: usize = 256;
/// VLAN numbers that a frame can have; 0 and 4095 mean something else.
const VLAN_NUMBERS: std::ops::RangeInclusive<u64> = 1..=4094;
/// What IPv4 needs, up to what the kernel can count.
const MTUS: std::ops::RangeInclusive<u64> = 68..=65535;
const FILE: &str = "network_data.json";

/// Reads a file.
pub(super) fn parse(text: &str) -> NetworkRequest {
    let mut reader = NetworkDataReader::default();
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(document)) => reader.read(&document),
        Ok(_) => reader.problem(NetworkProblem::Unreadable {
            location: FILE.to_owned(),
            source: ProblemCause::new(NotAnObject),
        }),
        Err(error) => reader.problem(NetworkProblem::Unreadable {
            location: FILE.to_owned(),
            source: ProblemCause::new(error),
        }),
    }
    reader.request
}

#[derive(Debug, Default)]
struct NetworkDataReader {
    request: NetworkRequest,
}

impl NetworkDataReader {
    fn problem(&mut self, problem: NetworkProblem) {
        self.request.problems.push(problem);
    }

    fn read(&mut self, document: &Map<String, Value>) {
        for (location, link) in self.items(document, "links", FILE) {
            self.read_link(&location, &link);
        }
        self.check_references();
        for (location, network) in self.items(document, "networks", FILE) {
            self.read_network(&location, &network);
        }
        self.read_services(document, FILE);
    }

    /// The objects of a list, each with what a problem calls it.
    fn items(
        &mut self,
        document: &Map<String, Value>,
        key: &'static str,
        location: &str,
    ) -> Vec<(String, Map<String, Value>)> {
        let list = match document.get(key) {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Array(list)) if list.len() <= MAX_ITEMS => list,
            Some(other) => {
                self.problem(NetworkProblem::Value {
                    location: location.to_owned(),
                    field: key,
                    value: shorten(other),
                    expected: "a list of at most 256 objects",
                });
                return Vec::new();
            }
        };
        let one = key.trim_end_matches('s');
        let mut items = Vec::new();
        for (at, item) in list.iter().enumerate() {
            let Value::Object(fields) = item else {
                self.problem(NetworkProblem::Value {
                    location: format!("{location}: {one} {at}"),
                    field: key,
                    value: shorten(item),
                    expected: "an object",
                });
                continue;
            };
            let name = text(fields, "id").unwrap_or_else(|| at.to_string());
            items.push((format!("{location}: {one} {name:?}"), fields.clone()));
        }
        items
    }

    fn read_link(&mut self, location: &str, link: &Map<String, Value>) {
        let Some(id) = self.needed(location, link, "id", "a text") else {
            return;
        };
        let Some(kind) = self.needed(location, link, "type", "a kind of link") else {
            return;
        };
        if self.request.interfaces.iter().any(|known| known.id == id) {
            let location = location.to_owned();
            return self.problem(NetworkProblem::Twice {
                location,
                field: "id",
            });
        }
        let (kind, mac) = match kind.as_str() {
            "bond" => (
                self.read_bond(location, link),
                self.read_mac(location, link, "ethernet_mac_address"),
            ),
            "vlan" => (
                self.read_vlan(location, link),
                self.read_mac(location, link, "vlan_mac_address"),
            ),
            _ => (self.read_card(location, link), None),
        };
        let Some(kind) = kind else { return };
        let mtu = self.read_mtu(location, link);
        // Nothing but a network gives a link addresses.
        let addressing = matches!(kind, RequestedKind::Card(_)).then(Addressing::default);
        self.request.interfaces.push(RequestedInterface {
            name: None,
            location: location.to_owned(),
            addressing,
            id,
            kind,
            mac,
            mtu,
            routes: Vec::new(),
        });
    }

    fn read_card(&mut self, location: &str, link: &Map<String, Value>) -> Option<RequestedKind> {
        let mac = self.read_mac(location, link, "ethernet_mac_address");
        if mac.is_none() && text(link, "ethernet_mac_address").is_none() {
            self.wrong(location, link, "ethernet_mac_address", "a hardware address");
        }
        let selector = CardSelector::Mac(mac?);
        let is_same =
            |known: &&RequestedInterface| known.kind == RequestedKind::Card(selector.clone());
        if self.request.interfaces.iter().any(|known| is_same(&known)) {
            self.problem(NetworkProblem::Twice {
                location: location.to_owned(),
                field: "ethernet_mac_address",
            });
            return None;
        }
        Some(RequestedKind::Card(selector))
    }

    fn read_bond(&mut self, location: &str, link: &Map<String, Value>) -> Option<RequestedKind> {
        let members: Vec<String> = match link.get("bond_links") {
            Some(Value::Array(ids)) => ids
                .iter()
                .filter_map(|id| id.as_str().map(str::to_owned))
                .collect(),
            _ => Vec::new(),
        };
        if members.is_empty() {
            self.wrong(location, link, "bond_links", "a list of ids of links");
            return None;
        }
        let wanted = text(link, "bond_mode").unwrap_or_default();
        let Some(mode) = bond::mode(&wanted) else {
            self.wrong(location, link, "bond_mode", bond::MODE_NAMES);
            return None;
        };
        let options = self.read_bond_options(location, link, &members);
        Some(RequestedKind::Bond(RequestedBond {
            members,
            options: bond::in_order(mode, options),
        }))
    }

    /// Options of the bond besides its mode. What is no option costs itself, and not the bond.
    fn read_bond_options(
        &mut self,
        location: &str,
        link: &Map<String, Value>,
        members: &[String],
    ) -> Vec<BondOption> {
        let mut options = Vec::new();
        for (key, written) in link {
            let name = key.strip_prefix("bond_").filter(|_| !written.is_null());
            let Some(name) = name.filter(|name| !["links", "mode"].contains(name)) else {
                continue;
            };
            let Some(name) = bond::option(name) else {
                self.problem(NetworkProblem::BondOption {
                    location: location.to_owned(),
                    option: key.chars().take(64).collect(),
                });
                continue;
            };
            let value = bond_value(written).and_then(|text| bond::value(name, &text));
            match value {
                Some(value) if name == bond::PRIMARY && !members.contains(&value) => {
                    self.wrong_value(location, name, value, "one of bond_links");
                }
                Some(value) => options.push((name, value)),
                None => {
                    let expected = "a value of the kernel's bonding driver";
                    self.wrong_value(location, name, shorten(written), expected);
                }
            }
        }
        options
    }

    fn read_vlan(&mut self, location: &str, link: &Map<String, Value>) -> Option<RequestedKind> {
        let parent = self.needed(location, link, "vlan_link", "the id of a link")?;
        let number = text(link, "vlan_id").and_then(|number| number.parse::<u64>().ok());
        let number = number.filter(|number| VLAN_NUMBERS.contains(number));
        let Some(number) = number.and_then(|number| u16::try_from(number).ok()) else {
            self.wrong(location, link, "vlan_id", "a number from 1 to 4094");
            return None;
        };
        Some(RequestedKind::Vlan { parent, number })
    }

    /// Takes out bonds and VLANs of links that are not there, until the rest holds together.
    fn check_references(&mut self) {
        loop {
            let known: Vec<String> = ids(&self.request.interfaces);
            let lacking = |interface: &RequestedInterface| match &interface.kind {
                RequestedKind::Vlan { parent, .. } => (!known.contains(parent)
                    || is_on_itself(&self.request.interfaces, interface))
                .then(|| ("vlan_link", parent.clone())),
                RequestedKind::Bond(bond) => bond
                    .members
                    .iter()
                    .find(|id| !is_card(&self.request.interfaces, id))
                    .map(|id| ("bond_links", id.clone())),
                RequestedKind::Card(_) => None,
            };
            let found = self.request.interfaces.iter().enumerate();
            let Some((at, (field, id))) =
                found.filter_map(|(at, i)| Some((at, lacking(i)?))).next()
            else {
                return;
            };
            let location = self.request.interfaces[at].location.clone();
            // A bond does without one member.
            match &mut self.request.interfaces[at].kind {
                RequestedKind::Bond(bond) if bond.members.len() > 1 => {
                    bond.members.retain(|member| *member != id);
                }
                _ => drop(self.request.interfaces.remove(at)),
            }
            self.problem(NetworkProblem::UnknownLink {
                location,
                field,
                id,
            });
        }
    }

    fn read_network(&mut self, location: &str, network: &Map<String, Value>) {
        let Some(link) = self.needed(location, network, "link", "the id of a link") else {
            return;
        };
        let Some(at) = ids(&self.request.interfaces)
            .iter()
            .position(|id| *id == link)
        else {
            return self.problem(NetworkProblem::UnknownLink {
                location: location.to_owned(),
                field: "link",
                id: link,
            });
        };
        let kind = text(network, "type").unwrap_or_default();
        let mut addressing = Addressing::default();
        match kind.as_str() {
            "ipv4" | "ipv6" => {
                let Some(address) = self.read_address(location, network, &kind) else {
                    return;
                };
                addressing.addresses.push(address);
            }
            "ipv4_dhcp" => addressing.dhcp4 = true,
            "ipv6_slaac" => addressing.ipv6 = Ipv6Method::Slaac,
            "ipv6_dhcpv6-stateless" => addressing.ipv6 = Ipv6Method::Stateless,
            "ipv6_dhcp" | "ipv6_dhcpv6-stateful" => addressing.ipv6 = Ipv6Method::Stateful,
            "manual" => {}
            _ => {
                let expected = "ipv4, ipv4_dhcp, ipv6, ipv6_dhcp, ipv6_slaac, ipv6_dhcpv6-stateless, \
                     ipv6_dhcpv6-stateful or manual";
                return self.wrong(location, network, "type", expected);
            }
        }
        for (location, route) in self.items(network, "routes", location) {
            addressing.routes.extend(self.read_route(&location, &route));
            self.read_services(&route, &location);
        }
        self.read_services(network, location);
        self.check_gateways(location, &addressing);
        let all = &mut self.request.interfaces[at].addressing;
        all.get_or_insert_default().add(addressing);
    }

    fn read_address(
        &mut self,
        location: &str,
        network: &Map<String, Value>,
        kind: &str,
    ) -> Option<StaticAddress> {
        let mask = text(network, "netmask");
        let written = text(network, "ip_address").unwrap_or_default();
        let found = address::ip_with_prefix(&written, mask.as_deref());
        let found = found.filter(|(address, _)| address.is_ipv4() == (kind == "ipv4"));
        let Some((address, prefix)) = found else {
            let expected = "an address of the network's family, and a netmask of it";
            self.wrong(location, network, "ip_address", expected);
            return None;
        };
        let Some(prefix) = prefix else {
            self.wrong(location, network, "netmask", "a netmask, or its length");
            return None;
        };
        Some(StaticAddress { address, prefix })
    }

    fn read_route(&mut self, location: &str, route: &Map<String, Value>) -> Option<StaticRoute> {
        let mask = text(route, "netmask");
        let written = text(route, "network").unwrap_or_default();
        let destination = address::ip_with_prefix(&written, mask.as_deref());
        let Some((address, Some(prefix))) = destination else {
            self.wrong(location, route, "network", "a network and its netmask");
            return None;
        };
        let gateway = text(route, "gateway").filter(|gateway| !gateway.is_empty());
        let found = gateway.as_deref().map(address::ip);
        if found.is_some_and(|found| found.is_none_or(|g| g.is_ipv4() != address.is_ipv4())) {
            self.wrong(
                location,
                route,
                "gateway",
                "an address of the route's family",
            );
            return None;
        }
        let (destination, problem) = StaticAddress { address, prefix }.network(location);
        self.request.problems.extend(problem);
        Some(StaticRoute {
            destination,
            gateway: found.flatten(),
        })
    }

    /// A gateway outside the network that the same item gives is used, and named.
    fn check_gateways(&mut self, location: &str, addressing: &Addressing) {
        for gateway in addressing.routes.iter().filter_map(|route| route.gateway) {
            let holds = |network: &StaticAddress| {
                address::is_in_network(network.address, network.prefix, gateway)
            };
            let is_local =
                matches!(gateway, std::net::IpAddr::V6(v6) if v6.is_unicast_link_local());
            let addresses = &addressing.addresses;
            if !addresses.is_empty() && !is_local && !addresses.iter().any(holds) {
                let location = location.to_owned();
                self.problem(NetworkProblem::FarGateway { location, gateway });
            }
        }
    }

    fn read_services(&mut self, document: &Map<String, Value>, location: &str) {
        for (location, service) in self.items(document, "services", location) {
            if text(&service, "type").as_deref() != Some("dns") {
                continue;
            }
            let address = text(&service, "address").unwrap_or_default();
            // Several may stand in one text.
            for one in address.split([',', ' ']).filter(|one| !one.is_empty()) {
                match address::ip(one) {
                    Some(server) if self.request.name_servers.contains(&server) => {}
                    Some(server) => self.request.name_servers.push(server),
                    None => self.wrong(&location, &service, "address", "an IP address"),
                }
            }
        }
    }

    fn read_mac(
        &mut self,
        location: &str,
        link: &Map<String, Value>,
        key: &'static str,
    ) -> Option<String> {
        let written = text(link, key).filter(|written| !written.is_empty())?;
        let found = address::mac(&written);
        if found.is_none() {
            self.wrong(location, link, key, "a hardware address");
        }
        found
    }

    fn read_mtu(&mut self, location: &str, link: &Map<String, Value>) -> Option<u32> {
        let written = text(link, "mtu")?;
        let found = written.parse::<f64>().ok().map(|mtu| mtu.trunc());
        let found = found.and_then(|mtu| format!("{mtu}").parse::<u64>().ok());
        let found = found.filter(|mtu| MTUS.contains(mtu));
        if found.is_none() {
            self.wrong(location, link, "mtu", "a number of bytes from 68 to 65535");
        }
        found.and_then(|mtu| u32::try_from(mtu).ok())
    }

    /// The text of a field that must be there.
    fn needed(
        &mut self,
        location: &str,
        item: &Map<String, Value>,
        key: &'static str,
        expected: &'static str,
    ) -> Option<String> {
        let found = text(item, key).filter(|found| !found.is_empty());
        if found.is_none() {
            self.wrong(location, item, key, expected);
        }
        found
    }

    fn wrong(
        &mut self,
        location: &str,
        item: &Map<String, Value>,
        field: &'static str,
        expected: &'static str,
    ) {
        let value = item.get(field).map_or_else(String::new, shorten);
        self.wrong_value(location, field, value, expected);
    }

    fn wrong_value(
        &mut self,
        location: &str,
        field: &'static str,
        value: String,
        expected: &'static str,
    ) {
        self.problem(NetworkProblem::Value {
            location: location.to_owned(),
            field,
            value,
            expected,
        });
    }
}

fn ids(interfaces: &[RequestedInterface]) -> Vec<String> {
    interfaces
        .iter()
        .map(|interface| interface.id.clone())
        .collect()
}

fn is_card(interfaces: &[RequestedInterface], id: &str) -> bool {
    interfaces
        .iter()
        .any(|known| known.id == id && matches!(known.kind, RequestedKind::Card(_)))
}

/// Whether VLANs are on each other in a circle.
fn is_on_itself(interfaces: &[RequestedInterface], interface: &RequestedInterface) -> bool {
    let mut at = interface;
    for _ in 0..=interfaces.len() {
        let RequestedKind::Vlan { parent, .. } = &at.kind else {
            return false;
        };
        let Some(next) = interfaces.iter().find(|known| known.id == *parent) else {
            return false;
        };
        at = next;
    }
    true
}

/// A field as text: a text as it is, or a number.
fn text(item: &Map<String, Value>, key: &str) -> Option<String> {
    match item.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The value of a bond's option: also a boolean, and a list as the driver takes it.
fn bond_value(written: &Value) -> Option<String> {
    match written {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is_on) => Some(u8::from(*is_on).to_string()),
        Value::Array(list) => {
            let texts: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            texts.map(|texts| texts.join(","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

/// A value for a message.
fn shorten(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.chars().take(64).collect()
}

#[cfg(test)]
pub(crate) mod tests;
