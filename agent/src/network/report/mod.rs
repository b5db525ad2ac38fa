//! What the console says: one block with every interface, what it has and why.

use std::fmt::Write as _;

use super::plan::{NetworkPlan, PlannedInterface, PlannedKind};
use super::state::NetworkState;

/// Problems that are shown; a file may have thousands.
const MAX_PROBLEMS: usize = 32;

/// The block. `refused` is what programs and the kernel refused.
pub(super) fn block(plan: &NetworkPlan, state: &NetworkState, refused: &[String]) -> String {
    let mut text = "network: what every interface has, and why\n".to_owned();
    for interface in &plan.interfaces {
        let _ = writeln!(text, "network:   {}", line(interface, state));
    }
    if plan.interfaces.is_empty() {
        text.push_str("network:   there is no card that this ramdisk has a driver for\n");
    }
    let servers = match state.name_servers.as_slice() {
        [] => "none: names cannot be resolved".to_owned(),
        servers => servers.join(", "),
    };
    let _ = writeln!(text, "network:   name servers: {servers}");
    let problems = plan.problems.iter().map(ToString::to_string);
    let mut problems: Vec<String> = problems.chain(refused.iter().cloned()).collect();
    problems.dedup();
    for problem in problems.iter().take(MAX_PROBLEMS) {
        let _ = writeln!(
            text,
            "network:   PROBLEM: {}",
            ironic_text::printable(problem)
        );
    }
    if let Some(more) = problems.len().checked_sub(MAX_PROBLEMS).filter(|n| *n > 0) {
        let _ = writeln!(text, "network:   PROBLEM: and {more} more");
    }
    text
}

/// `eth0 52:54:00:1a:b0:01: 10.0.2.15, gateway 10.0.2.2 (DHCPv4; nothing names it)`.
fn line(interface: &PlannedInterface, state: &NetworkState) -> String {
    let mut text = interface.name.clone();
    if let Some(mac) = &interface.mac {
        let _ = write!(text, " {mac}");
    }
    match &interface.kind {
        PlannedKind::Card => {}
        PlannedKind::Member(bond) => {
            let _ = write!(text, ", member of {bond}");
        }
        PlannedKind::Bond { members, options } => {
            let mode = options.iter().find(|(option, _)| *option == "mode");
            let mode = mode.map_or("", |(_, mode)| mode.as_str());
            let _ = write!(text, ", bond {mode} of {}", members.join(" and "));
        }
        PlannedKind::Vlan { parent, number } => {
            let _ = write!(text, ", VLAN {number} on {parent}");
        }
    }
    let found = state.of(&interface.name);
    let mut parts = Vec::new();
    if !found.has_carrier {
        parts.push("no carrier".to_owned());
    }
    parts.extend(found.addresses.iter().map(ToString::to_string));
    parts.extend(
        found
            .gateways
            .iter()
            .map(|gateway| format!("gateway {gateway}")),
    );
    if let Some(mtu) = interface.mtu {
        parts.push(format!("MTU {mtu}"));
    }
    let wants = interface.addressing.needs_client() || !interface.addressing.addresses.is_empty();
    if wants && found.has_carrier && found.addresses.is_empty() {
        parts.push("NO ADDRESS yet".to_owned());
    }
    let method = match interface.kind {
        PlannedKind::Member(_) => String::new(),
        _ => format!("{}; ", interface.addressing),
    };
    if !parts.is_empty() {
        let _ = write!(text, ": {}", parts.join(", "));
    }
    let _ = write!(text, " ({method}{})", interface.reason);
    ironic_text::printable(&text).into_owned()
}

/// One line for who waits for the network: the first interface that the agent can speak through.
pub(super) fn first_address(plan: &NetworkPlan, state: &NetworkState) -> Option<String> {
    let mut by_rank: Vec<&PlannedInterface> = plan.interfaces.iter().collect();
    by_rank.sort_by_key(|interface| (!interface.is_preferred, interface.metric));
    let found = by_rank.into_iter().find_map(|interface| {
        let found = state.of(&interface.name);
        found.is_usable().then_some((&interface.name, found))
    });
    let (name, found) = found?;
    let addresses: Vec<_> = found.addresses.iter().map(ToString::to_string).collect();
    Some(format!("{name} has {}", addresses.join(", ")))
}

#[cfg(test)]
mod tests;
