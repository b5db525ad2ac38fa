//! Decides what every interface gets: pure, from what was asked for and the cards that are there.
//!
//! `network_data.json` comes first, then the kernel command line; what neither names gets what
//! `ip=` says of all cards, or else a lease of both families. The plan is made anew whenever a card
//! comes; what is there already stays as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::bond::{self, BondOption};
use super::card::NetworkCard;
use super::problem::NetworkProblem;
use super::request::{
    Addressing, CardSelector, NetworkRequest, RequestedBond, RequestedInterface, RequestedKind,
};

/// Metrics of routes: fixed ones before leased ones, the card that was booted from before the
/// others, those in the kernel's order, and each before the VLANs on it. No two interfaces share
/// one: the kernel would replace the default route of the one by that of the other.
const STATIC_METRIC: u32 = 100;
const LEASED_METRIC: u32 = 1_000_100;
/// A card or bond, and what is on it, have as many metrics.
const METRICS_OF_CARD: u32 = 1_000;
/// And each interface as many: there may be several gateways to one destination.
pub(super) const METRICS_OF_INTERFACE: u32 = 10;
/// More would reach the leased ones.
const MAX_CARDS: u32 = (LEASED_METRIC - STATIC_METRIC) / METRICS_OF_CARD;
/// The longest name of an interface.
const MAX_NAME_BYTES: usize = 15;
/// How deep VLANs lie on VLANs.
const DEPTH: usize = 4;

/// What is known before any card is.
#[derive(Debug, Clone, Default)]
pub(super) struct PlanInputs {
    /// Of the config drive.
    pub(super) network_data: NetworkRequest,
    /// Of the kernel command line.
    pub(super) kernel: NetworkRequest,
    /// The card that the machine was booted from.
    pub(super) boot_card: Option<CardSelector>,
    /// Whether the kernel speaks IPv6.
    pub(super) has_ipv6: bool,
}

/// What a planned interface is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PlannedKind {
    Card,
    /// A member of this bond.
    Member(String),
    Bond {
        members: Vec<String>,
        options: Vec<BondOption>,
    },
    Vlan {
        parent: String,
        number: u16,
    },
}

/// An interface as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlannedInterface {
    pub(super) name: String,
    pub(super) kind: PlannedKind,
    /// Its card's address, or that which is set.
    pub(super) mac: Option<String>,
    /// Whether `mac` must be set.
    pub(super) sets_mac: bool,
    pub(super) mtu: Option<u32>,
    pub(super) addressing: Addressing,
    /// Of routes that are leased or advertised.
    pub(super) metric: u32,
    /// Of fixed routes; of the second to one destination it is one more.
    pub(super) static_metric: u32,
    /// Whether somebody asked for it, or the machine was booted from it.
    pub(super) is_preferred: bool,
    /// Why it gets this.
    pub(super) reason: String,
}

/// The network as it shall be, in the order in which it is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NetworkPlan {
    pub(super) interfaces: Vec<PlannedInterface>,
    pub(super) name_servers: Vec<IpAddr>,
    pub(super) problems: Vec<NetworkProblem>,
}

/// Decides.
pub(super) fn plan(inputs: &PlanInputs, cards: &[NetworkCard]) -> NetworkPlan {
    let mut planner = Planner {
        inputs,
        cards,
        used: BTreeMap::new(),
        plan: NetworkPlan::default(),
    };
    for request in [&inputs.network_data, &inputs.kernel] {
        planner.add(request);
    }
    planner.add_others();
    planner.finish()
}

#[derive(Debug)]
struct Planner<'a> {
    inputs: &'a PlanInputs,
    cards: &'a [NetworkCard],
    /// Names of interfaces, and the item that has each.
    used: BTreeMap<String, String>,
    plan: NetworkPlan,
}

impl Planner<'_> {
    fn add(&mut self, request: &NetworkRequest) {
        self.plan.problems.extend(request.problems.iter().cloned());
        for server in &request.name_servers {
            if !self.plan.name_servers.contains(server) {
                self.plan.name_servers.push(*server);
            }
        }
        // The names of this request's interfaces, by their ids.
        let mut names: BTreeMap<&str, String> = BTreeMap::new();
        let earlier: BTreeSet<String> = self.used.keys().cloned().collect();
        for wanted in &request.interfaces {
            if let RequestedKind::Card(selector) = &wanted.kind
                && let Some(name) = self.add_card(wanted, selector, &earlier)
            {
                names.insert(&wanted.id, name);
            }
        }
        for wanted in &request.interfaces {
            if let RequestedKind::Bond(bond) = &wanted.kind
                && let Some(name) = self.add_bond(wanted, bond, &names)
            {
                names.insert(&wanted.id, name);
            }
        }
        self.add_vlans(request, names);
    }

    fn add_card(
        &mut self,
        wanted: &RequestedInterface,
        selector: &CardSelector,
        earlier: &BTreeSet<String>,
    ) -> Option<String> {
        let Some(card) = self.select(selector) else {
            let cards = self.cards.iter();
            let cards: Vec<_> = cards
                .map(|card| format!("{} ({})", card.name, card.mac))
                .collect();
            self.plan.problems.push(NetworkProblem::NoCard {
                location: wanted.location.clone(),
                selector: selector.to_string(),
                cards: if cards.is_empty() {
                    "none".to_owned()
                } else {
                    cards.join(", ")
                },
            });
            return None;
        };
        let card = card.clone();
        if earlier.contains(&card.name) {
            self.take(&card.name, &wanted.location);
            return None;
        }
        let known = self.plan.interfaces.iter_mut();
        if let Some(known) = known.into_iter().find(|known| known.name == card.name) {
            // Another parameter of the same card.
            known.addressing.add(wanted.all_addressing());
            known.mtu = wanted.mtu.or(known.mtu);
            if let Some(mac) = &wanted.mac {
                known.mac = Some(mac.clone());
                known.sets_mac = true;
            }
            known.is_preferred |= wanted.addressing.is_some();
            return Some(card.name);
        }
        let asked = wanted.addressing.is_some();
        self.used.insert(card.name.clone(), wanted.location.clone());
        self.plan.interfaces.push(PlannedInterface {
            mac: wanted.mac.clone().or_else(|| Some(card.mac.clone())),
            sets_mac: wanted.mac.is_some(),
            mtu: wanted.mtu,
            addressing: wanted.all_addressing(),
            is_preferred: asked,
            reason: wanted.location.clone(),
            ..self.planned(&card.name, PlannedKind::Card)
        });
        Some(card.name)
    }

    fn add_bond(
        &mut self,
        wanted: &RequestedInterface,
        bond: &RequestedBond,
        names: &BTreeMap<&str, String>,
    ) -> Option<String> {
        // Whether a member is there or not: names follow the order of the document alone, and a
        // bond that was made keeps its own when another one gets its first member.
        let name = match &wanted.name {
            Some(name) => name.clone(),
            None => self.free_name("bond"),
        };
        self.take(&name, &wanted.location)?;
        let members = self.members(wanted, bond, names);
        if members.is_empty() {
            return None;
        }
        for member in &members {
            let known = self.plan.interfaces.iter_mut();
            for known in known.filter(|known| known.name == *member) {
                known.kind = PlannedKind::Member(name.clone());
                known.is_preferred = false;
            }
        }
        let options = self.bond_options(wanted, bond, &members, names);
        self.add_made(wanted, &name, PlannedKind::Bond { members, options });
        Some(name)
    }

    /// The members of a bond that are there and free.
    fn members(
        &mut self,
        wanted: &RequestedInterface,
        bond: &RequestedBond,
        names: &BTreeMap<&str, String>,
    ) -> Vec<String> {
        let mut members: Vec<String> = Vec::new();
        for id in &bond.members {
            let Some(name) = names.get(id.as_str()) else {
                continue;
            };
            if members.contains(name) {
                continue;
            }
            let is_free = |known: &&mut PlannedInterface| known.name == *name;
            let member = self.plan.interfaces.iter_mut().find(is_free);
            let Some(member) = member.filter(|member| member.kind == PlannedKind::Card) else {
                self.plan.problems.push(NetworkProblem::Taken {
                    location: wanted.location.clone(),
                    name: name.clone(),
                    by: "another bond".to_owned(),
                });
                continue;
            };
            if member.addressing != Addressing::default() {
                self.plan.problems.push(NetworkProblem::MemberAddress {
                    location: member.reason.clone(),
                    name: name.clone(),
                });
                member.addressing = Addressing::default();
            }
            members.push(name.clone());
        }
        let missing = bond.members.len() - members.len();
        if missing > 0 {
            self.plan.problems.push(NetworkProblem::Members {
                location: wanted.location.clone(),
                missing,
                wanted: bond.members.len(),
            });
        }
        members
    }

    /// The options of a bond, with the interface that `primary` names in place of its id. One that
    /// is not there yet is not named yet.
    fn bond_options(
        &mut self,
        wanted: &RequestedInterface,
        bond: &RequestedBond,
        members: &[String],
        names: &BTreeMap<&str, String>,
    ) -> Vec<BondOption> {
        let mut options = bond.options.clone();
        options.retain_mut(|(option, value)| {
            if *option != bond::PRIMARY {
                return true;
            }
            if let Some(name) = names.get(value.as_str()) {
                value.clone_from(name);
            }
            let is_member = members.contains(value);
            if !is_member && members.len() == bond.members.len() {
                self.plan.problems.push(NetworkProblem::Value {
                    location: wanted.location.clone(),
                    field: bond::PRIMARY,
                    value: value.clone(),
                    expected: "a member of the bond",
                });
            }
            is_member
        });
        options
    }

    fn add_vlans<'a>(&mut self, request: &'a NetworkRequest, mut names: BTreeMap<&'a str, String>) {
        let vlans = request.interfaces.iter();
        let mut waiting: Vec<&RequestedInterface> = vlans
            .filter(|wanted| matches!(wanted.kind, RequestedKind::Vlan { .. }))
            .collect();
        let numbers: Vec<(&str, u16)> = waiting.iter().copied().filter_map(numbered).collect();
        for _ in 0..DEPTH {
            waiting.retain(|wanted| {
                let RequestedKind::Vlan { parent, number } = &wanted.kind else {
                    return false;
                };
                let Some(on) = names.get(parent.as_str()) else {
                    return true;
                };
                let (on, number) = (on.clone(), *number);
                let name = match &wanted.name {
                    Some(name) => name.clone(),
                    None => vlan_name(&on, number, twins(&numbers, &wanted.id, number)),
                };
                if self.take(&name, &wanted.location).is_some() {
                    let kind = PlannedKind::Vlan { parent: on, number };
                    self.add_made(wanted, &name, kind);
                    names.insert(&wanted.id, name);
                }
                false
            });
        }
        for wanted in waiting {
            let RequestedKind::Vlan { parent, .. } = &wanted.kind else {
                continue;
            };
            self.plan.problems.push(NetworkProblem::NoParent {
                location: wanted.location.clone(),
                parent: parent.clone(),
            });
        }
    }

    /// A bond or a VLAN.
    fn add_made(&mut self, wanted: &RequestedInterface, name: &str, kind: PlannedKind) {
        self.plan.interfaces.push(PlannedInterface {
            mac: wanted.mac.clone(),
            sets_mac: wanted.mac.is_some(),
            mtu: wanted.mtu,
            addressing: wanted.all_addressing(),
            is_preferred: wanted.addressing.is_some(),
            reason: wanted.location.clone(),
            ..self.planned(name, kind)
        });
    }

    /// Cards that nothing names, and what the kernel command line only mentions.
    fn add_others(&mut self) {
        let (addressing, reason) = match &self.inputs.kernel.other_cards {
            Some(addressing) if *addressing == Addressing::default() => {
                (addressing.clone(), "ip= names other interfaces")
            }
            Some(addressing) => (addressing.clone(), "ip= of all cards"),
            None => (Addressing::automatic(), "nothing names it"),
        };
        for at in 0..self.plan.interfaces.len() {
            if self.is_free(&self.plan.interfaces[at]) {
                self.plan.interfaces[at].addressing.add(addressing.clone());
            }
        }
        for card in self.cards {
            let mut known = self.plan.interfaces.iter();
            if !known.any(|known| known.name == card.name) {
                self.plan.interfaces.push(PlannedInterface {
                    mac: Some(card.mac.clone()),
                    addressing: addressing.clone(),
                    reason: reason.to_owned(),
                    ..self.planned(&card.name, PlannedKind::Card)
                });
            }
        }
    }

    /// Whether an interface is only mentioned and nothing is on it: it is as free as a card that
    /// nothing names. A bond or a VLAN would be made for nothing otherwise.
    fn is_free(&self, interface: &PlannedInterface) -> bool {
        !interface.is_preferred
            && !matches!(interface.kind, PlannedKind::Member(_))
            && !self.carries_others(&interface.name)
            && interface.reason.starts_with("kernel")
    }

    fn finish(mut self) -> NetworkPlan {
        let mut ranks: BTreeMap<u32, u32> = BTreeMap::new();
        for at in 0..self.plan.interfaces.len() {
            let (is_boot, card) = self.first_card(&self.plan.interfaces[at]);
            let interface = &mut self.plan.interfaces[at];
            // A VLAN comes after what it is on, in this list and here. How many members a bond has
            // makes no difference to what is on it.
            let rank = match interface.kind {
                PlannedKind::Vlan { .. } => {
                    let rank = ranks.entry(card).or_default();
                    *rank += 1;
                    (*rank).min(METRICS_OF_CARD / METRICS_OF_INTERFACE - 1)
                }
                PlannedKind::Card | PlannedKind::Member(_) | PlannedKind::Bond { .. } => 0,
            };
            let offset = card * METRICS_OF_CARD + rank * METRICS_OF_INTERFACE;
            interface.metric = LEASED_METRIC + offset;
            interface.static_metric = STATIC_METRIC + offset;
            if is_boot {
                interface
                    .reason
                    .push_str("; the machine was booted from it");
                interface.is_preferred |= !matches!(interface.kind, PlannedKind::Member(_));
            }
            if !self.inputs.has_ipv6 && interface.addressing.has_ipv6() {
                // Of what nobody asked for nobody misses it.
                if interface.addressing.asks_for_ipv6() {
                    let location = interface.reason.clone();
                    self.plan
                        .problems
                        .push(NetworkProblem::Ipv6IsOff { location });
                }
                interface.addressing = interface.addressing.clone().without_ipv6();
            }
        }
        self.plan
    }

    /// Whether an interface leads to the card that was booted from, and the first card that it
    /// leads to, by the kernel's number; 0 is that which was booted from.
    fn first_card(&self, interface: &PlannedInterface) -> (bool, u32) {
        let mut names = vec![interface.name.as_str()];
        for _ in 0..=DEPTH {
            let below = names.iter().filter_map(|name| self.below(name)).flatten();
            let below: Vec<_> = below.filter(|name| !names.contains(name)).collect();
            names.extend(below);
        }
        let is_below = |card: &&NetworkCard| names.contains(&card.name.as_str());
        let boot = self.inputs.boot_card.as_ref();
        let boot = boot.and_then(|selector| self.select(selector));
        if boot.filter(is_below).is_some() {
            return (true, 0);
        }
        let indices = self.cards.iter().filter(is_below).map(|card| card.index);
        let first = indices.min().unwrap_or_default();
        (false, first.min(MAX_CARDS - 1))
    }

    /// The interfaces that one is made of.
    fn below(&self, name: &str) -> Option<Vec<&str>> {
        let mut all = self.plan.interfaces.iter();
        match &all.find(|known| known.name == name)?.kind {
            PlannedKind::Bond { members, .. } => Some(members.iter().map(String::as_str).collect()),
            PlannedKind::Vlan { parent, .. } => Some(vec![parent]),
            PlannedKind::Card | PlannedKind::Member(_) => None,
        }
    }

    fn carries_others(&self, name: &str) -> bool {
        let all = self.plan.interfaces.iter();
        all.filter_map(|known| self.below(&known.name))
            .any(|below| below.contains(&name))
    }

    fn select(&self, selector: &CardSelector) -> Option<&NetworkCard> {
        let selector = match (selector, &self.inputs.boot_card) {
            (CardSelector::Boot, Some(boot)) => boot,
            (CardSelector::Boot, None) => return self.cards.first(),
            (other, _) => other,
        };
        self.cards.iter().find(|card| card.is(selector))
    }

    /// Takes a name, or says who has it.
    fn take(&mut self, name: &str, location: &str) -> Option<()> {
        let is_card = self.cards.iter().any(|card| card.name == name);
        let by = self.used.get(name).cloned();
        let by = by.or_else(|| is_card.then(|| "a card".to_owned()));
        if let Some(by) = by {
            self.plan.problems.push(NetworkProblem::Taken {
                location: location.to_owned(),
                name: name.to_owned(),
                by,
            });
            return None;
        }
        self.used.insert(name.to_owned(), location.to_owned());
        Some(())
    }

    fn free_name(&self, stem: &str) -> String {
        let names = (0_u32..).map(|number| format!("{stem}{number}"));
        let mut free = names.filter(|name| !self.used.contains_key(name));
        free.next().unwrap_or_default()
    }

    fn planned(&self, name: &str, kind: PlannedKind) -> PlannedInterface {
        PlannedInterface {
            name: name.to_owned(),
            kind,
            mac: None,
            sets_mac: false,
            mtu: None,
            addressing: Addressing::default(),
            metric: 0,
            static_metric: 0,
            is_preferred: false,
            reason: String::new(),
        }
    }
}

/// The number of a VLAN, with its id.
fn numbered(wanted: &RequestedInterface) -> Option<(&str, u16)> {
    match &wanted.kind {
        RequestedKind::Vlan { number, .. } => Some((&wanted.id, *number)),
        RequestedKind::Card(_) | RequestedKind::Bond(_) => None,
    }
}

/// How many VLANs with the same number the request has before this one.
fn twins(numbers: &[(&str, u16)], id: &str, number: u16) -> usize {
    let before = numbers.iter().take_while(|(other, _)| *other != id);
    before.filter(|(_, other)| *other == number).count()
}

/// The name of a VLAN that everybody expects, where it fits; else one that follows from the
/// request alone, whatever is there.
fn vlan_name(parent: &str, number: u16, twins: usize) -> String {
    let usual = format!("{parent}.{number}");
    match twins {
        _ if usual.len() <= MAX_NAME_BYTES => usual,
        0 => format!("vlan{number}"),
        twins => format!("v{number}-{twins}"),
    }
}

#[cfg(test)]
mod tests;
