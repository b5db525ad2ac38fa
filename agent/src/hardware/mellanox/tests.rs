//! Each step to the last word that is run.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::image::Installed;
use crate::machine::node::Node;
use crate::machine::testing::FakeMachine;
use crate::system::process::Script;
use crate::task::Task;

const LIST: &str = "0000:06:00.0 0200: 15b3:1017\n0000:06:00.1 0200: 15b3:1017\n\
                    0000:07:00.0 0c06: 15b3:2000\n";

fn query(version: &str, running: Option<&str>) -> String {
    let running = running.map_or(String::new(), |v| format!("FW Version(Running):  {v}\n"));
    format!(
        "Image type:            FS4\nFW Version:            {version}\n{running}\
         PSID:                  MT_0000000228\n"
    )
}

/// The tools are there, and so are two functions of one card.
fn discovered(version: &str, running: Option<&str>) -> Script {
    let told = query(version, running);
    Script::new()
        .expect("mstflint -v", "")
        .expect("mstconfig -v", "")
        .expect("mstfwreset -v", "")
        .expect("lspci --version", "")
        .expect("lspci -Dn -d 15b3:", LIST)
        .expect("mstflint -d 0000:06:00.0 -qq query", &told)
        .expect("mstflint -d 0000:06:00.1 -qq query", &told)
}

async fn run(step: &Firmware, arguments: Value, script: Script) -> Result<Value, String> {
    let machine = FakeMachine::new();
    let script = Arc::new(script);
    let system = machine.system_with(script.clone());
    let config = Config {
        state_dir: machine.path().to_owned(),
        ..Config::default()
    };
    let (task, node, installed) = (Task::detached(), Node::default(), Installed::default());
    let ctx = StepContext {
        system: &system,
        config: &config,
        node: &node,
        ports: &[],
        task: &task,
        installed: &installed,
        managers: &[],
    };
    let result = step.run(ctx, arguments.as_object().unwrap()).await;
    script.assert_done();
    result.map_err(|error| match error {
        StepError::Failure(failure) => failure.to_string(),
        StepError::Unexpected { class, text, .. } => format!("{class}: {text}"),
    })
}

#[test]
fn a_card_makes_the_manager() {
    let mut machine = FakeMachine::new();
    machine.file("sys/class/net/eth0/device/vendor", "0x8086");
    assert_eq!(MellanoxManager.support(&machine.system()), Support::None);
    machine.file("sys/class/net/eth1/device/vendor", VENDOR);
    assert_eq!(
        MellanoxManager.support(&machine.system()),
        Support::Mainline
    );
}

#[test]
fn a_query_is_read() {
    let told = card::parse_query(&query("20.35.1012", None));
    assert_eq!(
        (told.version.as_str(), told.psid.as_str(), told.running),
        ("20.35.1012", "MT_0000000228", None)
    );
    let told = card::parse_query(&query("20.35.1012", Some("20.34.1002")));
    assert_eq!(told.running.as_deref(), Some("20.34.1002"));
}

/// A file that holds `firmware`, and the images that name it.
fn images(change: impl FnOnce(&mut Value)) -> (tempfile::NamedTempFile, String, Value) {
    use sha2::Digest as _;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "firmware").unwrap();
    let path = file.path().display().to_string();
    let mut image = json!({
        "url": format!("file://{path}"), "checksumType": "sha256",
        "checksum": hex::encode(sha2::Sha256::digest("firmware")),
        "componentFlavor": "MT_0000000228", "version": "20.35.1012",
    });
    change(&mut image);
    let other = json!({
        "url": "http://nowhere", "checksumType": "sha512", "checksum": "0",
        "componentFlavor": "MT_1", "version": "1.0.0",
    });
    (file, path, json!({"images": [other, image]}))
}

#[tokio::test]
async fn a_card_is_flashed_once_and_reset_before_if_something_waits() {
    for (flash, running) in [("20.34.1002", None), ("20.34.1002", Some("20.33.1000"))] {
        let (file, path, images) = images(|_| {});
        let mut script = discovered(flash, running).expect(
            &format!("mstflint -i {path} query"),
            &query("20.35.1012", None),
        );
        if running.is_some() {
            script = script.expect("mstfwreset -d 0000:06:00.0 -y --sync 1 reset", "");
        }
        let script = script.expect(&format!("mstflint -d 0000:06:00.0 -i {path} -y burn"), "");
        assert_eq!(run(&IMAGES, images, script).await, Ok(Value::Null));
        // The operator's file is still there.
        assert!(file.path().exists());
    }
    let (_file, path, images) = images(|_| {});
    let same = discovered("20.35.1012", None).expect(
        &format!("mstflint -i {path} query"),
        &query("20.35.1012", None),
    );
    assert_eq!(run(&IMAGES, images, same).await, Ok(Value::Null));
}

#[tokio::test]
async fn an_image_that_is_another_touches_no_card() {
    let cases = [
        ("checksum", json!("00"), "MismatchChecksumError"),
        ("version", json!("1.2.3"), "MismatchFWVersion"),
        ("url", json!("ftp://x"), "InvalidURLScheme"),
    ];
    for (key, value, class) in cases {
        let (_file, path, images) = images(|image| image[key] = value);
        let mut script = discovered("20.34.1002", None);
        if key != "url" {
            script = script.expect(
                &format!("mstflint -i {path} query"),
                &query("20.35.1012", None),
            );
        }
        let error = run(&IMAGES, images, script).await.unwrap_err();
        assert!(error.starts_with(class), "{error}");
    }
    for (images, class) in [
        (json!({}), "InvalidFirmwareImageConfig"),
        (json!([{"url": "x"}]), "InvalidFirmwareImageConfig"),
    ] {
        let asked = json!({"images": images});
        let error = run(&IMAGES, asked, Script::new()).await.unwrap_err();
        assert!(error.starts_with(class), "{error}");
    }
}

const PRESENT: &str = "Device type: ConnectX5\nConfigurations:   Next Boot\n\
                       \tNUM_OF_VFS 8\n\tSRIOV_EN True(1)\n\tHOST_CHAINING Array[0..7]\n";

fn asked(function: &str) -> [(String, &'static str); 2] {
    [
        (format!("mstconfig -d {function} i"), KNOWN_WORDS),
        (format!("mstconfig -d {function} q"), PRESENT),
    ]
}

const KNOWN_WORDS: &str =
    "NUM_OF_VFS=<NUM> Functions\nSRIOV_EN=<False|True>\nHOST_CHAINING\nMISSING=<NUM>\n";

#[tokio::test]
async fn only_what_is_another_is_set() {
    let settings = json!({"settings": [
        {"deviceID": "1017", "globalConfig": {"NUM_OF_VFS": 16, "SRIOV_EN": "true"},
         "function0Config": {"HOST_CHAINING[7]": 1}, "function1Config": {"NUM_OF_VFS": 8}},
        {"deviceID": "9999", "globalConfig": {"X": 1}},
    ]});
    let mut script = discovered("20.35.1012", None);
    for (command, answer) in asked("0000:06:00.0").iter().chain(&asked("0000:06:00.1")) {
        script = script.expect(command, answer);
    }
    let script = script.expect(
        "mstconfig -d 0000:06:00.0 -y set NUM_OF_VFS=16 HOST_CHAINING[7]=1",
        "",
    );
    assert_eq!(run(&SETTINGS, settings, script).await, Ok(Value::Null));
}

#[tokio::test]
async fn settings_that_the_firmware_does_not_have_change_nothing() {
    let cases = [
        ("HOST_CHAINING[8]", "UnSupportedConfigByFW"),
        ("HOST_CHAINING[3..9]", "UnSupportedConfigByFW"),
        ("SRIOV_EN[0]", "UnSupportedConfigByFW"),
        ("MISSING", "UnSupportedConfigByFW"),
        ("UNHEARD_OF", "UnSupportedConfigByMstflintPackage"),
    ];
    for (name, class) in cases {
        let mut global = Object::new();
        global.insert(name.to_owned(), json!(1));
        let settings = json!({"settings": [{"deviceID": "1017", "globalConfig": global}]});
        let mut script = discovered("20.35.1012", None);
        for (command, answer) in asked("0000:06:00.0") {
            script = script.expect(&command, answer);
        }
        let error = run(&SETTINGS, settings, script).await.unwrap_err();
        assert!(error.starts_with(class), "{error}");
    }
    let twice = json!({"settings": [{"deviceID": "1017"}, {"deviceID": "1017"}]});
    let error = run(&SETTINGS, twice, discovered("1.0.0", None)).await;
    assert!(error.unwrap_err().starts_with("DuplicateDeviceID"));
    let none = run(&SETTINGS, json!({"settings": [{}]}), Script::new()).await;
    assert!(
        none.unwrap_err()
            .starts_with("InvalidFirmwareSettingsConfig")
    );
}
