//! Makes the network what the plan says, and keeps it so while cards come.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ironic_options::Parameters;
use ironic_program::state_file;
use ironic_text::printable;
use thiserror::Error;
use tokio::time::Instant;

use super::card::{self, NetworkCard, has_carrier};
use super::client::{ClientNeed, DhcpClients};
use super::commands::{self, CLIENT_LOG};
use super::config_drive::{self, MEDIUM_TIMEOUT, MediumSearch};
use super::kernel_parameters;
use super::plan::{NetworkPlan, PlanInputs, PlannedInterface, PlannedKind, plan};
use super::problem::{NetworkProblem, ProblemCause};
use super::report;
use super::state::NetworkState;
use crate::system::System;
use crate::system::link::{self, IPV6_SETTINGS, SetupStep};

/// How often the kernel is looked at: as long as there is no network, and later.
const PAUSE: Duration = Duration::from_millis(50);
const LATER_PAUSE: Duration = Duration::from_secs(1);
/// How long a first address is waited for.
const FIRST_ADDRESS_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the interface that somebody asked for, or that the machine was booted from, is waited
/// for once another one has an address.
const PREFERRED_TIMEOUT: Duration = Duration::from_secs(5);
/// How long what is there must stay the same before it is reported again.
const SETTLED: Duration = Duration::from_secs(2);
/// MTUs that are taken from a lease: any machine of the network may have answered.
const LEASED_MTUS: std::ops::RangeInclusive<u32> = 1280..=9216;

/// Where the init looks for the end of its wait; the line in it says what was found.
const READY: &str = "/run/network/ready";
/// Where the DHCP client's hook takes the servers from that come first.
const RESOLVER_HEAD: &str = "/etc/resolv.conf.head";
const RESOLVER: &str = "/etc/resolv.conf";

/// Why the network cannot be brought up at all.
#[derive(Debug, Error)]
pub enum BringUpError {
    /// A file of the ramdisk cannot be written.
    #[error("{path} cannot be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Brings up the network of the ramdisk.
#[derive(Debug)]
pub struct BringUp {
    system: System,
    /// Interfaces that count as cards; all that lead to a device when empty.
    names: Vec<String>,
    inputs: PlanInputs,
    cards: Vec<NetworkCard>,
    plan: NetworkPlan,
    /// What was made, by name.
    made: BTreeMap<String, PlannedInterface>,
    clients: DhcpClients,
    /// Whose lease was looked at for its MTU.
    leases: BTreeSet<String>,
    refused: Vec<String>,
    infiniband: bool,
}

impl BringUp {
    /// For this machine. `names` are the interfaces that count as cards; if it is empty, all
    /// that lead to a device.
    #[must_use]
    pub fn new(system: System, names: Vec<String>) -> Self {
        Self {
            system,
            names,
            inputs: PlanInputs::default(),
            cards: Vec::new(),
            plan: NetworkPlan::default(),
            made: BTreeMap::new(),
            clients: DhcpClients::default(),
            leases: BTreeSet::new(),
            refused: Vec::new(),
            infiniband: false,
        }
    }

    /// Brings up the network, says so, and goes on with what comes later.
    ///
    /// # Errors
    /// The ramdisk's own files cannot be written. Everything else is reported, and the rest is done.
    pub async fn run(mut self) -> Result<Infallible, BringUpError> {
        self.read_inputs().await;
        let servers = self.inputs.network_data.name_servers.iter();
        let servers: Vec<IpAddr> = servers
            .chain(&self.inputs.kernel.name_servers)
            .copied()
            .collect();
        self.write_name_servers(&servers)?;
        let mut shown = self.first().await?;
        // From here on for what comes late.
        let mut changed_at = None;
        loop {
            self.step().await;
            let state = NetworkState::read(&self.system);
            let block = report::block(&self.plan, &state, &self.refused);
            if block == shown {
                changed_at = None;
            } else if changed_at.get_or_insert_with(Instant::now).elapsed() >= SETTLED {
                say(&block);
                shown = block;
                changed_at = None;
            }
            tokio::time::sleep(LATER_PAUSE).await;
        }
    }

    /// Reads what is asked for; waits for a medium that is announced.
    async fn read_inputs(&mut self) {
        let root = &self.system.root;
        let line = root.read_optional("/proc/cmdline").unwrap_or_default();
        self.inputs.kernel = kernel_parameters::parse(&line);
        self.inputs.boot_card = kernel_parameters::boot_card(&line);
        self.inputs.has_ipv6 = root.exists(IPV6_SETTINGS);
        let search = MediumSearch::of(&Parameters::parse(&line));
        let begin = Instant::now();
        if search.is_announced() {
            say(
                "network: ir_pub_id= announces a virtual medium, which may say what the network is\n",
            );
        }
        loop {
            if let Some(found) = config_drive::look(&self.system, &search).await {
                self.inputs.network_data = found;
                return;
            }
            if !search.is_announced() {
                return;
            }
            if begin.elapsed() >= MEDIUM_TIMEOUT {
                let problems = &mut self.inputs.network_data.problems;
                problems.extend(search.missing());
                return;
            }
            // Links take their time to come up: that need not wait.
            self.raise_cards().await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Until the agent can be started: what was shown then.
    async fn first(&mut self) -> Result<String, BringUpError> {
        let begin = Instant::now();
        let mut usable_since = None;
        loop {
            self.step().await;
            let state = NetworkState::read(&self.system);
            let first = report::first_address(&self.plan, &state);
            let since = first
                .is_some()
                .then(|| *usable_since.get_or_insert_with(Instant::now));
            let is_enough = self.is_preferred_usable(&state)
                || since.is_some_and(|since| since.elapsed() >= PREFERRED_TIMEOUT);
            let is_late = begin.elapsed() >= FIRST_ADDRESS_TIMEOUT;
            if let Some(first) = first.filter(|_| is_enough || is_late) {
                return self.announce(&state, &first);
            }
            if is_late {
                let seconds = FIRST_ADDRESS_TIMEOUT.as_secs();
                let none = format!("NO ADDRESS after {seconds} s; starting anyway");
                return self.announce(&state, &none);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether an interface that somebody asked for, or that the machine was booted from, has an
    /// address; any will do where nobody asked for one.
    fn is_preferred_usable(&self, state: &NetworkState) -> bool {
        let asked = |interfaces: &[super::request::RequestedInterface]| {
            let mut all = interfaces.iter();
            all.any(|wanted| wanted.addressing.as_ref().is_some_and(is_addressed))
        };
        let is_particular = self.inputs.boot_card.is_some()
            || asked(&self.inputs.network_data.interfaces)
            || asked(&self.inputs.kernel.interfaces);
        self.plan.interfaces.iter().any(|interface| {
            (interface.is_preferred || !is_particular) && state.of(&interface.name).is_usable()
        })
    }

    fn announce(&self, state: &NetworkState, line: &str) -> Result<String, BringUpError> {
        let block = report::block(&self.plan, state, &self.refused);
        say(&block);
        say(&format!("network: {line}\n"));
        self.write(READY, line)?;
        Ok(block)
    }

    /// Does what is to be done now: new cards, clients where a carrier came, MTUs of leases.
    async fn step(&mut self) {
        self.load_infiniband().await;
        let cards = card::probe(&self.system.root, &self.names);
        if cards != self.cards || self.made.is_empty() {
            self.forget_gone(&cards);
            self.cards = cards;
            self.plan = plan(&self.inputs, &self.cards);
            let interfaces = self.plan.interfaces.clone();
            for interface in &interfaces {
                self.make(interface).await;
            }
        }
        self.start_clients().await;
        self.take_mtus().await;
    }

    /// Forgets what went away with a card, so that it is made again when the card comes back: a
    /// firmware tool resets it, or a BMC takes its own from the USB and gives it back. The kernel
    /// has removed the VLANs on it, and has taken it out of its bond, which stays.
    fn forget_gone(&mut self, cards: &[NetworkCard]) {
        let is_here = |old: &&NetworkCard| {
            let mut all = cards.iter();
            all.any(|card| card.name == old.name && card.index == old.index)
        };
        let away = self.cards.iter().filter(|old| !is_here(old));
        let mut gone: BTreeSet<String> = away.map(|card| card.name.clone()).collect();
        let mut counted = 0;
        while counted < gone.len() {
            counted = gone.len();
            let above = self.made.values().filter(|made| match &made.kind {
                PlannedKind::Vlan { parent, .. } => gone.contains(parent),
                _ => false,
            });
            let above: Vec<String> = above.map(|made| made.name.clone()).collect();
            gone.extend(above);
        }
        for name in &gone {
            self.made.remove(name);
            self.leases.remove(name);
            self.clients.forget(name);
        }
        for made in self.made.values_mut() {
            if let PlannedKind::Bond { members, .. } = &mut made.kind {
                members.retain(|member| !gone.contains(member));
            }
        }
    }

    /// Starts the DHCP client where a carrier came, and where it has ended.
    async fn start_clients(&mut self) {
        let root = &self.system.root;
        let waiting: Vec<_> = self
            .made
            .values()
            .filter(|interface| interface.addressing.needs_client())
            .map(|interface| (self.clients.need(root, interface), interface))
            .filter(|(need, _)| *need != ClientNeed::Nothing)
            .filter(|(_, interface)| has_carrier(root, &interface.name))
            .map(|(need, interface)| (need, interface.clone()))
            .collect();
        for (need, interface) in waiting {
            let name = &interface.name;
            say(&if need == ClientNeed::Again {
                format!(
                    "network: {name}: THE DHCP CLIENT HAS ENDED (see {CLIENT_LOG}) and is started again\n"
                )
            } else {
                let asked = &interface.addressing;
                format!("network: {name} has a carrier, asking for addresses ({asked})\n")
            });
            self.clients.started(name);
            let client = commands::client(&interface);
            self.do_step(name, SetupStep::Run(client)).await;
        }
    }

    /// Makes one interface, or adds members to a bond that was made before.
    async fn make(&mut self, interface: &PlannedInterface) {
        let name = &interface.name;
        let steps = match (self.made.get(name).map(|made| &made.kind), &interface.kind) {
            (None, _) => commands::set_up(interface),
            (
                Some(PlannedKind::Bond { members: old, .. }),
                PlannedKind::Bond { members, options },
            ) => {
                let new = members.iter().filter(|member| !old.contains(member));
                commands::add_members(name, new, options)
            }
            _ => return,
        };
        for step in steps {
            self.do_step(name, step).await;
        }
        let mut made = interface.clone();
        if let Some(before) = self.made.get(name) {
            // Its routes have them.
            made.metric = before.metric;
            made.static_metric = before.static_metric;
        }
        self.made.insert(name.clone(), made);
    }

    /// Brings up the cards, without addresses.
    async fn raise_cards(&mut self) {
        for card in card::probe(&self.system.root, &self.names) {
            if !self.cards.iter().any(|known| known.name == card.name) {
                for step in link::raise(&card.name) {
                    self.do_step(&card.name, step).await;
                }
                self.cards.push(card);
            }
        }
    }

    async fn do_step(&mut self, name: &str, step: SetupStep) {
        let Err(refusal) = step.carry_out(&self.system).await else {
            return;
        };
        let problem = NetworkProblem::Refused {
            interface: name.to_owned(),
            source: ProblemCause::new(refusal),
        };
        let problem = problem.to_string().replace('\n', " ");
        if !self.refused.contains(&problem) {
            self.refused.push(problem);
        }
    }

    /// Raises the MTU of interfaces whose lease has a larger one. What is smaller the client sets
    /// for its routes.
    async fn take_mtus(&mut self) {
        let state = NetworkState::read(&self.system);
        let leased: Vec<_> = self
            .made
            .values()
            .filter(|interface| interface.addressing.dhcp4 && interface.mtu.is_none())
            .filter(|interface| !self.leases.contains(&interface.name))
            .filter(|interface| {
                let found = state.of(&interface.name);
                found.addresses.iter().any(IpAddr::is_ipv4)
            })
            .map(|interface| interface.name.clone())
            .collect();
        for name in leased {
            self.leases.insert(name.clone());
            let Ok(output) = self.system.run.run(commands::client_lease(&name)).await else {
                continue;
            };
            let mtu = format!("{}/{name}/mtu", card::INTERFACES);
            let now = self.system.root.read_optional(mtu);
            let now = now.and_then(|mtu| mtu.parse().ok()).unwrap_or(u32::MAX);
            if let Some(mtu) = leased_mtu(&output.text()).filter(|mtu| *mtu > now) {
                let raise = SetupStep::Run(commands::set_mtu(&name, mtu));
                self.do_step(&name, raise).await;
            }
        }
    }

    /// Loads what makes network interfaces of InfiniBand's ports, once there is one.
    async fn load_infiniband(&mut self) {
        if !self.infiniband && !self.system.root.names("/sys/class/infiniband").is_empty() {
            self.infiniband = true;
            let load = SetupStep::Run(commands::load_ipoib());
            self.do_step("InfiniBand", load).await;
        }
    }

    /// Fixed name servers come before those of leases.
    fn write_name_servers(&self, servers: &[IpAddr]) -> Result<(), BringUpError> {
        if servers.is_empty() {
            return Ok(());
        }
        let lines: String = servers
            .iter()
            .map(|server| format!("nameserver {server}\n"))
            .collect();
        self.write(RESOLVER_HEAD, lines.trim_end())?;
        self.write(RESOLVER, lines.trim_end())
    }

    fn write(&self, path: &str, text: &str) -> Result<(), BringUpError> {
        let written = self.system.root.writable(path).and_then(|file| {
            // Programs that wait for it never see a part.
            state_file::replace_with_mode(&file, format!("{text}\n").as_bytes(), 0o644)
        });
        written.map_err(|source| BringUpError::Write {
            path: path.into(),
            source,
        })
    }
}

fn is_addressed(addressing: &super::request::Addressing) -> bool {
    addressing.needs_client() || !addressing.addresses.is_empty()
}

/// The MTU in what the client says of its leases.
fn leased_mtu(text: &str) -> Option<u32> {
    let mut lines = text.lines();
    let found = lines.find_map(|line| line.strip_prefix("interface_mtu="))?;
    let found = found.trim_matches(['\'', '"']).parse().ok()?;
    LEASED_MTUS.contains(&found).then_some(found)
}

fn say(text: &str) {
    let mut out = io::stdout().lock();
    for line in text.lines() {
        // Whether anybody reads along changes nothing.
        let _ = writeln!(out, "{}", printable(line));
    }
    let _ = out.flush();
}

#[cfg(test)]
mod tests;
