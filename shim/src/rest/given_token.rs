//! The token that a command gives its agent.

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command::Verb;
use prost_types::value::Kind;

/// The shortest text that an agent takes for a token.
const SHORTEST_TOKEN: usize = 32;

/// The token that a command gives its agent. The agent tells nobody which token it holds, so
/// this is where the shim learns it.
#[must_use]
pub fn given_token(command: &v1::Command) -> Option<&str> {
    let Some(Verb::SetNodeInfo(info)) = &command.verb else {
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
