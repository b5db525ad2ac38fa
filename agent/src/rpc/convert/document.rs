//! Open documents: `google.protobuf.Struct` and JSON.
//!
//! Struct holds numbers as doubles. An integral double is read as an integer, and an integer
//! that a double cannot be trusted with is refused in both directions, never rounded.

use std::fmt;

use prost_types::value::Kind;
use serde_json::{Map, Number, Value};
use thiserror::Error;

/// A document that cannot cross the door.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{path}: {problem}")]
pub struct InvalidDocument {
    /// Where in the document, for example `node.extra.size[2]`.
    pub path: String,
    /// What is wrong there.
    pub problem: InvalidItem,
}

/// What may be wrong with an item of a document.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidItem {
    /// It would not come out as it went in.
    #[error("the integer {0} does not fit: beyond ±2^53 send it as a text")]
    Integer(String),
    /// JSON has no such number.
    #[error("{0} is no JSON number")]
    NotFinite(String),
    /// A `Value` without a kind.
    #[error("the value has no kind: send null_value for null")]
    NoKind,
}

/// The largest integer up to which doubles hold every integer: 2^53.
const LARGEST: f64 = 9_007_199_254_740_992.0;

/// A document as JSON. `name` is what errors call it.
///
/// # Errors
/// The first item that JSON or the integer rule does not allow.
pub fn object(
    document: prost_types::Struct,
    name: &str,
) -> Result<Map<String, Value>, InvalidDocument> {
    read_object(document, &Path::Name(name))
}

/// A value as JSON. `name` is what errors call it.
///
/// # Errors
/// As [`object`].
pub fn value(value: prost_types::Value, name: &str) -> Result<Value, InvalidDocument> {
    read(value, &Path::Name(name))
}

/// JSON as a document.
///
/// # Errors
/// An integer that a double cannot be trusted with.
pub fn to_struct(
    object: &Map<String, Value>,
    name: &str,
) -> Result<prost_types::Struct, InvalidDocument> {
    write_object(object, &Path::Name(name))
}

/// JSON as a value.
///
/// # Errors
/// As [`to_struct`].
pub fn to_value(value: &Value, name: &str) -> Result<prost_types::Value, InvalidDocument> {
    write(value, &Path::Name(name))
}

/// Where we are in a document; text only when something is wrong.
enum Path<'a> {
    Name(&'a str),
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl Path<'_> {
    fn invalid(&self, problem: InvalidItem) -> InvalidDocument {
        InvalidDocument {
            path: self.to_string(),
            problem,
        }
    }
}

fn read_object(
    document: prost_types::Struct,
    path: &Path<'_>,
) -> Result<Map<String, Value>, InvalidDocument> {
    document
        .fields
        .into_iter()
        .map(|(key, item)| {
            let item = read(item, &Path::Key(path, &key))?;
            Ok((key, item))
        })
        .collect()
}

fn read(value: prost_types::Value, path: &Path<'_>) -> Result<Value, InvalidDocument> {
    Ok(match value.kind {
        None => return Err(path.invalid(InvalidItem::NoKind)),
        Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => Value::Bool(flag),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::NumberValue(number)) => Value::Number(read_number(number, path)?),
        Some(Kind::StructValue(document)) => Value::Object(read_object(document, path)?),
        Some(Kind::ListValue(list)) => Value::Array(
            list.values
                .into_iter()
                .enumerate()
                .map(|(index, item)| read(item, &Path::Index(path, index)))
                .collect::<Result<_, _>>()?,
        ),
    })
}

fn read_number(number: f64, path: &Path<'_>) -> Result<Number, InvalidDocument> {
    let not_finite = || path.invalid(InvalidItem::NotFinite(number.to_string()));
    let negative_zero = number == 0.0 && number.is_sign_negative();
    if number.fract() != 0.0 || !number.is_finite() || negative_zero {
        return Number::from_f64(number).ok_or_else(not_finite);
    }
    if number.abs() > LARGEST {
        return Err(path.invalid(InvalidItem::Integer(number.to_string())));
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "integral and within ±2^53, so it is an i64"
    )]
    Ok(Number::from(number as i64))
}

fn write_object(
    object: &Map<String, Value>,
    path: &Path<'_>,
) -> Result<prost_types::Struct, InvalidDocument> {
    let fields = object.iter().map(|(key, item)| {
        let item = write(item, &Path::Key(path, key))?;
        Ok((key.clone(), item))
    });
    Ok(prost_types::Struct {
        fields: fields.collect::<Result<_, InvalidDocument>>()?,
    })
}

fn write(value: &Value, path: &Path<'_>) -> Result<prost_types::Value, InvalidDocument> {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(*flag),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Number(number) => Kind::NumberValue(write_number(number, path)?),
        Value::Object(object) => Kind::StructValue(write_object(object, path)?),
        Value::Array(items) => {
            let values = items
                .iter()
                .enumerate()
                .map(|(index, item)| write(item, &Path::Index(path, index)));
            Kind::ListValue(prost_types::ListValue {
                values: values.collect::<Result<_, _>>()?,
            })
        }
    };
    Ok(prost_types::Value { kind: Some(kind) })
}

fn write_number(number: &Number, path: &Path<'_>) -> Result<f64, InvalidDocument> {
    let invalid = || path.invalid(InvalidItem::Integer(number.to_string()));
    let double = number.as_f64().ok_or_else(invalid)?;
    // A float that happens to be integral and large is refused too: it would be read as an
    // integer at the other end.
    if double.fract() == 0.0 && double.abs() > LARGEST {
        return Err(invalid());
    }
    // 2^53 + 1 becomes 2^53 as a double.
    let beyond = match number.as_i64() {
        Some(integer) => integer.unsigned_abs() > 1 << 53,
        None => number.is_u64(),
    };
    if beyond { Err(invalid()) } else { Ok(double) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn number(number: f64) -> prost_types::Value {
        prost_types::Value {
            kind: Some(Kind::NumberValue(number)),
        }
    }

    #[test]
    fn integers_stay_integers_up_to_the_limit() {
        let cases = [
            (0.0, json!(0)),
            (-1.0, json!(-1)),
            (1.5, json!(1.5)),
            (1e-300, json!(1e-300)),
            (9_007_199_254_740_992.0, json!(9_007_199_254_740_992_i64)),
            (-9_007_199_254_740_992.0, json!(-9_007_199_254_740_992_i64)),
            (-0.0, json!(-0.0)),
        ];
        for (double, expected) in cases {
            let read = value(number(double), "x").unwrap();
            assert_eq!(read.to_string(), expected.to_string());
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let cases = [
            (9_007_199_254_740_994.0, "does not fit"),
            (-1e300, "does not fit"),
            (f64::NAN, "NaN is no JSON number"),
            (f64::INFINITY, "inf is no JSON number"),
            (f64::NEG_INFINITY, "-inf is no JSON number"),
        ];
        for (double, problem) in cases {
            let document = to_struct(
                json!({"extra": {"list": [true, "placeholder"]}})
                    .as_object()
                    .unwrap(),
                "node",
            );
            let mut document = document.unwrap();
            let Some(Kind::StructValue(extra)) =
                &mut document.fields.get_mut("extra").unwrap().kind
            else {
                unreachable!()
            };
            let Some(Kind::ListValue(list)) = &mut extra.fields.get_mut("list").unwrap().kind
            else {
                unreachable!()
            };
            list.values[1] = number(double);
            let error = object(document, "node").unwrap_err().to_string();
            assert!(error.starts_with("node.extra.list[1]: "), "{error}");
            assert!(error.contains(problem), "{error}");
        }
        let error = value(prost_types::Value { kind: None }, "version").unwrap_err();
        assert_eq!(error.problem, InvalidItem::NoKind);
    }

    #[test]
    fn what_would_be_rounded_does_not_leave() {
        for integer in [
            json!(9_007_199_254_740_993_i64),
            json!(-9_007_199_254_740_993_i64),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(1e300),
        ] {
            let error = to_value(&json!({ "size": integer }), "result").unwrap_err();
            assert_eq!(error.path, "result.size");
        }
    }

    fn json_documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-(1_i64 << 53)..=1 << 53).prop_map(Value::from),
            any::<f64>()
                .prop_filter("integral numbers are read as integers", |n| n.fract()
                    != 0.0
                    && n.is_finite())
                .prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::hash_map(".*", inner, 0..8)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_document_comes_back_as_it_went(document in json_documents()) {
            let there = to_value(&document, "x").unwrap();
            prop_assert_eq!(value(there, "x").unwrap(), document);
        }

        #[test]
        fn no_integer_is_ever_changed(integer in any::<i64>()) {
            match to_value(&json!(integer), "x") {
                Ok(there) => prop_assert_eq!(value(there, "x").unwrap(), json!(integer)),
                Err(_) => prop_assert!(integer.unsigned_abs() > 1 << 53),
            }
        }
    }
}
