//! Requests for commands as they come in.

use std::time::Duration;

use ironic_agent_protocol::v1;
use ironic_agent_protocol::verbs::{Argument, ArgumentKind, VerbDescriptor};
use ironic_document::{DocumentError, object, value};
use thiserror::Error;

use ironic_document::JsonObject;

use crate::commands::arguments::GivenArguments;
use crate::commands::{CommandId, CommandRequest};

/// What a [`v1::ExecuteCommandRequest`] may have wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidExecuteRequest {
    /// No command.
    #[error("'command' is missing")]
    NoCommand,
    /// Not the text form of a UUID.
    #[error("'id' must be a UUID such as 6dd11111-2222-4333-8444-555555555555, or empty")]
    Id,
    /// Not a duration, or not in the future.
    #[error("'deadline' must be a time in the future")]
    Deadline,
    /// The command itself.
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
    StepPhase,
    /// A document that cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// The request for a command, and whether it is only to be checked.
///
/// # Errors
/// The first thing that is wrong with the message.
pub fn execute_request(
    message: v1::ExecuteCommandRequest,
) -> Result<(CommandRequest, bool), InvalidExecuteRequest> {
    let command = message.command.ok_or(InvalidExecuteRequest::NoCommand)?;
    let id = match message.id.as_str() {
        "" => None,
        text => Some(CommandId::parse(text).ok_or(InvalidExecuteRequest::Id)?),
    };
    let deadline = message.deadline.map(deadline).transpose()?;
    let mut request = CommandRequest::try_from(command)?;
    request.id = id;
    request.deadline = deadline;
    Ok((request, message.validate_only))
}

fn deadline(duration: prost_types::Duration) -> Result<Duration, InvalidExecuteRequest> {
    super::duration(duration)
        .filter(|duration| !duration.is_zero())
        .ok_or(InvalidExecuteRequest::Deadline)
}

impl TryFrom<v1::Command> for CommandRequest {
    type Error = InvalidCommand;

    fn try_from(message: v1::Command) -> Result<Self, InvalidCommand> {
        let verb = message.verb.ok_or(InvalidCommand::NoVerb)?;
        let (verb, arguments) = VerbDescriptor::decompose(verb).ok_or(InvalidCommand::StepPhase)?;
        let mut given = GivenArguments {
            unexpected: message.unexpected_arguments.into_iter().next(),
            ..GivenArguments::default()
        };
        for (descriptor, argument) in verb.arguments.iter().zip(arguments) {
            let Some(argument) = argument else {
                continue;
            };
            let value = json(argument, descriptor.field)?;
            match (descriptor.kind, value) {
                (_, serde_json::Value::Null) => {}
                (ArgumentKind::Further, serde_json::Value::Object(further)) => {
                    given.further = further;
                }
                (_, value) => {
                    given.named.insert(descriptor.name.to_owned(), value);
                }
            }
        }
        Self::new(verb, given).ok_or(InvalidCommand::NoVerb)
    }
}

/// An argument as JSON; `name` is what its field is called in errors.
fn json(argument: Argument, name: &str) -> Result<serde_json::Value, DocumentError> {
    Ok(match argument {
        Argument::Text(text) => text.into(),
        Argument::Flag(flag) => flag.into(),
        Argument::Object(document) => object(document, name)?.into(),
        Argument::Any(document) => value(document, name)?,
        Argument::Objects(documents) => documents
            .into_iter()
            .enumerate()
            .map(|(index, document)| object(document, &format!("{name}[{index}]")))
            .collect::<Result<Vec<JsonObject>, _>>()?
            .into(),
        Argument::List(list) => list
            .values
            .into_iter()
            .enumerate()
            .map(|(index, entry)| value(entry, &format!("{name}[{index}]")))
            .collect::<Result<Vec<_>, _>>()?
            .into(),
    })
}

#[cfg(test)]
mod tests;
