//! Waiting for the network to give us addresses, which Ironic reads from the inventory.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::AgentConfig;
use crate::machine::firmware::boot;
use crate::machine::network::interface::{self, Interface};
use crate::system::System;

/// The pause between two looks at the interfaces.
const PAUSE: Duration = Duration::from_secs(2);

/// Waits until the interface that booted, or every interface, has an IPv4 address. Gives up
/// after `inspection_dhcp_wait_timeout` with a warning; inspection goes on without.
pub(super) async fn wait(system: &System, config: &AgentConfig) {
    let timeout = config.inspection_dhcp_wait_timeout;
    if timeout.is_zero() {
        return;
    }
    let booted = boot::interface(system).map(|bootif| boot::mac_of_interface(&bootif));
    let wanted = match (booted, config.inspection_dhcp_all_interfaces) {
        (_, true) => None,
        (Some(mac), false) => Some(mac),
        (None, false) => {
            tracing::warn!("no interface to wait for: the kernel parameter BOOTIF is not set");
            return;
        }
    };
    let deadline = Instant::now() + timeout;
    loop {
        let missing = without_address(&interfaces(system).await, wanted.as_deref());
        if missing.is_empty() {
            return;
        }
        if Instant::now() >= deadline {
            let missing = missing.join(", ");
            tracing::warn!(%missing, "no IPv4 address in {} s", timeout.as_secs());
            return;
        }
        tokio::time::sleep(PAUSE.min(deadline - Instant::now())).await;
    }
}

async fn interfaces(system: &System) -> Vec<Interface> {
    let system = system.clone();
    let probed = tokio::task::spawn_blocking(move || interface::probe(&system)).await;
    probed.unwrap_or_default()
}

/// The interfaces to wait for that have no IPv4 address. One that is not there, because its driver
/// is still being loaded, has none.
fn without_address(interfaces: &[Interface], wanted: Option<&str>) -> Vec<String> {
    let mut found: Vec<&Interface> = interfaces.iter().collect();
    if let Some(mac) = wanted {
        found.retain(|interface| interface.mac_address == mac);
    }
    if found.is_empty() {
        return vec![wanted.unwrap_or("any interface").to_owned()];
    }
    found
        .into_iter()
        .filter(|interface| interface.ipv4_address().is_none())
        .map(|interface| interface.name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::testing::FakeMachine;
    use crate::system::network::NetworkLink;

    fn machine(bootif: &str) -> FakeMachine {
        let mut machine = FakeMachine::new();
        machine.file("proc/cmdline", bootif);
        for (name, last, pci) in [("eth0", 7, "0000:01:00.0"), ("eth1", 8, "0000:02:00.0")] {
            let link = NetworkLink {
                name: name.into(),
                address: vec![2, 3, 4, 5, 6, last],
                ..NetworkLink::default()
            };
            machine.interface(link, Some(pci));
        }
        machine
    }

    fn config(seconds: u64, all: bool) -> AgentConfig {
        AgentConfig {
            inspection_dhcp_wait_timeout: Duration::from_secs(seconds),
            inspection_dhcp_all_interfaces: all,
            ..AgentConfig::default()
        }
    }

    /// How many seconds are waited on a machine whose interfaces get addresses at these times.
    async fn waited(bootif: &str, config: AgentConfig, addresses: &[(u64, &str, &str)]) -> u64 {
        let machine = machine(bootif);
        let system = machine.system();
        let assigning = async {
            let start = Instant::now();
            for (at, interface, address) in addresses {
                tokio::time::sleep_until(start + Duration::from_secs(*at)).await;
                machine.assign(interface, address);
            }
            std::future::pending::<()>().await;
        };
        let start = Instant::now();
        tokio::select! {
            () = wait(&system, &config) => start.elapsed().as_secs(),
            () = assigning => unreachable!("it never ends"),
        }
    }

    const BOOTIF: &str = "BOOTIF=01-02-03-04-05-06-07";
    const ADDRESS: &str = "192.0.2.7";

    #[tokio::test(start_paused = true)]
    async fn waits_for_the_interface_that_booted() {
        assert_eq!(waited(BOOTIF, config(0, false), &[]).await, 0);
        assert_eq!(waited("quiet", config(60, false), &[]).await, 0);
        assert_eq!(
            waited(BOOTIF, config(60, false), &[(1, "eth0", ADDRESS)]).await,
            2
        );
        assert_eq!(
            waited(
                BOOTIF,
                config(60, false),
                &[
                    (1, "eth1", ADDRESS),
                    (2, "eth0", "fd00::1"),
                    (9, "eth0", ADDRESS)
                ]
            )
            .await,
            10
        );
        assert_eq!(
            waited(BOOTIF, config(61, false), &[(1, "eth1", ADDRESS)]).await,
            61
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_interface_that_is_not_there_is_waited_for() {
        assert_eq!(
            waited("BOOTIF=01-ff-ff-ff-ff-ff-ff", config(6, false), &[]).await,
            6
        );
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_all_interfaces() {
        let both = [(1, "eth0", ADDRESS), (5, "eth1", "192.0.2.8")];
        assert_eq!(waited("", config(60, true), &both).await, 6);
        assert_eq!(waited("", config(10, true), &both[..1]).await, 10);
    }
}
