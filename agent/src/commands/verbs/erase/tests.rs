//! What an order becomes, and what it does to files that play disks.

use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::*;
use crate::commands::arguments::GivenArguments;
use crate::commands::descriptor::VerbDescriptor;
use crate::commands::disk_selector::DiskSelector;
use crate::commands::failure::FailureKind;
use crate::commands::testing;
use crate::config::AgentConfig;
use crate::machine::ironic_node::EraseOptions;
use crate::machine::testing::FakeMachine;
use crate::system::System;
use crate::system::process::{Cmd, Output, Run, RunError, recording};

fn verb(document: Value) -> Erase {
    let Value::Object(named) = document else {
        panic!("{document}");
    };
    let verb = VerbDescriptor::by_name("order.erase").unwrap();
    let given = GivenArguments {
        named,
        ..GivenArguments::default()
    };
    Erase::read(VerbArguments::check(verb, given).unwrap()).unwrap()
}

#[test]
fn a_policy_becomes_what_the_conductor_would_write() {
    let call = verb(json!({"policy": {
        "scope": "ERASE_SCOPE_DATA", "concurrency": 4, "without_ata_secure_erase": true,
        "sanitize": true, "overwrite_passes": 0, "overwrite_on_failure": true,
        "skip_read_only": true, "deadline_minutes": 600,
    }}));
    let groups = call.groups().unwrap();
    let [
        EraseGroup {
            disks: None,
            policy,
        },
    ] = groups
    else {
        panic!("{groups:?}");
    };
    assert_eq!(policy.step, "erase_devices");
    let node = policy.node(&Node::default(), &["/dev/sdb".to_owned()]);
    assert_eq!(
        node.erase_options(),
        EraseOptions {
            concurrency: 4,
            iterations: 0,
            zeroize: true,
            ata_secure_erase: false,
            nvme_secure_erase: true,
            continue_if_secure_erase_failed: true,
            skip_read_only: true,
        }
    );
    let plan = node.value("driver_info", "agent_erase_plan");
    assert_eq!(
        plan,
        Some(&json!({"sanitize": true, "deadline_minutes": 600}))
    );
    let skipped = node.skip_block_devices();
    assert_eq!(skipped, Some(&json!([{"name": "s== /dev/sdb"}])));
}

#[test]
fn errors_name_their_field() {
    let policy = || json!({"scope": "ERASE_SCOPE_METADATA"});
    let disk = || json!({"device": "/dev/sda"});
    let cases = [
        (json!({}), "erase.policy: is missing"),
        (
            json!({"policy": policy(), "disks": [{"disk": disk(), "policy": policy()}]}),
            "erase.policy: cannot be given together with disks",
        ),
        (
            json!({"policy": {}}),
            "erase.policy.scope: must be ERASE_SCOPE_DATA, ERASE_SCOPE_METADATA or \
             ERASE_SCOPE_EXPRESS, not unspecified",
        ),
        (
            json!({"disks": [{"disk": disk(), "policy": policy()}, {"policy": policy()}]}),
            "erase.disks[1].disk: is missing",
        ),
        (
            json!({"disks": [{"disk": disk()}]}),
            "erase.disks[0].policy: is missing",
        ),
        (
            json!({"policy": {"scope": "ERASE_SCOPE_DATA", "stall_minutes": 0}}),
            "erase.policy.stall_minutes: must be a number of minutes from 1 to 100000, not 0",
        ),
        (
            json!({"policy": {"scope": "ERASE_SCOPE_DATA", "overwrite_passes": 0,
                              "without_zeros": true}}),
            "erase.policy.overwrite_passes: cannot be given together with without_zeros",
        ),
        (
            json!({"policy": {"scope": "ERASE_SCOPE_DATA", "without_nvme_format": true,
                              "sanitize": true}}),
            "erase.policy.without_nvme_format: cannot be given together with sanitize",
        ),
        (
            json!({"disks": [{"disk": disk(), "policy": {"scope": "ERASE_SCOPE_EXPRESS",
                                                         "without_nvme_format": true}}]}),
            "erase.disks[0].policy.without_nvme_format: means nothing with scope \
             ERASE_SCOPE_EXPRESS: leave it out, or order another scope",
        ),
    ];
    let context = testing::context(AgentConfig::default());
    for (document, text) in cases {
        let failure = verb(document).check(&context).unwrap_err();
        assert_eq!(failure.kind, FailureKind::InvalidCommandParams);
        assert!(failure.details.starts_with(text), "{}", failure.details);
    }
}

#[test]
fn wishes_that_a_scope_does_not_keep_are_refused() {
    let given = [
        ("sanitize", json!(true)),
        ("overwrite_passes", json!(3)),
        ("overwrite_on_failure", json!(true)),
        ("deadline_minutes", json!(60)),
        ("stall_minutes", json!(60)),
        ("without_nvme_format", json!(true)),
        ("without_ata_secure_erase", json!(true)),
        ("without_zeros", json!(true)),
        ("skip_read_only", json!(true)),
        ("concurrency", json!(2)),
    ];
    // What the steps can do, of those in this order.
    let kept = [
        ("ERASE_SCOPE_DATA", [true; 10]),
        (
            "ERASE_SCOPE_METADATA",
            [
                false, false, false, false, false, true, true, true, true, true,
            ],
        ),
        (
            "ERASE_SCOPE_EXPRESS",
            [
                true, false, false, true, true, false, true, true, true, true,
            ],
        ),
    ];
    let context = testing::context(AgentConfig::default());
    for (scope, kept) in kept {
        for ((name, value), kept) in given.iter().zip(kept) {
            let policy = json!({"scope": scope, *name: value});
            let checked = verb(json!({"policy": policy})).check(&context);
            assert_eq!(checked.is_ok(), kept, "{scope} {name}: {checked:?}");
            if let Err(failure) = checked {
                let text = format!("erase.policy.{name}: means nothing with scope {scope}: ");
                assert!(failure.details.starts_with(&text), "{}", failure.details);
            }
        }
    }
}

/// A machine whose disks are files that are full of ones.
fn machine(directory: &std::path::Path) -> CommandContext {
    for name in ["sda", "sdb", "sdc"] {
        std::fs::write(directory.join(name), vec![1; 4 << 20]).unwrap();
    }
    let mut context = testing::context(AgentConfig::default());
    context.system = System::simulated(directory);
    context
}

/// An order whose disks are files, each with its scope.
fn order(directory: &std::path::Path, disks: &[(&str, &str)]) -> Erase {
    let entries = disks
        .iter()
        .map(|(_, scope)| json!({"disk": {"device": "/dev/x"}, "policy": {"scope": scope}}));
    let call = verb(json!({"disks": entries.collect::<Vec<_>>()}));
    let mut groups = call.groups().unwrap().to_vec();
    let mut names = disks.iter().map(|(name, _)| name);
    for selector in groups
        .iter_mut()
        .flat_map(|group| group.disks.iter_mut().flatten())
    {
        let path = directory.join(names.next().unwrap());
        *selector = DiskSelector {
            hints: json!({"name": format!("s== {}", path.display())}),
            ..selector.clone()
        };
    }
    let call = verb(json!({}));
    call.groups.set(groups).unwrap();
    call
}

#[tokio::test]
async fn disks_are_erased_as_each_is_ordered_and_others_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let context = machine(directory.path());
    let disks = [("sda", "ERASE_SCOPE_DATA"), ("sdc", "ERASE_SCOPE_METADATA")];
    let plan = order(directory.path(), &disks)
        .plan(&context)
        .await
        .unwrap();
    let named = |name: &str| directory.path().join(name).display().to_string();
    let planned: Vec<_> = plan
        .actions
        .iter()
        .map(|action| (action.device.clone(), action.destructive))
        .collect();
    assert_eq!(planned, [(named("sda"), true), (named("sdc"), true)]);

    let call = order(directory.path(), &disks);
    let answer = call.run(&context, &Task::detached()).await.unwrap();
    let erased = |name| {
        json!({"device": named(name), "outcome": "ERASE_OUTCOME_ERASED",
                               "reason": ""})
    };
    assert_eq!(answer, json!({"disks": [erased("sda"), erased("sdc")]}));
    let content = |name| std::fs::read(directory.path().join(name)).unwrap();
    assert!(content("sda").iter().all(|byte| *byte == 0));
    assert!(content("sdb").iter().all(|byte| *byte == 1));
    let blank = content("sdc");
    assert_eq!((blank[0], blank[2 << 20]), (0, 1));
}

#[tokio::test]
async fn a_disk_that_is_selected_twice_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let context = machine(directory.path());
    let disks = [("sda", "ERASE_SCOPE_DATA"), ("sda", "ERASE_SCOPE_METADATA")];
    let call = order(directory.path(), &disks);
    let failure = call.plan(&context).await.unwrap_err();
    let text = "erase.disks[1].disk: ";
    assert!(failure.details.starts_with(text), "{}", failure.details);
    assert!(
        failure
            .details
            .contains("is selected by erase.disks[0].disk, too")
    );
}

#[tokio::test]
async fn a_policy_is_for_all_disks_but_those_that_the_node_keeps() {
    let directory = tempfile::tempdir().unwrap();
    let context = machine(directory.path());
    let kept = directory.path().join("sdb").display().to_string();
    let node = json!({"properties": {"skip_block_devices": [{"name": format!("s== {kept}")}]}});
    context
        .node
        .remember(Node(node.as_object().unwrap().clone()));
    let call = verb(json!({"policy": {"scope": "ERASE_SCOPE_DATA"}}));
    let answer = call.run(&context, &Task::detached()).await.unwrap();
    let outcomes: Vec<_> = answer["disks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|disk| (disk["device"] == *kept, disk["outcome"].as_str().unwrap()))
        .collect();
    let mut sorted = outcomes.clone();
    sorted.sort_unstable();
    assert_eq!(
        sorted,
        [
            (false, "ERASE_OUTCOME_ERASED"),
            (false, "ERASE_OUTCOME_ERASED"),
            (true, "ERASE_OUTCOME_LEFT_ALONE"),
        ]
    );
}

const SIZE: usize = 4 << 20;

/// A disk full of ones.
fn add_disk(machine: &mut FakeMachine, name: &str, port: u32, serial: &str) {
    machine.sata_disk(name, SIZE as u64, port);
    let minor = u32::from(name.as_bytes()[2] - b'a') * 16;
    machine.udev(&format!("8:{minor}"), &[("ID_SERIAL_SHORT", serial)]);
    machine.bytes(&format!("dev/{name}"), &vec![1; SIZE]);
}

/// The kernel does not show it any more.
fn remove_disk(machine: &FakeMachine, name: &str) {
    let link = machine.path().join("sys/class/block").join(name);
    std::fs::remove_file(link).unwrap();
}

/// Programs that do nothing, while the first of which the machine changes.
#[derive(Debug)]
struct Programs {
    machine: Mutex<FakeMachine>,
    change: fn(&mut FakeMachine),
    ran: Mutex<Vec<String>>,
}

impl Run for Programs {
    fn run(&self, cmd: Cmd) -> BoxFuture<'_, Result<Output, RunError>> {
        recording::record(&cmd);
        let mut ran = self.ran.lock().unwrap();
        if ran.is_empty() {
            (self.change)(&mut self.machine.lock().unwrap());
        }
        ran.push(cmd.to_string());
        std::future::ready(Ok(Output::default())).boxed()
    }
}

/// Carries out an order on a machine with the disks `sda`, `sdb` and `sdc`. Answers what was
/// answered, the programs that ran, and the disks that are not full of ones any more.
async fn ordered(
    order: Value,
    change: fn(&mut FakeMachine),
) -> (Result<Value, Failure>, Vec<String>, Vec<String>) {
    let mut machine = FakeMachine::new();
    for (port, name) in (1..).zip(["sda", "sdb", "sdc"]) {
        add_disk(&mut machine, name, port, &format!("S-{name}"));
    }
    let system = machine.system();
    let programs = Arc::new(Programs {
        machine: Mutex::new(machine),
        change,
        ran: Mutex::default(),
    });
    let mut context = testing::context(AgentConfig::default());
    context.system = System {
        run: programs.clone(),
        ..system
    };
    let answer = verb(order).run(&context, &Task::detached()).await;
    let ran = programs.ran.lock().unwrap().clone();
    let machine = programs.machine.lock().unwrap();
    let is_changed = |name: &&str| {
        let content = std::fs::read(machine.path().join("dev").join(name));
        content.is_ok_and(|bytes| bytes.iter().any(|byte| *byte != 1))
    };
    let names = ["sda", "sdb", "sdc", "sdd", "sde"].into_iter();
    let changed = names.filter(is_changed).map(str::to_owned).collect();
    (answer, ran, changed)
}

/// An order whose disks are of these names, each with its scope.
fn order_of(disks: &[(&str, &str)]) -> Value {
    let disks = disks.iter().map(|(name, scope)| {
        json!({"disk": {"device": format!("/dev/{name}")},
               "policy": {"scope": format!("ERASE_SCOPE_{scope}")}})
    });
    json!({"disks": disks.collect::<Vec<_>>()})
}

fn answer_of(erased: &[&str]) -> Value {
    let entries = erased.iter().map(|name| {
        json!({"device": format!("/dev/{name}"), "outcome": "ERASE_OUTCOME_ERASED", "reason": ""})
    });
    json!({"disks": entries.collect::<Vec<_>>()})
}

fn overwrites(ran: &[String]) -> Vec<&str> {
    let lines = ran.iter().filter(|line| line.starts_with("shred"));
    lines.filter_map(|line| line.rsplit(' ').next()).collect()
}

#[tokio::test]
async fn a_disk_that_appears_after_the_order_is_left_alone() {
    let appear = |machine: &mut FakeMachine| add_disk(machine, "sdd", 4, "S-new");
    let (answer, ran, changed) = ordered(order_of(&[("sda", "DATA")]), appear).await;
    assert_eq!(answer.unwrap(), answer_of(&["sda"]));
    assert_eq!(overwrites(&ran), ["/dev/sda"]);
    assert!(ran.iter().all(|line| !line.contains("sdd")), "{ran:?}");
    assert!(changed.is_empty(), "{changed:?}");
}

/// All but the first come back under other names while that is erased.
#[tokio::test]
async fn disks_that_get_other_names_between_two_groups_stay_what_they_are() {
    let rename = |machine: &mut FakeMachine| {
        remove_disk(machine, "sdb");
        remove_disk(machine, "sdc");
        add_disk(machine, "sdd", 4, "S-sdb");
        add_disk(machine, "sde", 5, "S-sdc");
    };
    let order = order_of(&[("sda", "DATA"), ("sdb", "METADATA")]);
    let (answer, ran, changed) = ordered(order, rename).await;
    assert_eq!(answer.unwrap(), answer_of(&["sda", "sdd"]));
    assert_eq!(overwrites(&ran), ["/dev/sda"]);
    assert_eq!(ran.last().unwrap(), "wipefs --force --all /dev/sdd");
    assert_eq!(changed, ["sdd"]);
}

#[tokio::test]
async fn a_name_that_another_disk_got_between_two_groups_is_refused() {
    let replace = |machine: &mut FakeMachine| {
        remove_disk(machine, "sdb");
        add_disk(machine, "sdb", 4, "S-new");
    };
    let order = order_of(&[("sda", "DATA"), ("sdb", "METADATA")]);
    let (answer, ran, changed) = ordered(order, replace).await;
    let failure = answer.unwrap_err();
    let text = "erase.disks[1].disk: /dev/sdb, which it selected, is gone";
    assert!(failure.details.starts_with(text), "{}", failure.details);
    assert_eq!(overwrites(&ran), ["/dev/sda"]);
    assert!(changed.is_empty(), "{changed:?}");
}

/// It drops off when the first drive is asked what it can do.
#[tokio::test]
async fn a_disk_that_is_gone_is_not_reported_as_erased() {
    let drop_off = |machine: &mut FakeMachine| remove_disk(machine, "sdb");
    let all = json!({"policy": {"scope": "ERASE_SCOPE_DATA"}});
    let (answer, ran, _) = ordered(all, drop_off).await;
    assert_eq!(answer.unwrap(), answer_of(&["sda", "sdc"]));
    assert_eq!(overwrites(&ran), ["/dev/sdc", "/dev/sda"]);

    let order = order_of(&[("sda", "DATA"), ("sdb", "DATA")]);
    let (answer, ran, _) = ordered(order, drop_off).await;
    let failure = answer.unwrap_err();
    let text = "Nothing was erased, because /dev/sdb is not the disk any more that was chosen";
    assert!(failure.details.contains(text), "{}", failure.details);
    assert!(overwrites(&ran).is_empty(), "{ran:?}");
}
