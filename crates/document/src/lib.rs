//! Open documents: JSON on one side, `google.protobuf.Struct` on the other.
//!
//! A Struct holds every number as a double. An integral number that a double cannot hold
//! exactly is refused in both directions, never rounded; an integral double is read as an
//! integer. Documents are moved, not copied: a config drive of 64 MiB passes here as one
//! string.

mod encoded;

pub use encoded::{EncodedCount, count_encoded};

use prost_types::value::Kind;
use prost_types::{ListValue, Struct};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::{Map, Number, Value};
use thiserror::Error;

/// A JSON object, its keys in the order in which they came.
pub type JsonObject = Map<String, Value>;

/// The largest integer up to which every integer is a double: 2^53.
pub const EXACT: u64 = 1 << 53;

/// How deep objects and lists may be nested. Protocol buffers decode up to 100 messages
/// within each other; a JSON object takes three of them, and the request around a document
/// takes six.
pub const MAX_DEPTH: usize = 30;

/// How much of a key a path shows, in bytes.
const MAX_KEY_BYTES: usize = 64;

/// A document that cannot be carried.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{path} {reason}")]
pub struct DocumentError {
    /// Where in it: `node.extra.serials[3]`.
    pub path: String,
    /// What is wrong there and what would be right.
    pub reason: UnsupportedValue,
}

/// Why a value cannot be carried.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnsupportedValue {
    /// A double would round it.
    #[error("is {0}: an integer beyond 2^53 cannot be carried exactly, send it as a string")]
    Integer(String),
    /// `NaN`, `Infinity` or `-Infinity`.
    #[error("is {0}, which is not JSON: send a finite number or null")]
    NotFinite(&'static str),
    /// Half of a surrogate pair.
    #[error("holds half of a surrogate pair, which is not a character")]
    Surrogate,
    /// Beyond [`MAX_DEPTH`].
    #[error("is nested deeper than {MAX_DEPTH} levels")]
    Depth,
    /// A protocol buffers `Value` without a kind.
    #[error("has no kind: send null_value for null")]
    NoKind,
}

impl DocumentError {
    /// The same error, seen from one level further out.
    #[must_use]
    pub fn below(mut self, outer: &str) -> Self {
        if outer.is_empty() {
            return self;
        }
        let cut = outer.floor_char_boundary(MAX_KEY_BYTES);
        let (outer, more) = (&outer[..cut], if cut < outer.len() { "..." } else { "" });
        let glue = if self.path.is_empty() || self.path.starts_with('[') {
            ""
        } else {
            "."
        };
        self.path = format!("{outer}{more}{glue}{}", self.path);
        self
    }

    fn here(reason: UnsupportedValue) -> Self {
        Self {
            path: String::new(),
            reason,
        }
    }

    fn at_index(self, index: usize) -> Self {
        self.below(&format!("[{index}]"))
    }
}

/// A JSON object as a Struct. `name` is where the path of an error begins; it may be empty.
///
/// # Errors
/// A number or the nesting does not fit.
pub fn to_struct(object: JsonObject, name: &str) -> Result<Struct, DocumentError> {
    write_object(object, MAX_DEPTH).map_err(|error| error.below(name))
}

/// A JSON value as a protocol buffers one.
///
/// # Errors
/// As [`to_struct`].
pub fn to_value(value: Value, name: &str) -> Result<prost_types::Value, DocumentError> {
    write(value, MAX_DEPTH).map_err(|error| error.below(name))
}

/// Several JSON values as a protocol buffers list.
///
/// # Errors
/// As [`to_struct`].
pub fn to_list(values: Vec<Value>, name: &str) -> Result<ListValue, DocumentError> {
    write_list(values, MAX_DEPTH).map_err(|error| error.below(name))
}

/// A Struct as a JSON object. `name` is where the path of an error begins; it may be empty.
///
/// # Errors
/// The first value that JSON or the rule for integers does not allow.
pub fn object(document: Struct, name: &str) -> Result<JsonObject, DocumentError> {
    read_object(document).map_err(|error| error.below(name))
}

/// A protocol buffers value as a JSON one.
///
/// # Errors
/// As [`object`].
pub fn value(value: prost_types::Value, name: &str) -> Result<Value, DocumentError> {
    read(value).map_err(|error| error.below(name))
}

fn write_object(object: JsonObject, depth: usize) -> Result<Struct, DocumentError> {
    let fields = object
        .into_iter()
        .map(|(key, value)| match write(value, depth) {
            Ok(value) => Ok((key, value)),
            Err(error) => Err(error.below(&key)),
        });
    Ok(Struct {
        fields: fields.collect::<Result<_, _>>()?,
    })
}

fn write_list(values: Vec<Value>, depth: usize) -> Result<ListValue, DocumentError> {
    let values = values
        .into_iter()
        .enumerate()
        .map(|(index, value)| write(value, depth).map_err(|error| error.at_index(index)));
    Ok(ListValue {
        values: values.collect::<Result<_, _>>()?,
    })
}

fn write(value: Value, depth: usize) -> Result<prost_types::Value, DocumentError> {
    let below = || {
        depth
            .checked_sub(1)
            .ok_or_else(|| DocumentError::here(UnsupportedValue::Depth))
    };
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(flag),
        Value::Number(number) => Kind::NumberValue(write_number(&number)?),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(values) => Kind::ListValue(write_list(values, below()?)?),
        Value::Object(object) => Kind::StructValue(write_object(object, below()?)?),
    };
    Ok(prost_types::Value { kind: Some(kind) })
}

fn write_number(number: &Number) -> Result<f64, DocumentError> {
    let magnitude = number
        .as_u64()
        .or_else(|| number.as_i64().map(i64::unsigned_abs));
    let Some(double) = number.as_f64() else {
        return Err(DocumentError::here(UnsupportedValue::NotFinite("NaN")));
    };
    // A large float without a fraction would be read as an integer at the other end.
    let is_beyond = magnitude.map_or_else(|| is_beyond(double), |integer| integer > EXACT);
    if is_beyond {
        let shown = number.to_string();
        return Err(DocumentError::here(UnsupportedValue::Integer(shown)));
    }
    Ok(double)
}

fn read_object(document: Struct) -> Result<JsonObject, DocumentError> {
    let fields = document.fields.into_iter();
    let items = fields.map(|(key, value)| match read(value) {
        Ok(value) => Ok((key, value)),
        Err(error) => Err(error.below(&key)),
    });
    items.collect()
}

fn read(value: prost_types::Value) -> Result<Value, DocumentError> {
    Ok(match value.kind {
        None => return Err(DocumentError::here(UnsupportedValue::NoKind)),
        Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => Value::Bool(flag),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::NumberValue(number)) => Value::Number(read_number(number)?),
        Some(Kind::StructValue(document)) => Value::Object(read_object(document)?),
        Some(Kind::ListValue(list)) => {
            let items = list.values.into_iter().enumerate();
            let items =
                items.map(|(index, item)| read(item).map_err(|error| error.at_index(index)));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
    })
}

fn read_number(number: f64) -> Result<Number, DocumentError> {
    let is_negative_zero = number == 0.0 && number.is_sign_negative();
    if let Some(integer) = integer(number).filter(|_| !is_negative_zero) {
        return Ok(Number::from(integer));
    }
    if is_beyond(number) {
        let shown = number.to_string();
        return Err(DocumentError::here(UnsupportedValue::Integer(shown)));
    }
    Number::from_f64(number).ok_or_else(|| {
        let name = match number {
            _ if number.is_nan() => "NaN",
            _ if number > 0.0 => "Infinity",
            _ => "-Infinity",
        };
        DocumentError::here(UnsupportedValue::NotFinite(name))
    })
}

/// [`EXACT`] as a double.
#[expect(
    clippy::cast_precision_loss,
    reason = "2^53 is exact, that is its point"
)]
const LIMIT: f64 = EXACT as f64;

/// Whether a double stands for an integer that it may not hold exactly.
fn is_beyond(number: f64) -> bool {
    number.is_finite() && number.fract() == 0.0 && number.abs() > LIMIT
}

/// The integer that a double stands for, if it is one that doubles hold exactly.
fn integer(number: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "integral and within 2^53")]
    (number.fract() == 0.0 && number.abs() <= LIMIT).then_some(number as i64)
}

/// A protocol buffers value that is written as JSON without a copy: a result may hold a log
/// archive or a config drive of many MiB.
#[derive(Debug, Clone, Copy)]
pub struct AsJson<'a>(pub &'a prost_types::Value);

impl Serialize for AsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0.kind {
            None | Some(Kind::NullValue(_)) => serializer.serialize_unit(),
            Some(Kind::BoolValue(flag)) => serializer.serialize_bool(*flag),
            Some(Kind::NumberValue(number)) => match integer(*number) {
                Some(integer) => serializer.serialize_i64(integer),
                None => serializer.serialize_f64(*number),
            },
            Some(Kind::StringValue(text)) => serializer.serialize_str(text),
            Some(Kind::ListValue(list)) => {
                let mut items = serializer.serialize_seq(Some(list.values.len()))?;
                for item in &list.values {
                    items.serialize_element(&AsJson(item))?;
                }
                items.end()
            }
            Some(Kind::StructValue(document)) => {
                let mut fields = serializer.serialize_map(Some(document.fields.len()))?;
                for (key, value) in &document.fields {
                    fields.serialize_entry(key, &AsJson(value))?;
                }
                fields.end()
            }
        }
    }
}

#[cfg(test)]
mod tests;
