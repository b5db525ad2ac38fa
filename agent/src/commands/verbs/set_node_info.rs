//! Gives a standalone agent what a lookup would have answered.

use ironic_document::JsonObject;
use ironic_program::is_agent_token;
use ironic_text::Secret;
use serde_json::Value;

use super::Verb;
use crate::commands::arguments::VerbArguments;
use crate::commands::context::CommandContext;
use crate::commands::failure::{Failure, FailureKind};
use crate::commands::plan::CommandPlan;
use crate::config::SessionOverrides;
use crate::machine::ironic_node::Node;
use crate::task::Task;

/// The verb with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct SetNodeInfo {
    /// `{"node": ..., "config": ...}`.
    pub node_info: JsonObject,
}

impl Verb for SetNodeInfo {
    fn read(mut arguments: VerbArguments) -> Option<Self> {
        Some(Self {
            node_info: arguments.object("node_info"),
        })
    }

    async fn plan(&self, _context: &CommandContext) -> Result<CommandPlan, Failure> {
        Ok(CommandPlan::of(
            "Take over the node and the settings of the document.",
        ))
    }

    /// Answers null.
    ///
    /// # Errors
    /// See [`set_node_info`].
    async fn run(self, context: &CommandContext, _task: &Task) -> Result<Value, Failure> {
        set_node_info(context, &self.node_info).map(|()| Value::Null)
    }
}

/// Takes a document `{"node": ..., "config": ...}` for what a lookup would have answered.
///
/// # Errors
/// `InvalidCommand`: the agent has a conductor to ask. `InvalidCommandParams`: no lookup
/// answers such a document; nothing was changed.
fn set_node_info(context: &CommandContext, node_info: &JsonObject) -> Result<(), Failure> {
    if !context.config.current().standalone {
        return Err(Failure::new(
            FailureKind::InvalidCommand,
            "Node lookup data can only be set when the Ironic Python Agent is running in \
             standalone mode.",
        ));
    }
    let node = object(node_info, "node")?.ok_or_else(|| {
        invalid("'node_info' must hold the object 'node', as the Ironic lookup answers it.")
    })?;
    for key in ["uuid", "properties", "instance_info"] {
        if node.get(key).is_none_or(Value::is_null) {
            return Err(invalid(format!("'node' in 'node_info' lacks '{key}'.")));
        }
    }
    let none = JsonObject::new();
    let config = object(node_info, "config")?.unwrap_or(&none);
    let overrides = overrides(config)?;
    let token = text(config, "agent_token")?;

    for ignored in context.config.apply(&overrides) {
        tracing::warn!(key = %ignored.key, reason = %ignored.reason, "not applied");
    }
    if is_agent_token(token) {
        context.config.adopt_token(Secret::new(token));
    }
    context.node.remember(Node(node.clone()));
    // The command is Ironic's, so the node is.
    context.node.mark_ironics(true);
    tracing::info!(node = %context.node.current().uuid(), "node information was set");
    Ok(())
}

fn overrides(config: &JsonObject) -> Result<SessionOverrides, Failure> {
    Ok(SessionOverrides {
        agent_md5_checksum_enable: flag(config, "agent_md5_checksum_enable")?,
        disable_deep_image_inspection: flag(config, "disable_deep_image_inspection")?,
        permitted_image_formats: formats(config)?,
        enable_bios_bootloader_install: flag(config, "enable_bios_bootloader_install")?,
        agent_skip_bmc_detect: flag(config, "agent_skip_bmc_detect")?,
        tls_min_version: text(config, "tls_min_version")?.to_owned(),
        tls_cipher_suites: text(config, "tls_cipher_suites")?.to_owned(),
        agent_containers: object(config, "agent_containers")?
            .cloned()
            .unwrap_or_default(),
    })
}

/// A list of names, or the names in one text with commas between them.
fn formats(config: &JsonObject) -> Result<Option<Vec<String>>, Failure> {
    const KEY: &str = "permitted_image_formats";
    match present(config, KEY) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(
            text.split(',')
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty())
                .collect(),
        )),
        Some(Value::Array(names)) => names
            .iter()
            .map(|name| name.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .map(Some)
            .ok_or_else(|| wrong(KEY, "a list of texts")),
        Some(_) => Err(wrong(KEY, "a list of texts")),
    }
}

fn flag(config: &JsonObject, key: &'static str) -> Result<Option<bool>, Failure> {
    present(config, key)
        .map(|value| value.as_bool().ok_or_else(|| wrong(key, "true or false")))
        .transpose()
}

fn text<'a>(config: &'a JsonObject, key: &'static str) -> Result<&'a str, Failure> {
    present(config, key).map_or(Ok(""), |value| {
        value.as_str().ok_or_else(|| wrong(key, "a text"))
    })
}

fn object<'a>(
    parent: &'a JsonObject,
    key: &'static str,
) -> Result<Option<&'a JsonObject>, Failure> {
    present(parent, key)
        .map(|value| value.as_object().ok_or_else(|| wrong(key, "an object")))
        .transpose()
}

fn present<'a>(object: &'a JsonObject, key: &str) -> Option<&'a Value> {
    object.get(key).filter(|value| !value.is_null())
}

fn wrong(key: &str, expected: &str) -> Failure {
    invalid(format!("'{key}' in 'node_info' must be {expected}."))
}

fn invalid(details: impl Into<String>) -> Failure {
    Failure::new(FailureKind::InvalidCommandParams, details)
}

#[cfg(test)]
mod tests {
    use ironic_program::CommonSettings;
    use serde_json::json;

    use super::*;
    use crate::commands::testing;
    use crate::config::AgentConfig;

    fn info(value: Value) -> JsonObject {
        value.as_object().unwrap().clone()
    }

    fn context(standalone: bool) -> CommandContext {
        testing::context(AgentConfig {
            common: CommonSettings {
                agent_token: Some(Secret::new("first")),
                ..CommonSettings::default()
            },
            standalone,
            ..AgentConfig::default()
        })
    }

    const NODE: &str = r#"{"uuid": "u", "properties": {}, "instance_info": {}}"#;

    fn node() -> Value {
        serde_json::from_str(NODE).unwrap()
    }

    #[test]
    fn an_agent_with_a_conductor_refuses() {
        let context = context(false);
        let failure = set_node_info(&context, &info(json!({"node": node()}))).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "Invalid command: Node lookup data can only be set when the Ironic Python Agent \
             is running in standalone mode."
        );
        assert_eq!(context.node.current().uuid(), "");
    }

    #[test]
    fn a_document_is_applied_like_a_lookup() {
        let context = context(true);
        let token = "x".repeat(32);
        let document = json!({"node": node(), "config": {
            "agent_token": token, "agent_md5_checksum_enable": true, "heartbeat_timeout": 300,
            "permitted_image_formats": "raw, gpt", "tls_cipher_suites": null,
            "agent_containers": {"runner": "docker"}, "something_new": [1]}});
        assert_eq!(set_node_info(&context, &info(document)), Ok(()));
        let config = context.config.current();
        assert!(config.md5_enabled);
        assert_eq!(config.permitted_image_formats, ["raw", "gpt"]);
        assert_eq!(config.common.agent_token, Some(Secret::new(token)));
        assert_eq!(context.node.current().uuid(), "u");
    }

    #[test]
    fn a_masked_or_short_token_replaces_nothing() {
        for token in ["******", "********", &"x".repeat(31)] {
            let context = context(true);
            let document = json!({"node": node(), "config": {"agent_token": token}});
            set_node_info(&context, &info(document)).unwrap();
            assert_eq!(
                context.config.current().common.agent_token,
                Some(Secret::new("first"))
            );
        }
    }

    #[test]
    fn an_invalid_request_names_the_error_and_applies_nothing() {
        let cases = [
            (json!({}), "'node_info' must hold the object 'node'"),
            (
                json!({"node": 5}),
                "'node' in 'node_info' must be an object.",
            ),
            (json!({"node": {"uuid": "u"}}), "lacks 'properties'"),
            (
                json!({"node": node(), "config": {"agent_md5_checksum_enable": "yes"}}),
                "'agent_md5_checksum_enable' in 'node_info' must be true or false.",
            ),
            (
                json!({"node": node(), "config": {"permitted_image_formats": [5]}}),
                "'permitted_image_formats' in 'node_info' must be a list of texts.",
            ),
        ];
        for (document, text) in cases {
            let context = context(true);
            let before = context.config.current();
            let failure = set_node_info(&context, &info(document)).unwrap_err();
            assert_eq!(failure.kind, FailureKind::InvalidCommandParams);
            assert!(failure.details.contains(text), "{}", failure.details);
            assert_eq!(context.config.current(), before);
            assert_eq!(context.node.current().uuid(), "");
        }
    }
}
