//! What Ironic's answers mean.

use std::time::Duration;

use serde_json::{Map, Value};
use thiserror::Error;

use crate::weight::{TooHeavy, weigh};

/// The longest words of Ironic's that are passed on.
const MAX_ERROR_BYTES: usize = 1000;

/// A node, and how its agent shall behave.
#[derive(Clone)]
pub struct Found {
    /// The node document.
    pub node: Map<String, Value>,
    /// Its `uuid`.
    pub node_uuid: String,
    /// The longest time between two heartbeats.
    pub heartbeat_timeout: Duration,
    /// The conductor's settings for the agent.
    pub config: LookupConfig,
    /// Whether no Ironic has this node.
    pub without_ironic: bool,
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Found")
            .field("node_uuid", &self.node_uuid)
            .field("heartbeat_timeout", &self.heartbeat_timeout)
            .finish_non_exhaustive()
    }
}

/// The `config` of a lookup's answer. Keys that are absent or null change nothing.
#[derive(Clone, Default, PartialEq)]
pub struct LookupConfig {
    /// The token, or `******` when it was handed out before.
    pub agent_token: Option<String>,
    /// Whether a checksum may be MD5.
    pub agent_md5_checksum_enable: Option<bool>,
    /// Whether image content is not compared with the declared format.
    pub disable_deep_image_inspection: Option<bool>,
    /// Formats that may be written.
    pub permitted_image_formats: Option<Vec<String>>,
    /// Whether a boot loader is installed for BIOS machines.
    pub enable_bios_bootloader_install: Option<bool>,
    /// Whether the BMC's address is not looked for.
    pub agent_skip_bmc_detect: Option<bool>,
    /// `1.2` or `1.3`.
    pub tls_min_version: Option<String>,
    /// OpenSSL names.
    pub tls_cipher_suites: Option<String>,
    /// Options of steps in containers.
    pub agent_containers: Option<Map<String, Value>>,
}

impl std::fmt::Debug for LookupConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LookupConfig")
            .field("has_agent_token", &self.agent_token.is_some())
            .field("tls_min_version", &self.tls_min_version)
            .finish_non_exhaustive()
    }
}

/// Why an answer of Ironic is no document.
#[derive(Debug, Error)]
pub(super) enum InvalidDocument {
    #[error(transparent)]
    Heavy(#[from] TooHeavy),
    #[error("is not JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Why an answer to a lookup names no node.
#[derive(Debug, Error)]
pub(super) enum InvalidLookup {
    #[error("Ironic's answer to the lookup {0}")]
    Document(#[from] InvalidDocument),
    #[error("Ironic's answer to the lookup holds no {0}")]
    Lacks(&'static str),
}

/// Reads the answer to a lookup.
///
/// # Errors
/// What is missing: such an answer is asked for again.
pub(super) fn found(body: &[u8]) -> Result<Found, InvalidLookup> {
    let mut document = document(body)?;
    // Taken out, not copied: it may be large.
    let node = match document.get_mut("node").map(Value::take) {
        Some(Value::Object(node)) => node,
        _ => return Err(InvalidLookup::Lacks("object `node`")),
    };
    let node_uuid = text(node.get("uuid")).ok_or(InvalidLookup::Lacks("text `node.uuid`"))?;
    for (key, lacking) in [
        ("properties", "object `node.properties`"),
        ("instance_info", "object `node.instance_info`"),
    ] {
        if !node.get(key).is_some_and(Value::is_object) {
            return Err(InvalidLookup::Lacks(lacking));
        }
    }
    let empty = Map::new();
    let config = document.get("config").and_then(Value::as_object);
    // Before API 1.22 the timeout stood beside the node.
    let timeout = match config {
        Some(config) => config.get("heartbeat_timeout"),
        None => document.get("heartbeat_timeout"),
    };
    let heartbeat_timeout = timeout
        .and_then(Value::as_f64)
        .filter(|seconds| *seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or(InvalidLookup::Lacks("positive number `heartbeat_timeout`"))?;
    let config = config.unwrap_or(&empty);
    let flag = |key: &str| config.get(key).and_then(truth);
    Ok(Found {
        without_ironic: false,
        node,
        node_uuid,
        heartbeat_timeout,
        config: LookupConfig {
            agent_token: text(config.get("agent_token")),
            agent_md5_checksum_enable: flag("agent_md5_checksum_enable"),
            disable_deep_image_inspection: flag("disable_deep_image_inspection"),
            permitted_image_formats: config.get("permitted_image_formats").and_then(list),
            enable_bios_bootloader_install: flag("enable_bios_bootloader_install"),
            agent_skip_bmc_detect: flag("agent_skip_bmc_detect"),
            tls_min_version: text(config.get("tls_min_version")),
            tls_cipher_suites: text(config.get("tls_cipher_suites")),
            agent_containers: config
                .get("agent_containers")
                .and_then(Value::as_object)
                .cloned(),
        },
    })
}

/// The major and minor version in the root document.
pub(super) fn default_version(body: &[u8]) -> Option<String> {
    let document = document(body).ok()?;
    text(document.get("default_version")?.get("version"))
}

/// The `uuid` in the answer to an inspection report.
pub(super) fn inspected_uuid(body: &[u8]) -> Option<String> {
    let document = document(body).ok()?;
    // From API 1.84 on the answer has the shape of a lookup's.
    text(document.get("uuid")).or_else(|| text(document.get("node")?.get("uuid")))
}

/// What an error answer of Ironic says: `error_message` is an object, or the JSON text of
/// one, with `faultstring` or `title`; anything else is quoted as it is.
#[must_use]
pub fn error_text(body: &[u8]) -> String {
    let mut said = error_in(body);
    said.truncate(said.floor_char_boundary(MAX_ERROR_BYTES));
    said
}

fn error_in(body: &[u8]) -> String {
    let raw = || {
        String::from_utf8_lossy(&body[..body.len().min(MAX_ERROR_BYTES)])
            .trim()
            .to_owned()
    };
    let Ok(document) = document(body) else {
        return raw();
    };
    let Some(message) = document.get("error_message") else {
        return raw();
    };
    let nested;
    let message = match message {
        Value::String(inner) => match self::document(inner.as_bytes()) {
            Ok(value) => {
                nested = value;
                &nested
            }
            Err(_) => return inner.clone(),
        },
        other => other,
    };
    ["faultstring", "title"]
        .iter()
        .find_map(|key| text(message.get(key)))
        .unwrap_or_else(raw)
}

/// An answer as a document, if its memory is in proportion to its length.
fn document(body: &[u8]) -> Result<Value, InvalidDocument> {
    weigh(body)?;
    Ok(serde_json::from_slice(body)?)
}

fn text(value: Option<&Value>) -> Option<String> {
    value
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(word) => match word.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        },
        Value::Number(number) => number.as_i64().map(|number| number != 0),
        _ => None,
    }
}

/// A list of texts, or one text with commas.
fn list(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(items) => Some(
            items
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        ),
        Value::String(text) => Some(
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(str::to_owned)
                .collect(),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(config: &Value) -> Vec<u8> {
        let node = json!({"uuid": "u", "properties": {}, "instance_info": {}});
        json!({"node": node, "config": config})
            .to_string()
            .into_bytes()
    }

    #[test]
    fn a_whole_answer_is_read() {
        let found = found(&answer(&json!({
            "heartbeat_timeout": 300,
            "agent_token": "******",
            "agent_md5_checksum_enable": true,
            "disable_deep_image_inspection": null,
            "permitted_image_formats": "raw, qcow2",
            "tls_min_version": "1.3",
            "tls_cipher_suites": null,
            "agent_containers": {"runner": "podman"},
            "metrics": {"backend": "noop"},
        })))
        .unwrap();
        assert_eq!(found.node_uuid, "u");
        assert_eq!(found.heartbeat_timeout, Duration::from_secs(300));
        assert_eq!(found.config.agent_token.as_deref(), Some("******"));
        assert_eq!(found.config.agent_md5_checksum_enable, Some(true));
        assert_eq!(found.config.disable_deep_image_inspection, None);
        assert_eq!(
            found.config.permitted_image_formats,
            Some(vec!["raw".to_owned(), "qcow2".to_owned()])
        );
        assert_eq!(found.config.tls_cipher_suites, None);
    }

    #[test]
    fn a_timeout_beside_the_node_counts_when_there_is_no_config() {
        let node = json!({"uuid": "u", "properties": {}, "instance_info": {}});
        let old = json!({"node": node, "heartbeat_timeout": 42}).to_string();
        assert_eq!(
            found(old.as_bytes()).unwrap().heartbeat_timeout,
            Duration::from_secs(42)
        );
    }

    #[test]
    fn answers_that_make_no_sense_name_what_is_missing() {
        let cases: [(Vec<u8>, &str); 7] = [
            (b"<html>".to_vec(), "is not JSON"),
            (b"[]".to_vec(), "`node`"),
            (br#"{"node": {}}"#.to_vec(), "`node.uuid`"),
            (
                br#"{"node": {"uuid": "u", "properties": {}}}"#.to_vec(),
                "`node.instance_info`",
            ),
            (answer(&json!({})), "`heartbeat_timeout`"),
            (
                answer(&json!({"heartbeat_timeout": "soon"})),
                "`heartbeat_timeout`",
            ),
            (
                answer(&json!({"heartbeat_timeout": -5})),
                "`heartbeat_timeout`",
            ),
        ];
        for (body, named) in cases {
            let reason = found(&body).unwrap_err().to_string();
            assert!(reason.contains(named), "{reason}");
        }
    }

    #[test]
    fn error_answers_are_quoted_in_every_form() {
        let doubly = json!({"error_message": json!({"faultstring": "locked"}).to_string()});
        let cases = [
            (doubly.to_string(), "locked"),
            (
                json!({"error_message": {"faultstring": "gone"}}).to_string(),
                "gone",
            ),
            (
                json!({"error_message": {"title": "Not Acceptable"}}).to_string(),
                "Not Acceptable",
            ),
            (json!({"error_message": "plain"}).to_string(), "plain"),
            ("<html>proxy</html>".to_owned(), "<html>proxy</html>"),
        ];
        for (body, text) in cases {
            assert_eq!(error_text(body.as_bytes()), text);
        }
    }

    #[test]
    fn both_forms_of_an_inspection_answer_tell_the_uuid() {
        assert_eq!(inspected_uuid(br#"{"uuid": "a"}"#).as_deref(), Some("a"));
        assert_eq!(
            inspected_uuid(br#"{"node": {"uuid": "b"}}"#).as_deref(),
            Some("b")
        );
        assert_eq!(inspected_uuid(b""), None);
    }
}
