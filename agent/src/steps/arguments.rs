//! Whether the arguments of a step are those that it takes. Checked before anything is
//! touched.

use serde_json::Value;

use crate::hardware::{ArgumentKind, Description, Object, StepError};

/// The command's further arguments, overlaid with those of the step itself, which may be null.
///
/// # Errors
/// The step's `args` are no object.
pub(super) fn overlay(further: &Object, step: &Object) -> Result<Object, StepError> {
    let mut arguments = further.clone();
    match step.get("args") {
        None | Some(Value::Null) => {}
        Some(Value::Object(own)) => {
            arguments.extend(own.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        Some(other) => {
            return Err(StepError::argument(format!(
                "the step's 'args' must be an object, not {}",
                kind_of(other)
            )));
        }
    }
    Ok(arguments)
}

/// Checks names and types.
///
/// # Errors
/// The first argument that is unknown, missing or of the wrong type.
pub(super) fn check(description: &Description, arguments: &Object) -> Result<(), StepError> {
    let step = &description.name;
    for name in arguments.keys() {
        if !description
            .arguments
            .iter()
            .any(|known| known.name == *name)
        {
            let known: Vec<_> = description
                .arguments
                .iter()
                .map(|argument| format!("'{}'", argument.name))
                .collect();
            let takes = if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            };
            return Err(StepError::argument(format!(
                "{step}() got an unexpected keyword argument '{name}'; it takes {takes}"
            )));
        }
    }
    for argument in description.arguments.iter() {
        let name = &argument.name;
        let value = match arguments.get(name.as_ref()) {
            None | Some(Value::Null) if argument.required => {
                return Err(StepError::argument(format!(
                    "{step}() missing 1 required positional argument: '{name}'"
                )));
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
            return Err(StepError::argument(format!(
                "{step}() argument '{name}' must be {expected}, not {}",
                kind_of(value)
            )));
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
