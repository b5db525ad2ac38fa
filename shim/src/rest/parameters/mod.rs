//! Ironic's commands as orders of the protocol: one file per extension.
//!
//! Names of parameters that a command does not have go along by name, and what is missing
//! stays absent: the agent answers both like a wrong call in Python. A value of a shape
//! that a parameter never has is refused here.

mod arguments;
mod flow;
mod image;
mod log;
mod poll;
mod rescue;
mod standby;
mod steps;
mod system;

use ironic_agent_protocol::v1;
use serde_json::{Map, Value};
use thiserror::Error;

pub use arguments::{Arguments, Shape, WrongArgument};
pub use poll::given_token;

use v1::StepPhase;
use v1::command::Verb;

/// Why there is no order for a command.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoOrder {
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

/// The order for `<extension>.<command>`.
///
/// # Errors
/// There is no such command, or a parameter has the wrong shape.
pub fn order(
    extension: &str,
    command: &str,
    parameters: Map<String, Value>,
) -> Result<v1::Command, NoOrder> {
    let mut arguments = Arguments::new(parameters);
    let verb = match extension {
        "clean" => steps::verb(StepPhase::Clean, command, &mut arguments),
        "deploy" => steps::verb(StepPhase::Deploy, command, &mut arguments),
        "service" => steps::verb(StepPhase::Service, command, &mut arguments),
        "standby" => standby::verb(command, &mut arguments),
        "image" => image::verb(command, &mut arguments),
        "flow" => flow::verb(command, &mut arguments),
        "log" => log::verb(command),
        "poll" => poll::verb(command, &mut arguments),
        "rescue" => rescue::verb(command, &mut arguments),
        "system" => system::verb(command),
        _ => return Err(NoOrder::Extension),
    };
    Ok(v1::Command {
        verb: Some(verb.ok_or(NoOrder::Command)??),
        unexpected_arguments: arguments.into_names(),
    })
}

/// What an extension makes of a command: nothing if it has none of that name.
type Parsed = Option<Result<Verb, WrongArgument>>;

#[cfg(test)]
mod tests;
