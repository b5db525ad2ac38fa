//! The REST server before the real agent, in a simulation whose disks are files. Contract rows
//! 47 to 63.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use base64::Engine as _;
use serde_json::{Value, json};

use super::support::agents::{Agent, TOKEN};
use super::support::front::Front;

const MIB: u64 = 1024 * 1024;

async fn simulated() -> (Agent, Front) {
    let agent = Agent::simulated(&[("sda", 64 * MIB)], |_| {}).await;
    let front = Front::before(&agent.endpoint).await;
    (agent, front)
}

fn node() -> Value {
    json!({
        "uuid": "1be26c0b-03f2-4d2e-ae87-c02d7f33c123",
        "properties": {"root_device": null},
        "instance_info": {},
        "driver_info": {},
        "driver_internal_info": {},
    })
}

fn steps() -> Value {
    json!({"node": node(), "ports": []})
}

fn step(step: Value) -> Value {
    json!({"step": step, "node": node(), "ports": []})
}

/// Rows 54 and, for the other phases, the same.
#[tokio::test]
async fn steps_are_listed() {
    let (_agent, front) = simulated().await;
    for phase in ["clean", "deploy", "service"] {
        let name = format!("{phase}.get_{phase}_steps");
        let answer = front.finish(&name, steps()).await.json();
        assert_eq!(answer["command_status"], "SUCCEEDED", "{answer}");
        let result = answer["command_result"].as_object().unwrap();
        // Alphabetical order: the protocol keeps no other.
        let keys: BTreeSet<&str> = result.keys().map(String::as_str).collect();
        let listed = format!("{phase}_steps");
        assert_eq!(
            keys,
            BTreeSet::from([listed.as_str(), "hardware_manager_version"])
        );
        let versions = result["hardware_manager_version"].as_object().unwrap();
        assert!(
            versions.contains_key("generic_hardware_manager"),
            "{versions:?}"
        );
        for (manager, steps) in result[&format!("{phase}_steps")].as_object().unwrap() {
            for step in steps.as_array().unwrap() {
                assert!(step["interface"].is_string(), "{manager}: {step}");
                assert!(step["step"].is_string(), "{manager}: {step}");
                assert!(step["priority"].is_i64(), "{manager}: {step}");
            }
        }
    }
}

/// Rows 47 to 49.
#[tokio::test]
async fn versions_are_compared_unless_there_are_none() {
    let (_agent, front) = simulated().await;
    for phase in ["clean", "deploy", "service"] {
        let name = format!("{phase}.execute_{phase}_step");
        let version = format!("{phase}_version");
        let mut parameters = step(json!({"step": "no_such_step", "interface": "deploy"}));
        parameters[&version] = json!({"generic_hardware_manager": "0.1"});
        let answer = front.finish(&name, parameters.clone()).await.json();
        assert_eq!(answer["command_status"], "CLEAN_VERSION_MISMATCH");
        assert_eq!(answer["command_name"], format!("execute_{phase}_step"));
        assert_eq!(answer["command_result"], Value::Null);
        let error = &answer["command_error"];
        assert_eq!(error["type"], "VersionMismatch");
        assert_eq!(error["code"], 409);
        let details = error["details"].as_str().unwrap();
        assert!(
            details.starts_with("Current versions: {'generic_hardware_manager': '"),
            "{details}"
        );
        assert!(
            details.ends_with("'}, versions used by ironic: {'generic_hardware_manager': '0.1'}"),
            "{details}"
        );

        for skipped in [Some(Value::Null), None] {
            match skipped {
                Some(null) => parameters[&version] = null,
                None => {
                    parameters.as_object_mut().unwrap().remove(&version);
                }
            }
            let answer = front.finish(&name, parameters.clone()).await.json();
            assert_eq!(
                answer["command_error"]["type"],
                "HardwareManagerMethodNotFound"
            );
        }
    }
}

/// Rows 50 and 51.
#[tokio::test]
async fn steps_that_do_not_exist_fail() {
    let (_agent, front) = simulated().await;
    let answer = front
        .finish(
            "clean.execute_clean_step",
            step(json!({"step": "no_such_step", "interface": "deploy"})),
        )
        .await
        .json();
    assert_eq!(
        answer["command_error"],
        json!({"type": "HardwareManagerMethodNotFound", "code": 500, "message": "No HardwareManager found to handle method", "details": "Could not find method: no_such_step"})
    );
    let answer = front
        .finish(
            "clean.execute_clean_step",
            step(json!({"interface": "deploy"})),
        )
        .await
        .json();
    let error = &answer["command_error"];
    assert_eq!(answer["command_status"], "FAILED");
    assert_eq!(error["type"], "CommandExecutionError");
    let details = error["details"].as_str().unwrap();
    assert!(details.contains(r#"no "step" key"#), "{details}");
}

/// Row 52: the step is echoed as it came.
#[tokio::test]
async fn a_step_is_carried_out() {
    let (agent, front) = simulated().await;
    std::fs::write(
        agent.disk("sda"),
        vec![0xa5; usize::try_from(4 * MIB).unwrap()],
    )
    .unwrap();
    let order = json!({"step": "erase_devices_metadata", "interface": "deploy", "priority": 99, "abortable": true, "reboot_requested": false, "argsinfo": null, "requires_ramdisk": true});
    let answer = front
        .finish("clean.execute_clean_step", step(order.clone()))
        .await
        .json();
    assert_eq!(answer["command_status"], "SUCCEEDED", "{answer}");
    let result = answer["command_result"].as_object().unwrap();
    assert_eq!(result["clean_step"], order);
    assert!(result.contains_key("clean_result"), "{result:?}");
    let disk = std::fs::read(agent.disk("sda")).unwrap();
    assert!(disk[..4096].iter().all(|byte| *byte == 0));
}

/// Row 55, and the other immediate verbs that read nothing.
#[tokio::test]
async fn immediate_verbs_answer_at_once() {
    let (_agent, front) = simulated().await;
    let answer = front
        .run("standby.get_partition_uuids", json!({}))
        .await
        .json();
    assert_eq!(answer["command_status"], "SUCCEEDED");
    assert_eq!(answer["command_result"], json!({}));
    let answer = front.run("poll.get_hardware_info", json!({})).await.json();
    let inventory = answer["command_result"].as_object().unwrap();
    for key in [
        "interfaces",
        "cpu",
        "disks",
        "memory",
        "bmc_address",
        "system_vendor",
        "boot",
    ] {
        assert!(inventory.contains_key(key), "{key}");
    }
    assert_eq!(inventory["disks"][0]["size"], 64 * MIB);
}

/// Rows 56 to 61.
#[tokio::test]
async fn images_are_checked_before_anything_starts() {
    let agent = Agent::simulated(&[("sda", MIB)], |config| config.md5_enabled = false).await;
    let front = Front::before(&agent.endpoint).await;
    let cases = [
        (json!({}), "Image is missing 'id' field."),
        (json!({"id": "i"}), "Image is missing 'urls' field."),
        (
            json!({"id": "i", "urls": []}),
            "Image 'urls' must be a list with at least one element.",
        ),
        (
            json!({"id": "i", "urls": ["http://x"], "os_hash_algo": "sha256"}),
            "Image 'os_hash_value' must be a non-empty string.",
        ),
        (
            json!({"id": "i", "urls": ["http://x"], "os_hash_value": "00"}),
            "Image 'os_hash_algo' must be a non-empty string.",
        ),
        (
            json!({"id": "i", "urls": ["http://x"], "checksum": 5}),
            "Image 'checksum' must be a non-empty string.",
        ),
        (
            json!({"id": "i", "urls": ["http://x"], "checksum": "d41d8cd98f00b204e9800998ecf8427e"}),
            "Image checksum is not available, either the 'checksum' field or the 'os_hash_algo' and 'os_hash_value' fields pair must be set for image verification.",
        ),
    ];
    for (image_info, sentence) in cases {
        let answer = front
            .run("standby.prepare_image", json!({"image_info": image_info}))
            .await;
        let expected = (400, format!("Invalid command parameters: {sentence}"));
        assert_eq!(answer.fault(), expected, "{image_info}");
    }
    let answer = front.run("standby.prepare_image", json!({})).await;
    assert_eq!(
        answer.fault().1,
        "Invalid command parameters: Image is missing 'id' field."
    );
    assert_eq!(front.list().await, Vec::<Value>::new());
}

/// Row 62.
#[tokio::test]
async fn a_node_is_given_only_to_a_standalone_agent() {
    let (_agent, front) = simulated().await;
    let node_info = json!({"node_info": {"node": node(), "config": {"heartbeat_timeout": 300}}});
    let answer = front.run("poll.set_node_info", node_info.clone()).await;
    assert_eq!(
        answer.fault(),
        (400, "Invalid command: Node lookup data can only be set when the Ironic Python Agent is running in standalone mode.".into())
    );
    let agent = Agent::simulated(&[], |config| config.standalone = true).await;
    let front = Front::before(&agent.endpoint).await;
    let answer = front.run("poll.set_node_info", node_info).await.json();
    assert_eq!(answer["command_status"], "SUCCEEDED", "{answer}");
}

/// The token that a node's document brings counts at once, at the listener too. One that the
/// agent got behind the shim's back is learned from the agent, when a caller shows it.
#[tokio::test]
async fn a_new_token_of_the_agent_opens_the_listener() {
    let agent = Agent::simulated(&[], |config| config.standalone = true).await;
    let front = Front::before(&agent.endpoint).await;
    let behind = Front::before(&agent.endpoint).await;
    let (first, second) = (TOKEN, "a-second-token-of-thirty-two-bytes");
    let info = json!({"node": node(), "config": {"agent_token": second}});
    let answer = front
        .run("poll.set_node_info", json!({"node_info": info}))
        .await
        .json();
    assert_eq!(answer["command_status"], "SUCCEEDED", "{answer}");
    // Twice: the first call may be the one that learns.
    for front in [&front, &behind, &behind] {
        for (token, status) in [
            (second, 200),
            (first, 401),
            ("guess", 401),
            ("", 401),
            (second, 200),
        ] {
            let answer = front
                .get(&format!("/v1/commands/?agent_token={token}"))
                .await;
            assert_eq!(answer.status, status, "{token}");
        }
    }
}

/// A document without a token, or with the asterisks for one, changes nothing.
#[tokio::test]
async fn a_masked_token_replaces_nothing_at_the_listener() {
    let agent = Agent::simulated(&[], |config| config.standalone = true).await;
    let front = Front::before(&agent.endpoint).await;
    for config in [
        json!({}),
        json!({"agent_token": "******"}),
        json!({"agent_token": null}),
    ] {
        let info = json!({"node": node(), "config": config});
        let answer = front
            .run("poll.set_node_info", json!({"node_info": info}))
            .await;
        assert_eq!(answer.json()["command_status"], "SUCCEEDED", "{config}");
    }
}

/// Row 63.
#[tokio::test]
async fn logs_are_an_archive() {
    let (_agent, front) = simulated().await;
    let answer = front.run("log.collect_system_logs", json!({})).await.json();
    assert_eq!(answer["command_status"], "SUCCEEDED", "{answer}");
    let logs = answer["command_result"]["system_logs"].as_str().unwrap();
    let archive = base64::engine::general_purpose::STANDARD
        .decode(logs)
        .unwrap();
    let mut names = BTreeMap::new();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive.as_slice()));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut text = Vec::new();
        entry.read_to_end(&mut text).unwrap();
        names.insert(entry.path().unwrap().display().to_string(), text.len());
    }
    assert!(!names.is_empty());
}
