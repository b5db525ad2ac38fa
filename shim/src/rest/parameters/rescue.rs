//! Extension `rescue`: handing the machine over to a person.

use ironic_agent_protocol::v1;

use super::{Arguments, Parsed, Verb, WrongArgument};

/// The verb of `rescue.<command>`.
pub(super) fn verb(command: &str, arguments: &mut Arguments) -> Parsed {
    match command {
        "finalize_rescue" => Some(finalize_rescue(arguments)),
        _ => None,
    }
}

fn finalize_rescue(arguments: &mut Arguments) -> Result<Verb, WrongArgument> {
    Ok(Verb::FinalizeRescue(v1::FinalizeRescueCommand {
        rescue_password: arguments.text("rescue_password")?.unwrap_or_default(),
        hashed: arguments.flag("hashed")?.unwrap_or_default(),
    }))
}
