//! The command lines that make an interface what the plan says. What only the bonding driver knows
//! is written to its attributes.

use super::bond::{self, BondOption};
use super::card::INTERFACES;
use super::plan::{METRICS_OF_INTERFACE, PlannedInterface, PlannedKind};
use super::request::{Addressing, Ipv6Method, StaticRoute};
use crate::system::Cmd;
use crate::system::link::{EXISTS, SetupStep, TIMEOUT, add_vlan, ip, ipv6_settings};

/// The maintained DHCP client, for both families. Its options that are the same for every
/// interface are in `/etc/dhcpcd.conf`.
pub(super) const CLIENT: &str = "dhcpcd";
pub(super) const CLIENT_LOG: &str = "/var/log/dhcp.log";

/// Makes an interface that is not there, or sets up one that is; all but its leases.
pub(super) fn set_up(interface: &PlannedInterface) -> Vec<SetupStep> {
    let name = interface.name.as_str();
    let mut steps = Vec::new();
    match &interface.kind {
        // Its bond sets it up.
        PlannedKind::Member(_) => return steps,
        PlannedKind::Card => {}
        PlannedKind::Bond { options, .. } => steps.extend(add_bond(name, options)),
        PlannedKind::Vlan { parent, number } => steps.push(add_vlan(name, parent, *number)),
    }
    steps.extend(ipv6_settings(name));
    if let Some(mac) = interface.mac.as_ref().filter(|_| interface.sets_mac) {
        steps.push(run(&["link", "set", "dev", name, "address", mac]));
    }
    if let PlannedKind::Bond { members, options } = &interface.kind {
        steps.extend(add_members(name, members, options));
    }
    if let Some(mtu) = interface.mtu {
        steps.push(run(&["link", "set", "dev", name, "mtu", &mtu.to_string()]));
    }
    steps.push(run(&["link", "set", "dev", name, "up"]));
    steps.extend(addresses(
        name,
        &interface.addressing,
        interface.static_metric,
    ));
    steps
}

/// Makes cards members of a bond that is there.
pub(super) fn add_members<'a>(
    bond: &str,
    members: impl IntoIterator<Item = &'a String>,
    options: &[BondOption],
) -> Vec<SetupStep> {
    let members = members.into_iter();
    let mut steps: Vec<_> = members.flat_map(|member| enslave(bond, member)).collect();
    if !steps.is_empty() {
        steps.extend(bond_primary(bond, options));
    }
    steps
}

fn enslave(bond: &str, member: &str) -> Vec<SetupStep> {
    vec![
        // The driver takes no card that is up.
        run(&["link", "set", "dev", member, "down"]),
        run(&["link", "set", "dev", member, "master", bond]),
        run(&["link", "set", "dev", member, "up"]),
    ]
}

/// Starts the DHCP client on an interface; it goes on in the background.
pub(super) fn client(interface: &PlannedInterface) -> Cmd {
    let addressing = &interface.addressing;
    let family = match only_family(addressing) {
        Some(4) => Some("--ipv4only"),
        Some(_) => Some("--ipv6only"),
        None => None,
    };
    let ipv6: &[&str] = match addressing.ipv6 {
        Ipv6Method::Off | Ipv6Method::Automatic => &[],
        Ipv6Method::Slaac => &["--nodhcp6"],
        Ipv6Method::Stateless => &["--inform6"],
        Ipv6Method::Stateful => &["--ia_na"],
    };
    Cmd::new(CLIENT)
        .args(["--background", "--logfile", CLIENT_LOG])
        .args(["--metric", &interface.metric.to_string()])
        .args(family.iter().chain(ipv6).copied())
        .arg(&interface.name)
        .timeout(TIMEOUT)
}

/// Where the client of an interface writes the number of its process. The file is gone when it has
/// ended as it should.
pub(super) fn client_pid_file(interface: &PlannedInterface) -> String {
    let family = only_family(&interface.addressing);
    let family = family.map_or_else(String::new, |family| format!("-{family}"));
    format!("/run/{CLIENT}/{}{family}.pid", interface.name)
}

/// The family that the client asks for, 4 or 6, if it asks for one only.
fn only_family(addressing: &Addressing) -> Option<u8> {
    match (addressing.dhcp4, addressing.ipv6) {
        (true, Ipv6Method::Off) => Some(4),
        (false, _) => Some(6),
        (true, _) => None,
    }
}

/// What the client knows of its IPv4 lease on an interface.
pub(super) fn client_lease(name: &str) -> Cmd {
    Cmd::new(CLIENT)
        .args(["--ipv4only", "--dumplease", name])
        // 1: it has none.
        .accept([0, 1])
        .timeout(TIMEOUT)
}

/// Sets the MTU of an interface.
pub(super) fn set_mtu(name: &str, mtu: u32) -> Cmd {
    ip(&["link", "set", "dev", name, "mtu", &mtu.to_string()])
}

/// Loads the driver that makes network interfaces of InfiniBand's ports: no device asks for it.
pub(super) fn load_ipoib() -> Cmd {
    Cmd::new("modprobe").arg("ib_ipoib").timeout(TIMEOUT)
}

fn add_bond(name: &str, options: &[BondOption]) -> Vec<SetupStep> {
    // Left to itself the driver makes a bond0 when it is loaded.
    let load = Cmd::new("modprobe").args(["bonding", "max_bonds=0"]);
    let add = ip(&["link", "add", "name", name, "type", "bond"]).accept([0, EXISTS]);
    let mut steps = vec![SetupStep::Run(load.timeout(TIMEOUT)), SetupStep::Run(add)];
    let early = options
        .iter()
        .filter(|(option, _)| *option != bond::PRIMARY);
    for (option, value) in early {
        // A list of targets is added to one by one.
        let values = value.split(',').filter(|_| *option == "arp_ip_target");
        let mut values: Vec<String> = values.map(|target| format!("+{target}")).collect();
        if values.is_empty() {
            values.push(value.clone());
        }
        steps.extend(
            values
                .into_iter()
                .map(|value| bond_option(name, option, value)),
        );
    }
    steps
}

/// The option that names a member, once it is one.
fn bond_primary(name: &str, options: &[BondOption]) -> Option<SetupStep> {
    let (option, value) = options
        .iter()
        .find(|(option, _)| *option == bond::PRIMARY)?;
    Some(bond_option(name, option, value.clone()))
}

fn bond_option(name: &str, option: &str, value: String) -> SetupStep {
    SetupStep::Write {
        path: format!("{INTERFACES}/{name}/bonding/{option}"),
        value,
    }
}

fn addresses(name: &str, addressing: &Addressing, metric: u32) -> Vec<SetupStep> {
    let mut steps = Vec::new();
    for address in &addressing.addresses {
        let add = ip(&["addr", "add", &address.to_string(), "dev", name]);
        steps.push(SetupStep::Run(add.accept([0, EXISTS])));
    }
    // Gateways may be reached by routes of their own.
    let mut routes: Vec<&StaticRoute> = addressing.routes.iter().collect();
    routes.sort_by_key(|route| (route.gateway.is_some(), route.destination.prefix == 0));
    for (at, route) in routes.iter().enumerate() {
        let before = || routes.iter().take(at);
        if before().any(|other| other == route) {
            continue;
        }
        // Another gateway to the same destination is for when the first one cannot be used.
        let same = before().filter(|other| other.destination == route.destination);
        let rank = u32::try_from(same.count()).unwrap_or(u32::MAX);
        let metric = metric + rank.min(METRICS_OF_INTERFACE - 1);
        let destination = match route.destination.prefix {
            0 => "default".to_owned(),
            _ => route.destination.to_string(),
        };
        let family = if route.destination.address.is_ipv6() {
            "-6"
        } else {
            "-4"
        };
        let mut add = ip(&[family, "route", "replace", &destination]);
        if let Some(gateway) = route.gateway {
            // It need not be in a network of the interface.
            add = add.args(["via", &gateway.to_string()]);
        }
        add = add.args(["dev", name]);
        if route.gateway.is_some() {
            add = add.arg("onlink");
        }
        steps.push(SetupStep::Run(add.args(["metric", &metric.to_string()])));
    }
    steps
}

fn run(words: &[&str]) -> SetupStep {
    SetupStep::Run(ip(words))
}

#[cfg(test)]
mod tests;
