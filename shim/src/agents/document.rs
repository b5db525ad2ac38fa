//! Open documents: JSON on Ironic's side, `google.protobuf.Struct` on the agent's.
//!
//! A Struct holds every number as a double. An integer that a double cannot hold exactly is
//! refused, never rounded, and an integral number comes back as an integer. Documents are
//! moved, not copied: a config drive of 64 MiB passes here as one string.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::{Map, Number, Value};
use thiserror::Error;

/// The largest integer below which every integer is a double: 2^53.
pub const EXACT: u64 = 1 << 53;

/// How deep objects and lists may be nested. Protocol buffers decode up to 100 messages
/// within each other; a JSON object takes three of them, and the request around a document
/// takes six.
pub const DEEPEST: usize = 30;

/// A value that cannot be carried to the agent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{path} {reason}")]
pub struct Unfit {
    /// Where it is: `node.extra.serials[3]`.
    pub path: String,
    /// What is wrong with it and what would be right.
    pub reason: Misfit,
}

/// How a value cannot be carried.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Misfit {
    /// A double would round it.
    #[error("is {0}: an integer beyond 2^53 cannot be carried exactly, send it as a string")]
    Integer(String),
    /// `NaN`, `Infinity` or `-Infinity`.
    #[error("is {0}, which is not JSON: send a finite number or null")]
    NotFinite(&'static str),
    /// Half of a surrogate pair.
    #[error("holds half of a surrogate pair, which is not a character")]
    Surrogate,
    /// Beyond [`DEEPEST`].
    #[error("is nested deeper than {DEEPEST} levels")]
    Depth,
}

/// How much of a key a path shows, in bytes.
const LONGEST_KEY: usize = 64;

impl Unfit {
    /// The same, seen from one level further out.
    #[must_use]
    pub fn below(mut self, outer: &str) -> Self {
        let cut = outer.floor_char_boundary(LONGEST_KEY);
        let (outer, more) = (&outer[..cut], if cut < outer.len() { "..." } else { "" });
        let glue = if self.path.is_empty() || self.path.starts_with('[') {
            ""
        } else {
            "."
        };
        self.path = format!("{outer}{more}{glue}{}", self.path);
        self
    }

    fn here(reason: Misfit) -> Self {
        Self {
            path: String::new(),
            reason,
        }
    }
}

/// A JSON object as a Struct.
///
/// # Errors
/// A number or the nesting does not fit; the path starts at the object's keys.
pub fn to_struct(object: Map<String, Value>) -> Result<Struct, Unfit> {
    structure(object, DEEPEST)
}

/// A JSON value as a protocol buffers one.
///
/// # Errors
/// As [`to_struct`].
pub fn to_value(value: Value) -> Result<prost_types::Value, Unfit> {
    kind(value, DEEPEST).map(|kind| prost_types::Value { kind: Some(kind) })
}

/// Several JSON values as a protocol buffers list.
///
/// # Errors
/// As [`to_struct`].
pub fn to_list(values: Vec<Value>) -> Result<ListValue, Unfit> {
    list(values, DEEPEST)
}

fn structure(object: Map<String, Value>, depth: usize) -> Result<Struct, Unfit> {
    let fields = object
        .into_iter()
        .map(|(key, value)| match kind(value, depth) {
            Ok(kind) => Ok((key, prost_types::Value { kind: Some(kind) })),
            Err(unfit) => Err(unfit.below(&key)),
        });
    Ok(Struct {
        fields: fields.collect::<Result<_, _>>()?,
    })
}

fn list(values: Vec<Value>, depth: usize) -> Result<ListValue, Unfit> {
    let values = values
        .into_iter()
        .enumerate()
        .map(|(at, value)| match kind(value, depth) {
            Ok(kind) => Ok(prost_types::Value { kind: Some(kind) }),
            Err(unfit) => Err(unfit.below(&format!("[{at}]"))),
        });
    Ok(ListValue {
        values: values.collect::<Result<_, _>>()?,
    })
}

fn kind(value: Value, depth: usize) -> Result<Kind, Unfit> {
    let below = || {
        depth
            .checked_sub(1)
            .ok_or_else(|| Unfit::here(Misfit::Depth))
    };
    Ok(match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(flag),
        Value::Number(number) => Kind::NumberValue(double(&number)?),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(values) => Kind::ListValue(list(values, below()?)?),
        Value::Object(object) => Kind::StructValue(structure(object, below()?)?),
    })
}

fn double(number: &Number) -> Result<f64, Unfit> {
    let magnitude = number
        .as_u64()
        .or_else(|| number.as_i64().map(i64::unsigned_abs));
    match (magnitude, number.as_f64()) {
        (Some(integer), _) if integer > EXACT => {
            Err(Unfit::here(Misfit::Integer(number.to_string())))
        }
        (_, Some(double)) => Ok(double),
        (_, None) => Err(Unfit::here(Misfit::NotFinite("NaN"))),
    }
}

/// The integer that a double stands for, if it is one that doubles hold exactly.
fn integer(number: f64) -> Option<i64> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "2^53 is exact, that is its point"
    )]
    let limit = EXACT as f64;
    #[expect(clippy::cast_possible_truncation, reason = "integral and within 2^53")]
    (number.fract() == 0.0 && number.abs() <= limit).then_some(number as i64)
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
mod tests {
    use ironic_agent_protocol::v1;
    use prost::Message;
    use serde_json::json;

    use super::*;

    #[test]
    fn everyday_documents_survive_the_way_there_and_back() {
        let documents = [
            json!(null),
            json!(true),
            json!(0),
            json!(-7),
            json!(EXACT),
            json!(-9_007_199_254_740_992_i64),
            json!(0.5),
            json!(1e300),
            json!("\u{1f4be} \0"),
            json!([]),
            json!({}),
            json!({"a": [1, {"b": null}], "c": {"d": [[], [false]]}}),
        ];
        for document in documents {
            let carried = to_value(document.clone()).unwrap();
            let text = serde_json::to_value(AsJson(&carried)).unwrap();
            assert_eq!(text, document);
        }
        // An integral float is an integer afterwards: a double does not know the difference.
        let carried = to_value(json!(2.0)).unwrap();
        assert_eq!(serde_json::to_string(&AsJson(&carried)).unwrap(), "2");
    }

    #[test]
    fn an_integer_that_would_be_rounded_is_refused_by_its_path() {
        let beyond = EXACT + 1;
        let cases = [
            (json!({"size": beyond}), "size"),
            (json!({"a": {"b": [0, [beyond]]}}), "a.b[1][0]"),
            (json!({"a": [{"b": -9_007_199_254_740_993_i64}]}), "a[0].b"),
            (json!({"a": u64::MAX}), "a"),
            (json!({"a": i64::MIN}), "a"),
        ];
        for (document, path) in cases {
            let Value::Object(object) = document else {
                unreachable!("the table holds objects")
            };
            let unfit = to_struct(object).unwrap_err();
            assert_eq!(unfit.path, path);
            assert!(matches!(unfit.reason, Misfit::Integer(_)), "{unfit}");
        }
    }

    #[test]
    fn what_passes_is_not_too_deep_for_the_agent() {
        // Objects take the most messages. `params` of a step is the deepest place.
        let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!({ "a": inner }));
        let request = |document: Value| {
            let Value::Object(step) = document else {
                unreachable!("nested in an object")
            };
            to_struct(step).map(|step| v1::ExecuteCommandRequest {
                command: Some(v1::Command {
                    verb: Some(v1::command::Verb::ExecuteStep(v1::ExecuteStepCommand {
                        step: Some(step),
                        ..Default::default()
                    })),
                    unexpected_arguments: Vec::new(),
                }),
                ..Default::default()
            })
        };
        let deepest = request(nested(DEEPEST + 1)).unwrap();
        let decoded = v1::ExecuteCommandRequest::decode(deepest.encode_to_vec().as_slice());
        assert_eq!(decoded.unwrap(), deepest);

        let unfit = request(nested(DEEPEST + 2)).unwrap_err();
        assert_eq!(unfit.reason, Misfit::Depth);
        assert_eq!(unfit.path, vec!["a"; DEEPEST + 1].join("."));
    }

    #[test]
    fn no_number_from_an_agent_breaks_the_list() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let value = prost_types::Value {
                kind: Some(Kind::NumberValue(number)),
            };
            assert_eq!(serde_json::to_string(&AsJson(&value)).unwrap(), "null");
        }
        assert_eq!(integer(9_007_199_254_740_994.0), None);
        assert_eq!(integer(-0.0), Some(0));
    }
}
