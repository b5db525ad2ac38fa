//! Each step to the last word that is run.

use std::sync::Arc;

use ironic_document::JsonObject;
use serde_json::json;

use super::*;
use crate::commands::failure::StepFailure;
use crate::image::LastDeployment;
use crate::machine::ironic_node::Node;
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
    let shown = query(version, running);
    Script::new()
        .expect("mstflint -v", "")
        .expect("mstconfig -v", "")
        .expect("mstfwreset -v", "")
        .expect("lspci --version", "")
        .expect("lspci -Dn -d 15b3:", LIST)
        .expect("mstflint -d 0000:06:00.0 -qq query", &shown)
        .expect("mstflint -d 0000:06:00.1 -qq query", &shown)
}

async fn run(step: &FirmwareStep, arguments: Value, script: Script) -> Result<Value, String> {
    run_with(step, arguments, script, AgentConfig::default()).await
}

async fn run_with(
    step: &FirmwareStep,
    arguments: Value,
    script: Script,
    config: AgentConfig,
) -> Result<Value, String> {
    let machine = FakeMachine::new();
    let script = Arc::new(script);
    let system = machine.system_with(script.clone());
    let is_default = config.state_dir == AgentConfig::default().state_dir;
    let config = AgentConfig {
        state_dir: if is_default {
            machine.path().to_owned()
        } else {
            config.state_dir
        },
        ..config
    };
    let (task, node, installed) = (Task::detached(), Node::default(), LastDeployment::default());
    let ctx = StepContext {
        system: &system,
        config: &config,
        node: &node,
        ports: &[],
        task: &task,
        installed: &installed,
        erasers: &[],
        ordered: None,
    };
    let result = step.run(ctx, arguments.as_object().unwrap()).await;
    script.assert_done();
    result.map_err(|error| match StepFailure::from(error) {
        StepFailure::Known(failure) => failure.to_string(),
        StepFailure::Unexpected(unexpected) => format!("{}: {}", unexpected.class, unexpected.text),
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
    let shown = card::parse_query(&query("20.35.1012", None));
    assert_eq!(
        (shown.version.as_str(), shown.psid.as_str(), shown.running),
        ("20.35.1012", "MT_0000000228", None)
    );
    let shown = card::parse_query(&query("20.35.1012", Some("20.34.1002")));
    assert_eq!(shown.running.as_deref(), Some("20.34.1002"));
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
        assert_eq!(run(&IMAGES, images, script).await.unwrap(), Value::Null);
        // The operator's file is still there.
        assert!(file.path().exists());
    }
    let (_file, path, images) = images(|_| {});
    let same = discovered("20.35.1012", None).expect(
        &format!("mstflint -i {path} query"),
        &query("20.35.1012", None),
    );
    assert_eq!(run(&IMAGES, images, same).await.unwrap(), Value::Null);
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
    // For the cards that are here by what is declared, and for others by what is in it.
    let (_file, path, images) = images(|_| {});
    let other = query("20.35.1012", None).replace("MT_0000000228", "MT_2");
    let script =
        discovered("20.34.1002", None).expect(&format!("mstflint -i {path} query"), &other);
    let error = run(&IMAGES, images.clone(), script).await.unwrap_err();
    assert!(error.starts_with("MismatchComponentFlavor"), "{error}");
    let twice = json!({"images": [images["images"][1], images["images"][1]]});
    let script = discovered("20.34.1002", None).expect(
        &format!("mstflint -i {path} query"),
        &query("20.35.1012", None),
    );
    let error = run(&IMAGES, twice, script).await.unwrap_err();
    assert!(error.starts_with("DuplicateComponentFlavor"), "{error}");
    let of_type = |kind: &str| {
        let mut image = images["images"][1].clone();
        image["checksumType"] = json!(kind);
        json!([image])
    };
    for (images, class) in [
        (json!({}), "InvalidFirmwareImageConfig"),
        (json!([{"url": "x"}]), "InvalidFirmwareImageConfig"),
        (of_type("crc32"), "InvalidChecksumAlgorithm"),
        (of_type("md5"), "InvalidChecksumAlgorithm"),
    ] {
        let asked = json!({"images": images});
        let error = run(&IMAGES, asked, Script::new()).await.unwrap_err();
        assert!(error.starts_with(class), "{error}");
    }
}

#[tokio::test]
async fn a_card_that_cannot_be_reset_is_not_flashed() {
    let (_file, path, images) = images(|_| {});
    let refused = crate::system::RunError::Failed {
        program: "mstfwreset".into(),
        command: "mstfwreset".into(),
        status: 1,
        stderr: "no".into(),
    };
    let script = discovered("20.34.1002", Some("20.33.1000"))
        .expect(
            &format!("mstflint -i {path} query"),
            &query("20.35.1012", None),
        )
        .expect_result("mstfwreset -d 0000:06:00.0 -y --sync 1 reset", Err(refused));
    let error = run(&IMAGES, images, script).await.unwrap_err();
    assert!(error.contains("mstfwreset"), "{error}");
}

#[tokio::test]
async fn md5_counts_where_the_operator_allows_it() {
    use md5::{Digest as _, Md5};
    let (_file, path, images) = images(|image| {
        image["checksumType"] = json!("MD5");
        image["checksum"] = json!(hex::encode(Md5::digest("firmware")));
    });
    let images = json!({"images": [images["images"][1]]});
    let script = discovered("20.34.1002", None)
        .expect(
            &format!("mstflint -i {path} query"),
            &query("20.35.1012", None),
        )
        .expect(&format!("mstflint -d 0000:06:00.0 -i {path} -y burn"), "");
    let config = AgentConfig {
        md5_enabled: true,
        ..AgentConfig::default()
    };
    assert_eq!(
        run_with(&IMAGES, images, script, config).await.unwrap(),
        Value::Null
    );
}

/// Serves one answer to one request.
async fn serve_once(status: &'static str, body: &'static str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/firmware.bin", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    url
}

#[tokio::test]
async fn firmware_is_fetched_and_missing_files_are_reported() {
    for (status, is_there) in [("200 OK", true), ("404 Not Found", false)] {
        let url = serve_once(status, "firmware").await;
        let (_file, _path, images) = images(|image| image["url"] = json!(url));
        let state = tempfile::tempdir().unwrap();
        let fetched = state.path().join("firmware/image-0.bin");
        let shown = fetched.display();
        let mut script = discovered("20.34.1002", None);
        if is_there {
            script = script
                .expect(
                    &format!("mstflint -i {shown} query"),
                    &query("20.35.1012", None),
                )
                .expect(&format!("mstflint -d 0000:06:00.0 -i {shown} -y burn"), "");
        }
        let config = AgentConfig {
            state_dir: state.path().to_owned(),
            ..AgentConfig::default()
        };
        let done = run_with(&IMAGES, images, script, config).await;
        if is_there {
            assert_eq!(done.unwrap(), Value::Null);
            // It lay in memory.
            assert!(!fetched.exists());
        } else {
            let error = done.unwrap_err();
            assert!(
                error.starts_with("FirmwareDownloadError") && error.contains("404"),
                "{error}"
            );
        }
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
    assert_eq!(run(&SETTINGS, settings, script).await.unwrap(), Value::Null);
}

/// Settings of the second function go to it alone. A card with firmware that waits is reset
/// before; its settings are written even if it cannot be.
#[tokio::test]
async fn each_function_has_settings_of_its_own() {
    let settings = json!({"settings": [
        {"deviceID": "1017", "function1Config": {"NUM_OF_VFS": 4}},
    ]});
    for is_reset in [true, false] {
        let refused = crate::system::RunError::Missing {
            program: "mstfwreset".into(),
        };
        let reset = if is_reset {
            Ok(crate::system::process::Output::default())
        } else {
            Err(refused)
        };
        let mut script = discovered("20.35.1012", Some("20.34.1002"))
            .expect_result("mstfwreset -d 0000:06:00.0 -y --sync 1 reset", reset);
        for (command, answer) in asked("0000:06:00.1") {
            script = script.expect(&command, answer);
        }
        let script = script.expect("mstconfig -d 0000:06:00.1 -y set NUM_OF_VFS=4", "");
        assert_eq!(
            run(&SETTINGS, settings.clone(), script).await.unwrap(),
            Value::Null
        );
    }
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
        let mut global = JsonObject::new();
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
