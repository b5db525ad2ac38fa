//! Extension `flow`: several commands one after another.

use ironic_agent_protocol::v1;

use super::{Arguments, Parsed, Verb, WrongArgument};

/// The verb of `flow.<command>`.
pub(super) fn verb(command: &str, arguments: &mut Arguments) -> Parsed {
    match command {
        "start_flow" => Some(start_flow(arguments)),
        _ => None,
    }
}

fn start_flow(arguments: &mut Arguments) -> Result<Verb, WrongArgument> {
    Ok(Verb::StartFlow(v1::StartFlowCommand {
        flow: arguments.list("flow")?,
    }))
}
