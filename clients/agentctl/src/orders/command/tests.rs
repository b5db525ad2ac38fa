use clap::Parser as _;

use super::*;
use crate::arguments::{AgentctlArguments, ControlCommand};
use crate::exit_kind::ExitKind;

fn node() -> NodeRef {
    NodeRef {
        uuid: "u-1".to_owned(),
        name: "rack1-1".to_owned(),
    }
}

fn prepared(words: &[&str]) -> Result<PreparedOrder, OrderError> {
    let words = ["agentctl", "plan"].iter().chain(words);
    let line = AgentctlArguments::try_parse_from(words).unwrap();
    match line.command {
        ControlCommand::Plan { order } => PreparedOrder::new(&order),
        other => panic!("{other:?}"),
    }
}

fn made(words: &[&str]) -> Value {
    let command = prepared(words).unwrap().command(&node()).unwrap();
    crate::output::message::to_json(&command).unwrap()
}

#[test]
fn erasing_is_by_a_policy_for_all_disks_or_for_some() {
    for (method, scope) in [
        ("data", "ERASE_SCOPE_DATA"),
        ("metadata", "ERASE_SCOPE_METADATA"),
        ("express", "ERASE_SCOPE_EXPRESS"),
    ] {
        let command = made(&["erase", "rack1-1", "--method", method, "--sanitize"]);
        assert_eq!(command["erase"]["policy"]["scope"], scope);
        assert_eq!(command["erase"]["policy"]["sanitize"], true);
        assert_eq!(command["erase"]["disks"], json!([]));
    }
    let command = made(&["erase", "n", "--disk", "/dev/sdb", "--disk", "serial=7"]);
    assert_eq!(command["erase"].get("policy"), None);
    let disks = &command["erase"]["disks"];
    assert_eq!(disks[0]["disk"]["device"], "/dev/sdb");
    assert_eq!(disks[1]["disk"]["serial"], "7");
    assert_eq!(disks[1]["policy"]["scope"], "ERASE_SCOPE_DATA");
}

#[test]
fn an_image_is_ordered_with_its_digest_disk_and_config_drive() {
    let directory = tempfile::tempdir().unwrap();
    let drive = directory.path().join("drive");
    let password = directory.path().join("password");
    fs::write(&drive, "drive").unwrap();
    fs::write(&password, "secret\n").unwrap();
    let (drive, password) = (drive.to_str().unwrap(), password.to_str().unwrap());
    let words = [
        ["--image", "https://a/d.raw.zst?x=1"],
        ["--image", "https://b/d"],
        ["--sha384", "abc"],
        ["--format", "raw"],
        ["--config-drive", drive],
        ["--disk", "/dev/nvme0n1"],
        ["--boot-mode", "uefi"],
        ["--image-user", "me"],
        ["--image-password-file", password],
    ];
    let command = made(&[&["write", "n"], words.as_flattened()].concat());
    let order = &command["write_image"];
    let image = &order["image"];
    assert_eq!(
        image["urls"],
        json!(["https://a/d.raw.zst?x=1", "https://b/d"])
    );
    assert_eq!(image["digest"]["algorithm"], "DIGEST_ALGORITHM_SHA384");
    assert_eq!(image["digest"]["value"], "abc");
    assert_eq!(image["format"], "IMAGE_FORMAT_RAW");
    assert_eq!(image["credentials"]["user"], "me");
    assert_eq!(image["credentials"]["password"], "secret");
    assert_eq!(order["config_drive"]["content"], "ZHJpdmU=");
    assert_eq!(order["target"]["device"], "/dev/nvme0n1");
    assert_eq!(order["boot_mode"], "FIRMWARE_MODE_UEFI");
    let list = made(&[
        "write",
        "n",
        "--image",
        "https://a/d",
        "--sha256",
        "https://a/SUMS",
    ]);
    let digest = &list["write_image"]["image"]["digest"];
    assert_eq!(
        (&digest["list_url"], &digest["value"]),
        (&json!("https://a/SUMS"), &json!(""))
    );
    assert!(matches!(
        prepared(&["write", "n", "--image", "https://a/d"]),
        Err(OrderError::NoDigest)
    ));
    prepared(&["write", "n", "--image", "oci://r/a:1"]).unwrap();
    let missing = [
        "write",
        "n",
        "--image",
        "oci://r/a",
        "--config-drive",
        "/none",
    ];
    assert!(matches!(
        prepared(&missing),
        Err(OrderError::ConfigDrive { .. })
    ));
}

#[test]
fn raid_is_made_from_a_file_or_removed() {
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("raid.yaml");
    fs::write(&layout, "volumes: [{level: RAID_LEVEL_1, size_gib: 10}]").unwrap();
    let layout = layout.to_str().unwrap();
    let command = made(&["raid", "n", "--layout", layout, "--keep-existing"]);
    assert_eq!(command["raid"]["volumes"][0]["level"], "RAID_LEVEL_1");
    assert_eq!(command["raid"]["volumes"][0]["size_gib"], 10);
    assert_eq!(command["raid"]["keep_existing"], true);
    let command = made(&["raid", "n", "--delete"]);
    assert_eq!(command["raid"]["volumes"], json!([]));
    fs::write(layout, "logical_disks: []").unwrap();
    let refused = prepared(&["raid", "n", "--layout", layout]).unwrap_err();
    assert!(matches!(refused, OrderError::Layout(_)), "{refused:?}");
}

#[test]
fn a_layout_without_arrays_removes_none() {
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("raid.yaml");
    for text in ["{}", "volumes:", "volumes: []", "keep_existing: true"] {
        fs::write(&layout, text).unwrap();
        let refused = prepared(&["raid", "n", "--layout", layout.to_str().unwrap()]);
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused, OrderError::NoVolumes(_)),
            "{text}: {refused:?}"
        );
        assert!(refused.advice().unwrap().contains("--delete"), "{text}");
        assert_eq!(refused.kind(), ExitKind::Usage);
    }
}

#[test]
fn any_step_and_any_command_can_be_run() {
    let command = made(&[
        "run",
        "n",
        "--step",
        "deploy.burnin_cpu",
        "--phase",
        "service",
        "--argument",
        "a=1",
        "--argument",
        "b=x=y",
    ]);
    let executed = &command["execute_step"];
    assert_eq!(executed["phase"], "STEP_PHASE_SERVICE");
    assert_eq!(executed["step"]["args"], json!({"a": 1, "b": "x=y"}));
    assert_eq!(
        made(&["run", "n", "--command", r#"{"sync": {}}"#])["sync"],
        json!({})
    );
    for (words, expected) in [
        (["--step", "erase_devices"], "INTERFACE.STEP"),
        (["--command", "sync"], "not JSON"),
        (["--command", r#"{"sink": {}}"#], "not one of the protocol"),
        (["--file", "/nonexistent"], "/nonexistent"),
    ] {
        let error = prepared(&[&["run", "n"], &words[..]].concat()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.kind(), ExitKind::Usage);
    }
}

#[test]
fn what_changes_the_machine_is_asked_about() {
    let asks = |words: &[&str]| prepared(words).unwrap().asks_first();
    assert!(asks(&["erase", "n"]));
    assert!(asks(&["write", "n", "--image", "oci://r/a:1"]));
    assert!(asks(&["raid", "n", "--delete"]));
    assert!(asks(&["power", "off", "n"]));
    assert!(asks(&["run", "n", "--command", r#"{"lockdown": {}}"#]));
    assert!(asks(&["run", "n", "--command", r#"{"start_flow": {}}"#]));
    assert!(!asks(&["run", "n", "--command", r#"{"sync": {}}"#]));
}
