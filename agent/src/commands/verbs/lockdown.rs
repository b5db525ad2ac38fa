//! Takes the machine off the network for good, because its power cannot be cut. The verb
//! only announces it; [`isolate`] is called when the servers have stopped.

use serde_json::Value;

use super::Verb;
use crate::commands::arguments::VerbArguments;
use crate::commands::context::CommandContext;
use crate::commands::failure::Failure;
use crate::commands::plan::CommandPlan;
use crate::system::{Cmd, PathPrefix, System};
use crate::task::Task;

/// The verb, which takes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lockdown;

impl Verb for Lockdown {
    fn read(_arguments: VerbArguments) -> Option<Self> {
        Some(Self)
    }

    async fn plan(&self, _context: &CommandContext) -> Result<CommandPlan, Failure> {
        Ok(CommandPlan::of(
            "Take the machine off the network until it is restarted.",
        ))
    }

    /// Answers null. Its success is its effect: the engine announces it.
    async fn run(self, _context: &CommandContext, _task: &Task) -> Result<Value, Failure> {
        Ok(Value::Null)
    }
}

/// Takes every interface down that reaches outside: hardware, VLANs and bonds. What fails is
/// logged and does not keep the others up.
pub async fn isolate(system: &System) {
    if system.simulation.is_some() {
        tracing::warn!("a simulation leaves the network of the machine as it is");
        return;
    }
    for name in outward(&system.root) {
        let down = Cmd::new("ip").args(["link", "set", name.as_str(), "down"]);
        match system.run.run(down).await {
            Ok(_) => tracing::info!(interface = %name, "taken down"),
            Err(error) => tracing::warn!(interface = %name, %error, "cannot be taken down"),
        }
    }
}

/// VLANs and bonds before the hardware below them.
fn outward(root: &PathPrefix) -> Vec<String> {
    let names = root.names("/sys/class/net");
    let file = |name: &str, file: &str| format!("/sys/class/net/{name}/{file}");
    let (hardware, rest): (Vec<String>, Vec<String>) = names
        .into_iter()
        .partition(|name| root.exists(file(name, "device")));
    let virtual_ones = rest.into_iter().filter(|name| {
        let kind = root.read_optional(file(name, "uevent")).unwrap_or_default();
        kind.lines()
            .any(|line| line == "DEVTYPE=vlan" || line == "DEVTYPE=bond")
    });
    virtual_ones.chain(hardware).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::*;
    use crate::system::process::{RunError, Script};

    #[tokio::test]
    async fn lockdown_takes_interfaces_down_after_any_failure() {
        let directory = tempfile::tempdir().unwrap();
        let net = directory.path().join("sys/class/net");
        for (name, kind, device) in [
            ("bond0", "DEVTYPE=bond\nINTERFACE=bond0\n", false),
            ("docker0", "DEVTYPE=bridge\n", false),
            ("eth0", "INTERFACE=eth0\n", true),
            ("eth0.100", "DEVTYPE=vlan\n", false),
            ("ib0", "", true),
            ("lo", "INTERFACE=lo\n", false),
        ] {
            fs::create_dir_all(net.join(name)).unwrap();
            fs::write(net.join(name).join("uevent"), kind).unwrap();
            if device {
                fs::create_dir(net.join(name).join("device")).unwrap();
            }
        }
        let broken = RunError::Missing {
            program: "ip".into(),
        };
        let script = Arc::new(
            Script::new()
                .expect_result("ip link set bond0 down", Err(broken))
                .expect("ip link set eth0.100 down", "")
                .expect("ip link set eth0 down", "")
                .expect("ip link set ib0 down", ""),
        );
        let system = System {
            run: script.clone(),
            root: PathPrefix::new(directory.path()),
            simulation: None,
            ..System::simulated(directory.path())
        };
        isolate(&system).await;
        script.assert_done();
    }
}
