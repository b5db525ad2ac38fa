//! The JSON schema of what `-o json` prints, made of the description of the protocol.

use std::collections::BTreeMap;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::message::{MessageError, NamedMessage, descriptor};
use crate::exit_kind::ExitKind;
use ironic_agent_protocol::v1;

/// What is known so far: definitions by the names of messages.
#[derive(Debug, Default)]
struct SchemaWriter {
    messages: BTreeMap<String, Value>,
}

/// A schema whose `$defs` has one for each command of the program, and those of the messages in
/// them. Of commands that print one value each line it is the schema of a line.
///
/// # Errors
/// The description of the protocol lacks a message.
pub(crate) fn output_schema() -> Result<Value, MessageError> {
    let mut writer = SchemaWriter::default();
    let commands = writer.commands()?;
    let mut definitions: Map<String, Value> = commands.into_iter().collect();
    definitions.extend(writer.messages);
    Ok(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What agentctl prints with -o json, by command",
        "$defs": definitions,
    }))
}

impl SchemaWriter {
    fn commands(&mut self) -> Result<Vec<(String, Value)>, MessageError> {
        let node = self.reference::<v1::Node>()?;
        let record = self.reference::<v1::CommandRecord>()?;
        let token = self.reference::<v1::JoinToken>()?;
        let details = object(
            json!({"node": node, "status": self.reference::<v1::GetStatusResponse>()?,
                "commands": array(&record)}),
            &["commands"],
        );
        let archive = object(
            json!({"file": text(), "bytes": natural()}),
            &["file", "bytes"],
        );
        let created = object(
            json!({"join_token": token, "secret": text()}),
            &["join_token", "secret"],
        );
        let plan = self.reference::<v1::Plan>()?;
        let mut commands = vec![
            ("nodes", array(&node)),
            ("get", outcomes(&details)),
            ("inventory", outcomes(&json!({"type": "object"}))),
            ("steps", outcomes(&json!({"type": "object"}))),
            ("plan", outcomes(&plan)),
        ];
        for order in ["erase", "write", "raid", "run", "power"] {
            commands.push((order, outcomes(&record)));
        }
        commands.extend([
            ("watch", json!({"anyOf": [self.watched_node()?, record]})),
            ("events", self.event()?),
            ("logs", self.log_entry()?),
            ("logs-archive", outcomes(&archive)),
            ("cancel", outcomes(&record)),
            ("token-create", created),
            ("token-list", array(&token)),
            ("token-revoke", token),
            ("contexts", array(&context())),
            ("error", failure(&record)),
        ]);
        let named = commands.into_iter();
        Ok(named
            .map(|(name, value)| (name.to_owned(), value))
            .collect())
    }

    /// A `Node`, which may have been removed.
    fn watched_node(&mut self) -> Result<Value, MessageError> {
        let mut node = self.message(&descriptor::<v1::Node>()?);
        node["properties"]["removed"] = json!({"type": "boolean"});
        Ok(node)
    }

    /// A `NodeEvent` or a gap, with its token.
    fn event(&mut self) -> Result<Value, MessageError> {
        let mut event = self.message(&descriptor::<v1::NodeEvent>()?);
        let gap = object(json!({"reason": text()}), &["reason"]);
        let mut gap = object(json!({"gap": gap}), &["gap"]);
        for entry in [&mut event, &mut gap] {
            extend(entry, "resume_token", text());
        }
        Ok(json!({"anyOf": [event, gap]}))
    }

    /// A `LogRecord` or a gap, with its node and cursor.
    fn log_entry(&mut self) -> Result<Value, MessageError> {
        let mut record = self.message(&descriptor::<v1::LogRecord>()?);
        let gap = self.reference::<v1::LogGap>()?;
        let mut gap = object(json!({"gap": gap}), &["gap"]);
        for entry in [&mut record, &mut gap] {
            extend(entry, "node", node_name());
            extend(entry, "cursor", text());
        }
        Ok(json!({"anyOf": [record, gap]}))
    }

    fn reference<M: NamedMessage>(&mut self) -> Result<Value, MessageError> {
        Ok(self.reference_to(&descriptor::<M>()?))
    }

    /// Where a message is defined, or what stands in its place in JSON.
    fn reference_to(&mut self, message: &MessageDescriptor) -> Value {
        let name = message.full_name();
        match name {
            "google.protobuf.Timestamp" => json!({"type": "string", "format": "date-time"}),
            "google.protobuf.Duration" => {
                json!({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?s$"})
            }
            "google.protobuf.Struct" => json!({"type": "object"}),
            "google.protobuf.Value" => json!(true),
            "google.protobuf.ListValue" => json!({"type": "array"}),
            _ => {
                if !self.messages.contains_key(name) {
                    // A message may hold itself.
                    self.messages.insert(name.to_owned(), Value::Null);
                    let value = self.message(message);
                    self.messages.insert(name.to_owned(), value);
                }
                json!({"$ref": format!("#/$defs/{name}")})
            }
        }
    }

    fn message(&mut self, message: &MessageDescriptor) -> Value {
        let (mut fields, mut always) = (Map::new(), Vec::new());
        for field in message.fields() {
            let name = field.name().to_owned();
            if !field.supports_presence() {
                always.push(name.clone());
            }
            fields.insert(name, self.field(&field));
        }
        let always: Vec<&str> = always.iter().map(String::as_str).collect();
        object(Value::Object(fields), &always)
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        let kind = field.kind();
        match &kind {
            Kind::Message(entry) if field.is_map() => {
                let values = self.one(&entry.map_entry_value_field().kind());
                json!({"type": "object", "additionalProperties": values})
            }
            kind if field.is_list() => array(&self.one(kind)),
            kind => self.one(kind),
        }
    }

    fn one(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Message(message) => self.reference_to(message),
            Kind::Enum(values) => {
                let names: Vec<_> = values
                    .values()
                    .map(|value| value.name().to_owned())
                    .collect();
                // A value of a newer gateway or agent is its number.
                json!({"anyOf": [{"enum": names}, {"type": "integer"}]})
            }
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => text(),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Float | Kind::Double => json!({"type": "number"}),
            Kind::Uint32 | Kind::Uint64 | Kind::Fixed32 | Kind::Fixed64 => natural(),
            Kind::Int32 | Kind::Int64 | Kind::Sint32 | Kind::Sint64 => json!({"type": "integer"}),
            Kind::Sfixed32 | Kind::Sfixed64 => json!({"type": "integer"}),
        }
    }
}

fn text() -> Value {
    json!({"type": "string"})
}

fn natural() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn array(of: &Value) -> Value {
    json!({"type": "array", "items": of})
}

fn object(fields: Value, always: &[&str]) -> Value {
    json!({"type": "object", "properties": fields, "required": always,
        "additionalProperties": false})
}

/// Adds a field that is always there.
fn extend(object: &mut Value, name: &str, field: Value) {
    object["properties"][name] = field;
    if let Some(required) = object["required"].as_array_mut() {
        required.push(name.into());
    }
}

fn node_name() -> Value {
    object(json!({"uuid": text(), "name": text()}), &["uuid", "name"])
}

/// What commands of nodes print.
fn outcomes(result: &Value) -> Value {
    let error = json!({"$ref": "#/$defs/error"});
    let good = object(
        json!({"node": node_name(), "result": result}),
        &["node", "result"],
    );
    let bad = object(
        json!({"node": node_name(), "error": error}),
        &["node", "error"],
    );
    array(&json!({"anyOf": [good, bad]}))
}

fn failure(record: &Value) -> Value {
    let kinds: Vec<_> = ExitKind::ALL.iter().map(|kind| kind.word()).collect();
    let fields = json!({"kind": {"enum": kinds}, "exit_code": natural(), "reason": text(),
        "message": text(), "advice": text(), "command_id": text(), "command": record});
    let always = ["kind", "exit_code", "reason", "message", "advice"];
    object(fields, &always)
}

fn context() -> Value {
    let file = json!({"type": ["string", "null"]});
    let fields = json!({"name": text(), "current": {"type": "boolean"}, "gateway": text(),
        "ca_file": file, "certificate_file": file, "key_file": file});
    let always = [
        "name",
        "current",
        "gateway",
        "ca_file",
        "certificate_file",
        "key_file",
    ];
    object(fields, &always)
}
