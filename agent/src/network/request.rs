//! What a source of configuration asks for. Both sources ask in these words.

use std::fmt;
use std::net::IpAddr;

use super::address;
use super::bond::BondOption;
use super::problem::NetworkProblem;

/// How an interface gets IPv6 addresses besides fixed ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Ipv6Method {
    /// Only the address that the link itself gives.
    #[default]
    Off,
    /// As router advertisements say: addresses of their prefixes, and DHCPv6 when they ask for it.
    Automatic,
    /// From router advertisements, and nothing by DHCPv6.
    Slaac,
    /// From router advertisements; DHCPv6 tells the rest (stateless).
    Stateless,
    /// By DHCPv6 (stateful); routes from router advertisements.
    Stateful,
}

impl fmt::Display for Ipv6Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "no IPv6",
            Self::Automatic => "IPv6 as routers advertise",
            Self::Slaac => "SLAAC",
            Self::Stateless => "SLAAC with stateless DHCPv6",
            Self::Stateful => "DHCPv6",
        })
    }
}

/// An address, and the length of the prefix of its network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StaticAddress {
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
}

impl StaticAddress {
    /// The network that it is in, as the destination of a route; with the problem if that is
    /// another one than this.
    pub(super) fn network(self, location: &str) -> (Self, Option<NetworkProblem>) {
        let network = Self {
            address: address::network(self.address, self.prefix),
            prefix: self.prefix,
        };
        let problem = (network != self).then(|| NetworkProblem::HostBits {
            location: location.to_owned(),
            written: self.to_string(),
            network: network.to_string(),
        });
        (network, problem)
    }
}

impl fmt::Display for StaticAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A route. The destination of length 0 is the default route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StaticRoute {
    pub(super) destination: StaticAddress,
    /// Without one the destination is on the link.
    pub(super) gateway: Option<IpAddr>,
}

/// How an interface gets its addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Addressing {
    /// By DHCPv4.
    pub(super) dhcp4: bool,
    pub(super) ipv6: Ipv6Method,
    pub(super) addresses: Vec<StaticAddress>,
    pub(super) routes: Vec<StaticRoute>,
}

impl Addressing {
    /// What a card gets that nobody says anything of: both families, whichever answers.
    pub(super) fn automatic() -> Self {
        Self {
            dhcp4: true,
            ipv6: Ipv6Method::Automatic,
            ..Self::default()
        }
    }

    /// Whether the DHCP client runs on the interface.
    pub(super) fn needs_client(&self) -> bool {
        self.dhcp4 || self.ipv6 != Ipv6Method::Off
    }

    /// Adds what another item asks for the same interface.
    pub(super) fn add(&mut self, other: Self) {
        self.dhcp4 |= other.dhcp4;
        if other.ipv6 != Ipv6Method::Off {
            self.ipv6 = other.ipv6;
        }
        self.addresses.extend(other.addresses);
        self.routes.extend(other.routes);
    }

    /// Whether anything of IPv6 is asked for.
    pub(super) fn has_ipv6(&self) -> bool {
        self.ipv6 != Ipv6Method::Off || self.has_fixed_ipv6()
    }

    /// Whether it is IPv6 that is asked for, and not whichever family answers.
    pub(super) fn asks_for_ipv6(&self) -> bool {
        let is_either = self.dhcp4 && self.ipv6 == Ipv6Method::Automatic;
        self.has_fixed_ipv6() || (self.ipv6 != Ipv6Method::Off && !is_either)
    }

    /// Whether it has an address or a route of IPv6.
    fn has_fixed_ipv6(&self) -> bool {
        let six = |address: &StaticAddress| address.address.is_ipv6();
        self.addresses.iter().any(six) || self.routes.iter().any(|route| six(&route.destination))
    }

    /// The same without IPv6.
    pub(super) fn without_ipv6(mut self) -> Self {
        self.ipv6 = Ipv6Method::Off;
        self.addresses.retain(|address| address.address.is_ipv4());
        self.routes
            .retain(|route| route.destination.address.is_ipv4());
        self
    }
}

/// For the report: `static, DHCPv4, IPv6 as routers advertise`.
impl fmt::Display for Addressing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.addresses.is_empty() {
            parts.push("static".to_owned());
        }
        if self.dhcp4 {
            parts.push("DHCPv4".to_owned());
        }
        if self.ipv6 != Ipv6Method::Off {
            parts.push(self.ipv6.to_string());
        }
        if parts.is_empty() {
            parts.push("no addresses".to_owned());
        }
        f.write_str(&parts.join(", "))
    }
}

/// How a card is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CardSelector {
    /// By its hardware address, in lower case with colons.
    Mac(String),
    /// By the kernel's name.
    Name(String),
    /// The card that the machine was booted from, or else the first.
    Boot,
}

impl fmt::Display for CardSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(text) | Self::Name(text) => f.write_str(text),
            Self::Boot => f.write_str("to boot from"),
        }
    }
}

/// A bond: several cards as one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RequestedBond {
    /// Of other interfaces of the same request.
    pub(super) members: Vec<String>,
    /// Attributes of the kernel's bonding driver and their values, `mode` first.
    pub(super) options: Vec<BondOption>,
}

/// What an interface is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RequestedKind {
    Card(CardSelector),
    Bond(RequestedBond),
    /// A VLAN on another interface of the same request.
    Vlan {
        parent: String,
        number: u16,
    },
}

/// An interface that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestedInterface {
    /// By which the request's other items name it.
    pub(super) id: String,
    /// Where it was asked for, as problems and the report say it.
    pub(super) location: String,
    pub(super) kind: RequestedKind,
    /// The name that a bond or VLAN gets; without one the plan finds one.
    pub(super) name: Option<String>,
    /// A hardware address to set.
    pub(super) mac: Option<String>,
    pub(super) mtu: Option<u32>,
    /// `None` when nothing is said of it: it is there for other interfaces, or only named.
    pub(super) addressing: Option<Addressing>,
    /// Routes besides: they do not say how it gets its addresses.
    pub(super) routes: Vec<StaticRoute>,
}

impl RequestedInterface {
    /// How it gets its addresses, with all its routes.
    pub(super) fn all_addressing(&self) -> Addressing {
        let mut all = self.addressing.clone().unwrap_or_default();
        all.routes.extend(self.routes.iter().cloned());
        all
    }
}

/// All that one source asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NetworkRequest {
    pub(super) interfaces: Vec<RequestedInterface>,
    pub(super) name_servers: Vec<IpAddr>,
    /// What cards get that are not named; `None` when the source says nothing of them.
    pub(super) other_cards: Option<Addressing>,
    pub(super) problems: Vec<NetworkProblem>,
}
