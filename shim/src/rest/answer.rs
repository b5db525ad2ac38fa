//! Command records as the result objects of the REST interface.

use ironic_document::AsJson;
use serde::Serialize;

use super::json::write;
use crate::agents::{CommandError, CommandResult, State};

#[derive(Serialize)]
struct Object<'a> {
    id: &'a str,
    command_name: &'a str,
    command_status: &'static str,
    command_error: Option<ErrorObject<'a>>,
    command_result: Option<AsJson<'a>>,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    code: i32,
    message: &'a str,
    details: &'a str,
}

/// The document of one record.
#[must_use]
pub fn one(record: &CommandResult) -> Vec<u8> {
    write::text(&object(record))
}

/// The document of all records, oldest first. A command that is answered only when it is
/// done appears then.
#[must_use]
pub fn all(records: &[CommandResult]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Document<'a> {
        commands: Vec<Object<'a>>,
    }
    let shown = records.iter().filter(|record| is_listed(record));
    write::text(&Document {
        commands: shown.map(object).collect(),
    })
}

/// Whether the list shows a record.
#[must_use]
pub fn is_listed(record: &CommandResult) -> bool {
    record.background || record.has_ended()
}

fn object(record: &CommandResult) -> Object<'_> {
    let (status, failure) = match &record.state {
        State::Running => ("RUNNING", None),
        State::Succeeded => ("SUCCEEDED", None),
        State::Failed(failure) => ("FAILED", Some(failure)),
        // One word for clean, deploy and service steps.
        State::VersionMismatch(failure) => ("CLEAN_VERSION_MISMATCH", Some(failure)),
    };
    // The Python agent records a failed immediate command in another place, under its full
    // name, and the conductor has learned to ignore it there.
    let full_name = failure.is_some() && !record.background;
    Object {
        id: &record.id,
        command_name: if full_name {
            &record.name
        } else {
            record.bare_name()
        },
        command_status: status,
        command_error: failure.map(error),
        command_result: record
            .result
            .as_ref()
            .filter(|_| record.state == State::Succeeded)
            .map(AsJson),
    }
}

fn error(failure: &CommandError) -> ErrorObject<'_> {
    ErrorObject {
        kind: &failure.kind,
        code: failure.code,
        message: &failure.message,
        details: &failure.details,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(state: State, background: bool) -> CommandResult {
        CommandResult {
            id: "6dd1".into(),
            name: "clean.execute_clean_step".into(),
            state,
            background,
            result: Some(
                ironic_document::to_value(json!({"clean_result": null, "a": 1}), "").unwrap(),
            ),
        }
    }

    fn failure() -> CommandError {
        CommandError {
            kind: "CleaningError".into(),
            code: 500,
            message: "Clean step failed".into(),
            details: "disk is bad".into(),
        }
    }

    #[test]
    fn states_and_names_are_those_of_the_python_agent() {
        let error = r#""command_error": {"type": "CleaningError", "code": 500, "message": "Clean step failed", "details": "disk is bad"}, "command_result": null}"#;
        let cases = [
            (
                record(State::Running, true),
                r#"{"id": "6dd1", "command_name": "execute_clean_step", "command_status": "RUNNING", "command_error": null, "command_result": null}"#.to_owned(),
            ),
            (
                record(State::Succeeded, false),
                r#"{"id": "6dd1", "command_name": "execute_clean_step", "command_status": "SUCCEEDED", "command_error": null, "command_result": {"a": 1, "clean_result": null}}"#.to_owned(),
            ),
            (
                record(State::Failed(failure()), true),
                format!(r#"{{"id": "6dd1", "command_name": "execute_clean_step", "command_status": "FAILED", {error}"#),
            ),
            (
                record(State::Failed(failure()), false),
                format!(r#"{{"id": "6dd1", "command_name": "clean.execute_clean_step", "command_status": "FAILED", {error}"#),
            ),
            (
                record(State::VersionMismatch(failure()), true),
                format!(r#"{{"id": "6dd1", "command_name": "execute_clean_step", "command_status": "CLEAN_VERSION_MISMATCH", {error}"#),
            ),
        ];
        for (record, expected) in cases {
            assert_eq!(String::from_utf8(one(&record)).unwrap(), expected);
        }
    }

    #[test]
    fn a_running_immediate_command_is_not_listed() {
        assert_eq!(
            all(&[record(State::Running, false)]),
            br#"{"commands": []}"#
        );
        let listed = all(&[
            record(State::Running, true),
            record(State::Succeeded, false),
        ]);
        let listed: serde_json::Value = serde_json::from_slice(&listed).unwrap();
        assert_eq!(listed["commands"].as_array().unwrap().len(), 2);
    }
}
