//! What the generated functions between typed messages and documents are made of.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};

/// The largest integer up to which every integer is a double: 2^53.
const EXACT: u64 = 1 << 53;

/// A document in the making.
#[derive(Default)]
pub(crate) struct DocumentWriter(Struct);

impl DocumentWriter {
    /// Sets a field, if there is a value.
    pub(crate) fn put(&mut self, name: &str, value: Option<Value>) {
        self.0
            .fields
            .extend(value.map(|value| (name.to_owned(), value)));
    }

    /// The document.
    pub(crate) fn finish(self) -> Struct {
        self.0
    }
}

/// A document whose fields are taken one by one.
pub(crate) struct DocumentReader(Struct);

impl DocumentReader {
    /// Before its first field.
    pub(crate) fn new(document: Struct) -> Self {
        Self(document)
    }

    /// Takes a field.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.fields.remove(name)
    }
}

/// The value, unless it is the one that stands for an absent field.
pub(crate) fn unless_default<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

pub(crate) fn text(text: String) -> Value {
    value(Kind::StringValue(text))
}

pub(crate) fn flag(flag: bool) -> Value {
    value(Kind::BoolValue(flag))
}

/// A number; one that a double cannot hold becomes its decimal digits.
pub(crate) fn number(number: u64) -> Value {
    #[allow(
        clippy::cast_precision_loss,
        reason = "every integer up to 2^53 is a double"
    )]
    if number <= EXACT {
        value(Kind::NumberValue(number as f64))
    } else {
        text(number.to_string())
    }
}

/// Bytes, as base64.
pub(crate) fn bytes(bytes: Vec<u8>) -> Value {
    text(STANDARD.encode(bytes))
}

pub(crate) fn object(document: Struct) -> Value {
    value(Kind::StructValue(document))
}

pub(crate) fn list(items: impl Iterator<Item = Value>) -> Value {
    value(Kind::ListValue(ListValue {
        values: items.collect(),
    }))
}

pub(crate) fn as_text(value: Value) -> Option<String> {
    match value.kind {
        Some(Kind::StringValue(text)) => Some(text),
        _ => None,
    }
}

pub(crate) fn as_object(value: Value) -> Option<Struct> {
    match value.kind {
        Some(Kind::StructValue(document)) => Some(document),
        _ => None,
    }
}

/// The items of a list; none if there is no list.
pub(crate) fn items(value: Option<Value>) -> Vec<Value> {
    match value.and_then(|value| value.kind) {
        Some(Kind::ListValue(list)) => list.values,
        _ => Vec::new(),
    }
}
