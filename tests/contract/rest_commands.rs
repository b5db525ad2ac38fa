//! The REST server: commands and their results. Contract rows 28 to 63.

use ironic_agent::failure::FailureKind;
use serde_json::{Value, json};

use super::support::agents::{Act, Agent, Script};
use super::support::front::{Front, with_token};

async fn scripted() -> (Script, Agent, Front) {
    let script = Script::default();
    let agent = Agent::scripted(&script).await;
    let front = Front::before(&agent.endpoint).await;
    (script, agent, front)
}

/// A step that the scripted agent runs in the background.
fn step() -> Value {
    json!({"step": {"step": "erase_devices_metadata", "interface": "deploy"}, "node": {"uuid": "u"}, "ports": []})
}

fn assert_result(result: &Value, name: &str, status: &str, error: Value, answer: Value) {
    let keys: Vec<&String> = result.as_object().unwrap().keys().collect();
    let expected = [
        "id",
        "command_name",
        "command_status",
        "command_error",
        "command_result",
    ];
    assert_eq!(keys, expected, "{result}");
    let id = result["id"].as_str().unwrap();
    let parsed = uuid(id);
    assert!(parsed, "{id} is no lower-case UUID of version 4");
    assert_eq!(result["command_name"], name);
    assert_eq!(result["command_status"], status, "{result}");
    assert_eq!(result["command_error"], error);
    assert_eq!(result["command_result"], answer);
}

fn uuid(id: &str) -> bool {
    let shape: String = id
        .chars()
        .map(|c| match c {
            '0'..='9' | 'a'..='f' => 'x',
            other => other,
        })
        .collect();
    shape == "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" && id.as_bytes()[14] == b'4'
}

/// Row 28: the content type and further keys mean nothing.
#[tokio::test]
async fn only_name_and_params_are_read() {
    let (_, _agent, front) = scripted().await;
    let body = br#"{"extra": [NaN], "name": "standby.sync", "params": {}}"#;
    let target = with_token("/v1/commands/");
    let answer = front
        .line()
        .await
        .ask("POST", &target, "Content-Type: text/plain\r\n", body)
        .await;
    assert_eq!(answer.status, 200);
    assert_result(
        &answer.json(),
        "sync",
        "SUCCEEDED",
        Value::Null,
        Value::Null,
    );
}

/// Rows 31, 32, 37 and 66.
#[tokio::test]
async fn texts_are_wrapped_and_escaped() {
    let (script, _agent, front) = scripted().await;
    script.act("standby.sync", Act::Answer(json!("hello")));
    let answer = front.run("standby.sync", json!({})).await;
    let wrapped = json!({"result": "hello"});
    assert_result(&answer.json(), "sync", "SUCCEEDED", Value::Null, wrapped);

    script.act(
        "standby.run_image",
        Act::Answer(json!("d\u{f6}ne \u{1f4be}")),
    );
    let answer = front.finish("standby.run_image", json!({})).await;
    let wrapped = json!({"result": "run_image: d\u{f6}ne \u{1f4be}"});
    assert_result(
        &answer.json(),
        "run_image",
        "SUCCEEDED",
        Value::Null,
        wrapped,
    );
    assert!(
        answer
            .text()
            .contains(r#""run_image: d\u00f6ne \ud83d\udcbe""#),
        "{}",
        answer.text()
    );
}

/// Rows 33 to 36: what blocks and what does not.
#[tokio::test]
async fn waiting_is_asked_for() {
    let (script, _agent, front) = scripted().await;
    for query in ["", "?wait=false", "?wait=1", "?wait=yes", "?wait="] {
        let gate = script.hold("standby.power_off");
        let path = format!("/v1/commands/{query}");
        let answer = front.post(&path, "standby.power_off", json!({})).await;
        assert_result(
            &answer.json(),
            "power_off",
            "RUNNING",
            Value::Null,
            Value::Null,
        );
        let path = format!("/v1/commands/{}", answer.json()["id"].as_str().unwrap());
        let seen = front.look(&path).await.json();
        assert_result(&seen, "power_off", "RUNNING", Value::Null, Value::Null);

        let waiting = front
            .get_later(&with_token(&format!("{path}?wait=TrUe")))
            .await;
        gate.open();
        let ended = waiting.await.unwrap().json();
        assert_result(&ended, "power_off", "SUCCEEDED", Value::Null, Value::Null);
    }
    for word in ["true", "TRUE"] {
        let gate = script.hold("standby.power_off");
        let path = format!("/v1/commands/?wait={word}");
        let body = json!({"name": "standby.power_off", "params": {}}).to_string();
        let waiting = front.post_later(&with_token(&path), &body).await;
        gate.reached().await;
        gate.open();
        let ended = waiting.await.unwrap().json();
        assert_result(&ended, "power_off", "SUCCEEDED", Value::Null, Value::Null);
    }
    assert_eq!(front.list().await.len(), 7);
}

/// Rows 38 to 40.
#[tokio::test]
async fn a_busy_agent_says_so_before_anything_else() {
    let (script, _agent, front) = scripted().await;
    let gate = script.hold("clean.execute_clean_step");
    front.run("clean.execute_clean_step", step()).await;
    let busy = (
        409,
        "Agent is busy: executing command execute_clean_step".to_owned(),
    );
    for (name, parameters) in [
        ("standby.sync", json!({})),
        ("standby.run_image", json!({})),
        ("standby.nope", json!({})),
        ("nope.cmd", json!({})),
        ("clean.get_clean_steps", json!({"node": 5})),
        ("flow.start_flow", json!({})),
        ("standby.prepare_image", json!({"image_info": {}})),
    ] {
        assert_eq!(front.run(name, parameters).await.fault(), busy, "{name}");
    }
    let nameless = front.run("noext", json!({})).await.fault();
    assert_eq!(nameless.0, 400);
    let list = front.list().await;
    assert_eq!(list.len(), 1);
    assert_eq!(list[0]["command_status"], "RUNNING");
    gate.open();
}

/// Rows 41 and 42: an immediate command holds up the others and is not seen.
#[tokio::test]
async fn an_immediate_command_holds_up_the_others() {
    let (script, _agent, front) = scripted().await;
    let gate = script.hold("standby.sync");
    let body = |name: &str| json!({"name": name, "params": {}}).to_string();
    let target = with_token("/v1/commands/");
    let first = front.post_later(&target, &body("standby.sync")).await;
    gate.reached().await;
    let second = front
        .post_later(&target, &body("standby.get_partition_uuids"))
        .await;
    assert_eq!(front.list().await, Vec::<Value>::new());
    assert!(!first.is_finished() && !second.is_finished());
    gate.open();
    assert_eq!(first.await.unwrap().json()["command_name"], "sync");
    let second = second.await.unwrap().json();
    assert_eq!(second["command_name"], "get_partition_uuids");
    let list = front.list().await;
    let names: Vec<_> = list.iter().map(|entry| &entry["command_name"]).collect();
    assert_eq!(names, ["sync", "get_partition_uuids"]);
}

/// Rows 43 to 46 and 53: how failures look.
#[tokio::test]
async fn failures_keep_their_class() {
    let (script, _agent, front) = scripted().await;
    let error = |kind: &str, code: u16, message: &str, details: &str| json!({"type": kind, "code": code, "message": message, "details": details});
    let failures = [
        (
            FailureKind::CommandExecution,
            "bad value",
            error(
                "CommandExecutionError",
                500,
                "Command execution failed",
                "bad value",
            ),
        ),
        (
            FailureKind::ImageDownload,
            "Download of image img failed: oops",
            error(
                "ImageDownloadError",
                500,
                "Error downloading image",
                "Download of image img failed: oops",
            ),
        ),
        (
            FailureKind::Cleaning,
            "Unexpected exception performing clean step s. ValueError: no",
            error(
                "CleaningError",
                500,
                "Clean step failed",
                "Unexpected exception performing clean step s. ValueError: no",
            ),
        ),
        (
            FailureKind::DeviceNotFound,
            "none",
            error(
                "DeviceNotFound",
                404,
                "Error finding the disk or partition device to deploy the image onto",
                "none",
            ),
        ),
    ];
    for (kind, details, error) in failures {
        script.act("clean.execute_clean_step", Act::Fail(kind, details));
        let answer = front.finish("clean.execute_clean_step", step()).await;
        assert_eq!(answer.status, 200);
        assert_result(
            &answer.json(),
            "execute_clean_step",
            "FAILED",
            error.clone(),
            Value::Null,
        );

        script.act("standby.sync", Act::Fail(kind, details));
        let answer = front.run("standby.sync", json!({})).await;
        assert_eq!(answer.status, 200);
        assert_result(&answer.json(), "standby.sync", "FAILED", error, Value::Null);
    }
    assert_eq!(front.list().await.len(), 8);

    // Row 46: a refusal is no result.
    script.act(
        "standby.sync",
        Act::Fail(FailureKind::InvalidCommandParams, "no"),
    );
    let answer = front.run("standby.sync", json!({})).await;
    assert_eq!(
        answer.fault(),
        (400, "Invalid command parameters: no".into())
    );
    script.act(
        "poll.set_node_info",
        Act::Fail(FailureKind::InvalidCommand, "not here"),
    );
    let answer = front
        .run("poll.set_node_info", json!({"node_info": {}}))
        .await;
    assert_eq!(answer.fault(), (400, "Invalid command: not here".into()));
    assert_eq!(front.list().await.len(), 8);
}

/// Row 47 and 49: one word for all three phases.
#[tokio::test]
async fn other_hardware_managers_are_a_mismatch() {
    let (script, _agent, front) = scripted().await;
    for phase in ["clean", "deploy", "service"] {
        let name = format!("{phase}.execute_{phase}_step");
        script.act(
            &name,
            Act::Fail(FailureKind::VersionMismatch, "Current versions: {}"),
        );
        let answer = front.finish(&name, step()).await.json();
        let error = json!({"type": "VersionMismatch", "code": 409, "message": "Hardware managers version mismatch, reload agent with correct version", "details": "Current versions: {}"});
        let bare = format!("execute_{phase}_step");
        assert_result(&answer, &bare, "CLEAN_VERSION_MISMATCH", error, Value::Null);
    }
}

/// A wrong call is a failed result, and the list stays readable: the Python agent's list is
/// an error from then on.
#[tokio::test]
async fn a_wrong_call_poisons_nothing() {
    let (_, _agent, front) = scripted().await;
    let cases = [
        (
            "standby.sync",
            json!({"zz": 1, "a": 2}),
            "StandbyExtension.sync() got an unexpected keyword argument 'zz'",
        ),
        (
            "clean.get_clean_steps",
            json!({}),
            "CleanExtension.get_clean_steps() missing",
        ),
        (
            "clean.execute_clean_step",
            json!({"node": {}, "ports": []}),
            "CleanExtension.execute_clean_step() missing 1 required positional argument: 'step'",
        ),
        (
            "image.install_bootloader",
            json!({}),
            "ImageExtension.install_bootloader() missing 1 required positional argument: 'root_uuid'",
        ),
    ];
    for (name, parameters, details) in cases {
        let answer = front.finish(name, parameters).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let error = &answer.json()["command_error"];
        assert_eq!(error["type"], "CommandExecutionError");
        let shown = error["details"].as_str().unwrap();
        assert!(shown.starts_with(details), "{shown}");
    }
    let list = front.list().await;
    let names: Vec<_> = list.iter().map(|entry| &entry["command_name"]).collect();
    assert_eq!(
        names,
        [
            "standby.sync",
            "clean.get_clean_steps",
            "execute_clean_step",
            "install_bootloader"
        ]
    );
}

/// Ten blocked workers starve the Python agent. Here are three hundred callers that wait.
#[tokio::test]
async fn waiting_requests_do_not_delay_others() {
    let (script, _agent, front) = scripted().await;
    let gate = script.hold("standby.power_off");
    let answer = front.run("standby.power_off", json!({})).await.json();
    let target = with_token(&format!(
        "/v1/commands/{}?wait=true",
        answer["id"].as_str().unwrap()
    ));
    let mut waiting = Vec::new();
    for _ in 0..300 {
        waiting.push(front.get_later(&target).await);
    }
    assert_eq!(front.get("/v1/status").await.status, 200);
    assert_eq!(front.list().await.len(), 1);
    assert_eq!(front.run("standby.sync", json!({})).await.status, 409);
    assert_eq!(front.run("nope.cmd", json!({})).await.status, 409);
    gate.open();
    for caller in waiting {
        assert_eq!(caller.await.unwrap().json()["command_status"], "SUCCEEDED");
    }
}

/// A caller that hangs up takes nothing back.
#[tokio::test]
async fn a_command_outlives_its_caller() {
    let (script, _agent, front) = scripted().await;
    let gate = script.hold("standby.sync");
    let body = json!({"name": "standby.sync", "params": {}}).to_string();
    let target = with_token("/v1/commands/");
    let caller = front.post_later(&target, &body).await;
    gate.reached().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    gate.open();
    // The next command gets its turn when the first has ended.
    front.run("standby.get_partition_uuids", json!({})).await;
    let names: Vec<_> = front.list().await;
    assert_eq!(names[0]["command_name"], "sync");
    assert_eq!(names[0]["command_status"], "SUCCEEDED");
}
