//! The token that a command gives its agent.

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command::Verb;
use ironic_program::is_agent_token;
use prost_types::value::Kind;

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
        Some(Kind::StringValue(token)) if is_agent_token(token) => Some(token),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use prost_types::{Struct, Value};

    use super::*;

    fn value(kind: Kind) -> Value {
        Value { kind: Some(kind) }
    }

    #[test]
    fn a_token_is_learned_when_the_agent_takes_it() {
        let given = |token: &str| {
            let token = value(Kind::StringValue(token.to_owned()));
            let config = Struct {
                fields: [("agent_token".to_owned(), token)].into(),
            };
            let node_info = Struct {
                fields: [("config".to_owned(), value(Kind::StructValue(config)))].into(),
            };
            let verb = Verb::SetNodeInfo(v1::SetNodeInfoCommand {
                node_info: Some(node_info),
            });
            let command = v1::Command {
                verb: Some(verb),
                ..v1::Command::default()
            };
            given_token(&command).map(str::to_owned)
        };
        for token in ["t".repeat(32), "ü".repeat(32)] {
            assert_eq!(given(&token), Some(token));
        }
        // 32 bytes in 16 characters.
        for token in ["t".repeat(31), "ü".repeat(16), "******".to_owned()] {
            assert_eq!(given(&token), None);
        }
    }
}
