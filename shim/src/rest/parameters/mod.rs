//! Ironic's commands as commands of the protocol, by the table of the verbs.
//!
//! Names of parameters that a command does not have go along by name, and what is missing
//! stays absent: the agent answers both like a wrong call in Python. A value of a shape
//! that a parameter never has is refused here.

mod arguments;

use ironic_agent_protocol::v1;
use ironic_agent_protocol::verbs::VerbDescriptor;
use serde_json::{Map, Value};
use thiserror::Error;

pub use arguments::{Arguments, Shape, WrongArgument};

/// Why a call is no command.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidCall {
    /// No such extension.
    #[error("no such extension")]
    Extension,
    /// The extension has no such command.
    #[error("no such command")]
    Command,
    /// A parameter cannot be carried.
    #[error(transparent)]
    Argument(#[from] WrongArgument),
}

/// The command `<extension>.<command>` with its parameters.
///
/// # Errors
/// There is no such command, or a parameter has the wrong shape.
pub fn command(
    extension: &str,
    command: &str,
    parameters: Map<String, Value>,
) -> Result<v1::Command, InvalidCall> {
    let name = format!("{extension}.{command}");
    let Some(verb) = VerbDescriptor::of_ironic().find(|verb| verb.name == name) else {
        let known = VerbDescriptor::of_ironic().any(|verb| verb.extension() == extension);
        return Err(if known {
            InvalidCall::Command
        } else {
            InvalidCall::Extension
        });
    };
    let mut arguments = Arguments::new(parameters);
    let given = verb
        .arguments
        .iter()
        .map(|argument| match argument.grpc_only {
            // A caller that sends it all the same sends a parameter that the command does not have.
            true => Ok(None),
            false => arguments.take(argument),
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(v1::Command {
        verb: Some(verb.message(given)),
        unexpected_arguments: arguments.into_names(),
    })
}

#[cfg(test)]
mod tests;
