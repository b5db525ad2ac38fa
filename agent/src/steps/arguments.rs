//! Whether the arguments of a step are those that it takes. Checked before anything is
//! touched.

use ironic_document::JsonObject;
use serde_json::Value;

use crate::hardware::{ArgumentError, ArgumentKind, Description};

/// The command's further arguments, overlaid with those of the step itself, which may be null.
///
/// # Errors
/// The step's `args` are not an object.
pub(super) fn overlay(
    further: &JsonObject,
    step: &JsonObject,
) -> Result<JsonObject, ArgumentError> {
    let mut arguments = further.clone();
    match step.get("args") {
        None | Some(Value::Null) => {}
        Some(Value::Object(own)) => {
            arguments.extend(own.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        Some(other) => {
            return Err(ArgumentError::NotAnObject {
                found: kind_of(other),
            });
        }
    }
    Ok(arguments)
}

/// Checks names and types.
///
/// # Errors
/// The first argument that is unknown, missing or of the wrong type.
pub(super) fn check(
    description: &Description,
    arguments: &JsonObject,
) -> Result<(), ArgumentError> {
    let step = &description.name;
    for name in arguments.keys() {
        if !description
            .arguments
            .iter()
            .any(|known| known.name == *name)
        {
            let known = description.arguments.iter();
            return Err(ArgumentError::Unknown {
                step: step.to_string(),
                name: name.clone(),
                known: known.map(|argument| argument.name.to_string()).collect(),
            });
        }
    }
    for argument in description.arguments.iter() {
        let name = &argument.name;
        let value = match arguments.get(name.as_ref()) {
            None | Some(Value::Null) if argument.required => {
                return Err(ArgumentError::Missing {
                    step: step.to_string(),
                    name: name.to_string(),
                });
            }
            None | Some(Value::Null) => continue,
            Some(value) => value,
        };
        let (fits, expected) = match argument.kind {
            ArgumentKind::Any => (true, "anything"),
            ArgumentKind::Text => (value.is_string(), "a text"),
            ArgumentKind::Flag => (value.is_boolean(), "true or false"),
            ArgumentKind::List => (value.is_array(), "a list"),
            ArgumentKind::Object => (value.is_object(), "an object"),
        };
        if !fits {
            return Err(ArgumentError::WrongType {
                step: step.to_string(),
                name: name.to_string(),
                expected,
                found: kind_of(value),
            });
        }
    }
    Ok(())
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
