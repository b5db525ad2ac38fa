//! Intel converged network adapters (700 series, driver `i40e`): their firmware takes LLDP
//! frames for itself unless a command makes it let them pass.

use std::borrow::Cow;

use crate::config::AgentConfig;
use crate::hardware::{HardwareManager, ManagerIdentity, Step, Support};
use crate::system::{PathPrefix, System};

const DRIVER: &str = "i40e";
const DEBUG: &str = "/sys/kernel/debug/i40e";

/// What machines with such adapters can do more.
#[derive(Debug, Clone, Copy, Default)]
pub struct IntelCnaManager;

static IDENTITY: ManagerIdentity = ManagerIdentity {
    class: Cow::Borrowed("IntelCnaHardwareManager"),
    name: Cow::Borrowed("IntelCnaHardwareManager"),
    version: Cow::Borrowed("1.0"),
};

impl HardwareManager for IntelCnaManager {
    fn identity(&self) -> &ManagerIdentity {
        &IDENTITY
    }

    fn support(&self, system: &System) -> Support {
        let root = &system.root;
        let names = root.names("/sys/class/net");
        if names.iter().any(|name| is_adapter(root, name)) {
            Support::Mainline
        } else {
            Support::None
        }
    }

    fn steps(&self) -> Vec<&dyn Step> {
        Vec::new()
    }

    fn initialize(&self, system: &System, config: &AgentConfig) {
        let collector = |name: &String| name == "lldp";
        let inspected = config
            .common
            .inspection_collectors
            .iter()
            .flatten()
            .any(collector);
        if config.collect_lldp || inspected {
            stop_firmware(&system.root);
        }
    }
}

fn is_adapter(root: &PathPrefix, name: &str) -> bool {
    let module = root.path(format!("/sys/class/net/{name}/device/driver/module"));
    let module = std::fs::read_link(module);
    module.is_ok_and(|target| target.file_name().is_some_and(|last| last == DRIVER))
}

/// Makes each adapter let LLDP frames pass. Needs the kernel's debug file system; without
/// it switches of these adapters stay unknown.
fn stop_firmware(root: &PathPrefix) {
    let adapters = root.names(DEBUG);
    if adapters.is_empty() {
        tracing::warn!("{DEBUG} is not there: LLDP frames do not pass Intel adapters");
        return;
    }
    let failed: Vec<String> = adapters
        .into_iter()
        .filter_map(|adapter| {
            let command = root.writable(format!("{DEBUG}/{adapter}/command"));
            let error = command
                .and_then(|command| std::fs::write(command, "lldp stop"))
                .err()?;
            Some(format!("{adapter}: {error}"))
        })
        .collect();
    if !failed.is_empty() {
        let failed = failed.join("; ");
        tracing::warn!(%failed, "LLDP frames do not pass some Intel adapters");
    }
}

#[cfg(test)]
mod tests {
    use ironic_program::CommonSettings;

    use super::*;
    use crate::machine::testing::FakeMachine;

    fn machine(driver: &str) -> FakeMachine {
        let mut machine = FakeMachine::new();
        machine
            .directory(&format!("sys/module/{driver}"))
            .link(
                "sys/class/net/eth0/device/driver/module",
                &format!("sys/module/{driver}"),
            )
            .file(&format!("{}/0000:02:00.0/command", &DEBUG[1..]), "")
            .directory(&format!("{}/0000:02:00.1", &DEBUG[1..]));
        machine
    }

    fn sent(config: &AgentConfig) -> String {
        let machine = machine("i40e");
        IntelCnaManager.initialize(&machine.system(), config);
        let path = format!("{DEBUG}/0000:02:00.0/command");
        machine.system().root.read(path).unwrap()
    }

    #[test]
    fn only_its_driver_counts() {
        let support = |driver| IntelCnaManager.support(&machine(driver).system());
        assert_eq!(support("i40e"), Support::Mainline);
        assert_eq!(support("ixgbe"), Support::None);
        let empty = FakeMachine::new();
        assert_eq!(IntelCnaManager.support(&empty.system()), Support::None);
    }

    #[test]
    fn firmware_lldp_is_stopped_when_lldp_is_collected() {
        assert_eq!(sent(&AgentConfig::default()), "");
        let listed = AgentConfig {
            collect_lldp: true,
            ..AgentConfig::default()
        };
        assert_eq!(sent(&listed), "lldp stop");
        let inspected = AgentConfig {
            common: CommonSettings {
                inspection_collectors: Some(vec!["default".to_owned(), "lldp".to_owned()]),
                ..CommonSettings::default()
            },
            ..AgentConfig::default()
        };
        assert_eq!(sent(&inspected), "lldp stop");
    }
}
