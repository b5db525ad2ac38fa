//! Disks that another hardware manager erases: a vendor's card, an array behind a controller.
//! The managers that know this machine better than we do are asked, disk by disk.

use std::borrow::Cow;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use serde_json::Value;

use crate::disk::erase::guard::{Erasable, Selection};
use crate::disk::erase::{Failed, forget_partitions};
use crate::failure::FailureKind;
use crate::hardware::{Action, Object, Step, StepContext, StepError, Support};

/// A disk and who erases it.
pub(super) struct VendorErase<'a> {
    pub(super) disk: &'a Erasable,
    eraser: &'a dyn Step,
    manager: Cow<'static, str>,
    /// What the manager would do; an error: it knows the disk and cannot erase it.
    planned: Result<Vec<Action>, String>,
}

/// How the erasing of other managers' disks ended.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What the managers answered, by the disks' names.
    pub(super) erased: Object,
    /// Disks that are not theirs after all.
    pub(super) declined: Vec<String>,
    pub(super) failed: Vec<Failed>,
}

/// The disks that others erase. A manager that does not tell what it would do is believed to
/// know the disk until it is asked to erase it.
pub(super) async fn find<'a>(
    ctx: StepContext<'a>,
    selection: &'a Selection,
) -> Vec<VendorErase<'a>> {
    let better = |ranked: &&crate::hardware::registry::Ranked| ranked.support > Support::Generic;
    let managers = ctx.managers.iter().filter(better);
    let erasers: Vec<_> = managers
        .filter_map(|ranked| {
            let eraser = ranked.manager.eraser()?;
            Some((eraser, ranked.manager.identity().class.clone()))
        })
        .collect();
    let mut found = Vec::new();
    for disk in &selection.erasable {
        for (eraser, manager) in &erasers {
            let planned = match eraser.plan(ctx, &arguments(disk)).await {
                Err(error) if is_declined(&error) => continue,
                planned => planned.map_err(in_words),
            };
            found.push(VendorErase {
                disk,
                eraser: *eraser,
                manager: manager.clone(),
                planned,
            });
            break;
        }
    }
    found
}

impl VendorErase<'_> {
    pub(super) fn name(&self) -> &str {
        &self.disk.device().name
    }

    /// For a dry run.
    pub(super) fn actions(&self) -> Vec<Action> {
        let (name, manager) = (self.name(), &self.manager);
        match &self.planned {
            Ok(actions) => {
                let told: Vec<_> = actions.iter().map(|a| a.description.as_str()).collect();
                vec![Action {
                    description: format!("Let {manager} erase {name}: {}", told.join("; ")),
                    device: name.to_owned(),
                    destructive: true,
                }]
            }
            Err(reason) => vec![Action {
                description: format!("Fail to erase {name}: {manager}: {reason}"),
                device: name.to_owned(),
                destructive: false,
            }],
        }
    }

    async fn erase(&self, ctx: StepContext<'_>) -> Result<Option<Value>, String> {
        if let Err(reason) = &self.planned {
            return Err(format!("{}: {reason}", self.manager));
        }
        ctx.task.phase(format!(
            "{} is asked to erase {}",
            self.manager,
            self.name()
        ));
        match self.eraser.run(ctx, &arguments(self.disk)).await {
            Ok(result) => {
                forget_partitions(ctx.system, self.name()).await;
                Ok(Some(result))
            }
            Err(error) if is_declined(&error) => Ok(None),
            Err(error) => Err(format!("{}: {}", self.manager, in_words(error))),
        }
    }
}

/// Lets the managers erase their disks, `concurrency` at the same time. All have ended when
/// this returns. What a manager fails to erase is not tried by other means: it knew the disk.
pub(super) async fn erase(
    ctx: StepContext<'_>,
    disks: &[VendorErase<'_>],
    concurrency: u32,
) -> Outcome {
    let at_once = usize::try_from(concurrency).unwrap_or(usize::MAX).max(1);
    let mut running = Vec::new();
    for disk in disks {
        running.push(async move { (disk.name().to_owned(), disk.erase(ctx).await) }.boxed());
    }
    let mut ended: Vec<_> = stream::iter(running)
        .buffer_unordered(at_once)
        .collect()
        .await;
    ended.sort_by(|(left, _), (right, _)| right.cmp(left));
    let mut outcome = Outcome::default();
    for (device, result) in ended {
        match result {
            Ok(Some(result)) => {
                outcome.erased.insert(device, result);
            }
            Ok(None) => outcome.declined.push(device),
            Err(reason) => outcome.failed.push(Failed { device, reason }),
        }
    }
    outcome
}

fn arguments(disk: &Erasable) -> Object {
    let device = [("device".to_owned(), disk.device().to_json())];
    device.into_iter().collect()
}

fn is_declined(error: &StepError) -> bool {
    matches!(error, StepError::Failure(failure)
        if failure.kind == FailureKind::IncompatibleHardwareMethod)
}

fn in_words(error: StepError) -> String {
    match error {
        StepError::Failure(failure) => failure.details,
        StepError::Unexpected { text, .. } => text,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;
    use crate::config::Config;
    use crate::failure::Failure;
    use crate::hardware::generic::erase_devices::EraseDevices;
    use crate::hardware::generic::testing::{Bench, failure};
    use crate::hardware::registry::Ranked;
    use crate::hardware::{
        Description, HardwareManager, Identity, Offer, Phase, Planning, Running,
    };
    use crate::machine::testing::FakeMachine;
    use crate::system::System;
    use crate::system::process::Script;

    const MIB: u64 = 1 << 20;

    /// Knows the disks of its list.
    #[derive(Debug)]
    struct Vendor {
        /// The disks, and what becomes of the erase.
        disks: Vec<(&'static str, Result<Value, &'static str>)>,
        asked: Mutex<Vec<String>>,
        /// Tells what it would do, and so which disks are its own.
        tells: bool,
    }

    static IDENTITY: Identity = Identity {
        class: Cow::Borrowed("VendorManager"),
        name: Cow::Borrowed("vendor"),
        version: Cow::Borrowed("1"),
    };

    impl HardwareManager for Vendor {
        fn identity(&self) -> &Identity {
            &IDENTITY
        }

        fn support(&self, _system: &System) -> Support {
            Support::ServiceProvider(3)
        }

        fn steps(&self) -> Vec<&dyn Step> {
            Vec::new()
        }

        fn eraser(&self) -> Option<&dyn Step> {
            Some(self)
        }
    }

    static DESCRIPTION: Description =
        Description::without_arguments("erase_block_device", "deploy");

    impl Vendor {
        fn known(&self, arguments: &Object) -> Result<Result<Value, &'static str>, StepError> {
            let name = arguments["device"]["name"].as_str().unwrap();
            let found = self.disks.iter().find(|(known, _)| *known == name);
            found.map(|(_, end)| end.clone()).ok_or_else(|| {
                Failure::new(FailureKind::IncompatibleHardwareMethod, "not mine").into()
            })
        }
    }

    impl Step for Vendor {
        fn description(&self) -> &Description {
            &DESCRIPTION
        }

        fn offer(&self, _phase: Phase, _config: &Config) -> Option<Offer> {
            None
        }

        fn plan<'a>(&'a self, _ctx: StepContext<'a>, arguments: &'a Object) -> Planning<'a> {
            let planned = match self.known(arguments) {
                Err(error) if self.tells => Err(error),
                _ => Ok(vec![Action {
                    description: "shake it".to_owned(),
                    ..Action::default()
                }]),
            };
            std::future::ready(planned).boxed()
        }

        fn run<'a>(&'a self, _ctx: StepContext<'a>, arguments: &'a Object) -> Running<'a> {
            let name = arguments["device"]["name"].to_string();
            self.asked.lock().unwrap().push(name);
            let ended = self
                .known(arguments)
                .and_then(|end| end.map_err(|text| Failure::execution(text).into()));
            std::future::ready(ended).boxed()
        }
    }

    fn bench(vendor: Arc<Vendor>, support: Support) -> Bench {
        let mut machine = FakeMachine::new();
        for (port, name) in [(1, "sda"), (2, "sdb"), (3, "sdc")] {
            machine.sata_disk(name, 4 * MIB, port);
            machine.bytes(&format!("dev/{name}"), &vec![0; 4 << 20]);
        }
        let mut bench = Bench::new(machine).node(json!({"uuid": "u", "driver_internal_info":
            {"agent_enable_ata_secure_erase": false, "disk_erasure_concurrency": 2},
            "properties": {"skip_block_devices": [{"name": "/dev/sdc"}]}}));
        bench.managers = vec![Ranked {
            manager: vendor,
            support,
        }];
        bench
    }

    fn vendor(disks: &[(&'static str, Result<Value, &'static str>)], tells: bool) -> Arc<Vendor> {
        Arc::new(Vendor {
            disks: disks.to_vec(),
            asked: Mutex::default(),
            tells,
        })
    }

    const LEFT: &str = "left alone: skip_block_devices names it, or the disk under it";

    fn shred(script: Script, name: &str) -> Script {
        let line = format!("shred --force --zero --verbose --iterations 1 {name}");
        script.expect(&line, "")
    }

    #[tokio::test]
    async fn a_manager_erases_its_own_disks_and_no_others() {
        for tells in [true, false] {
            let known = vendor(
                &[
                    ("/dev/sdb", Ok(json!("shaken"))),
                    ("/dev/sdc", Ok(json!(1))),
                ],
                tells,
            );
            let bench = bench(known.clone(), Support::ServiceProvider(3));
            let script = shred(Script::new(), "/dev/sda");
            let (result, notes) = bench.run(&EraseDevices, script).await;
            assert_eq!(
                result,
                Ok(json!({"/dev/sda": null, "/dev/sdb": "shaken", "/dev/sdc": LEFT})),
                "{tells}"
            );
            let note = "VendorManager is asked to erase /dev/sdb";
            assert!(notes.iter().any(|found| found == note), "{notes:?}");
            // What must be left alone is nobody's, and a disk that is not its own was tried
            // only because it did not tell.
            let mut asked = known.asked.lock().unwrap().clone();
            asked.sort();
            let expected: &[&str] = match tells {
                true => &["\"/dev/sdb\""],
                false => &["\"/dev/sda\"", "\"/dev/sdb\""],
            };
            assert_eq!(asked, expected);
            let plan = bench.plan(&EraseDevices, Script::new()).await.unwrap();
            let text = "Let VendorManager erase /dev/sdb: shake it";
            assert!(
                plan.iter()
                    .any(|action| action.description == text && action.destructive)
            );
        }
    }

    #[tokio::test]
    async fn what_a_manager_fails_to_erase_fails_the_step() {
        let known = vendor(&[("/dev/sda", Err("worn out"))], true);
        let bench = bench(known, Support::ServiceProvider(3));
        let script = shred(Script::new(), "/dev/sdb");
        let failure = failure(bench.run(&EraseDevices, script).await.0);
        assert_eq!(failure.kind, FailureKind::BlockDeviceErase);
        assert_eq!(
            failure.details,
            "Failed to erase the device(s): \"/dev/sda\": VendorManager: worn out"
        );
    }

    #[tokio::test]
    async fn a_manager_that_knows_no_better_is_not_asked() {
        let known = vendor(&[("/dev/sda", Ok(Value::Null))], true);
        let bench = bench(known.clone(), Support::Generic);
        let script = shred(shred(Script::new(), "/dev/sdb"), "/dev/sda");
        let (result, _) = bench.run(&EraseDevices, script).await;
        let erased = json!({"/dev/sda": null, "/dev/sdb": null, "/dev/sdc": LEFT});
        assert_eq!(result, Ok(erased));
        assert!(known.asked.lock().unwrap().is_empty());
    }
}
