//! Commands that change machines.

use super::*;

#[tokio::test]
async fn an_image_is_written_while_another_node_is_erased() {
    let lab = Lab::of(2).await;
    let (image, digest) = image();
    let url = serve(image.clone(), None).await;
    std::fs::write(lab.disk(1), vec![0x55; 16 << 20]).unwrap();
    let write = [
        "write", "node-1", "--yes", "--image", &url, "--sha256", &digest, "-o", "json",
    ];
    let erase = ["erase", "node-2", "--yes", "-o", "json"];
    let (written, erased) = tokio::join!(lab.run(&write), lab.run(&erase));
    let written = written.json();
    assert_eq!(written[0]["node"]["name"], "node-1");
    assert_eq!(written[0]["result"]["name"], "order.write_image");
    assert_eq!(written[0]["result"]["state"], "COMMAND_STATE_SUCCEEDED");
    assert_eq!(
        erased.json()[0]["result"]["state"],
        "COMMAND_STATE_SUCCEEDED"
    );
    let disk = std::fs::read(lab.disk(0)).unwrap();
    // The partition table is fitted to the disk.
    assert_eq!(disk[512..image.len()], image[512..]);
    assert!(
        std::fs::read(lab.disk(1))
            .unwrap()
            .iter()
            .all(|byte| *byte == 0)
    );
}

#[tokio::test]
async fn a_plan_names_what_will_be_lost_and_changes_nothing() {
    let lab = Lab::of(2).await;
    std::fs::write(lab.disk(0), vec![0x55; 16 << 20]).unwrap();
    let plan = lab.run(&["plan", "erase", "--all"]).await.done();
    let rows: Vec<_> = plan.lines().skip(1).collect();
    assert_eq!(rows.len(), 2, "{plan}");
    for (row, node) in rows.iter().zip(["node-1", "node-2"]) {
        assert!(row.starts_with(node) && row.contains("LOST"), "{plan}");
        assert!(row.contains("/disks/sda"), "{plan}");
    }
    let plan = lab
        .run(&["plan", "erase", "node-1", "-o", "json"])
        .await
        .json();
    assert_eq!(plan[0]["result"]["actions"][0]["destructive"], true);
    let (image, digest) = image();
    let url = serve(image, None).await;
    let plan = [
        "plan", "write", "node-1", "--image", &url, "--sha256", &digest,
    ];
    assert!(lab.run(&plan).await.done().contains("LOST"));
    let plan = lab.run(&["plan", "power", "off", "node-1"]).await.done();
    assert!(!plan.contains("LOST"), "{plan}");
    assert!(
        std::fs::read(lab.disk(0))
            .unwrap()
            .iter()
            .all(|byte| *byte == 0x55)
    );
}

#[tokio::test]
async fn many_nodes_are_worked_on_with_bounded_parallelism() {
    let lab = Lab::of(3).await;
    let order = ["run", "--all", "--command", r#"{"sync": {}}"#];
    let ran = lab
        .run(&[&order[..], &["--parallel", "2", "-o", "name"]].concat())
        .await;
    assert_eq!(ran.done(), "node-1\nnode-2\nnode-3\n");
    let step = [
        "run",
        "--all",
        "--step",
        "deploy.erase_devices_metadata",
        "--yes",
    ];
    let ran = lab.run(&step).await.done();
    assert_eq!(ran.matches("succeeded").count(), 3, "{ran}");
}

/// An image whose server becomes silent, and an order to write it.
async fn endless(lab: &Lab) -> Vec<String> {
    let (image, digest) = image();
    let url = serve(image, Some(1 << 20)).await;
    std::fs::write(lab.disk(0), vec![0x55; 16 << 20]).unwrap();
    let order = [
        "write", "node-1", "--yes", "--image", &url, "--sha256", &digest,
    ];
    order.map(str::to_owned).to_vec()
}

/// Waits until the command of the first node runs.
async fn wait_until_running(lab: &Lab) {
    loop {
        let nodes = lab.run(&["nodes", "-o", "json"]).await.json();
        if nodes[0]["command"]["state"] == "COMMAND_STATE_RUNNING" {
            return;
        }
    }
}

#[tokio::test]
async fn a_command_that_runs_is_left_alone_or_cancelled() {
    let lab = Lab::of(1).await;
    let order = endless(&lab).await;
    let order: Vec<&str> = order.iter().map(String::as_str).collect();
    let detached = lab
        .run(&[&order[..], &["--detach", "-o", "json"]].concat())
        .await;
    let record = detached.json()[0]["result"].clone();
    assert_eq!(record["state"], "COMMAND_STATE_RUNNING");
    // The agent takes one at a time.
    let busy = lab.run(&["erase", "node-1", "--yes"]).await;
    assert_eq!(busy.code, Some(8), "{busy:?}");
    assert!(busy.err.contains("agentctl cancel"), "{busy:?}");
    let cancelled = lab.run(&["cancel", "node-1", "-o", "json"]).await.json();
    assert_eq!(cancelled[0]["result"]["id"], record["id"]);
    let watched = lab.run(&["watch", "node-1", "--until-idle"]).await;
    assert_eq!(watched.code, Some(10), "{watched:?}");
    let nothing = lab.run(&["cancel", "node-1"]).await;
    assert_eq!(nothing.code, Some(6), "{nothing:?}");
    let deadline = lab
        .run(&[&order[..], &["--deadline", "0.5"]].concat())
        .await;
    assert_eq!(deadline.code, Some(10), "{deadline:?}");
}

#[tokio::test]
async fn an_interrupt_cancels_or_detaches_as_asked() {
    let lab = Lab::of(1).await;
    let order = endless(&lab).await;
    let order: Vec<&str> = order.iter().map(String::as_str).collect();
    for (what, code) in [("detach", 130), ("ask", 130), ("cancel", 10)] {
        let words = [&order[..], &["--on-interrupt", what]].concat();
        let mut command = lab.command(&words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        wait_until_running(&lab).await;
        let pid = i32::try_from(child.id().unwrap()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let ended = tokio::time::timeout(LIMIT, child.wait_with_output()).await;
        let ended = ended.unwrap().unwrap();
        let err = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(code), "{what}: {err}");
        if code == 130 {
            let (_, advice) = err.split_once("`agentctl cancel ").unwrap();
            let (words, _) = advice.split_once('`').unwrap();
            let words: Vec<&str> = words.split(' ').collect();
            lab.run(&[&["cancel"], &words[..]].concat()).await.done();
            let watched = lab.run(&["watch", "node-1", "--until-idle"]).await;
            assert_eq!(watched.code, Some(10));
        }
    }
}

#[tokio::test]
async fn power_is_ordered_like_anything_else() {
    let lab = Lab::of(1).await;
    let refused = lab.run(&["power", "off", "node-1"]).await;
    assert_eq!(refused.code, Some(11), "{refused:?}");
    lab.run(&["power", "off", "node-1", "--yes"]).await.done();
}
