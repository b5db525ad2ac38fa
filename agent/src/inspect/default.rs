//! Collector `default`: what the machine is.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use ironic_document::JsonObject;
use serde_json::{Map, json};

use super::{Collector, CollectorError, Inspection, dhcp};
use crate::hardware;
use crate::machine;
use crate::machine::block;
use crate::machine::block::hints;
use crate::machine::firmware::boot;
use crate::machine::ironic_node::Node;

/// Waits for addresses and disks and answers the inventory.
#[derive(Debug)]
pub(super) struct Default;

impl Collector for Default {
    fn name(&self) -> &'static str {
        "default"
    }

    fn collect<'a>(
        &'a self,
        inspection: Inspection<'a>,
    ) -> BoxFuture<'a, Result<JsonObject, CollectorError>> {
        async move {
            let (system, config) = (inspection.system, inspection.config);
            let unknown = Node::default();
            tokio::join!(
                dhcp::wait(system, config),
                hardware::wait_for_disks(system, config, &unknown)
            );
            let (system, config) = (inspection.system.clone(), inspection.config.clone());
            let read = tokio::task::spawn_blocking(move || {
                let disks = block::probe(&system);
                (
                    machine::inventory(&system, &config),
                    hints::smallest(&disks).map(block::BlockDevice::to_json),
                    boot::interface(&system),
                )
            });
            let (inventory, root_disk, boot_interface) = read.await?;
            let mut found = Map::new();
            found.insert("inventory".to_owned(), inventory.into());
            if let Some(root_disk) = root_disk {
                found.insert("root_disk".to_owned(), root_disk);
            }
            found.insert("boot_interface".to_owned(), boot_interface.into());
            found.insert(
                "configuration".to_owned(),
                json!({
                    "collectors": inspection.collectors,
                    "managers": inspection.registry.listing(),
                }),
            );
            Ok(found)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AgentConfig;
    use crate::hardware::ManagerRegistry;
    use crate::machine::testing::FakeMachine;

    #[tokio::test]
    async fn answers_what_ironic_reads() {
        let config = AgentConfig {
            inspection_dhcp_wait_timeout: std::time::Duration::ZERO,
            disk_wait_attempts: 1,
            ..AgentConfig::default()
        };
        let mut machine = FakeMachine::new();
        machine
            .file("proc/cmdline", "BOOTIF=01-52-54-00-00-00-01")
            .virtio_disk("vda", 1 << 30, "small");
        for (large, keys) in [
            (false, vec!["inventory", "boot_interface", "configuration"]),
            (
                true,
                vec!["inventory", "root_disk", "boot_interface", "configuration"],
            ),
        ] {
            if large {
                machine.nvme_disk("nvme0n1", 1 << 32, "large", "eui.1");
            }
            let system = machine.system();
            let registry = ManagerRegistry::compiled_in(&system).unwrap();
            let inspection = Inspection {
                system: &system,
                config: &config,
                registry: &registry,
                collectors: &["default", "logs"],
            };
            let found = Default.collect(inspection).await.unwrap();
            assert_eq!(found.keys().collect::<Vec<_>>(), keys);
            assert_eq!(found["boot_interface"], "01-52-54-00-00-00-01");
            assert_eq!(
                found["configuration"],
                json!({
                    "collectors": ["default", "logs"],
                    "managers": [{"name": "generic_hardware_manager", "version": "1.2"}],
                })
            );
            if large {
                assert_eq!(found["root_disk"], found["inventory"]["disks"][1]);
            }
        }
    }
}
