//! What the network is: addresses, gateways and name servers that are really there.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::card::has_carrier;
use crate::system::{PathPrefix, System};

/// What one interface has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct InterfaceState {
    pub(super) has_carrier: bool,
    /// Addresses that other machines can reach.
    pub(super) addresses: Vec<IpAddr>,
    /// Of default routes.
    pub(super) gateways: Vec<IpAddr>,
}

impl InterfaceState {
    /// Whether the agent could speak through it.
    pub(super) fn is_usable(&self) -> bool {
        self.has_carrier && !self.addresses.is_empty()
    }
}

/// What all of them have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NetworkState {
    pub(super) interfaces: BTreeMap<String, InterfaceState>,
    pub(super) name_servers: Vec<String>,
}

impl NetworkState {
    /// Asks the kernel; blocks for less than a millisecond. What it does not tell is left out.
    pub(super) fn read(system: &System) -> Self {
        let mut interfaces: BTreeMap<String, InterfaceState> = BTreeMap::new();
        for link in system.network.links().unwrap_or_default() {
            let state = interfaces.entry(link.name.clone()).or_default();
            state.has_carrier = has_carrier(&system.root, &link.name);
            let addresses = link.ip_addresses.into_iter();
            state.addresses = addresses.filter(|address| is_reachable(*address)).collect();
        }
        for (name, gateway) in gateways(&system.root) {
            if let Some(state) = interfaces.get_mut(&name)
                && !state.gateways.contains(&gateway)
            {
                state.gateways.push(gateway);
            }
        }
        let text = system.root.read_optional("/etc/resolv.conf");
        let text = text.unwrap_or_default();
        let servers = text
            .lines()
            .filter_map(|line| line.strip_prefix("nameserver "));
        Self {
            interfaces,
            name_servers: servers.map(|server| server.trim().to_owned()).collect(),
        }
    }

    /// What the interface has; nothing when it is not there.
    pub(super) fn of(&self, name: &str) -> InterfaceState {
        self.interfaces.get(name).cloned().unwrap_or_default()
    }
}

fn is_reachable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    }
}

/// Interfaces and gateways of the default routes, from the kernel's tables: `/proc/net/route`
/// (numbers of IPv4 in the byte order of the machine) and `/proc/net/ipv6_route`.
fn gateways(root: &PathPrefix) -> Vec<(String, IpAddr)> {
    let mut found = Vec::new();
    let four = root.read_optional("/proc/net/route").unwrap_or_default();
    for line in four.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [name, "00000000", gateway, _, _, _, _, "00000000", ..] = fields.as_slice() else {
            continue;
        };
        if let Ok(number) = u32::from_str_radix(gateway, 16)
            && number != 0
        {
            let gateway = Ipv4Addr::from(number.to_ne_bytes());
            found.push(((*name).to_owned(), gateway.into()));
        }
    }
    let six = root
        .read_optional("/proc/net/ipv6_route")
        .unwrap_or_default();
    for line in six.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "00", _, _, gateway, .., name] = fields.as_slice() else {
            continue;
        };
        if let Ok(number) = u128::from_str_radix(gateway, 16)
            && number != 0
        {
            found.push(((*name).to_owned(), Ipv6Addr::from_bits(number).into()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::testing::FakeMachine;

    #[test]
    fn gateways_are_read_from_the_kernels_tables() {
        let mut machine = FakeMachine::new();
        machine
            .file(
                "proc/net/route",
                "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                 eth0\t00000000\t0202000A\t0003\t0\t0\t101\t00000000\t0\t0\t0\n\
                 eth0\t0002000A\t00000000\t0001\t0\t0\t101\t00FFFFFF\t0\t0\t0\n\
                 eth1\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0",
            )
            .file(
                "proc/net/ipv6_route",
                "20010db8000000000000000000000000 40 00000000000000000000000000000000 00 \
                 00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth1\n\
                 00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
                 fe80000000000000302a08fffece96d2 000003ea 00000001 00000000 00000003 eth1",
            );
        let found = gateways(&machine.system().root);
        let expected = [("eth0", "10.0.2.2"), ("eth1", "fe80::302a:8ff:fece:96d2")];
        let expected = expected.map(|(name, gateway)| (name.to_owned(), gateway.parse().unwrap()));
        assert_eq!(found, expected);
    }

    #[test]
    fn addresses_of_the_link_alone_are_not_usable() {
        for (address, expected) in [
            ("10.0.2.15", true),
            ("169.254.3.4", false),
            ("127.0.0.1", false),
            ("2001:db8::1", true),
            ("fd00::1", true),
            ("fe80::1", false),
            ("::1", false),
        ] {
            assert_eq!(
                is_reachable(address.parse().unwrap()),
                expected,
                "{address}"
            );
        }
    }
}
