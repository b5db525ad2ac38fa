//! Extension `poll`: agents without a conductor of their own.

use ironic_agent_protocol::v1;

use super::{Arguments, Parsed, Verb, WrongArgument};

/// The verb of `poll.<command>`.
pub(super) fn verb(command: &str, arguments: &mut Arguments) -> Parsed {
    Some(match command {
        "get_hardware_info" => Ok(Verb::GetHardwareInfo(v1::GetHardwareInfoCommand {})),
        "set_node_info" => set_node_info(arguments),
        _ => return None,
    })
}

fn set_node_info(arguments: &mut Arguments) -> Result<Verb, WrongArgument> {
    Ok(Verb::SetNodeInfo(v1::SetNodeInfoCommand {
        node_info: arguments.object("node_info")?,
    }))
}
