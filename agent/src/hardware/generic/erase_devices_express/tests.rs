use serde_json::json;

use super::*;
use crate::failure::FailureKind;
use crate::hardware::generic::testing::{Bench, erase_error, failure};
use crate::machine::block::guarded_filesystem::tests::msdos;
use crate::machine::testing::FakeMachine;
use crate::system::RunError;
use crate::system::process::Script;

const MIB: usize = 1 << 20;
const IDENTIFY: &str = "nvme id-ctrl /dev/nvme0n1 -o json";
const FORMAT: &str = "nvme format /dev/nvme0n1 -s 2 -f";
const CRYPTO: &str = r#"{"oacs":2,"fna":4}"#;

/// An NVMe drive with a partition, a SATA disk, and an array on disks of its own.
fn machine() -> FakeMachine {
    let mut machine = FakeMachine::new();
    let nvme = machine.nvme_disk("nvme0n1", 4 * MIB as u64, "S", "eui.00");
    machine.partition(&nvme, "nvme0n1p1", "259:1", MIB as u64);
    machine.sata_disk("sda", 4 * MIB as u64, 1);
    let sdb = machine.sata_disk("sdb", 4 * MIB as u64, 2);
    machine.array("md0", "raid1", 4 * MIB as u64, &[&sdb]);
    for name in ["nvme0n1", "nvme0n1p1", "sda", "sdb", "md0"] {
        machine.bytes(&format!("dev/{name}"), &vec![0; 4 * MIB]);
    }
    machine
}

fn wipe(script: Script, names: &[&str]) -> Script {
    names.iter().fold(script, |script, name| {
        script.expect(&format!("wipefs --force --all {name}"), "")
    })
}

fn failed() -> Result<crate::system::Output, RunError> {
    Err(RunError::Failed {
        program: "x".into(),
        command: "x".into(),
        status: 1,
        stderr: "broken".into(),
    })
}

#[tokio::test]
async fn nvme_drives_are_formatted_and_others_lose_their_metadata() {
    let bench = Bench::new(machine());
    let script = Script::new().expect(IDENTIFY, CRYPTO).expect(FORMAT, "");
    let script = wipe(script, &["/dev/sda", "/dev/md0"]);
    let (result, _) = bench.run(&EraseDevicesExpress, script).await;
    assert_eq!(
        result.unwrap(),
        json!({"left_alone": {"/dev/sdb": "it is a member of a RAID array"}})
    );

    let plan = bench
        .plan(&EraseDevicesExpress, Script::new().expect(IDENTIFY, CRYPTO))
        .await
        .unwrap();
    let devices: Vec<_> = plan.iter().map(|action| action.device.as_str()).collect();
    assert_eq!(
        devices,
        ["/dev/nvme0n1", "/dev/sda", "/dev/md0", "/dev/sdb"]
    );
    let text = "Erase /dev/nvme0n1 by NVMe format (cryptographic erase), given up after 60 min; \
                if that fails, destroy its metadata";
    assert_eq!(plan[0].description, text);

    // What a dry run says of a drive that cannot be formatted is what happens to it.
    for continuing in [false, true] {
        let bench = Bench::new(machine()).node(json!({"uuid": "u",
            "driver_internal_info": {"agent_continue_if_secure_erase_failed": continuing}}));
        let script = Script::new().expect(IDENTIFY, r#"{"oacs":0,"fna":4}"#);
        let plan = bench.plan(&EraseDevicesExpress, script).await.unwrap();
        let text = "Destroy the metadata of /dev/nvme0n1: its controller does not support the \
                    format command";
        assert!(plan[0].destructive);
        assert!(
            plan[0].description.starts_with(text),
            "{}",
            plan[0].description
        );
    }

    let off = bench.node(json!({"uuid": "u",
        "driver_internal_info": {"agent_enable_nvme_secure_erase": false}}));
    let all = ["/dev/sda", "/dev/nvme0n1p1", "/dev/nvme0n1", "/dev/md0"];
    let (result, _) = off
        .run(&EraseDevicesExpress, wipe(Script::new(), &all))
        .await;
    assert_eq!(
        result.unwrap(),
        json!({"left_alone": {"/dev/sdb": "it is a member of a RAID array"}})
    );
}

#[tokio::test]
async fn a_drive_that_cannot_be_formatted_loses_its_metadata() {
    for continuing in [false, true] {
        let bench = Bench::new(machine()).node(json!({"uuid": "u",
            "driver_internal_info": {"agent_continue_if_secure_erase_failed": continuing}}));
        let script = Script::new()
            .expect(IDENTIFY, CRYPTO)
            .expect_result(FORMAT, failed());
        let all = ["/dev/sda", "/dev/nvme0n1p1", "/dev/nvme0n1", "/dev/md0"];
        let script = wipe(script, &all);
        let (result, _) = bench.run(&EraseDevicesExpress, script).await;
        assert_eq!(
            result.unwrap(),
            json!({"left_alone": {"/dev/sdb": "it is a member of a RAID array"}})
        );
    }
    let script = Script::new()
        .expect(IDENTIFY, CRYPTO)
        .expect_result(FORMAT, failed())
        .expect("wipefs --force --all /dev/sda", "")
        .expect("wipefs --force --all /dev/nvme0n1p1", "")
        .expect_result("wipefs --force --all /dev/nvme0n1", failed())
        .expect("wipefs --force --all /dev/md0", "");
    let details = erase_error(
        Bench::new(machine())
            .run(&EraseDevicesExpress, script)
            .await
            .0,
    )
    .to_string();
    let start =
        "Failed to conduct an express erase on the device(s): \"/dev/nvme0n1\": NVMe format";
    assert!(details.starts_with(start), "{details}");
    assert!(
        details.contains("; then Destroying metadata failed"),
        "{details}"
    );
}

#[tokio::test]
async fn a_protected_disk_keeps_everything_from_being_erased() {
    let mut machine = machine();
    let mut disk = vec![0; 4 * MIB];
    msdos(&mut disk, 0, &[(0xfb, 16, 8)]);
    machine.bytes("dev/sda", &disk);
    let failure = failure(
        Bench::new(machine)
            .run(&EraseDevicesExpress, Script::new())
            .await
            .0,
    );
    assert_eq!(failure.kind, FailureKind::ProtectedDevice);
}
