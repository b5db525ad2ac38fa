//! Collectors that read lists of devices from the kernel: `pci-devices`, `usb-devices`,
//! `numa-topology`, `lldp`.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use ironic_document::JsonObject;
use serde_json::{Map, Value};

use super::{Collector, CollectorError, Inspection};
use crate::config::AgentConfig;
use crate::machine::network::lldp;
use crate::machine::network::lldp_listener;
use crate::machine::pci;
use crate::machine::processor::numa;
use crate::machine::usb;
use crate::system::System;

/// A collector that reads one key on a thread that may block.
#[derive(Debug)]
pub(super) struct Devices {
    name: &'static str,
    key: &'static str,
    /// What is found; nothing leaves the key out, which is not a failure.
    read: fn(&System, &AgentConfig) -> Result<Option<Value>, CollectorError>,
}

/// PCI functions.
pub(super) const PCI: Devices = Devices {
    name: "pci-devices",
    key: "pci_devices",
    read: |system, _| {
        let devices = pci::probe(system)?;
        Ok(Some(devices.iter().map(pci::PciDevice::to_json).collect()))
    },
};

/// USB devices.
pub(super) const USB: Devices = Devices {
    name: "usb-devices",
    key: "usb_devices",
    read: |system, _| {
        let devices = usb::probe(system);
        Ok(Some(devices.iter().map(usb::UsbDevice::to_json).collect()))
    },
};

/// What is near what.
pub(super) const NUMA: Devices = Devices {
    name: "numa-topology",
    key: "numa_topology",
    read: |system, _| match numa::probe(system) {
        Ok(topology) => Ok(Some(topology.to_json())),
        Err(error) => {
            tracing::warn!(%error, "the report goes without a NUMA topology");
            Ok(None)
        }
    },
};

/// What switches say of themselves.
pub(super) const LLDP: Devices = Devices {
    name: "lldp",
    key: "lldp_raw",
    read: |system, config| {
        let heard = lldp_listener::collect(system, config.lldp_timeout).into_iter();
        let heard: Map<_, _> = heard
            .map(|(name, elements)| (name, lldp::to_json(&elements)))
            .collect();
        Ok(Some(heard.into()))
    },
};

impl Collector for Devices {
    fn name(&self) -> &'static str {
        self.name
    }

    fn collect<'a>(
        &'a self,
        inspection: Inspection<'a>,
    ) -> BoxFuture<'a, Result<JsonObject, CollectorError>> {
        async move {
            let (system, config) = (inspection.system.clone(), inspection.config.clone());
            let read = self.read;
            let found = tokio::task::spawn_blocking(move || read(&system, &config)).await??;
            let entry = found.map(|value| (self.key.to_owned(), value));
            Ok(entry.into_iter().collect())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::hardware::ManagerRegistry;
    use crate::machine::testing::FakeMachine;

    async fn collected(machine: &FakeMachine, collector: &Devices) -> Result<Value, String> {
        let system = machine.system();
        let registry = ManagerRegistry::compiled_in(&system).unwrap();
        let inspection = Inspection {
            system: &system,
            config: &AgentConfig::default(),
            registry: &registry,
            collectors: &[],
        };
        let found = collector.collect(inspection).await;
        found.map(Value::Object).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_a_failure_or_left_out_as_in_the_python_agent() {
        let mut machine = FakeMachine::new();
        let unreadable = collected(&machine, &PCI).await.unwrap_err();
        assert!(unreadable.contains("cannot be read"), "{unreadable}");
        assert_eq!(collected(&machine, &NUMA).await, Ok(json!({})));
        assert_eq!(
            collected(&machine, &USB).await,
            Ok(json!({"usb_devices": []}))
        );
        assert_eq!(
            collected(&machine, &LLDP).await,
            Ok(json!({"lldp_raw": {}}))
        );
        let pci = "sys/bus/pci/devices/0000:00:01.0";
        for (name, text) in [("vendor", "0x1"), ("device", "0x2"), ("class", "0x3")] {
            machine.file(&format!("{pci}/{name}"), text);
        }
        let found = collected(&machine, &PCI).await.unwrap();
        assert_eq!(found["pci_devices"][0]["bus"], "0000:00:01.0");
    }
}
