//! Disks may appear late: waiting until there is one to deploy to.

use super::bring_up::assemble_late;
use crate::config::AgentConfig;
use crate::machine::block::hints;
use crate::machine::block::{self, BlockDevice};
use crate::machine::ironic_node::Node;
use crate::system::System;

/// Waits until a root device can be chosen, `disk_wait_attempts` looks at most and
/// `disk_wait_delay` apart. That none appears is only a warning: a step that needs one reports it.
pub async fn wait_for_disks(system: &System, config: &AgentConfig, node: &Node) {
    // Files do not come up late.
    let attempts = if system.simulation.is_some() {
        1
    } else {
        config.disk_wait_attempts
    };
    for attempt in 1..=attempts {
        assemble_late(system).await;
        let devices = probe(system).await;
        match hints::root_device_quietly(&devices, node) {
            Ok(device) => {
                tracing::info!(disk = %device.name, attempt, "a root disk is there");
                return;
            }
            Err(failure) if attempt == attempts => {
                tracing::warn!(reason = %ironic_text::error_chain(&failure), attempts, "no root disk appeared");
            }
            Err(_) => tokio::time::sleep(config.disk_wait_delay).await,
        }
    }
}

/// The disks, read on a thread that may block.
pub(super) async fn probe(system: &System) -> Vec<BlockDevice> {
    let system = system.clone();
    let probed = tokio::task::spawn_blocking(move || block::probe(&system)).await;
    probed.unwrap_or_else(|error| {
        tracing::error!(%error, "the disks could not be read");
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::machine::testing::FakeMachine;

    fn config(attempts: u32) -> AgentConfig {
        AgentConfig {
            disk_wait_attempts: attempts,
            disk_wait_delay: Duration::from_secs(3),
            ..AgentConfig::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn polls_as_often_as_configured() {
        let machine = FakeMachine::new();
        for (attempts, seconds) in [(10, 27), (2, 3), (1, 0), (0, 0)] {
            let start = Instant::now();
            wait_for_disks(&machine.system(), &config(attempts), &Node::default()).await;
            assert_eq!(start.elapsed().as_secs(), seconds, "{attempts}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ends_when_the_disk_is_there() {
        let mut machine = FakeMachine::new();
        machine.virtio_disk("vda", 1 << 32, "x");
        let start = Instant::now();
        wait_for_disks(&machine.system(), &config(10), &Node::default()).await;
        assert_eq!(start.elapsed(), Duration::ZERO);

        // It comes up between two looks.
        let mut machine = FakeMachine::new();
        let (system, configuration, node) = (machine.system(), config(10), Node::default());
        let waiting = wait_for_disks(&system, &configuration, &node);
        let appearing = async {
            tokio::time::sleep(Duration::from_secs(4)).await;
            machine.virtio_disk("vda", 1 << 32, "x");
        };
        let start = Instant::now();
        tokio::join!(waiting, appearing);
        assert_eq!(start.elapsed().as_secs(), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn a_simulation_is_looked_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let system = System::simulated(directory.path());
        wait_for_disks(&system, &config(10), &Node::default()).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
