//! VLAN interfaces that are brought up at start, for machines whose network is tagged only.
//!
//! From then on they are listed like other interfaces. Their addresses are those that routers advertise; nobody asks
//! a DHCP server here: that is the ramdisk's own business.

use std::collections::BTreeMap;

use ironic_text::error_chain;
use thiserror::Error;

use crate::config::AgentConfig;
use crate::machine::network::interface::{self, Interface};
use crate::machine::network::lldp::{self, LldpElement};
use crate::machine::network::lldp_listener;
use crate::system::System;
use crate::system::link::{self, IPV6_SETTINGS, SetupStep, StepRefused};

/// The largest VLAN number.
const MAX_VLAN_ID: u16 = 4094;
/// The metric of default routes that are advertised on these VLANs: behind those of all interfaces that
/// `ironic-agent network` configures, and behind the kernel's own 1024.
const ADVERTISED_METRIC: u32 = 4_000_000;

/// Brings up what `enable_vlan_interfaces` names. What cannot be brought up is a warning:
/// the machine may have another way to Ironic.
pub async fn bring_up(system: &System, config: &AgentConfig) {
    let items = &config.enable_vlan_interfaces;
    if items.is_empty() || system.simulation.is_some() {
        return;
    }
    let (interfaces, heard) = match look(system, config).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "no VLAN interfaces: the interfaces cannot be read");
            return;
        }
    };
    for wanted in plan(items, &interfaces, heard.as_ref()) {
        match wanted {
            Ok(Vlan { parent, number }) => {
                let name = format!("{parent}.{number}");
                match add(system, &parent, number).await {
                    Ok(()) => tracing::info!(interface = %name, "VLAN interface"),
                    Err(error) => {
                        let error = error_chain(&error);
                        tracing::warn!(interface = %name, %error, "no VLAN interface");
                    }
                }
            }
            Err(problem) => tracing::warn!(%problem, "enable_vlan_interfaces"),
        }
    }
}

type LldpByInterface = BTreeMap<String, Vec<LldpElement>>;

async fn look(
    system: &System,
    config: &AgentConfig,
) -> Result<(Vec<Interface>, Option<LldpByInterface>), tokio::task::JoinError> {
    let (system, listens) = (system.clone(), config.collect_lldp);
    let timeout = config.lldp_timeout;
    // An item without a number needs what the switch says.
    let asks = config
        .enable_vlan_interfaces
        .iter()
        .any(|item| !item.contains('.'));
    tokio::task::spawn_blocking(move || {
        let heard = (listens && asks).then(|| lldp_listener::collect(&system, timeout));
        (interface::probe(&system), heard)
    })
    .await
}

/// Makes a VLAN and brings it up. It may be somebody else's network, so a default route that is advertised there is
/// taken only where the machine has none but that.
async fn add(system: &System, parent: &str, number: u16) -> Result<(), StepRefused> {
    let name = format!("{parent}.{number}");
    link::add_vlan(&name, parent, number)
        .carry_out(system)
        .await?;
    let path = format!("{IPV6_SETTINGS}/{name}/ra_defrtr_metric");
    // Linux has it since 5.11.
    if system.root.exists(&path) {
        let value = ADVERTISED_METRIC.to_string();
        let behind = SetupStep::Write { path, value };
        behind.carry_out(system).await?;
    }
    link::up(&name).carry_out(system).await
}

/// A VLAN interface to be.
#[derive(Debug, PartialEq, Eq)]
struct Vlan {
    parent: String,
    number: u16,
}

/// An item of `enable_vlan_interfaces` that names no VLAN.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("{item}: {problem}")]
struct VlanError {
    item: String,
    problem: VlanProblem,
}

impl VlanError {
    fn new(item: &str, problem: VlanProblem) -> Self {
        Self {
            item: item.to_owned(),
            problem,
        }
    }
}

/// Why an item names no VLAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
enum VlanProblem {
    #[error("a VLAN has a number from 1 to {MAX_VLAN_ID}")]
    Number,
    #[error("there is no such interface")]
    NoInterface,
    #[error("collect_lldp must be set for VLANs without numbers")]
    NoLldp,
    #[error("its switch names no VLANs")]
    NoneNamed,
}

/// What each item asks for: `eth0.100` or `52:54:00:00:00:01.100` one VLAN, `eth0` those that
/// the switch names there, `all` those of all interfaces.
fn plan(
    items: &[String],
    interfaces: &[Interface],
    heard: Option<&LldpByInterface>,
) -> Vec<Result<Vlan, VlanError>> {
    let mut planned: Vec<Result<Vlan, VlanError>> = Vec::new();
    for item in items
        .iter()
        .map(|item| item.trim())
        .filter(|item| !item.is_empty())
    {
        let found = match item.split_once('.') {
            Some((parent, number)) => vec![one(item, parent, number, interfaces)],
            None => named_by_switches(item, interfaces, heard),
        };
        for vlan in found {
            let is_there = |vlan: &Vlan| {
                let name = format!("{}.{}", vlan.parent, vlan.number);
                interfaces.iter().any(|interface| interface.name == name)
            };
            if !vlan.as_ref().is_ok_and(is_there) && !planned.contains(&vlan) {
                planned.push(vlan);
            }
        }
    }
    planned
}

fn one(
    item: &str,
    parent: &str,
    number: &str,
    interfaces: &[Interface],
) -> Result<Vlan, VlanError> {
    let number: u16 = number
        .parse()
        .ok()
        .filter(|number| (1..=MAX_VLAN_ID).contains(number))
        .ok_or_else(|| VlanError::new(item, VlanProblem::Number))?;
    let is_parent = |interface: &&Interface| {
        interface.name == parent || interface.mac_address.eq_ignore_ascii_case(parent)
    };
    let parent = interfaces.iter().find(is_parent);
    let parent = parent.ok_or_else(|| VlanError::new(item, VlanProblem::NoInterface))?;
    Ok(Vlan {
        parent: parent.name.clone(),
        number,
    })
}

fn named_by_switches(
    item: &str,
    interfaces: &[Interface],
    heard: Option<&LldpByInterface>,
) -> Vec<Result<Vlan, VlanError>> {
    let Some(heard) = heard else {
        return vec![Err(VlanError::new(item, VlanProblem::NoLldp))];
    };
    let asked: Vec<&Interface> = interfaces
        .iter()
        .filter(|interface| item == "all" || interface.name == item)
        .collect();
    if asked.is_empty() {
        return vec![Err(VlanError::new(item, VlanProblem::NoInterface))];
    }
    let mut found = Vec::new();
    for interface in asked {
        let numbers = heard
            .get(&interface.name)
            .map(|elements| lldp::vlans(elements));
        let numbers = numbers.unwrap_or_default();
        if numbers.is_empty() && item != "all" {
            found.push(Err(VlanError::new(item, VlanProblem::NoneNamed)));
        }
        found.extend(numbers.into_iter().map(|number| {
            Ok(Vlan {
                parent: interface.name.clone(),
                number,
            })
        }));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::machine::testing::FakeMachine;
    use crate::system::RunError;
    use crate::system::network::NetworkLink;
    use crate::system::process::Script;

    fn interface(name: &str, last: u8) -> Interface {
        Interface {
            name: name.into(),
            mac_address: format!("00:0c:29:8c:11:b{last}"),
            ..Interface::default()
        }
    }

    fn named(numbers: &[u16]) -> Vec<LldpElement> {
        let numbers = numbers.iter();
        numbers
            .map(|number| (127, format!("0080c203{number:04x}08766c616e2d313030")))
            .collect()
    }

    fn planned(items: &[&str], heard: Option<&LldpByInterface>) -> Vec<String> {
        let items: Vec<_> = items.iter().map(|item| (*item).to_owned()).collect();
        let interfaces = [
            interface("eth0", 1),
            interface("eth1", 2),
            interface("eth1.7", 2),
        ];
        plan(&items, &interfaces, heard)
            .into_iter()
            .map(|vlan| match vlan {
                Ok(Vlan { parent, number }) => format!("{parent}.{number}"),
                Err(error) => error.to_string(),
            })
            .collect()
    }

    #[test]
    fn items_become_interfaces() {
        let heard = LldpByInterface::from([
            ("eth0".to_owned(), named(&[100, 101])),
            ("eth1".to_owned(), named(&[102, 103])),
        ]);
        let nothing = LldpByInterface::new();
        let cases: [(&[&str], Option<&LldpByInterface>, &[&str]); 10] = [
            (&["eth0.100"], None, &["eth0.100"]),
            (&["00:0C:29:8c:11:b1.100", "eth0.100"], None, &["eth0.100"]),
            (&["eth1.7"], None, &[]),
            (&["eth0"], Some(&heard), &["eth0.100", "eth0.101"]),
            (
                &["all"],
                Some(&heard),
                &["eth0.100", "eth0.101", "eth1.102", "eth1.103"],
            ),
            (&["all"], Some(&nothing), &[]),
            (
                &["eth0"],
                Some(&nothing),
                &["eth0: its switch names no VLANs"],
            ),
            (
                &["eth0"],
                None,
                &["eth0: collect_lldp must be set for VLANs without numbers"],
            ),
            (
                &["enp0s1", "enp0s1.5"],
                Some(&heard),
                &[
                    "enp0s1: there is no such interface",
                    "enp0s1.5: there is no such interface",
                ],
            ),
            (
                &["eth0.4095", "eth0.x"],
                None,
                &[
                    "eth0.4095: a VLAN has a number from 1 to 4094",
                    "eth0.x: a VLAN has a number from 1 to 4094",
                ],
            ),
        ];
        for (items, heard, expected) in cases {
            assert_eq!(planned(items, heard), expected, "{items:?}");
        }
    }

    #[tokio::test]
    async fn they_are_added_and_set_up() {
        let mut machine = FakeMachine::new();
        let link = |name: &str, index: u8| NetworkLink {
            index: u32::from(index),
            name: name.into(),
            address: vec![2, 0, 0, 0, 0, index],
            ..NetworkLink::default()
        };
        machine.interface(link("eth0", 2), Some("0000:02:00.0"));
        let names = ["eth0.100", "eth0.101", "eth0.102"];
        let metric = |name: &str| format!("proc/sys/net/ipv6/conf/{name}/ra_defrtr_metric");
        for name in &names[..2] {
            machine.file(&metric(name), "1024");
        }
        let config = AgentConfig {
            enable_vlan_interfaces: names.map(str::to_owned).to_vec(),
            ..AgentConfig::default()
        };
        let missing = || {
            Err(RunError::Missing {
                program: "ip".to_owned(),
            })
        };
        let script = Script::new()
            .expect_result(
                "ip link add link eth0 name eth0.100 type vlan id 100",
                missing(),
            )
            .expect("ip link add link eth0 name eth0.101 type vlan id 101", "")
            .expect("ip link set dev eth0.101 up", "")
            .expect("ip link add link eth0 name eth0.102 type vlan id 102", "")
            .expect_result("ip link set dev eth0.102 up", missing());
        let script = Arc::new(script);
        bring_up(&machine.system_with(script.clone()), &config).await;
        script.assert_done();
        // Before they are up, and where the kernel has such a metric.
        let metrics =
            names.map(|name| std::fs::read_to_string(machine.path().join(metric(name))).ok());
        let texts = metrics.each_ref().map(Option::as_deref);
        assert_eq!(texts, [Some("1024\n"), Some("4000000\n"), None]);
    }
}
