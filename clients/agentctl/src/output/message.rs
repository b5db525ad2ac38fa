//! Messages of the protocol as JSON, and JSON as messages, by the description of the protocol: a
//! field that is new in it needs nothing here.
//!
//! The JSON is that of protocol buffers with the field names of the `.proto` files: enums are
//! names, times are RFC 3339, durations are seconds with an `s`, bytes are base64. Unlike there,
//! integers of 64 bits are numbers. A field that may be absent is left out when it is; every other
//! one is always there.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ironic_agent_protocol::{FILE_DESCRIPTOR_SET, v1};
use ironic_document::DocumentError;
use prost::Message;
use prost_reflect::{
    DescriptorError, DescriptorPool, DeserializeOptions, DynamicMessage, FieldDescriptor, Kind,
    MapKey, MessageDescriptor, Value as FieldValue,
};
use serde_json::{Map, Value};
use thiserror::Error;

/// Why a message has no JSON, or JSON is no message.
#[derive(Debug, Error)]
pub(crate) enum MessageError {
    /// The description of the protocol cannot be read.
    #[error("the description of the protocol cannot be read")]
    Description(#[source] DescriptorError),
    /// It lacks a message.
    #[error("the protocol has no message {0}")]
    Unknown(&'static str),
    /// A message is not as it is described.
    #[error("a message is not as the protocol describes it")]
    Decode(#[from] prost::DecodeError),
    /// A document in it cannot be JSON.
    #[error("a document in a message cannot be shown")]
    Document(#[from] DocumentError),
    /// JSON is not a message.
    #[error("this is no {name}")]
    Json {
        /// The message.
        name: &'static str,
        /// What is wrong where.
        #[source]
        source: serde_json::Error,
    },
}

/// A message whose name is known.
pub(crate) trait NamedMessage: Message + Default {
    /// Its full name.
    const NAME: &'static str;
}

macro_rules! named {
    ($($message:ident),*) => {
        $(impl NamedMessage for v1::$message {
            const NAME: &'static str = concat!("ironic.agent.v1.", stringify!($message));
        })*
    };
}

named!(
    Command,
    CommandRecord,
    GetStatusResponse,
    JoinToken,
    LogGap,
    LogRecord,
    Milestone,
    Node,
    NodeEvent,
    Plan,
    Progress,
    RaidCommand
);

fn pool() -> Result<&'static DescriptorPool, MessageError> {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    if let Some(pool) = POOL.get() {
        return Ok(pool);
    }
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).map_err(MessageError::Description)?;
    Ok(POOL.get_or_init(|| pool))
}

/// The description of a message.
///
/// # Errors
/// The protocol has no such message.
pub(crate) fn descriptor<M: NamedMessage>() -> Result<MessageDescriptor, MessageError> {
    pool()?
        .get_message_by_name(M::NAME)
        .ok_or(MessageError::Unknown(M::NAME))
}

/// A message as JSON.
///
/// # Errors
/// It holds a document that JSON cannot.
pub(crate) fn to_json<M: NamedMessage>(message: &M) -> Result<Value, MessageError> {
    let dynamic = DynamicMessage::decode(descriptor::<M>()?, message.encode_to_vec().as_slice())?;
    write(&dynamic)
}

/// Several messages as a JSON array.
///
/// # Errors
/// As [`to_json`].
pub(crate) fn to_json_list<M: NamedMessage>(messages: &[M]) -> Result<Value, MessageError> {
    let values = messages.iter().map(to_json);
    values.collect::<Result<Vec<_>, _>>().map(Value::Array)
}

/// JSON as a message. Field names may be those of the `.proto` files or those of the JSON of
/// protocol buffers.
///
/// # Errors
/// A field is not known, or a value is of another kind.
pub(crate) fn from_json<M: NamedMessage>(value: Value) -> Result<M, MessageError> {
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let read = DynamicMessage::deserialize_with_options(descriptor::<M>()?, value, &options);
    let dynamic = read.map_err(|source| MessageError::Json {
        name: M::NAME,
        source,
    })?;
    Ok(dynamic.transcode_to()?)
}

fn write(message: &DynamicMessage) -> Result<Value, MessageError> {
    let descriptor = message_descriptor(message);
    Ok(match descriptor.full_name() {
        "google.protobuf.Timestamp" => Value::String(
            message
                .transcode_to::<prost_types::Timestamp>()?
                .to_string(),
        ),
        "google.protobuf.Duration" => {
            Value::String(message.transcode_to::<prost_types::Duration>()?.to_string())
        }
        "google.protobuf.Struct" => {
            Value::Object(ironic_document::object(message.transcode_to()?, "")?)
        }
        "google.protobuf.Value" => ironic_document::value(message.transcode_to()?, "")?,
        "google.protobuf.ListValue" => {
            let kind = prost_types::value::Kind::ListValue(message.transcode_to()?);
            ironic_document::value(prost_types::Value { kind: Some(kind) }, "")?
        }
        _ => {
            let mut object = Map::new();
            for field in descriptor.fields() {
                if field.supports_presence() && !message.has_field(&field) {
                    continue;
                }
                let value = write_field(&field, &message.get_field(&field))?;
                object.insert(field.name().to_owned(), value);
            }
            Value::Object(object)
        }
    })
}

fn message_descriptor(message: &DynamicMessage) -> MessageDescriptor {
    use prost_reflect::ReflectMessage as _;
    message.descriptor()
}

fn write_field(field: &FieldDescriptor, value: &FieldValue) -> Result<Value, MessageError> {
    let kind = field.kind();
    match value {
        FieldValue::List(values) => {
            let values = values.iter().map(|value| write_one(&kind, value));
            values.collect::<Result<Vec<_>, _>>().map(Value::Array)
        }
        FieldValue::Map(entries) => {
            let Kind::Message(entry) = kind else {
                return Ok(Value::Null);
            };
            let kind = entry.map_entry_value_field().kind();
            // Their order in memory differs from run to run.
            let sorted: BTreeMap<String, &FieldValue> = entries
                .iter()
                .map(|(key, value)| (key_text(key), value))
                .collect();
            let values = sorted
                .into_iter()
                .map(|(key, value)| Ok((key, write_one(&kind, value)?)));
            values.collect::<Result<Map<_, _>, _>>().map(Value::Object)
        }
        value => write_one(&kind, value),
    }
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(flag) => flag.to_string(),
        MapKey::I32(number) => number.to_string(),
        MapKey::I64(number) => number.to_string(),
        MapKey::U32(number) => number.to_string(),
        MapKey::U64(number) => number.to_string(),
        MapKey::String(text) => text.clone(),
    }
}

fn write_one(kind: &Kind, value: &FieldValue) -> Result<Value, MessageError> {
    Ok(match value {
        FieldValue::Bool(flag) => Value::from(*flag),
        FieldValue::I32(number) => Value::from(*number),
        FieldValue::I64(number) => Value::from(*number),
        FieldValue::U32(number) => Value::from(*number),
        FieldValue::U64(number) => Value::from(*number),
        FieldValue::F32(number) => Value::from(*number),
        FieldValue::F64(number) => Value::from(*number),
        FieldValue::String(text) => Value::from(text.as_str()),
        FieldValue::Bytes(bytes) => Value::from(STANDARD.encode(bytes)),
        FieldValue::EnumNumber(number) => {
            let name = match kind {
                Kind::Enum(values) => values.get_value(*number),
                _ => None,
            };
            // A number that this version does not know stays one.
            name.map_or_else(|| Value::from(*number), |value| Value::from(value.name()))
        }
        FieldValue::Message(message) => write(message)?,
        FieldValue::List(_) | FieldValue::Map(_) => Value::Null,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_is_written_with_the_names_of_the_protocol() {
        let node = v1::Node {
            uuid: "u".to_owned(),
            labels: [
                ("b".to_owned(), "2".to_owned()),
                ("a".to_owned(), "1".to_owned()),
            ]
            .into(),
            state: v1::NodeState::Away.into(),
            last_seen_at: Some(prost_types::Timestamp {
                seconds: 1_700_000_000,
                nanos: 500_000_000,
            }),
            sequence: 1 << 60,
            ..v1::Node::default()
        };
        let written = to_json(&node).unwrap();
        let expected = json!({"uuid": "u", "name": "", "labels": {"a": "1", "b": "2"},
            "state": "NODE_STATE_AWAY", "last_seen_at": "2023-11-14T22:13:20.500Z",
            "sequence": 1_u64 << 60, "gateway": ""});
        assert_eq!(written, expected);
        let keys: Vec<_> = written["labels"].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["a", "b"]);
        assert_eq!(from_json::<v1::Node>(written).unwrap(), node);
    }

    #[test]
    fn open_documents_keep_their_integers() {
        let result = json!({"cpus": 4, "share": 0.5, "list": [1, null, {"a": true}]});
        let record = v1::CommandRecord {
            result: Some(ironic_document::to_value(result.clone(), "").unwrap()),
            ..v1::CommandRecord::default()
        };
        let written = to_json(&record).unwrap();
        assert_eq!(written["result"], result);
        assert_eq!(written["result"]["cpus"].to_string(), "4");
        assert_eq!(written.get("deadline"), None);
    }

    #[test]
    fn a_command_is_read_and_what_it_does_not_have_is_named() {
        let command: v1::Command = from_json(json!({"sync": {}})).unwrap();
        assert!(matches!(
            command.verb,
            Some(v1::command::Verb::Sync(v1::SyncCommand {}))
        ));
        let refused = from_json::<v1::Command>(json!({"sink": {}})).unwrap_err();
        let text = ironic_text::error_chain(&refused);
        assert!(text.contains("sink"), "{text}");
        let command: v1::Command =
            from_json(json!({"prepareImage": {"imageInfo": {"id": "x"}}})).unwrap();
        assert!(matches!(
            command.verb,
            Some(v1::command::Verb::PrepareImage(_))
        ));
    }
}
