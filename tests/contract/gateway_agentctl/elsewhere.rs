//! Nodes that another gateway holds.

use super::*;
use crate::fleet_elsewhere::Pair;

#[tokio::test]
async fn a_node_of_another_gateway_is_shown_and_called() {
    let Some(pair) = Pair::new().await else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let contexts = directory.path().join("config.yaml");
    let socket = pair.b.config.state_dir.join("fleet.sock");
    let text = format!(
        "current_context: b\ncontexts:\n  b: {{gateway: 'unix:{}'}}\n",
        socket.display()
    );
    std::fs::write(&contexts, text).unwrap();
    let run = async |words: &[&str]| {
        let mut command = command(&contexts);
        command.args(words);
        output(command).await
    };
    let nodes = run(&["nodes", "--state", "elsewhere"]).await.done();
    let row = nodes.lines().nth(1).unwrap();
    assert!(
        row.starts_with("rack1-1") && row.contains("elsewhere"),
        "{nodes}"
    );
    let shown = run(&["get", "rack1-1"]).await.done();
    let holder = pair.a.config.peer_url.as_ref().unwrap().to_string();
    assert!(shown.contains(&holder), "{shown}");
    let shown = run(&["get", "rack1-1", "-o", "json"]).await.json();
    assert!(
        shown[0]["result"]["status"]["version"].is_string(),
        "{shown}"
    );
    let (image, digest) = image();
    let url = serve(image, None).await;
    let write = [
        "write", "rack1-1", "--yes", "--image", &url, "--sha256", &digest,
    ];
    run(&write).await.done();
    let watched = run(&["watch", "--until-idle"]).await.done();
    assert!(watched.contains("elsewhere"), "{watched}");
}
