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
fn erasing_is_a_step_of_cleaning_for_the_node() {
    for (method, step) in [
        ("data", "erase_devices"),
        ("metadata", "erase_devices_metadata"),
        ("express", "erase_devices_express"),
    ] {
        let command = made(&["erase", "rack1-1", "--method", method]);
        let executed = &command["execute_step"];
        assert_eq!(executed["phase"], "STEP_PHASE_CLEAN");
        assert_eq!(executed["step"]["step"], step);
        assert_eq!(executed["node"], json!({"name": "rack1-1", "uuid": "u-1"}));
    }
}

#[test]
fn an_image_is_what_ironic_would_order() {
    let directory = tempfile::tempdir().unwrap();
    let drive = directory.path().join("drive");
    fs::write(&drive, [0x1f, 0x8b, 8]).unwrap();
    let words = [
        "write",
        "n",
        "--image",
        "https://a/d.raw.zst?x=1",
        "--image",
        "https://b/d",
        "--sha256",
        "abc",
        "--disk-format",
        "raw",
        "--config-drive",
        drive.to_str().unwrap(),
    ];
    let expected = json!({"image_info": {"disk_format": "raw", "id": "d.raw.zst",
        "os_hash_algo": "sha256", "os_hash_value": "abc",
        "urls": ["https://a/d.raw.zst?x=1", "https://b/d"]},
        "configdrive": STANDARD.encode([0x1f, 0x8b, 8])});
    assert_eq!(made(&words)["prepare_image"], expected);
    assert!(matches!(
        prepared(&["write", "n", "--image", "https://a/d"]),
        Err(OrderError::NoDigest)
    ));
    prepared(&["write", "n", "--image", "oci://r/a:1"]).unwrap();
    assert!(matches!(
        prepared(&[
            "write",
            "n",
            "--image",
            "oci://r/a",
            "--config-drive",
            "/none"
        ]),
        Err(OrderError::ConfigDrive { .. })
    ));
}

#[test]
fn raid_is_made_from_a_file_or_removed() {
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("raid.yaml");
    fs::write(&layout, "logical_disks: [{size_gb: MAX, raid_level: '1'}]").unwrap();
    let layout = layout.to_str().unwrap();
    let command = made(&["raid", "n", "--layout", layout, "--keep-existing"]);
    let expected = json!({"delete_existing": false,
        "raid_config": {"logical_disks": [{"raid_level": "1", "size_gb": "MAX"}]}});
    assert_eq!(command["execute_step"]["step"]["args"], expected);
    let command = made(&["raid", "n", "--delete"]);
    assert_eq!(
        command["execute_step"]["step"]["step"],
        "delete_configuration"
    );
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
