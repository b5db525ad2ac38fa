use serde_json::json;
use v1::command::Verb as Message;

use super::*;
use crate::commands::VerbCall;
use crate::commands::misuse::Misuse;
use crate::steps::StepPhase;
use ironic_document::{to_struct, to_value};

fn document(json: serde_json::Value) -> Option<prost_types::Struct> {
    Some(to_struct(json.as_object().unwrap().clone(), "x").unwrap())
}

fn request(verb: Message) -> Result<CommandRequest, InvalidCommand> {
    CommandRequest::try_from(v1::Command {
        verb: Some(verb),
        unexpected_arguments: Vec::new(),
    })
}

#[test]
fn an_execute_step_request_arrives_whole() {
    let request = request(Message::ExecuteStep(v1::ExecuteStepCommand {
        phase: v1::StepPhase::Deploy.into(),
        step: document(json!({"step": "write_image", "interface": "deploy"})),
        node: document(json!({"uuid": "u", "properties": {"memory_mb": 4096}})),
        ports: vec![document(json!({"address": "52:54:00:00:00:01"})).unwrap()],
        version: Some(to_value(json!({"generic": "1.2"}), "x").unwrap()),
        arguments: document(json!({"extra": 1.5})),
    }))
    .unwrap();
    assert_eq!(request.verb.name, "deploy.execute_deploy_step");
    let Ok(VerbCall::ExecuteStep(step)) = request.command.map(|command| command.call) else {
        panic!("it is complete")
    };
    assert_eq!(step.phase, StepPhase::Deploy);
    assert_eq!(
        json!([
            step.step,
            step.node,
            step.ports,
            step.version,
            step.arguments
        ])
        .to_string(),
        r#"[{"interface":"deploy","step":"write_image"},{"properties":{"memory_mb":4096},"uuid":"u"},[{"address":"52:54:00:00:00:01"}],{"generic":"1.2"},{"extra":1.5}]"#
    );
}

#[test]
fn what_a_verb_misses_is_named_in_its_order() {
    let step = |step, node| {
        Message::ExecuteStep(v1::ExecuteStepCommand {
            phase: v1::StepPhase::Clean.into(),
            step,
            node,
            ..Default::default()
        })
    };
    let some = || document(json!({}));
    let cases = [
        (step(None, some()), vec!["step"]),
        (step(some(), None), vec!["node"]),
        (step(None, None), vec!["step", "node"]),
        (
            Message::GetSteps(v1::GetStepsCommand {
                phase: v1::StepPhase::Clean.into(),
                ..Default::default()
            }),
            vec!["node"],
        ),
        (
            Message::InstallBootloader(v1::InstallBootloaderCommand::default()),
            vec!["root_uuid"],
        ),
        (
            Message::ExecuteBootcInstall(v1::ExecuteBootcInstallCommand::default()),
            vec!["image_source"],
        ),
        (
            Message::StartFlow(v1::StartFlowCommand::default()),
            vec!["flow"],
        ),
    ];
    for (message, missing) in cases {
        let misuse = request(message).unwrap().command.unwrap_err();
        assert_eq!(misuse, Misuse::Missing(missing));
    }
}

#[test]
fn defaults_are_the_python_agents() {
    let message = Message::InstallBootloader(v1::InstallBootloaderCommand {
        root_uuid: Some(String::new()),
        ..Default::default()
    });
    let command = request(message).unwrap().command;
    let Ok(VerbCall::InstallBootloader(arguments)) = command.map(|command| command.call) else {
        panic!("an empty root_uuid is one")
    };
    assert_eq!(arguments.target_boot_mode, "bios");
    let null = Message::ExecuteStep(v1::ExecuteStepCommand {
        phase: v1::StepPhase::Clean.into(),
        step: document(json!({})),
        node: document(json!({})),
        version: Some(to_value(json!(null), "x").unwrap()),
        ..Default::default()
    });
    let command = request(null).unwrap().command;
    let Ok(VerbCall::ExecuteStep(step)) = command.map(|command| command.call) else {
        panic!("it is complete")
    };
    assert_eq!(step.version, None);
}

#[test]
fn a_request_that_makes_no_sense_is_refused_by_field() {
    let request = |edit: fn(&mut v1::ExecuteCommandRequest)| {
        let mut request = v1::ExecuteCommandRequest {
            command: Some(v1::Command {
                verb: Some(Message::Sync(v1::SyncCommand {})),
                unexpected_arguments: Vec::new(),
            }),
            ..Default::default()
        };
        edit(&mut request);
        execute_request(request).map(|(request, _)| request.verb.name)
    };
    assert_eq!(request(|_| {}), Ok("standby.sync"));
    let duration = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    assert_eq!(
        duration(0, 0).map(deadline),
        Some(Err(InvalidExecuteRequest::Deadline))
    );
    assert_eq!(
        duration(-1, 0).map(deadline),
        Some(Err(InvalidExecuteRequest::Deadline))
    );
    assert_eq!(
        duration(1, 500_000_000).map(deadline),
        Some(Ok(Duration::from_millis(1500)))
    );
    type Edit = fn(&mut v1::ExecuteCommandRequest);
    let cases: [(Edit, InvalidExecuteRequest); 4] = [
        (|r| r.command = None, InvalidExecuteRequest::NoCommand),
        (|r| r.id = "abc".to_owned(), InvalidExecuteRequest::Id),
        (
            |r| r.command = Some(v1::Command::default()),
            InvalidCommand::NoVerb.into(),
        ),
        (
            |r| {
                r.command = Some(v1::Command {
                    verb: Some(Message::GetSteps(v1::GetStepsCommand::default())),
                    unexpected_arguments: Vec::new(),
                });
            },
            InvalidCommand::StepPhase.into(),
        ),
    ];
    for (edit, error) in cases {
        assert_eq!(request(edit), Err(error));
    }
}
