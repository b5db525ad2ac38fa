//! Gateways that are killed and started again while `agentctl` works.

use super::*;
use crate::support::images::HeldImage;
use tokio::io::{AsyncBufReadExt as _, BufReader};

#[tokio::test]
async fn a_write_survives_a_gateway_that_is_killed_in_the_middle() {
    let lab = Lab::of(1).await;
    let (image, digest) = image();
    let mut held = HeldImage::serve(image.clone()).await;
    let write = [
        "write", "node-1", "--yes", "--image", &held.url, "--sha256", &digest, "-o", "json",
    ];
    let writing = tokio::spawn(output(lab.command(&write)));
    held.half_sent().await;
    let config = lab.shim.die().await;
    let _shim = Shim::start(config).await;
    held.release();
    let record = writing.await.unwrap().json()[0]["result"].clone();
    assert_eq!(record["state"], "COMMAND_STATE_SUCCEEDED");
    let disk = std::fs::read(lab.machines[0].0.disk()).unwrap();
    assert_eq!(disk[512..image.len()], image[512..]);
    assert_eq!(held.requests(), 1, "it is written once");
}

#[tokio::test]
async fn logs_are_followed_over_a_gateway_that_is_started_again() {
    let lab = Lab::of(1).await;
    let log = ironic_program::log::KeptLog::of_this_process();
    let write = |text: &str| log.write(std::time::SystemTime::now(), tracing::Level::INFO, text);
    let words = [
        "logs", "node-1", "--source", "agent", "--follow", "--tail", "1",
    ];
    let mut command = lab.command(&words);
    command.stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut until = async |wanted: &str| {
        let mut found = 0;
        let reading = async {
            loop {
                let line = lines.next_line().await.unwrap().unwrap();
                found += usize::from(line.contains("of a followed log"));
                if line.contains(wanted) {
                    return found;
                }
            }
        };
        tokio::time::timeout(LIMIT, reading).await.unwrap()
    };
    let (first, second) = ("first of a followed log", "second of a followed log");
    write(first);
    assert_eq!(until(first).await, 1);
    let config = lab.shim.die().await;
    // Nobody reads it now: it comes after the reconnection, and the first one not again.
    write(second);
    let _shim = Shim::start(config).await;
    assert_eq!(until(second).await, 1);
}

#[tokio::test]
async fn events_say_where_some_may_be_missing() {
    let lab = Lab::of(1).await;
    let mut command = lab.command(&["events", "-o", "json"]);
    command.stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // Orders until the first event has come: the stream may begin late.
    let order = ["run", "node-1", "--command", r#"{"sync": {}}"#];
    let first = async {
        loop {
            tokio::select! {
                line = lines.next_line() => return line.unwrap().unwrap(),
                ran = lab.run(&order) => drop(ran.done()),
            }
        }
    };
    let first: Value = serde_json::from_str(&first.await).unwrap();
    assert!(first["kind"].is_string(), "{first}");
    let config = lab.shim.die().await;
    let _shim = Shim::start(config).await;
    let gap = async {
        loop {
            let line = lines.next_line().await.unwrap().unwrap();
            let line: Value = serde_json::from_str(&line).unwrap();
            if line.get("gap").is_some() {
                return line;
            }
        }
    };
    let gap = tokio::time::timeout(LIMIT, gap).await.unwrap();
    let expected = serde_json::json!({"gap": {"reason": "WATCH_EXPIRED"}, "resume_token": ""});
    assert_eq!(gap, expected);
}

#[tokio::test]
async fn a_node_that_is_removed_is_shown_to_programs() {
    let state = tempfile::tempdir().unwrap();
    let nodes = state.path().join("nodes");
    std::fs::create_dir_all(&nodes).unwrap();
    let file = nodes.join("1.yaml");
    let node =
        "uuid: 00000001-0000-4000-8000-000000000000\nname: rack1-1\nmacs: ['52:54:00:00:00:01']\n";
    std::fs::write(&file, node).unwrap();
    let config = ShimConfig {
        node_dir: Some(nodes),
        ..Lab::config(&state)
    };
    let lab = Lab::with(config, state).await;
    let mut command = lab.command(&["watch", "-o", "json"]);
    command.stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = tokio::time::timeout(LIMIT, lines.next_line()).await;
        let line = line.unwrap().unwrap().unwrap();
        serde_json::from_str::<Value>(&line).unwrap()
    };
    let listed = next().await;
    assert_eq!(listed["name"], "rack1-1");
    assert_eq!(listed.get("removed"), None);
    std::fs::remove_file(&file).unwrap();
    let removed = next().await;
    assert_eq!(removed["name"], "rack1-1");
    assert_eq!(removed["removed"], true);
}
