//! The step up to the last argument of the last program.

use futures_util::future::BoxFuture;
use serde_json::json;

use super::*;
use crate::disk::erase::guard::Selection;
use crate::failure::FailureKind;
use crate::hardware::StepError;
use crate::hardware::generic::testing::{Bench, erase_error, failure};
use crate::image::LastDeployment;
use crate::machine::block::guarded_filesystem::tests::msdos;
use crate::machine::raid::tests::member;
use crate::machine::testing::FakeMachine;
use crate::system::process::{Output, Script};
use crate::system::{RunError, System};
use crate::task::Task;

const MIB: usize = 1 << 20;
const INSPECT: &str = "hdparm -I /dev/sda";
const SMART: &str = "smartctl -d ata /dev/sda -g security";
const SET: &str = "hdparm --user-master u --security-set-pass NULL /dev/sda";
const ERASE: &str = "hdparm --user-master u --security-erase-enhanced NULL /dev/sda";
const PLAIN: &str = "hdparm --user-master u --security-erase NULL /dev/sda";
const UNLOCK: &str = "hdparm --user-master u --security-unlock NULL /dev/sda";
const UNLOCK_EMPTY: &str = "hdparm --user-master u --security-unlock  /dev/sda";
const DISABLE: &str = "hdparm --user-master u --security-disable NULL /dev/sda";
const SHRED: &str = "shred --force --zero --verbose --iterations 1 /dev/sda";

/// A machine with disks of 4 MiB, each empty.
fn machine(names: &[&str]) -> FakeMachine {
    let mut machine = FakeMachine::new();
    for (port, name) in (1..).zip(names) {
        match name.strip_prefix("nvme") {
            Some(_) => machine.nvme_disk(name, 4 * MIB as u64, "S", "eui.00"),
            None => machine.sata_disk(name, 4 * MIB as u64, port),
        };
        machine.bytes(&format!("dev/{name}"), &vec![0; 4 * MIB]);
    }
    machine
}

/// What `hdparm -I` prints: words that say "not" by a leading exclamation mark.
fn security(words: &str) -> String {
    let lines: String = words
        .split_whitespace()
        .map(|word| match word.strip_prefix('!') {
            Some(word) => format!("\tnot\t{}\n", word.replace('_', " ")),
            None => format!("\t\t{}\n", word.replace('_', " ")),
        })
        .collect();
    format!("ATA device\nSecurity: \n{lines}Checksum: correct\n")
}

/// With our password.
const ENABLED: &str = "supported enabled !locked !frozen supported:_enhanced_erase";
const READY: &str = "supported !enabled !locked !frozen supported:_enhanced_erase";

fn fails(program: &str) -> Result<Output, RunError> {
    Err(RunError::Failed {
        program: program.into(),
        command: program.into(),
        status: 5,
        stderr: "broken".into(),
    })
}

fn missing(program: &str) -> Result<Output, RunError> {
    Err(RunError::Missing {
        program: program.into(),
    })
}

/// How a program ends.
enum End<'a> {
    Says(&'a str),
    Fails,
    Missing,
}
use End::{Fails, Missing, Says};

fn programs(lines: &[(&str, End<'_>)]) -> Script {
    lines.iter().fold(Script::new(), |script, (line, end)| {
        let program = line.split(' ').next().unwrap();
        match end {
            Says(text) => script.expect(line, text),
            Fails => script.expect_result(line, fails(program)),
            Missing => script.expect_result(line, missing(program)),
        }
    })
}

async fn erase(internal: Value, lines: &[(&str, End<'_>)]) -> Result<Value, StepError> {
    let bench = Bench::new(machine(&["sda"]));
    let bench = bench.node(json!({"uuid": "u", "driver_internal_info": internal}));
    bench.run(&EraseDevices, programs(lines)).await.0
}

fn reason(result: Result<Value, StepError>) -> String {
    let text = erase_error(result).to_string();
    let start = "Failed to erase the device(s): \"/dev/sda\": ";
    let reason = text.strip_prefix(start);
    reason.unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[tokio::test]
async fn an_ata_drive_erases_itself() {
    let ready = security(READY);
    let plain = security("supported !enabled !locked !frozen !supported:_enhanced_erase");
    let locked = security("supported enabled locked !frozen supported:_enhanced_erase");
    let ours = security("supported enabled !locked !frozen supported:_enhanced_erase");
    let done = json!({"/dev/sda": null});
    let cases: [&[(&str, End<'_>)]; 6] = [
        &[
            (INSPECT, Says(&ready)),
            (SMART, Says("ATA Security is: Disabled, NOT FROZEN [SEC1]")),
            (SET, Says("")),
            (INSPECT, Says(&security(ENABLED))),
            (ERASE, Says("")),
            (INSPECT, Says(&ready)),
        ],
        &[
            (INSPECT, Says(&ready)),
            (SMART, Missing),
            (SET, Says("")),
            (INSPECT, Says(&security(ENABLED))),
            (ERASE, Says("")),
            (INSPECT, Says(&ready)),
        ],
        &[
            (INSPECT, Says(&plain)),
            (SMART, Missing),
            (SET, Says("")),
            (INSPECT, Says(&security(ENABLED))),
            (PLAIN, Says("")),
            (INSPECT, Says(&plain)),
        ],
        // An interrupted erase left our password behind; unlocking removed it.
        &[
            (INSPECT, Says(&locked)),
            (SMART, Missing),
            (UNLOCK, Says("")),
            (INSPECT, Says(&ready)),
            (SET, Says("")),
            (INSPECT, Says(&security(ENABLED))),
            (ERASE, Says("")),
            (INSPECT, Says(&ready)),
        ],
        // Unlocking only works with the empty password, and keeps it set.
        &[
            (INSPECT, Says(&locked)),
            (SMART, Missing),
            (UNLOCK, Fails),
            (INSPECT, Says(&locked)),
            (UNLOCK_EMPTY, Says("")),
            (INSPECT, Says(&ours)),
            (ERASE, Says("")),
            (INSPECT, Says(&ready)),
        ],
        // Set and not locked.
        &[
            (INSPECT, Says(&ours)),
            (SMART, Missing),
            (ERASE, Says("")),
            (INSPECT, Says(&ready)),
        ],
    ];
    for lines in cases {
        assert_eq!(erase(json!({}), lines).await.unwrap(), done.clone());
    }
}

#[tokio::test]
async fn what_cannot_erase_itself_is_overwritten() {
    let ready = security(READY);
    let unsupported = security("!supported !enabled !locked !frozen");
    let cases: [(Value, &[(&str, End<'_>)]); 9] = [
        (
            json!({}),
            &[(INSPECT, Says("")), (SMART, Missing), (SHRED, Says(""))],
        ),
        (
            json!({}),
            &[(INSPECT, Fails), (SMART, Says("")), (SHRED, Says(""))],
        ),
        (
            json!({}),
            &[(INSPECT, Missing), (SMART, Missing), (SHRED, Says(""))],
        ),
        (
            json!({}),
            &[
                (INSPECT, Says(&unsupported)),
                (SMART, Says("")),
                (SHRED, Says("")),
            ],
        ),
        (
            json!({}),
            &[
                (INSPECT, Says(&ready)),
                (SMART, Says("ATA Security is: Unavailable")),
                (SHRED, Says("")),
            ],
        ),
        (
            json!({}),
            &[(INSPECT, Says(&ready)), (SMART, Fails), (SHRED, Says(""))],
        ),
        (
            json!({"agent_enable_ata_secure_erase": false}),
            &[(SHRED, Says(""))],
        ),
        (
            json!({"agent_enable_ata_secure_erase": false, "agent_erase_devices_zeroize": false,
                "agent_erase_devices_iterations": 2}),
            &[("shred --force --verbose --iterations 2 /dev/sda", Says(""))],
        ),
        (
            json!({"agent_enable_ata_secure_erase": false, "agent_erase_devices_zeroize": false,
                "agent_erase_devices_iterations": 0}),
            &[("shred --force --verbose --iterations 0 /dev/sda", Says(""))],
        ),
    ];
    for (internal, lines) in cases {
        let erased = erase(internal.clone(), lines).await;
        assert_eq!(erased.unwrap(), json!({"/dev/sda": null}), "{internal}");
    }
}

#[tokio::test]
async fn a_drive_that_fails_is_overwritten_only_if_that_is_allowed() {
    let ready = security(READY);
    let frozen = security("supported !enabled !locked frozen");
    let locked = security("supported enabled locked !frozen");
    let ours = security("supported enabled !locked !frozen supported:_enhanced_erase");
    let cases: [(&str, &[(&str, End<'_>)]); 9] = [
        (
            "its firmware froze",
            &[(INSPECT, Says(&frozen)), (SMART, Missing)],
        ),
        (
            "it is locked with a password that is not ours",
            &[
                (INSPECT, Says(&locked)),
                (SMART, Missing),
                (UNLOCK, Fails),
                (INSPECT, Says(&locked)),
                (UNLOCK_EMPTY, Fails),
                (INSPECT, Says(&locked)),
            ],
        ),
        (
            "its security state is unknown",
            &[
                (INSPECT, Says(&locked)),
                (SMART, Missing),
                (UNLOCK, Fails),
                (INSPECT, Fails),
            ],
        ),
        (
            "no password could be set",
            &[(INSPECT, Says(&ready)), (SMART, Missing), (SET, Fails)],
        ),
        // Something between us and the drive drops its commands.
        (
            "its security commands do not reach it",
            &[
                (INSPECT, Says(&ready)),
                (SMART, Missing),
                (SET, Says("")),
                (INSPECT, Says(&ready)),
                (INSPECT, Says(&ready)),
            ],
        ),
        // The drive must not keep our password.
        (
            "its security state is unknown",
            &[
                (INSPECT, Says(&ready)),
                (SMART, Missing),
                (SET, Says("")),
                (INSPECT, Fails),
                (INSPECT, Says(&ours)),
                (DISABLE, Says("")),
            ],
        ),
        (
            "the drive did not erase itself",
            &[
                (INSPECT, Says(&ready)),
                (SMART, Missing),
                (SET, Says("")),
                (INSPECT, Says(&security(ENABLED))),
                (ERASE, Fails),
                (INSPECT, Says(&locked)),
                (UNLOCK, Says("")),
                (INSPECT, Says(&ours)),
                (DISABLE, Says("")),
            ],
        ),
        (
            "its password is still set",
            &[
                (INSPECT, Says(&ready)),
                (SMART, Missing),
                (SET, Says("")),
                (INSPECT, Says(&security(ENABLED))),
                (ERASE, Says("")),
                (INSPECT, Says(&ours)),
                (INSPECT, Says(&ours)),
                (DISABLE, Fails),
            ],
        ),
        (
            "shred is not installed",
            &[(INSPECT, Missing), (SMART, Missing), (SHRED, Missing)],
        ),
    ];
    for (text, lines) in cases {
        let reason = reason(erase(json!({}), lines).await);
        assert!(reason.contains(text), "{reason}");
        if text.contains("shred") {
            continue;
        }
        // Both names of the permission.
        for key in [
            "agent_continue_if_secure_erase_failed",
            "agent_continue_if_ata_erase_failed",
        ] {
            let mut script = programs(lines);
            script = script.expect(SHRED, "");
            let bench = Bench::new(machine(&["sda"]))
                .node(json!({"uuid": "u", "driver_internal_info": {key: true}}));
            let (result, notes) = bench.run(&EraseDevices, script).await;
            assert_eq!(result.unwrap(), json!({"/dev/sda": null}));
            assert!(notes.iter().any(|note| note.contains(text)), "{notes:?}");
        }
    }
}

#[tokio::test]
async fn an_nvme_drive_is_formatted_or_sanitized() {
    const IDENTIFY: &str = "nvme id-ctrl /dev/nvme0n1 -o json";
    let crypto = r#"{"vid":5559,"oacs":23,"fna":4,"sanicap":3}"#;
    let log = |bytes: [u8; 4]| {
        Ok(Output {
            stdout: bytes.to_vec(),
            ..Output::default()
        })
    };
    let bench = || Bench::new(machine(&["nvme0n1"]));
    let done = json!({"/dev/nvme0n1": null});
    for (fna, mode) in [(4, 2), (0, 1)] {
        let script = Script::new()
            .expect(IDENTIFY, &format!(r#"{{"oacs":23,"fna":{fna}}}"#))
            .expect(&format!("nvme format /dev/nvme0n1 -s {mode} -f"), "");
        assert_eq!(bench().run(&EraseDevices, script).await.0.unwrap(), done);
    }
    let sanitizing = || {
        bench().node(json!({"uuid": "u", "driver_info": {"agent_erase_plan": {"sanitize": true}}}))
    };
    tokio::time::pause();
    let script = Script::new()
        .expect(IDENTIFY, crypto)
        .expect("nvme sanitize /dev/nvme0 -a 4", "")
        .expect_result("nvme sanitize-log /dev/nvme0 -b", log([0, 0x40, 2, 0]))
        .expect_result("nvme sanitize-log /dev/nvme0 -b", log([0xff, 0xff, 1, 1]));
    let (result, notes) = sanitizing().run(&EraseDevices, script).await;
    assert_eq!(result.unwrap(), done);
    let note = "/dev/nvme0n1 erased by NVMe sanitize (cryptographic erase) in ";
    assert!(notes[0].starts_with(note), "{notes:?}");
    let script = Script::new()
        .expect(IDENTIFY, r#"{"oacs":23,"fna":4,"sanicap":4}"#)
        .expect("nvme sanitize /dev/nvme0 -a 3 -n 1", "")
        .expect_result("nvme sanitize-log /dev/nvme0 -b", fails("nvme"))
        .expect_result("nvme sanitize-log /dev/nvme0 -b", log([0xff, 0xff, 1, 1]));
    assert_eq!(
        sanitizing().run(&EraseDevices, script).await.0.unwrap(),
        done
    );
    let script = Script::new()
        .expect(IDENTIFY, crypto)
        .expect("nvme sanitize /dev/nvme0 -a 4", "")
        .expect_result("nvme sanitize-log /dev/nvme0 -b", log([0, 0, 3, 0]));
    let failed = erase_error(sanitizing().run(&EraseDevices, script).await.0);
    assert!(failed.to_string().contains("failed to sanitize itself"));

    let refusals: [(&[(&str, End<'_>)], &str); 5] = [
        (
            &[(IDENTIFY, Says(r#"{"oacs":0,"fna":4}"#))],
            "does not support the format command",
        ),
        (&[(IDENTIFY, Says(""))], "printed no JSON document"),
        (&[(IDENTIFY, Fails)], "ended with status 5"),
        (&[(IDENTIFY, Missing)], "nvme is not installed"),
        (
            &[
                (IDENTIFY, Says(crypto)),
                ("nvme format /dev/nvme0n1 -s 2 -f", Fails),
            ],
            "NVMe format (cryptographic erase): ",
        ),
    ];
    for (lines, text) in refusals {
        let failed = erase_error(bench().run(&EraseDevices, programs(lines)).await.0);
        assert!(failed.to_string().contains(text), "{failed}");
        let allowed = bench().node(json!({"uuid": "u",
            "driver_internal_info": {"agent_continue_if_secure_erase_failed": true}}));
        let shred = "shred --force --zero --verbose --iterations 1 /dev/nvme0n1";
        let script = programs(lines).expect(shred, "");
        assert_eq!(allowed.run(&EraseDevices, script).await.0.unwrap(), done);
    }
    let off = bench().node(json!({"uuid": "u",
        "driver_internal_info": {"agent_enable_nvme_secure_erase": false}}));
    let shred = "shred --force --zero --verbose --iterations 1 /dev/nvme0n1";
    assert_eq!(
        off.run(&EraseDevices, Script::new().expect(shred, ""))
            .await
            .0
            .unwrap(),
        done
    );
}

#[tokio::test]
async fn name_spaces_that_must_stay_keep_their_drive_from_being_formatted() {
    let bench = Bench::new(machine(&["nvme0n1", "nvme0n2"])).node(json!({"uuid": "u",
        "properties": {"skip_block_devices": [{"name": "/dev/nvme0n2"}]}}));
    let all_at_once = r#"{"oacs":2,"fna":2}"#;
    let script = Script::new().expect("nvme id-ctrl /dev/nvme0n1 -o json", all_at_once);
    let failed = erase_error(bench.run(&EraseDevices, script).await.0);
    assert!(
        failed
            .to_string()
            .contains("/dev/nvme0n2 must not be erased")
    );
}

#[tokio::test]
async fn a_scsi_drive_sanitizes_itself_when_the_operator_wishes() {
    let mut machine = FakeMachine::new();
    machine.scsi_disk(
        "pci0000:00/0000:00:05.0",
        2,
        "/port-2:0/end_device-2:0",
        "sda",
        4 << 20,
    );
    machine.bytes("dev/sda", &vec![0; 4 * MIB]);
    let bench = Bench::new(machine)
        .node(json!({"uuid": "u", "driver_info": {"agent_erase_plan": {"sanitize": true}}}));
    tokio::time::pause();
    let at = |status, text: &str| {
        Ok(Output {
            status,
            stdout: text.into(),
            ..Output::default()
        })
    };
    let turs = "sg_turs --progress /dev/sda";
    let script = Script::new()
        .expect(INSPECT, "")
        .expect_result(SMART, fails("smartctl"))
        .expect_result("sg_opcodes --opcode=0x48,3 /dev/sda", fails("sg_opcodes"))
        .expect(
            "sg_opcodes --opcode=0x48,2 /dev/sda",
            "  Command is not supported\n",
        )
        .expect(
            "sg_opcodes --opcode=0x48,1 /dev/sda",
            "  Command is supported [conforming to SCSI standard]\n",
        )
        .expect(
            "sg_sanitize --overwrite --zero --quick --early /dev/sda",
            "",
        )
        .expect_result(turs, at(2, "Progress indication: 50.00% done\n"))
        // The bus was reset, a command aborted, the program not there for a moment.
        .expect_result(turs, at(6, ""))
        .expect_result(turs, at(11, ""))
        .expect_result(turs, missing("sg_turs"))
        .expect_result(turs, at(0, ""));
    let (result, notes) = bench.run(&EraseDevices, script).await;
    assert_eq!(result.unwrap(), json!({"/dev/sda": null}));
    assert!(
        notes[0].starts_with("/dev/sda erased by SCSI sanitize (overwrite)"),
        "{notes:?}"
    );
}

#[tokio::test]
async fn nothing_is_touched_while_one_disk_may_not_be() {
    // The protected one comes last; the earlier ones must stay whole.
    let mut shared = machine(&["sda", "sdb"]);
    let mut disk = vec![0; 4 * MIB];
    msdos(&mut disk, 0, &[(0xfb, 16, 8)]);
    shared.bytes("dev/sda", &disk);
    let found = failure(Bench::new(shared).run(&EraseDevices, Script::new()).await.0);
    assert_eq!(found.kind, FailureKind::ProtectedDevice);

    let read_only = || {
        let mut machine = machine(&["sda", "sdb"]);
        machine.file("sys/class/block/sdb/ro", "1");
        Bench::new(machine)
    };
    let found = failure(read_only().run(&EraseDevices, Script::new()).await.0);
    assert!(
        found.details.contains("are read-only: /dev/sdb"),
        "{}",
        found.details
    );
    let skipping = read_only().node(json!({"uuid": "u", "driver_internal_info": {
        "agent_erase_skip_read_only": true, "agent_enable_ata_secure_erase": false}}));
    let (result, notes) = skipping
        .run(&EraseDevices, Script::new().expect(SHRED, ""))
        .await;
    assert_eq!(
        result.unwrap(),
        json!({"/dev/sda": null, "/dev/sdb": "left alone: it is read-only"})
    );
    assert_eq!(notes[0], "/dev/sdb is left alone: it is read-only");

    // A partition of it is mounted: the disk is in use.
    let mut mounted = FakeMachine::new();
    mounted
        .file("proc/self/mounts", "/dev/sda1 /mnt ext4 rw 0 0")
        .bytes("dev/sda", &vec![0; 4 * MIB])
        .bytes("dev/sda1", &vec![0; MIB]);
    let sda = mounted.sata_disk("sda", 4 * MIB as u64, 1);
    mounted.partition(&sda, "sda1", "8:1", MIB as u64);
    let found = failure(
        Bench::new(mounted)
            .run(&EraseDevices, Script::new())
            .await
            .0,
    );
    assert!(
        found.details.contains("in use: /dev/sda1 (/mnt)"),
        "{}",
        found.details
    );

    let wish = Bench::new(machine(&["sda"]))
        .node(json!({"uuid": "u", "driver_info": {"agent_erase_plan": {"sanitise": true}}}));
    let found = failure(wish.run(&EraseDevices, Script::new()).await.0);
    assert!(
        found
            .details
            .starts_with("Nothing was erased, because driver_info/agent_erase_plan")
    );
}

#[tokio::test]
async fn skipped_disks_are_reported_and_no_disk_is_no_failure() {
    let mut machine = machine(&["sdb"]);
    machine.usb_disk("sda", 4 * MIB as u64, "stick");
    machine.link("dev/disk/by-label/ir-vfd-dev", "dev/sda");
    machine.bytes("dev/sda", &vec![0; 4 * MIB]);
    machine.bytes("dev/sdb", &member(4 * MIB, "box:old"));
    let (result, notes) = Bench::new(machine).run(&EraseDevices, Script::new()).await;
    assert_eq!(
        result.unwrap(),
        json!({
            "/dev/sda": "left alone: it is virtual media of Ironic",
            "/dev/sdb": "left alone: it is a member of a RAID array that is not running; \
                         raid.delete_configuration removes it",
        })
    );
    assert_eq!(
        notes,
        [
            "/dev/sda is left alone: it is virtual media of Ironic",
            "/dev/sdb is left alone: it is a member of a RAID array that is not running; \
             raid.delete_configuration removes it"
        ]
    );
    let empty = Bench::new(FakeMachine::new());
    assert_eq!(
        empty.run(&EraseDevices, Script::new()).await.0.unwrap(),
        json!({})
    );
}

/// What a tenant writes on a disk does not keep it from being erased.
#[tokio::test]
async fn a_label_on_a_disk_of_the_machine_makes_no_virtual_media_of_it() {
    let mut machine = machine(&["sda"]);
    let mut labelled = crate::machine::block::guarded_filesystem::tests::fat(*b"ir-vfd-dev ");
    labelled.resize(4 * MIB, 0);
    machine.bytes("dev/sda", &labelled);
    machine.link("dev/disk/by-label/ir-vfd-dev", "dev/sda");
    let bench = Bench::new(machine).node(json!({"uuid": "u",
        "driver_internal_info": {"agent_enable_ata_secure_erase": false}}));
    let (result, notes) = bench
        .run(&EraseDevices, Script::new().expect(SHRED, ""))
        .await;
    assert_eq!(result.unwrap(), json!({"/dev/sda": null}));
    assert!(
        !notes.iter().any(|note| note.contains("left alone")),
        "{notes:?}"
    );
}

#[tokio::test]
async fn a_disk_that_fails_does_not_keep_the_others() {
    let bench = Bench::new(machine(&["sda", "sdb", "sdc"])).node(json!({"uuid": "u",
        "driver_internal_info": {"agent_enable_ata_secure_erase": false}}));
    let shred = |name: &str| format!("shred --force --zero --verbose --iterations 1 {name}");
    let script = Script::new()
        .expect_result(&shred("/dev/sdc"), fails("shred"))
        .expect(&shred("/dev/sdb"), "")
        .expect_result(&shred("/dev/sda"), fails("shred"));
    let details = erase_error(bench.run(&EraseDevices, script).await.0).to_string();
    let (start, rest) = details.split_once("; \"/dev/sda\": ").unwrap();
    assert!(start.starts_with("Failed to erase the device(s): \"/dev/sdc\": overwriting"));
    assert!(
        rest.contains("broken") && !details.contains("sdb"),
        "{details}"
    );
}

/// A world in which `shred` takes a minute.
#[derive(Debug, Default)]
struct Slow {
    running: std::sync::Mutex<(usize, usize)>,
}

impl crate::system::Run for Slow {
    fn run(&self, _cmd: crate::system::Cmd) -> BoxFuture<'_, Result<Output, RunError>> {
        async move {
            let enter = || {
                let mut running = self.running.lock().unwrap();
                running.0 += 1;
                running.1 = running.1.max(running.0);
            };
            enter();
            tokio::time::sleep(std::time::Duration::from_secs(60)).await;
            self.running.lock().unwrap().0 -= 1;
            Ok(Output::default())
        }
        .boxed()
    }
}

#[tokio::test]
async fn as_many_disks_at_once_as_configured() {
    for (concurrency, most, minutes) in [(json!(null), 1, 4), (json!(3), 3, 2), (json!(10), 4, 1)] {
        let bench = Bench::new(machine(&["sda", "sdb", "sdc", "sdd"])).node(json!({"uuid": "u",
            "driver_internal_info": {"agent_enable_ata_secure_erase": false,
                "disk_erasure_concurrency": concurrency}}));
        let slow = std::sync::Arc::new(Slow::default());
        let system = bench.machine.system_with(slow.clone());
        let selected = select_on(&bench, &system).await;
        tokio::time::pause();
        let start = tokio::time::Instant::now();
        let planned = erase::plan_some(&system, &bench.node, &selected, |_| true)
            .await
            .unwrap();
        let concurrency = bench.node.erase_options().concurrency;
        let task = Task::detached();
        erase::erase(&system, &planned, concurrency, &task)
            .await
            .unwrap();
        assert_eq!(start.elapsed().as_secs(), minutes * 60);
        assert_eq!(slow.running.lock().unwrap().1, most);
        tokio::time::resume();
    }
}

async fn select_on(bench: &Bench, system: &System) -> Selection {
    let (task, installed) = (Task::detached(), LastDeployment::default());
    select(bench.context(system, &task, &installed), Scope::Disks)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_dry_run_shows_the_plan_of_every_disk() {
    let mut machine = machine(&["sda", "nvme0n1"]);
    machine.usb_disk("sdb", 4 * MIB as u64, "stick");
    machine.bytes("dev/sdb", &vec![0; 4 * MIB]);
    machine.link("dev/disk/by-label/ir-vfd-dev", "dev/sdb");
    let script = Script::new()
        .expect(INSPECT, &security("supported !enabled !locked frozen"))
        .expect(SMART, "")
        .expect("nvme id-ctrl /dev/nvme0n1 -o json", r#"{"oacs":2,"fna":0}"#);
    let plan = Bench::new(machine)
        .plan(&EraseDevices, script)
        .await
        .unwrap();
    let lines: Vec<_> = plan
        .iter()
        .map(|action| {
            (
                action.device.as_str(),
                action.destructive,
                action.description.as_str(),
            )
        })
        .collect();
    assert_eq!(
        lines[1],
        (
            "/dev/nvme0n1",
            true,
            "Erase /dev/nvme0n1 by NVMe format (user data erase), given up after 60 min"
        )
    );
    assert_eq!((lines[0].0, lines[0].1), ("/dev/sda", false));
    assert!(
        lines[0]
            .2
            .starts_with("Fail to erase /dev/sda: its firmware froze")
    );
    assert_eq!(
        lines[2].2,
        "Leave /dev/sdb alone: it is virtual media of Ironic"
    );
}

#[tokio::test]
async fn a_simulation_zeroes_its_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk0");
    std::fs::write(&path, vec![7; 4 * MIB]).unwrap();
    let bench = Bench::new(FakeMachine::new());
    let system = System::simulated(directory.path());
    let (result, _) = bench.run_on(&EraseDevices, &system).await;
    assert_eq!(result.unwrap(), json!({path.to_str().unwrap(): null}));
    assert_eq!(std::fs::read(&path).unwrap(), vec![0; 4 * MIB]);
}

/// Notes which disks are opened.
#[derive(Debug)]
struct Opened {
    disks: std::sync::Arc<dyn crate::system::Disks>,
    names: std::sync::Mutex<Vec<String>>,
}

impl crate::system::Disks for Opened {
    fn open(
        &self,
        name: &std::path::Path,
    ) -> Result<Box<dyn crate::system::Disk>, crate::system::DiskError> {
        self.names.lock().unwrap().push(name.display().to_string());
        self.disks.open(name)
    }

    fn open_shared(
        &self,
        name: &std::path::Path,
    ) -> Result<Box<dyn crate::system::Disk>, crate::system::DiskError> {
        self.open(name)
    }

    fn open_to_read(
        &self,
        name: &std::path::Path,
    ) -> Result<Box<dyn crate::system::Disk>, crate::system::DiskError> {
        self.open(name)
    }
}

/// Else the partitions that were erased would still be seen by the step that follows.
#[tokio::test]
async fn the_kernel_looks_again_at_a_disk_that_was_erased() {
    let bench = Bench::new(machine(&["sda"])).node(json!({"uuid": "u",
        "driver_internal_info": {"agent_enable_ata_secure_erase": false}}));
    let script = Script::new().expect(SHRED, "");
    let mut system = bench.machine.system_with(std::sync::Arc::new(script));
    let opened = std::sync::Arc::new(Opened {
        disks: system.disks.clone(),
        names: std::sync::Mutex::default(),
    });
    system.disks = opened.clone();
    let (result, _) = bench.run_on(&EraseDevices, &system).await;
    result.unwrap();
    // Once to see what it holds, and once when that is gone.
    assert_eq!(*opened.names.lock().unwrap(), ["/dev/sda", "/dev/sda"]);
}
