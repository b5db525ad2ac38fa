//! Orders as they come in.

use std::time::Duration;

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command::Verb as Message;
use ironic_document::{DocumentError, object, value};
use ironic_text::Secret;
use thiserror::Error;

use crate::commands::{
    BootcInstall, Command, CommandId, ExecuteStep, InstallBootloader, Object, Order, Verb,
};
use crate::steps::Phase;

/// What a [`v1::ExecuteCommandRequest`] may have wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidExecuteRequest {
    /// No order.
    #[error("'command' is missing")]
    NoCommand,
    /// Not the text form of a UUID.
    #[error("'id' must be a UUID such as 6dd11111-2222-4333-8444-555555555555, or empty")]
    Id,
    /// A duration that is none, or not after now.
    #[error("'deadline' must be a time in the future")]
    Deadline,
    /// The order itself.
    #[error(transparent)]
    Command(#[from] InvalidCommand),
}

/// What a [`v1::Command`] may have wrong that no verb can answer for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidCommand {
    /// None of the verbs is set, or one that a newer protocol has.
    #[error("the command holds no verb that this agent knows")]
    NoVerb,
    /// The step machine is not named.
    #[error("'phase' must be STEP_PHASE_CLEAN, STEP_PHASE_DEPLOY or STEP_PHASE_SERVICE")]
    Phase,
    /// A document that cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// The order in a request, and whether it is only to be checked.
///
/// # Errors
/// The first thing that is wrong with the request.
pub fn execute_request(
    request: v1::ExecuteCommandRequest,
) -> Result<(Order, bool), InvalidExecuteRequest> {
    let message = request.command.ok_or(InvalidExecuteRequest::NoCommand)?;
    let id = match request.id.as_str() {
        "" => None,
        text => Some(CommandId::parse(text).ok_or(InvalidExecuteRequest::Id)?),
    };
    let deadline = request.deadline.map(deadline).transpose()?;
    let mut order = Order::try_from(message)?;
    order.id = id;
    order.deadline = deadline;
    Ok((order, request.validate_only))
}

fn deadline(duration: prost_types::Duration) -> Result<Duration, InvalidExecuteRequest> {
    Duration::try_from(duration)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or(InvalidExecuteRequest::Deadline)
}

impl TryFrom<v1::Command> for Order {
    type Error = InvalidCommand;

    fn try_from(message: v1::Command) -> Result<Self, InvalidCommand> {
        let (verb, arguments) = verb(message.verb.ok_or(InvalidCommand::NoVerb)?)?;
        Ok(Self {
            id: None,
            verb,
            arguments,
            unexpected: message.unexpected_arguments.into_iter().next(),
            deadline: None,
        })
    }
}

/// The arguments, or the names of those that the verb needs and did not get.
type Arguments = Result<Command, Vec<&'static str>>;

fn verb(message: Message) -> Result<(Verb, Arguments), InvalidCommand> {
    let simple = |command: Command| Ok((command.verb(), Ok(command)));
    match message {
        Message::GetSteps(message) => get_steps(message),
        Message::ExecuteStep(message) => execute_step(message),
        Message::PrepareImage(message) => simple(Command::PrepareImage {
            image_info: optional_object(message.image_info, "image_info")?.unwrap_or_default(),
            configdrive: message.configdrive,
        }),
        Message::ExecuteBootcInstall(message) => bootc_install(message),
        Message::RunImage(_) => simple(Command::RunImage),
        Message::PowerOff(_) => simple(Command::PowerOff),
        Message::Sync(_) => simple(Command::Sync),
        Message::GetPartitionUuids(_) => simple(Command::GetPartitionUuids),
        Message::InstallBootloader(message) => Ok((
            Verb::InstallBootloader,
            match message.root_uuid {
                None => Err(vec!["root_uuid"]),
                Some(root_uuid) => Ok(Command::InstallBootloader(InstallBootloader {
                    root_uuid,
                    efi_system_part_uuid: message.efi_system_part_uuid,
                    prep_boot_part_uuid: message.prep_boot_part_uuid,
                    target_boot_mode: message
                        .target_boot_mode
                        .unwrap_or_else(|| "bios".to_owned()),
                    ignore_bootloader_failure: message.ignore_bootloader_failure,
                })),
            },
        )),
        Message::CollectSystemLogs(_) => simple(Command::CollectSystemLogs),
        Message::FinalizeRescue(message) => simple(Command::FinalizeRescue {
            password: Secret::new(message.rescue_password),
            hashed: message.hashed,
        }),
        Message::Lockdown(_) => simple(Command::Lockdown),
        Message::GetHardwareInfo(_) => simple(Command::GetHardwareInfo),
        Message::SetNodeInfo(message) => simple(Command::SetNodeInfo {
            node_info: optional_object(message.node_info, "node_info")?.unwrap_or_default(),
        }),
        Message::StartFlow(message) => Ok((
            Verb::StartFlow,
            match message.flow {
                None => Err(vec!["flow"]),
                Some(flow) => Ok(Command::StartFlow {
                    flow: list(flow, "flow")?,
                }),
            },
        )),
    }
}

fn bootc_install(
    message: v1::ExecuteBootcInstallCommand,
) -> Result<(Verb, Arguments), InvalidCommand> {
    let instance_info = optional_object(message.instance_info, "instance_info")?;
    let arguments = if message.image_source.is_empty() {
        Err(vec!["image_source"])
    } else {
        Ok(Command::ExecuteBootcInstall(BootcInstall {
            image_source: message.image_source,
            instance_info: instance_info.unwrap_or_default(),
            pull_secret: message.pull_secret.map(Secret::new),
            configdrive: message.configdrive,
        }))
    };
    Ok((Verb::ExecuteBootcInstall, arguments))
}

fn list(
    values: prost_types::ListValue,
    name: &str,
) -> Result<Vec<serde_json::Value>, DocumentError> {
    values
        .values
        .into_iter()
        .enumerate()
        .map(|(index, entry)| value(entry, &format!("{name}[{index}]")))
        .collect()
}

fn get_steps(message: v1::GetStepsCommand) -> Result<(Verb, Arguments), InvalidCommand> {
    let phase = phase(message.phase)?;
    let node = optional_object(message.node, "node")?;
    let ports = objects(message.ports, "ports")?;
    let arguments = match node {
        Some(node) => Ok(Command::GetSteps { phase, node, ports }),
        None => Err(vec!["node"]),
    };
    Ok((Verb::GetSteps(phase), arguments))
}

fn execute_step(message: v1::ExecuteStepCommand) -> Result<(Verb, Arguments), InvalidCommand> {
    let phase = phase(message.phase)?;
    let step = optional_object(message.step, "step")?;
    let node = optional_object(message.node, "node")?;
    let ports = objects(message.ports, "ports")?;
    let version = message.version.map(|version| value(version, "version"));
    let version = version.transpose()?.filter(|version| !version.is_null());
    let further = optional_object(message.arguments, "arguments")?.unwrap_or_default();
    let arguments = match (step, node) {
        (Some(step), Some(node)) => Ok(Command::ExecuteStep(Box::new(ExecuteStep {
            phase,
            step,
            node,
            ports,
            version,
            arguments: further,
        }))),
        (None, Some(_)) => Err(vec!["step"]),
        (Some(_), None) => Err(vec!["node"]),
        (None, None) => Err(vec!["step", "node"]),
    };
    Ok((Verb::ExecuteStep(phase), arguments))
}

fn phase(number: i32) -> Result<Phase, InvalidCommand> {
    match v1::StepPhase::try_from(number) {
        Ok(v1::StepPhase::Clean) => Ok(Phase::Clean),
        Ok(v1::StepPhase::Deploy) => Ok(Phase::Deploy),
        Ok(v1::StepPhase::Service) => Ok(Phase::Service),
        Ok(v1::StepPhase::Unspecified) | Err(_) => Err(InvalidCommand::Phase),
    }
}

fn optional_object(
    document: Option<prost_types::Struct>,
    name: &str,
) -> Result<Option<Object>, DocumentError> {
    document.map(|document| object(document, name)).transpose()
}

fn objects(documents: Vec<prost_types::Struct>, name: &str) -> Result<Vec<Object>, DocumentError> {
    documents
        .into_iter()
        .enumerate()
        .map(|(index, document)| object(document, &format!("{name}[{index}]")))
        .collect()
}

#[cfg(test)]
mod tests {
    use ironic_document::{to_struct, to_value};
    use serde_json::json;

    use super::*;

    fn document(json: serde_json::Value) -> Option<prost_types::Struct> {
        Some(to_struct(json.as_object().unwrap().clone(), "x").unwrap())
    }

    fn order(verb: Message) -> Result<Order, InvalidCommand> {
        Order::try_from(v1::Command {
            verb: Some(verb),
            unexpected_arguments: Vec::new(),
        })
    }

    #[test]
    fn an_execute_step_order_arrives_whole() {
        let order = order(Message::ExecuteStep(v1::ExecuteStepCommand {
            phase: v1::StepPhase::Deploy.into(),
            step: document(json!({"step": "write_image", "interface": "deploy"})),
            node: document(json!({"uuid": "u", "properties": {"memory_mb": 4096}})),
            ports: vec![document(json!({"address": "52:54:00:00:00:01"})).unwrap()],
            version: Some(to_value(json!({"generic": "1.2"}), "x").unwrap()),
            arguments: document(json!({"extra": 1.5})),
        }))
        .unwrap();
        assert_eq!(order.verb, Verb::ExecuteStep(Phase::Deploy));
        let Ok(Command::ExecuteStep(step)) = order.arguments else {
            panic!("{order:?}")
        };
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
            assert_eq!(order(message).unwrap().arguments, Err(missing));
        }
    }

    #[test]
    fn defaults_are_the_python_agents() {
        let message = Message::InstallBootloader(v1::InstallBootloaderCommand {
            root_uuid: Some(String::new()),
            ..Default::default()
        });
        let Ok(Command::InstallBootloader(arguments)) = order(message).unwrap().arguments else {
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
        let Ok(Command::ExecuteStep(step)) = order(null).unwrap().arguments else {
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
            execute_request(request).map(|(order, _)| order)
        };
        assert_eq!(request(|_| {}), Ok(Order::new(Command::Sync)));
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
                InvalidCommand::Phase.into(),
            ),
        ];
        for (edit, error) in cases {
            assert_eq!(request(edit), Err(error));
        }
    }
}
