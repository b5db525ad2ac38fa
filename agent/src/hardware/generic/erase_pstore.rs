//! Step `erase_pstore`: the crash records that the last system left in the firmware's storage
//! go.

use std::fs;
use std::path::PathBuf;

use futures_util::FutureExt as _;
use ironic_document::JsonObject;
use serde_json::Value;

use crate::config::AgentConfig;
use crate::hardware::{
    Description, Offer, PlanFuture, PlannedAction, RunFuture, Step, StepContext, StepError,
    StepPhase,
};
use crate::system::System;

/// The step.
#[derive(Debug)]
pub(super) struct ErasePstore;

static DESCRIPTION: Description = Description::without_arguments("erase_pstore", "deploy");

impl Step for ErasePstore {
    fn description(&self) -> &Description {
        &DESCRIPTION
    }

    fn offer(&self, phase: StepPhase, _config: &AgentConfig) -> Option<Offer> {
        (phase == StepPhase::Clean).then(|| Offer::abortable_at(0))
    }

    fn plan<'a>(&'a self, ctx: StepContext<'a>, _arguments: &'a JsonObject) -> PlanFuture<'a> {
        let actions = records(ctx.system).into_iter().map(|path| PlannedAction {
            description: format!("Remove the crash record {}", path.display()),
            destructive: true,
            ..PlannedAction::default()
        });
        std::future::ready(Ok(actions.collect())).boxed()
    }

    fn run<'a>(&'a self, ctx: StepContext<'a>, _arguments: &'a JsonObject) -> RunFuture<'a> {
        if ctx.system.simulation.is_none() && mount_point(ctx.system).is_none() {
            ctx.task.warn(
                "no pstore is mounted, so the firmware's crash records were not looked for: let \
                 the ramdisk mount it at /sys/fs/pstore",
            );
        }
        let removed = records(ctx.system).into_iter().try_for_each(|path| {
            tracing::info!(path = %path.display(), "removing a crash record");
            let path = ctx.system.root.writable(&path)?;
            if path.is_dir() && !path.is_symlink() {
                fs::remove_dir_all(path)
            } else {
                fs::remove_file(path)
            }
        });
        std::future::ready(removed.map(|()| Value::Null).map_err(StepError::from)).boxed()
    }
}

/// Where the storage is mounted.
fn mount_point(system: &System) -> Option<String> {
    let mounts = system.root.read_optional("/proc/mounts")?;
    mounts.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [_, mount_point, "pstore", ..] => Some((*mount_point).to_owned()),
            _ => None,
        }
    })
}

/// What is in the storage; nothing where it is not mounted or in a simulation.
fn records(system: &System) -> Vec<PathBuf> {
    let mount_point = mount_point(system).filter(|_| system.simulation.is_none());
    let Some(mount_point) = mount_point else {
        return Vec::new();
    };
    let names = system.root.names(&mount_point);
    names
        .iter()
        .map(|name| PathBuf::from(format!("{mount_point}/{name}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::generic::testing::Bench;
    use crate::machine::testing::FakeMachine;
    use crate::system::process::Script;

    #[tokio::test]
    async fn every_record_goes_and_nothing_else() {
        let mut machine = FakeMachine::new();
        machine
            .file(
                "proc/mounts",
                "sysfs /sys sysfs rw 0 0\npstore /sys/fs/pstore pstore rw,nosuid 0 0",
            )
            .file("sys/fs/pstore/dmesg-efi-1", "crash")
            .file("sys/fs/pstore/old/dmesg-efi-2", "crash")
            .file("sys/fs/other", "stays");
        let bench = Bench::new(machine);
        let plan = bench.plan(&ErasePstore, Script::new()).await.unwrap();
        assert_eq!(plan.len(), 2);
        let (result, _) = bench.run(&ErasePstore, Script::new()).await;
        assert_eq!(result.unwrap(), Value::Null);
        let system = bench.machine.system();
        assert!(system.root.names("/sys/fs/pstore").is_empty());
        assert!(system.root.exists("/sys/fs/other"));

        let nothing = Bench::new(FakeMachine::new());
        let (result, said) = nothing.run(&ErasePstore, Script::new()).await;
        assert_eq!(result.unwrap(), Value::Null);
        assert!(
            format!("{said:?}").contains("no pstore is mounted"),
            "{said:?}"
        );
    }
}
