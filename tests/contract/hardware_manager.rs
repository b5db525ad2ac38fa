//! Hardware managers that are programs of their own: the two examples, started and driven by
//! the real agent behind the real REST server.

#![allow(
    clippy::disallowed_methods,
    reason = "compilers of examples are no part of the agent"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use ironic_agent::config::AgentConfig;
use serde_json::{Value, json};

use super::support::agents::Agent;
use super::support::front::Front;

/// The program of an example in Rust, built now unless it is.
pub(super) fn rust_example(name: &str) -> PathBuf {
    static PATHS: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut paths = PATHS.lock().unwrap();
    let path = paths.entry(name.to_owned()).or_insert_with(|| {
        let output = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--message-format=json"])
            .args(["--workspace", "--example", name])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let path = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find_map(|message| Some(message["executable"].as_str()?.into()));
        path.unwrap_or_else(|| panic!("the example does not build: {errors}"))
    });
    path.clone()
}

/// An agent whose directory of managers holds scripts that become these programs.
async fn agent(managers: &[(&str, &str)]) -> (Agent, Front, tempfile::TempDir) {
    agent_with(managers, &[("sda", 64 << 20)]).await
}

/// The same with these disks.
async fn agent_with(
    managers: &[(&str, &str)],
    disks: &[(&str, u64)],
) -> (Agent, Front, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    for (name, script) in managers {
        let path = directory.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let dir = directory.path().to_owned();
    let change = |config: &mut AgentConfig| config.hardware_managers_dir = dir;
    let agent = Agent::simulated(disks, change).await;
    let front = Front::before(&agent.endpoint).await;
    (agent, front, directory)
}

fn node() -> Value {
    json!({
        "uuid": "1be26c0b-03f2-4d2e-ae87-c02d7f33c123",
        "properties": {}, "instance_info": {}, "driver_info": {}, "driver_internal_info": {},
    })
}

fn step(name: &str, arguments: Value) -> Value {
    let step = json!({"step": name, "interface": "deploy", "args": arguments});
    json!({"step": step, "node": node(), "ports": []})
}

async fn clean(front: &Front, name: &str, arguments: Value) -> Value {
    let answer = front.finish("clean.execute_clean_step", step(name, arguments));
    answer.await.json()
}

#[tokio::test]
async fn its_steps_are_offered_and_run_like_ours() {
    let script = format!(
        "exec '{}' \"$@\"",
        rust_example("hardware-manager").display()
    );
    let (_agent, front, _directory) = agent(&[("example", &script)]).await;
    let listed = front
        .finish(
            "clean.get_clean_steps",
            json!({"node": node(), "ports": []}),
        )
        .await
        .json();
    let result = &listed["command_result"];
    assert_eq!(
        result["hardware_manager_version"]["example_hardware_manager"], "1.0",
        "{listed}"
    );
    let steps = result["clean_steps"]["ExampleHardwareManager"].as_array();
    let update = steps.unwrap().iter().find(|step| step["priority"] == 20);
    assert_eq!(
        *update.unwrap(),
        json!({
            "step": "example_update_firmware", "priority": 20, "interface": "deploy",
            "reboot_requested": true, "abortable": false,
            "argsinfo": {
                "version": {"description": "The version to install.", "required": true},
                "blocks": {
                    "description": "How many blocks it has; 10 when not given.",
                    "required": false,
                },
            },
        })
    );

    let done = clean(&front, "example_update_firmware", json!({"version": "7"})).await;
    assert_eq!(done["command_status"], "SUCCEEDED", "{done}");
    let result = &done["command_result"];
    assert_eq!(result["clean_result"], "firmware 7 is installed");

    // Arguments are refused before the program hears of them.
    let refused = clean(&front, "example_update_firmware", json!({"version": 7})).await;
    let details = refused["command_error"]["details"].to_string();
    assert!(details.contains("'version' must be a text"), "{refused}");
    // A step that it offers in another phase only is none in this one.
    let service = front.finish(
        "service.execute_service_step",
        step("example_check_memory", json!({"minimum_mib": 1})),
    );
    let service = service.await.json();
    assert_eq!(
        service["command_error"]["type"],
        "HardwareManagerMethodNotFound"
    );
    // A failure of no class that Ironic knows has that of the phase.
    let failed = clean(&front, "example_check_memory", json!({"minimum_mib": 1e15})).await;
    assert_eq!(failed["command_error"]["type"], "CleaningError", "{failed}");
    let details = failed["command_error"]["details"].to_string();
    assert!(details.contains("MiB of memory are less than"), "{failed}");
    // One of a class that Ironic knows keeps it.
    let wrong = clean(&front, "example_check_memory", json!({"minimum_mib": "x"})).await;
    assert_eq!(wrong["command_error"]["type"], "InvalidCommandParamsError");
}

#[tokio::test]
async fn it_erases_its_own_kind_of_disk() {
    let example = format!("exec '{}'", rust_example("hardware-manager").display());
    erases_its_own("example", &example).await;
}

async fn erases_its_own(name: &str, example: &str) {
    let disk = format!("{name}-disk");
    let disks = [(disk.as_str(), 1 << 20), ("sda", 1 << 20)];
    let script = format!("{example} \"$@\"");
    let (_agent, front, _directory) = agent_with(&[(name, &script)], &disks).await;
    let done = clean(&front, "erase_devices", json!({})).await;
    assert_eq!(done["command_status"], "SUCCEEDED", "{done}");
    let erased = done["command_result"]["clean_result"].as_object().unwrap();
    let seen: Vec<_> = erased
        .iter()
        .map(|(disk, seen)| (disk.rsplit('/').next().unwrap(), seen.clone()))
        .collect();
    let expected = [
        (disk.as_str(), json!("the key is forgotten")),
        ("sda", json!(null)),
    ];
    assert_eq!(seen, expected);
    // Nobody else may ask for it.
    let refused = clean(&front, "erase_block_device", json!({})).await;
    assert_eq!(
        refused["command_error"]["type"],
        "HardwareManagerMethodNotFound"
    );
}

#[tokio::test]
async fn one_that_dies_within_a_step_fails_the_step_and_nothing_more() {
    let example = format!("exec '{}'", rust_example("hardware-manager").display());
    dies_within_a_step("example", &example).await;
}

/// `example` is the script that becomes the program, whose steps begin with `name`.
async fn dies_within_a_step(name: &str, example: &str) {
    let place = tempfile::tempdir().unwrap();
    let noting = format!("echo $$ > {}/pid; {example} \"$@\"", place.path().display());
    let (agent, front, _directory) = agent(&[(name, &noting)]).await;
    let pid = || {
        let text = fs::read_to_string(place.path().join("pid")).unwrap();
        rustix::process::Pid::from_raw(text.trim().parse().unwrap()).unwrap()
    };
    let running = front
        .run(
            "clean.execute_clean_step",
            step(
                &format!("{name}_update_firmware"),
                json!({"version": "8", "blocks": 100_000}),
            ),
        )
        .await
        .json();
    assert_eq!(running["command_status"], "RUNNING", "{running}");
    let id = running["id"].as_str().unwrap();
    agent.until_progress(id).await;
    let first = pid();
    rustix::process::kill_process(first, rustix::process::Signal::KILL).unwrap();

    let ended = front
        .look(&format!("/v1/commands/{id}?wait=true"))
        .await
        .json();
    assert_eq!(ended["command_status"], "FAILED", "{ended}");
    assert_eq!(ended["command_error"]["type"], "CleaningError");
    let details = ended["command_error"]["details"].as_str().unwrap();
    assert!(
        details.contains(&format!(
            "hardware manager {name}: the program was ended by signal 9"
        )),
        "{details}"
    );

    // The agent serves on, and the program is started again.
    let ours = clean(&front, "no_such_step", json!({})).await;
    assert_eq!(
        ours["command_error"]["type"],
        "HardwareManagerMethodNotFound"
    );
    let mut tries = 0;
    let back = loop {
        let answer = clean(
            &front,
            &format!("{name}_check_memory"),
            json!({"minimum_mib": 1}),
        )
        .await;
        if answer["command_status"] == "SUCCEEDED" || tries == 100 {
            break answer;
        }
        let details = answer["command_error"]["details"].to_string();
        assert!(details.contains("it is not running"), "{details}");
        tries += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(back["command_status"], "SUCCEEDED", "{back}");
    assert_ne!(pid(), first);
}

#[tokio::test]
async fn the_broken_ones_are_left_out() {
    let script = format!(
        "exec '{}' \"$@\"",
        rust_example("hardware-manager").display()
    );
    let (_agent, front, _directory) = agent(&[
        ("a-crash", "exit 3"),
        ("b-example", &script),
        ("c-the-same-again", &script),
    ])
    .await;
    let listed = front
        .finish(
            "clean.get_clean_steps",
            json!({"node": node(), "ports": []}),
        )
        .await
        .json();
    let versions = &listed["command_result"]["hardware_manager_version"];
    let names: Vec<_> = versions.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        ["example_hardware_manager", "generic_hardware_manager"]
    );
}

/// A Python with grpcio and its compiler is named by `GRPC_PYTHON`; `make unit` installs one
/// where it can. Without it this test has nothing to run.
#[tokio::test]
async fn one_in_python_is_as_good() {
    let Some(python) = std::env::var_os("GRPC_PYTHON").filter(|path| !path.is_empty()) else {
        assert!(std::env::var_os("CI").is_none(), "CI has grpcio-tools");
        println!("skipped: GRPC_PYTHON names no Python with grpcio-tools");
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let modules = tempfile::tempdir().unwrap();
    let out = modules.path().display();
    let mut compiler = Command::new(&python);
    compiler
        .args(["-m", "grpc_tools.protoc", "-I", "proto"])
        .args([
            format!("--python_out={out}"),
            format!("--grpc_python_out={out}"),
        ])
        .current_dir(root);
    // They import one another.
    for file in fs::read_dir(root.join("proto/ironic/agent/v1")).unwrap() {
        compiler.arg(file.unwrap().path().strip_prefix(root).unwrap());
    }
    assert!(compiler.status().unwrap().success());
    let example = format!(
        "PYTHONPATH='{out}' exec '{}' '{}'",
        Path::new(&python).display(),
        root.join("examples/hardware-manager/manager.py").display()
    );
    erases_its_own("python", &example).await;
    dies_within_a_step("python", &example).await;
    let script = format!("{example} \"$@\"");
    let (_agent, front, _directory) = agent(&[("python", &script)]).await;
    let done = clean(&front, "python_update_firmware", json!({"version": "9"})).await;
    assert_eq!(
        done["command_result"]["clean_result"], "firmware 9 is installed",
        "{done}"
    );
    let failed = clean(&front, "python_check_memory", json!({"minimum_mib": 1e15})).await;
    let details = failed["command_error"]["details"].to_string();
    assert!(details.contains("MiB of memory are less than"), "{failed}");
}
