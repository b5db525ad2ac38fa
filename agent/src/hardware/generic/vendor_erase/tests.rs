//! Disks that a vendor's manager erases.

use std::borrow::Cow;
use std::io;
use std::sync::{Arc, Mutex};

use ironic_document::JsonObject;
use ironic_ondisk::size::MIB;
use serde_json::json;

use super::*;
use crate::config::AgentConfig;
use crate::hardware::Step;
use crate::hardware::generic::erase_devices::EraseDevices;
use crate::hardware::generic::testing::Bench;
use crate::hardware::{
    Description, HardwareManager, ManagerIdentity, ManagerRegistry, Offer, PlanFuture, RunFuture,
    StepPhase, Support,
};
use crate::machine::testing::FakeMachine;
use crate::system::System;
use crate::system::process::Script;

/// Knows the disks of its list.
#[derive(Debug)]
struct Vendor {
    /// The disks, and what becomes of the erase.
    disks: Vec<(&'static str, Result<Value, &'static str>)>,
    asked: Mutex<Vec<String>>,
    /// Tells what it would do, and so which disks are its own.
    tells: bool,
    support: Support,
}

static IDENTITY: ManagerIdentity = ManagerIdentity {
    class: Cow::Borrowed("VendorManager"),
    name: Cow::Borrowed("vendor"),
    version: Cow::Borrowed("1"),
};

impl HardwareManager for Vendor {
    fn identity(&self) -> &ManagerIdentity {
        &IDENTITY
    }

    fn support(&self, _system: &System) -> Support {
        self.support
    }

    fn steps(&self) -> Vec<&dyn Step> {
        Vec::new()
    }

    fn eraser(&self) -> Option<&dyn Step> {
        Some(self)
    }
}

static DESCRIPTION: Description = Description::without_arguments("erase_block_device", "deploy");

impl Vendor {
    fn known(&self, arguments: &JsonObject) -> Result<Result<Value, &'static str>, StepError> {
        let name = arguments["device"]["name"].as_str().unwrap();
        let found = self.disks.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, end)| end.clone())
            .ok_or_else(|| StepError::Incompatible("not mine".to_owned()))
    }
}

impl Step for Vendor {
    fn description(&self) -> &Description {
        &DESCRIPTION
    }

    fn offer(&self, _phase: StepPhase, _config: &AgentConfig) -> Option<Offer> {
        None
    }

    fn plan<'a>(&'a self, _ctx: StepContext<'a>, arguments: &'a JsonObject) -> PlanFuture<'a> {
        let planned = match self.known(arguments) {
            Err(error) if self.tells => Err(error),
            _ => Ok(vec![PlannedAction {
                description: "shake it".to_owned(),
                ..PlannedAction::default()
            }]),
        };
        std::future::ready(planned).boxed()
    }

    fn run<'a>(&'a self, _ctx: StepContext<'a>, arguments: &'a JsonObject) -> RunFuture<'a> {
        let name = arguments["device"]["name"].to_string();
        self.asked.lock().unwrap().push(name);
        let ended = self
            .known(arguments)
            .and_then(|end| end.map_err(|text| io::Error::other(text).into()));
        std::future::ready(ended).boxed()
    }
}

fn bench(vendor: Arc<Vendor>) -> Bench {
    let mut machine = FakeMachine::new();
    for (port, name) in [(1, "sda"), (2, "sdb"), (3, "sdc")] {
        machine.sata_disk(name, 4 * MIB, port);
        machine.bytes(&format!("dev/{name}"), &vec![0; 4 << 20]);
    }
    let mut bench = Bench::new(machine).node(json!({"uuid": "u", "driver_internal_info":
        {"agent_enable_ata_secure_erase": false, "disk_erasure_concurrency": 2},
        "properties": {"skip_block_devices": [{"name": "/dev/sdc"}]}}));
    let managers = [vendor as Arc<dyn HardwareManager>];
    bench.registry = Some(ManagerRegistry::new(managers, &System::linux()).unwrap());
    bench
}

fn vendor(disks: &[(&'static str, Result<Value, &'static str>)], tells: bool) -> Vendor {
    Vendor {
        disks: disks.to_vec(),
        asked: Mutex::default(),
        tells,
        support: Support::ServiceProvider(3),
    }
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
        let known = Arc::new(known);
        let bench = bench(known.clone());
        let script = shred(Script::new(), "/dev/sda");
        let (result, notes) = bench.run(&EraseDevices, script).await;
        assert_eq!(
            result.unwrap(),
            json!({"/dev/sda": null, "/dev/sdb": "shaken", "/dev/sdc": LEFT}),
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
    let bench = bench(Arc::new(known));
    let script = shred(Script::new(), "/dev/sdb");
    let error = bench.run(&EraseDevices, script).await.0.unwrap_err();
    assert!(matches!(error, StepError::Erase(_)), "{error:?}");
    assert_eq!(
        error.to_string(),
        "Failed to erase the device(s): \"/dev/sda\": VendorManager: worn out"
    );
}

#[tokio::test]
async fn a_manager_that_knows_no_better_is_not_asked() {
    let known = Arc::new(Vendor {
        support: Support::Generic,
        ..vendor(&[("/dev/sda", Ok(Value::Null))], true)
    });
    let bench = bench(known.clone());
    let script = shred(shred(Script::new(), "/dev/sdb"), "/dev/sda");
    let (result, _) = bench.run(&EraseDevices, script).await;
    let erased = json!({"/dev/sda": null, "/dev/sdb": null, "/dev/sdc": LEFT});
    assert_eq!(result.unwrap(), erased);
    assert!(known.asked.lock().unwrap().is_empty());
}
