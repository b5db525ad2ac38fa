//! The network in the parameters of the kernel command line, in the form that dracut documents
//! (`dracut.cmdline(7)`): `ip=`, `vlan=`, `bond=`, `nameserver=`, `rd.route=`, `BOOTIF=`.
//!
//! Wherever dracut has an interface's name, its hardware address may stand, with dashes: names
//! depend on the order in which the kernel finds the cards.

use std::net::IpAddr;

use super::address;
use super::bond::{self, BondOption};
use super::problem::NetworkProblem;
use super::request::{
    Addressing, CardSelector, Ipv6Method, NetworkRequest, RequestedBond, RequestedInterface,
    RequestedKind, StaticAddress, StaticRoute,
};

/// What other ramdisks read and this one does not.
const NOT_KNOWN: [(&str, &str); 5] = [
    ("team=", "use bond="),
    ("bridge=", "give the address to the card itself"),
    (
        "ifname=",
        "name the card by its hardware address with dashes",
    ),
    (
        "rd.peerdns=",
        "servers of nameserver= come first in any case",
    ),
    ("rd.znet=", "it is for another architecture"),
];
const METHODS: &str = "a form of dracut's: [interface:]dhcp, dhcp6, auto6, either6, link6, single-dhcp, on or any, or \
     address::gateway:netmask:name:interface:none";
const BOND: &str = "name:interface,interface:mode=…,miimon=…:mtu";
const PREFIX_OF_IP: &str = "ip=";

/// Reads a kernel command line. `parameters` are the words that count.
pub(super) fn parse(command_line: &str) -> NetworkRequest {
    let mut reader = KernelParametersReader::default();
    // What others are on is there before an address is given to it.
    let words: Vec<&str> = command_line.split_whitespace().collect();
    for word in &words {
        if let Some(value) = word.strip_prefix("bond=") {
            reader.read_bond(word, value);
        } else if let Some(value) = word.strip_prefix("vlan=") {
            reader.read_vlan(word, value);
        } else if let Some((_, instead)) = NOT_KNOWN.iter().find(|(key, _)| word.starts_with(key)) {
            reader.request.problems.push(NetworkProblem::NotKnown {
                parameter: (*word).to_owned(),
                instead,
            });
        }
    }
    for word in &words {
        if let Some(value) = word.strip_prefix(PREFIX_OF_IP) {
            reader.read_ip(word, value);
        }
    }
    for word in &words {
        if let Some(value) = word.strip_prefix("nameserver=") {
            reader.read_name_server(word, value);
        } else if let Some(value) = word.strip_prefix("rd.route=") {
            reader.read_route(word, value);
        }
    }
    reader.finish()
}

#[derive(Debug, Default)]
struct KernelParametersReader {
    request: NetworkRequest,
    /// Routes without an interface.
    routes: Vec<StaticRoute>,
}

impl KernelParametersReader {
    fn wrong(&mut self, word: &str, value: &str, expected: &'static str) {
        let (key, _) = word.split_once('=').unwrap_or((word, ""));
        let field = match key {
            "ip" => "ip",
            "vlan" => "vlan",
            "bond" => "bond",
            "nameserver" => "nameserver",
            _ => "rd.route",
        };
        self.request.problems.push(NetworkProblem::Value {
            location: "kernel command line".to_owned(),
            field,
            value: value.chars().take(96).collect(),
            expected,
        });
    }

    /// The interface with this name, made a card if nothing else was said of it.
    fn interface(&mut self, name: &str, word: &str) -> &mut RequestedInterface {
        let kind = match (name.is_empty(), address::mac(name)) {
            (true, _) => RequestedKind::Card(CardSelector::Boot),
            (false, Some(mac)) => RequestedKind::Card(CardSelector::Mac(mac)),
            (false, None) => RequestedKind::Card(CardSelector::Name(name.to_owned())),
        };
        let known = self.request.interfaces.iter().position(|i| i.id == name);
        let at = known.unwrap_or_else(|| {
            self.request.interfaces.push(RequestedInterface {
                id: name.to_owned(),
                location: format!("kernel parameter {word}"),
                kind,
                name: None,
                mac: None,
                mtu: None,
                addressing: None,
                routes: Vec::new(),
            });
            self.request.interfaces.len() - 1
        });
        &mut self.request.interfaces[at]
    }

    fn read_bond(&mut self, word: &str, value: &str) {
        let mut fields = value.splitn(4, ':');
        let name = fields.next().unwrap_or_default();
        let name = if name.is_empty() { "bond0" } else { name };
        let members = fields.next().filter(|members| !members.is_empty());
        let members: Vec<String> = members
            .unwrap_or("eth0,eth1")
            .split(',')
            .filter(|member| is_interface(member))
            .map(str::to_owned)
            .collect();
        let given = fields.next().filter(|options| !options.is_empty());
        let mtu = fields.next().filter(|mtu| !mtu.is_empty()).map(read_mtu);
        let options = self.read_bond_options(word, given.unwrap_or_default());
        let (Some(options), false, false) = (options, members.is_empty(), mtu == Some(None)) else {
            return self.wrong(word, value, BOND);
        };
        if !address::is_interface_name(name) {
            return self.wrong(word, value, BOND);
        }
        for member in &members {
            self.interface(member, word);
        }
        let bond = self.interface(name, word);
        bond.kind = RequestedKind::Bond(RequestedBond { members, options });
        bond.name = Some(name.to_owned());
        bond.mtu = mtu.flatten();
    }

    /// `mode=802.3ad,miimon=100`; several targets of `arp_ip_target` have semicolons between them.
    /// What is no option costs itself, and not the bond; a wrong mode would make another bond than
    /// the switch expects.
    fn read_bond_options(&mut self, word: &str, text: &str) -> Option<Vec<BondOption>> {
        let mut mode = "balance-rr";
        let mut others = Vec::new();
        for option in text.split(',').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            if name == "mode" {
                mode = bond::mode(value)?;
                continue;
            }
            let known = bond::option(name);
            let value = known.and_then(|name| bond::value(name, &value.replace(';', ",")));
            match known.zip(value) {
                Some(option) => others.push(option),
                None => self.request.problems.push(NetworkProblem::BondOption {
                    location: format!("kernel parameter {word}"),
                    option: option.chars().take(64).collect(),
                }),
            }
        }
        Some(bond::in_order(mode, others))
    }

    fn read_vlan(&mut self, word: &str, value: &str) {
        const VLAN: &str = "name:interface, where the name ends in the VLAN's number, 1 to 4094";
        let (name, parent) = value.split_once(':').unwrap_or((value, ""));
        let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let number = name[name.len() - digits..].parse::<u16>().ok();
        let number = number.filter(|number| (1..=4094).contains(number));
        let (Some(number), true) = (number, address::is_interface_name(name)) else {
            return self.wrong(word, value, VLAN);
        };
        if !is_interface(parent) || parent == name {
            return self.wrong(word, value, VLAN);
        }
        self.interface(parent, word);
        let vlan = self.interface(name, word);
        vlan.kind = RequestedKind::Vlan {
            parent: parent.to_owned(),
            number,
        };
        vlan.name = Some(name.to_owned());
    }

    fn read_ip(&mut self, word: &str, value: &str) {
        let fields = split_fields(value);
        match fields.as_slice() {
            [method] => match addressing(method) {
                // Every card, as dracut does it; and so do those that come late.
                Some(addressing) => {
                    self.request
                        .other_cards
                        .get_or_insert_default()
                        .add(addressing);
                }
                None => self.wrong(word, value, METHODS),
            },
            [interface, method, rest @ ..] if addressing(method).is_some() => {
                let (interface, method) = (*interface, addressing(method));
                if !is_interface(interface) {
                    return self.wrong(word, value, METHODS);
                }
                let (Some((mtu, mac)), Some(method)) = (read_mtu_and_mac(rest), method) else {
                    return self.wrong(word, value, METHODS);
                };
                let wanted = self.interface(interface, word);
                wanted.addressing.get_or_insert_default().add(method);
                wanted.mtu = mtu.or(wanted.mtu);
                wanted.mac = mac.or_else(|| wanted.mac.take());
            }
            [client, peer, gateway, netmask, _name, interface, rest @ ..] => {
                let fields = [*client, *peer, *gateway, *netmask, *interface];
                if self.read_static(word, fields, rest).is_none() {
                    self.wrong(word, value, METHODS);
                }
            }
            _ => self.wrong(word, value, METHODS),
        }
    }

    /// The long form: client, peer, gateway, netmask and interface, then the method and what follows it.
    fn read_static(&mut self, word: &str, fields: [&str; 5], rest: &[&str]) -> Option<()> {
        let [client, peer, gateway, netmask, interface] = fields;
        if !(interface.is_empty() || is_interface(interface)) || !peer.is_empty() {
            return None;
        }
        let method = rest.first().copied().unwrap_or_default();
        let mut wanted = match method {
            "" | "none" | "off" | "static" => Addressing::default(),
            other => addressing(other)?,
        };
        let after = rest.get(1..).unwrap_or_default();
        let servers: Option<Vec<IpAddr>> = after
            .iter()
            .filter(|field| !field.is_empty())
            .map(|field| address::ip(field))
            .collect();
        let (mtu, mac) = match &servers {
            Some(_) => (None, None),
            None => read_mtu_and_mac(after)?,
        };
        if !client.is_empty() {
            let mask = Some(netmask).filter(|mask| !mask.is_empty());
            let (address, prefix) = address::ip_with_prefix(client, mask)?;
            let prefix = prefix?;
            wanted.addresses.push(StaticAddress { address, prefix });
        }
        if !gateway.is_empty() {
            let gateway = address::ip(gateway)?;
            wanted.routes.push(default_route(gateway));
        }
        self.request
            .name_servers
            .extend(servers.unwrap_or_default());
        let found = self.interface(interface, word);
        found.addressing.get_or_insert_default().add(wanted);
        found.mtu = mtu.or(found.mtu);
        found.mac = mac.or_else(|| found.mac.take());
        Some(())
    }

    fn read_name_server(&mut self, word: &str, value: &str) {
        match address::ip(value) {
            Some(server) => self.request.name_servers.push(server),
            None => self.wrong(word, value, "an IP address"),
        }
    }

    fn read_route(&mut self, word: &str, value: &str) {
        const ROUTE: &str = "network/length:gateway:interface";
        let fields = split_fields(value);
        let (network, gateway, interface) = match fields.as_slice() {
            [network, gateway] => (*network, *gateway, None),
            [network, gateway, interface] => (*network, *gateway, Some(*interface)),
            _ => return self.wrong(word, value, ROUTE),
        };
        let destination = address::ip_with_prefix(network, None);
        let Some((address, Some(prefix))) = destination else {
            return self.wrong(word, value, ROUTE);
        };
        let gateway = match address::ip(gateway) {
            Some(gateway) => Some(gateway),
            None if gateway.is_empty() && interface.is_some() => None,
            None => return self.wrong(word, value, ROUTE),
        };
        let location = format!("kernel parameter {word}");
        let (destination, problem) = StaticAddress { address, prefix }.network(&location);
        self.request.problems.extend(problem);
        let route = StaticRoute {
            destination,
            gateway,
        };
        match interface.filter(|name| !name.is_empty()) {
            Some(name) if is_interface(name) => self.interface(name, word).routes.push(route),
            Some(_) => self.wrong(word, value, ROUTE),
            None => self.routes.push(route),
        }
    }

    fn finish(mut self) -> NetworkRequest {
        for route in std::mem::take(&mut self.routes) {
            let holds = |interface: &RequestedInterface| {
                let addresses = interface.addressing.iter().flat_map(|all| &all.addresses);
                let mut networks = addresses.filter_map(|network| Some((network, route.gateway?)));
                networks.any(|(network, gateway)| {
                    address::is_in_network(network.address, network.prefix, gateway)
                })
            };
            // Where its gateway is, else what `ip=` names, else the card that was booted from.
            let mut all = self.request.interfaces.iter();
            let found = all.clone().find(|interface| holds(interface));
            let found = found.or_else(|| all.find(|interface| interface.addressing.is_some()));
            let name = found.map(|interface| interface.id.clone());
            let wanted = self.interface(&name.unwrap_or_default(), "rd.route=");
            wanted.routes.push(route);
        }
        // A command line that names interfaces means these and no others; one that names none
        // means all. A route names none: it says nothing of where addresses come from.
        let names = |interface: &RequestedInterface| interface.addressing.is_some();
        if self.request.other_cards.is_none() && self.request.interfaces.iter().any(names) {
            self.request.other_cards = Some(Addressing::default());
        }
        self.request
    }
}

/// The card of `BOOTIF=` or `bootdev=`.
pub(super) fn boot_card(command_line: &str) -> Option<CardSelector> {
    let value = |key: &str| {
        let words = command_line.split_whitespace();
        words.filter_map(|word| word.strip_prefix(key)).next_back()
    };
    if let Some(bootif) = value("BOOTIF=").filter(|_| value("rd.bootif=") != Some("0")) {
        let plain = bootif.replace('-', ":").to_ascii_lowercase();
        // The type of the hardware stands in front.
        let without = plain
            .split_once(':')
            .map(|(_, rest)| rest)
            .unwrap_or_default();
        let mac = address::mac(without).or_else(|| address::mac(&plain));
        return mac.map(CardSelector::Mac);
    }
    let name = value("bootdev=")?;
    Some(match address::mac(name) {
        Some(mac) => CardSelector::Mac(mac),
        None => CardSelector::Name(name.to_owned()),
    })
}

/// Splits at colons that are not within brackets.
fn split_fields(value: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    value
        .split(|character| {
            match character {
                '[' => depth += 1,
                ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            character == ':' && depth == 0
        })
        .collect()
}

fn is_interface(text: &str) -> bool {
    address::is_interface_name(text) || address::mac(text).is_some()
}

fn addressing(method: &str) -> Option<Addressing> {
    let (dhcp4, ipv6) = match method {
        "dhcp" | "on" | "any" | "single-dhcp" => (true, Ipv6Method::Automatic),
        "dhcp6" => (false, Ipv6Method::Stateful),
        "auto6" => (false, Ipv6Method::Slaac),
        "either6" => (false, Ipv6Method::Automatic),
        "link6" => (false, Ipv6Method::Off),
        _ => return None,
    };
    Some(Addressing {
        dhcp4,
        ipv6,
        ..Addressing::default()
    })
}

fn default_route(gateway: IpAddr) -> StaticRoute {
    let address = match gateway {
        IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    };
    StaticRoute {
        destination: StaticAddress { address, prefix: 0 },
        gateway: Some(gateway),
    }
}

fn read_mtu(text: &str) -> Option<u32> {
    text.parse().ok().filter(|mtu| (68..=65535).contains(mtu))
}

/// `[mtu][:mac]`; the address has colons of its own.
fn read_mtu_and_mac(fields: &[&str]) -> Option<(Option<u32>, Option<String>)> {
    let (mtu, mac) = match fields {
        [] => ("", String::new()),
        [mtu, mac @ ..] => (*mtu, mac.join(":")),
    };
    let mtu = if mtu.is_empty() {
        None
    } else {
        Some(read_mtu(mtu)?)
    };
    let mac = if mac.is_empty() {
        None
    } else {
        Some(address::mac(&mac)?)
    };
    Some((mtu, mac))
}

#[cfg(test)]
pub(crate) mod tests;
