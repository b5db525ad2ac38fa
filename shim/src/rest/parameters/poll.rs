//! Extension `poll`: agents without a conductor of their own.

use ironic_agent_protocol::v1;
use prost_types::value::Kind;

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

/// The shortest text that an agent takes for a token.
const SHORTEST_TOKEN: usize = 32;

/// The token that an order gives its agent. The agent tells nobody which token it holds, so
/// this is where the shim learns it.
#[must_use]
pub fn given_token(order: &v1::Command) -> Option<&str> {
    let Some(Verb::SetNodeInfo(info)) = &order.verb else {
        return None;
    };
    let config = info.node_info.as_ref()?.fields.get("config")?;
    let Some(Kind::StructValue(config)) = &config.kind else {
        return None;
    };
    match &config.fields.get("agent_token")?.kind {
        Some(Kind::StringValue(token)) if token.len() >= SHORTEST_TOKEN => Some(token),
        _ => None,
    }
}
