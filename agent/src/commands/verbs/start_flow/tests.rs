use serde_json::json;

use super::super::VerbCall;
use super::*;
use crate::commands::testing;
use crate::config::AgentConfig;

fn flow(value: Value) -> StartFlow {
    match value {
        Value::Array(flow) => StartFlow { flow },
        other => panic!("a flow is a list: {other}"),
    }
}

#[test]
fn commands_are_read_in_their_order() {
    let names: Vec<_> = flow(json!([
        {"poll.get_hardware_info": {}},
        {"standby.sync": null},
        {"clean.get_clean_steps": {"node": {"uuid": "u"}, "ports": {}}},
        {"clean.execute_clean_step": {
            "step": {"step": "erase_devices_metadata"}, "node": {"uuid": "u"}, "ports": [{}],
            "clean_version": {"generic": "1"}, "further": 1
        }},
        {"standby.prepare_image": {"image_info": {"id": "i"}, "configdrive": "H4"}},
        {"standby.execute_bootc_install": {"image_source": "oci://r/i"}},
        {"image.install_bootloader": {"root_uuid": ""}},
        {"standby.power_off": {}}
    ]))
    .commands()
    .unwrap()
    .iter()
    .map(|command| command.verb.name)
    .collect();
    assert_eq!(
        names,
        [
            "poll.get_hardware_info",
            "standby.sync",
            "clean.get_clean_steps",
            "clean.execute_clean_step",
            "standby.prepare_image",
            "standby.execute_bootc_install",
            "image.install_bootloader",
            "standby.power_off",
        ]
    );
}

#[test]
fn a_step_keeps_what_it_does_not_name() {
    let commands = flow(json!([{"clean.execute_clean_step": {
        "step": {"step": "s"}, "node": {"uuid": "u"}, "ports": null,
        "clean_version": {"generic": "1"}, "further": 1
    }}]))
    .commands()
    .unwrap();
    let [
        Command {
            call: VerbCall::ExecuteStep(step),
            ..
        },
    ] = commands.as_slice()
    else {
        panic!("{commands:?}")
    };
    assert_eq!(step.version, Some(json!({"generic": "1"})));
    assert_eq!(Value::Object(step.arguments.clone()), json!({"further": 1}));
}

#[test]
fn an_invalid_flow_is_refused_before_anything_runs() {
    use FailureKind::{InvalidCommand, InvalidCommandParams};
    let cases = [
        (
            json!(["x"]),
            InvalidCommandParams,
            "'flow[0]' must be an object",
        ),
        (json!([{"x": {}}]), InvalidCommand, "<extension>.<name>"),
        (
            json!([{"fake.sync": {}}]),
            InvalidCommandParams,
            "Extension with id fake not found.",
        ),
        (
            json!([{"standby.sync": {}}, {"standby.fake": {}}]),
            InvalidCommandParams,
            "Extension standby doesn't provide fake method",
        ),
        (
            json!([{"standby.sync": {}, "standby.power_off": {}}]),
            InvalidCommandParams,
            "'flow[0]' holds several commands",
        ),
        (
            json!([{"standby.sync": []}]),
            InvalidCommandParams,
            "must be an object",
        ),
        (
            json!([{"standby.sync": {"x": 1}}]),
            InvalidCommandParams,
            "unexpected keyword argument 'x'",
        ),
        (
            json!([{"image.install_bootloader": {}}]),
            InvalidCommandParams,
            "missing 1 required positional argument: 'root_uuid'",
        ),
        (
            json!([{"image.install_bootloader": {"root_uuid": 5}}]),
            InvalidCommandParams,
            "'root_uuid' of image.install_bootloader must be a text",
        ),
        (
            json!([{"flow.start_flow": {}}]),
            InvalidCommandParams,
            "another flow",
        ),
        (
            json!([{"system.lockdown": {}}]),
            InvalidCommandParams,
            "by itself",
        ),
        (
            json!([{"rescue.finalize_rescue": {}}]),
            InvalidCommandParams,
            "by itself",
        ),
    ];
    for (given, kind, text) in cases {
        let failure = flow(given.clone()).commands().unwrap_err();
        assert_eq!(failure.kind, kind, "{given}");
        assert!(failure.details.contains(text), "{given}: {failure}");
    }
}

#[tokio::test]
async fn the_first_failure_ends_a_flow() {
    let context = testing::context(AgentConfig::default());
    let (task, mut listener) = Task::new();
    let commands = flow(json!([
        {"standby.get_partition_uuids": {}},
        {"standby.sync": {}},
        {"clean.execute_clean_step": {"step": {"step": "no_such"}, "node": {"uuid": "u"}}},
        {"standby.power_off": {}},
    ]));
    let failure = commands.run(&context, &task).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::CommandExecution);
    assert!(
        failure
            .details
            .starts_with("clean.execute_clean_step was failed: "),
        "{failure}"
    );
    drop(task);
    let mut phases = Vec::new();
    while let Some(crate::task::TaskNote::PhaseEnded(text)) = listener.notes.recv().await {
        phases.push(text);
    }
    assert_eq!(
        phases,
        [
            "command 1 of 4, standby.get_partition_uuids, succeeded",
            "command 2 of 4, standby.sync, succeeded"
        ]
    );
    assert_eq!(
        flow(json!([])).run(&context, &Task::detached()).await,
        Ok(Value::Null)
    );
}

#[tokio::test]
async fn a_cancelled_flow_goes_no_further() {
    let context = testing::context(AgentConfig::default());
    let task = Task::detached();
    task.cancel("enough");
    let commands = flow(json!([{"standby.power_off": {}}]));
    let failure = commands.run(&context, &task).await.unwrap_err();
    assert_eq!(failure, task.cancellation().into());
}
