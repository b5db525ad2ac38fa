//! Commands that look: nodes, get, inventory, steps, watch, events, logs; contexts and completion.

use super::*;

#[tokio::test]
async fn nodes_are_listed_in_every_format() {
    let lab = Lab::of(2).await;
    let table = lab.run(&["nodes"]).await.done();
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("NAME"), "{table}");
    assert!(lines[1].starts_with("node-1") && lines[1].contains("attached"));
    let nodes = lab.run(&["nodes", "-o", "json"]).await.json();
    assert_eq!(nodes[1]["name"], "node-2");
    assert_eq!(nodes[1]["state"], "NODE_STATE_ATTACHED");
    assert_eq!(nodes[1]["labels"], serde_json::json!({}));
    let names = lab.run(&["nodes", "-o", "name"]).await.done();
    assert_eq!(names, "node-1\nnode-2\n");
    let yaml = lab.run(&["nodes", "-o", "yaml"]).await.done();
    assert!(yaml.contains("name: node-1"), "{yaml}");
    let away = lab.run(&["nodes", "--state", "away", "-o", "json"]).await;
    assert_eq!(away.json(), serde_json::json!([]));
    let none = lab.run(&["nodes", "-l", "rack=1", "-o", "name"]).await;
    assert_eq!(none.done(), "");
}

#[tokio::test]
async fn a_node_is_shown_with_its_hardware_steps_and_commands() {
    let lab = Lab::of(1).await;
    lab.run(&["run", "node-1", "--command", r#"{"sync": {}}"#])
        .await
        .done();
    let shown = lab.run(&["get", "node-1"]).await.done();
    for word in ["node-1", "attached", "standby.sync succeeded"] {
        assert!(shown.contains(word), "{shown}");
    }
    let shown = lab.run(&["get", "--all", "-o", "json"]).await.json();
    let result = &shown[0]["result"];
    assert_eq!(result["commands"][0]["name"], "standby.sync");
    assert_eq!(result["node"]["name"], "node-1");
    assert!(result["status"]["version"].is_string());
    let inventory = lab.run(&["inventory", "node-1", "-o", "json"]).await.json();
    let inventory = &inventory[0]["result"];
    assert_eq!(inventory["disks"][0]["size"], 16 << 20, "{inventory}");
    let text = lab.run(&["inventory", "node-1"]).await.done();
    assert!(text.contains("disks[0].size"), "{text}");
    let steps = lab.run(&["steps", "node-1"]).await.done();
    assert!(steps.contains("deploy.erase_devices_metadata"), "{steps}");
    let steps = lab.run(&["steps", "node-1", "--phase", "deploy"]).await;
    assert!(steps.done().contains("deploy.write_image"));
}

#[tokio::test]
async fn a_watch_ends_when_nothing_runs_and_events_say_what_was() {
    let lab = Lab::of(1).await;
    let events = ["events", "--count", "2", "-o", "json"];
    let events = tokio::spawn(output(lab.command(&events)));
    // Orders until both events have come: the watch may begin late.
    while !events.is_finished() {
        let order = ["run", "node-1", "--command", r#"{"sync": {}}"#];
        lab.run(&order).await.done();
    }
    let events = events.await.unwrap().done();
    let events: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["node"]["name"], "node-1");
    let token = events[1]["resume_token"].as_str().unwrap();
    assert!(!token.is_empty());
    let order = ["run", "node-1", "--command", r#"{"sync": {}}"#];
    lab.run(&order).await.done();
    let resumed = ["events", "node-1", "--resume", token, "--count", "1"];
    let line = lab.run(&resumed).await.done();
    assert!(line.contains("node-1") && line.contains("sync"), "{line}");
    let watched = lab.run(&["watch", "--until-idle", "-o", "json"]).await;
    let watched: Value = serde_json::from_str(watched.done().lines().next().unwrap()).unwrap();
    assert_eq!(watched["command"]["state"], "COMMAND_STATE_SUCCEEDED");
    let watched = lab.run(&["watch", "node-1", "--until-idle"]).await.done();
    assert!(watched.contains("standby.sync succeeded"), "{watched}");
}

#[tokio::test]
async fn the_archive_of_logs_has_its_name_when_it_is_whole() {
    let lab = Lab::of(1).await;
    let directory = lab.state.path().join("logs");
    let directory = directory.to_str().unwrap();
    let words = ["logs", "node-1", "--archive", directory, "-o", "json"];
    let archive = lab.run(&words).await.json();
    let file = archive[0]["result"]["file"].as_str().unwrap();
    let bytes = std::fs::read(file).unwrap();
    assert_eq!(bytes[..2], [0x1f, 0x8b], "a gzip archive");
    assert_eq!(archive[0]["result"]["bytes"], bytes.len());
    assert!(file.ends_with("/node-1.tar.gz"));
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 1);
}

#[tokio::test]
async fn contexts_are_written_chosen_and_removed() {
    let lab = Lab::of(1).await;
    let gateway = format!("unix:{}", lab.state.path().join("fleet.sock").display());
    let login = lab.run(&["login", "second", "--gateway", &gateway]).await;
    login.done();
    let contexts = lab.run(&["contexts", "-o", "json"]).await.json();
    assert_eq!(contexts[1]["name"], "second");
    assert_eq!(contexts[1]["current"], true);
    assert_eq!(contexts[1]["gateway"], gateway);
    lab.run(&["contexts", "use", "lab"]).await.done();
    // A file that can be read and not be written: nothing is said to be done.
    let mut unwritable = command(Path::new("/proc/self/fd/0"));
    unwritable.stdin(std::fs::File::open(lab.contexts()).unwrap());
    unwritable.args(["contexts", "use", "lab"]);
    let ran = output(unwritable).await;
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(!ran.err.contains("is the current one"), "{ran:?}");
    assert!(lab.run(&["contexts"]).await.done().contains("*  lab"));
    lab.run(&["contexts", "remove", "second"]).await.done();
    assert_eq!(
        lab.run(&["contexts", "list", "-o", "name"]).await.done(),
        "lab\n"
    );
    assert_eq!(
        lab.run(&["nodes", "--context", "second"]).await.code,
        Some(3)
    );
    // A gateway that does not answer is no context, unless that is wanted.
    let login = ["login", "third", "--gateway", "unix:/nonexistent/socket"];
    assert_eq!(lab.run(&login).await.code, Some(5));
    lab.run(&[&login[..], &["--offline"]].concat()).await.done();
    let script = lab.run(&["completion", "bash"]).await.done();
    assert!(script.contains("_agentctl"), "{script}");
}

#[tokio::test]
async fn one_agent_is_called_without_a_gateway() {
    let lab = Lab::of(0).await;
    for (words, expected) in [
        (["get", "--all"].as_slice(), "the gateway knows no nodes"),
        (&["get", "-l", "rack=1"], "no node has these labels"),
    ] {
        let refused = lab.run(words).await;
        assert_eq!(refused.code, Some(6), "{refused:?}");
        assert!(refused.err.contains(expected), "{refused:?}");
    }
    let machine = Machine::new();
    let socket = lab.state.path().join("agent.sock");
    let token = lab.state.path().join("token");
    std::fs::write(&token, "secret-of-the-agent\n").unwrap();
    let _agent = machine.start_agent_with("unix:/nonexistent", |config| {
        let mut config = config;
        config.grpc_listen = ironic_agent::config::GrpcListen::At(Listen::Unix(socket.clone()));
        config.standalone = true;
        config.common.agent_token = Some(ironic_text::Secret::new("secret-of-the-agent"));
        config
    });
    while !socket.exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let address = format!("unix:{}", socket.display());
    let token = token.to_str().unwrap();
    let agent = ["--agent", &address, "--agent-token-file", token];
    let run = async |words: &[&str]| lab.run(&[&agent[..], words].concat()).await;
    run(&["inventory"]).await.done();
    let (image, digest) = image();
    let url = serve(image.clone(), None).await;
    let write = [
        "write", "--yes", "--image", &url, "--sha256", &digest, "--format", "raw",
    ];
    run(&write).await.done();
    assert_eq!(
        std::fs::read(machine.disk()).unwrap()[512..image.len()],
        image[512..]
    );
    run(&["erase", "--yes", "--method", "metadata"])
        .await
        .done();
    assert!(run(&["get"]).await.done().contains("order.write_image"));
    assert_eq!(run(&["nodes"]).await.code, Some(2));
    assert_eq!(run(&["get", "node-1"]).await.code, Some(2));
    assert_eq!(run(&["watch"]).await.code, Some(6));
    assert_eq!(run(&["watch", "--until-idle"]).await.done(), "");
    let silent = serve(image.clone(), Some(1 << 20)).await;
    let write = [
        "write", "--yes", "--image", &silent, "--sha256", &digest, "--format", "raw",
    ];
    let detached = [&write[..], &["--detach", "--deadline", "5", "-o", "json"]].concat();
    let id = run(&detached).await.json()[0]["result"]["id"].clone();
    let watched = run(&["watch", "--until-idle", "-o", "json"]).await;
    assert_eq!(watched.code, Some(10), "{watched:?}");
    let record: Value = serde_json::from_str(&watched.out).unwrap();
    assert_eq!(record["id"], id);
    assert_eq!(record["state"], "COMMAND_STATE_CANCELLED");
    let without = lab.run(&["--agent", &address, "inventory"]).await;
    assert_eq!(without.code, Some(4));
    assert!(without.err.contains("--agent-token-file"), "{without:?}");
}

#[tokio::test]
async fn logs_are_printed_and_followed_from_a_cursor() {
    let lab = Lab::of(1).await;
    // The agents of these tests share the log of this process.
    let log = ironic_program::log::KeptLog::of_this_process();
    let write = |text: &str| log.write(std::time::SystemTime::now(), tracing::Level::INFO, text);
    let mark = "of logs_are_printed_and_followed";
    write(&format!("first {mark}"));
    let words = ["logs", "node-1", "--source", "agent", "-o", "json"];
    let records = lab.run(&words).await.done();
    let records: Vec<Value> = records
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let first = format!("first {mark}");
    let first = records
        .iter()
        .find(|record| record["text"] == first.as_str());
    assert_eq!(first.unwrap()["source"], "LOG_SOURCE_AGENT");
    assert_eq!(first.unwrap()["node"]["name"], "node-1");
    let cursor = records.last().unwrap()["cursor"].as_str().unwrap();
    write(&format!("second {mark}"));
    let again = [&words[..], &["--cursor", cursor]].concat();
    let again = lab.run(&again).await.done();
    assert!(again.contains(&format!("second {mark}")), "{again}");
    assert!(!again.contains(&format!("first {mark}")), "{again}");
    let tail = ["logs", "node-1", "--source", "agent", "--tail", "1"];
    assert_eq!(lab.run(&tail).await.done().lines().count(), 1);
    let both = [&words[..], &["--tail", "1", "--cursor", cursor]].concat();
    assert_eq!(lab.run(&both).await.code, Some(2));
}
