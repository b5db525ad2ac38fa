//! What the body of POST `/v1/commands/` asks for. Pure.

use ironic_agent_protocol::v1;
use ironic_document::DocumentError;
use serde_json::{Map, Value};

use super::error::RestError;
use super::json::read::{self, Malformed};
use super::parameters::{self, InvalidCall};

/// Parameters that the Python agent's dispatcher takes for itself.
const RESERVED: [&str; 2] = ["self", "command_name"];

/// A body as a command, or what is wrong with it.
#[derive(Debug, Clone, PartialEq)]
pub enum ParsedCall {
    /// A command for the agent.
    Command {
        /// The command's name without its extension.
        command: String,
        /// The command as the agent hears it.
        message: Box<v1::Command>,
    },
    /// Wrong whatever the agent does.
    Wrong(RestError),
    /// Wrong, but a busy agent says first that it is busy.
    WrongUnlessBusy(RestError),
}

/// Reads a body.
#[must_use]
pub fn parse(body: &[u8]) -> ParsedCall {
    match named(body) {
        Err(fault) => ParsedCall::Wrong(fault),
        Ok(named) => named.parsed(),
    }
}

/// A body with a well-formed name.
struct Named {
    extension: String,
    command: String,
    parameters: Map<String, Value>,
    /// What in `parameters` cannot be carried.
    unfit: Option<DocumentError>,
}

fn named(body: &[u8]) -> Result<Named, RestError> {
    let read = read::body(body).map_err(|malformed| match malformed {
        Malformed::Weight(heavy) => RestError::heavy(heavy),
        malformed => RestError::malformed(malformed),
    })?;
    let Value::Object(mut call) = read.value else {
        return Err(RestError::shapeless());
    };
    let (Some(Value::String(name)), Some(Value::Object(parameters))) =
        (call.remove("name"), call.remove("params"))
    else {
        return Err(RestError::shapeless());
    };
    if RESERVED.iter().any(|name| parameters.contains_key(*name)) {
        return Err(RestError::shapeless());
    }
    let (extension, command) = name.split_once('.').ok_or_else(RestError::nameless)?;
    // Other keys of the call are ignored, whatever they hold.
    let unfit = read.unfit.into_iter().find_map(|unfit| {
        let path = unfit.path.strip_prefix("params.")?.to_owned();
        Some(DocumentError { path, ..unfit })
    });
    Ok(Named {
        extension: extension.to_owned(),
        command: command.to_owned(),
        parameters,
        unfit,
    })
}

impl Named {
    fn parsed(self) -> ParsedCall {
        let read = parameters::command(&self.extension, &self.command, self.parameters);
        let fault = match (read, self.unfit) {
            (Err(InvalidCall::Extension), _) => RestError::no_extension(&self.extension),
            (Err(InvalidCall::Command), _) => RestError::unknown_command(&self.command),
            (_, Some(unfit)) => RestError::parameters(unfit),
            (Err(InvalidCall::Argument(error)), None) => RestError::parameters(error),
            (Ok(message), None) => {
                return ParsedCall::Command {
                    command: self.command,
                    message: Box::new(message),
                };
            }
        };
        ParsedCall::WrongUnlessBusy(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPELESS: &str = "400 Bad Request: Missing or invalid name or params";
    const NAMELESS: &str = "Invalid command: Command name must be of the form <extension>.<name>";

    #[test]
    fn what_is_no_call_is_refused_at_once() {
        let cases = [
            (
                "garbage",
                "400 Bad Request: Failed to decode JSON object: Expecting value: line 1 column 1 (char 0)",
            ),
            (
                "",
                "400 Bad Request: Failed to decode JSON object: Expecting value: line 1 column 1 (char 0)",
            ),
            ("{}", SHAPELESS),
            (r#"{"name": "x"}"#, SHAPELESS),
            (r#"{"params": {}}"#, SHAPELESS),
            (r#"{"name": "standby.sync", "params": []}"#, SHAPELESS),
            (r#"{"name": "standby.sync", "params": null}"#, SHAPELESS),
            // The Python agent answers the following with 500 and a text of its language.
            ("null", SHAPELESS),
            ("5", SHAPELESS),
            (r#""name params""#, SHAPELESS),
            ("[]", SHAPELESS),
            (r#"["name", "params"]"#, SHAPELESS),
            (r#"{"name": 5, "params": {}}"#, SHAPELESS),
            (r#"{"name": null, "params": {}}"#, SHAPELESS),
            (
                r#"{"name": "standby.sync", "params": {"self": 1}}"#,
                SHAPELESS,
            ),
            (
                r#"{"name": "standby.sync", "params": {"command_name": 1}}"#,
                SHAPELESS,
            ),
            (r#"{"name": "noext", "params": {}}"#, NAMELESS),
            (r#"{"name": "", "params": {}}"#, NAMELESS),
        ];
        for (body, sentence) in cases {
            match parse(body.as_bytes()) {
                ParsedCall::Wrong(fault) => {
                    assert_eq!(
                        (fault.status.as_u16(), fault.text.as_str()),
                        (400, sentence)
                    );
                }
                other => panic!("{body}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_asks_for_the_impossible_is_refused_unless_the_agent_is_busy() {
        let cases = [
            (
                r#"{"name": "nope.cmd", "params": {}}"#,
                404,
                "Not found: Extension with id nope not found.",
            ),
            (
                r#"{"name": ".", "params": {}}"#,
                404,
                "Not found: Extension with id  not found.",
            ),
            (
                r#"{"name": "standby.a.b", "params": {}}"#,
                400,
                "Invalid command: Unknown command: a.b",
            ),
            (
                r#"{"name": "clean.get_clean_steps", "params": {"node": 5}}"#,
                400,
                "Invalid command parameters: 'node' must be an object, but is a number",
            ),
            (
                r#"{"name": "clean.get_clean_steps", "params": {"node": {"a": 18446744073709551616}}}"#,
                400,
                "Invalid command parameters: node.a is 18446744073709551616: an integer beyond 2^53 cannot be carried exactly, send it as a string",
            ),
            (
                r#"{"name": "clean.get_clean_steps", "params": {"node": NaN}}"#,
                400,
                "Invalid command parameters: node is NaN, which is not JSON: send a finite number or null",
            ),
        ];
        for (body, status, sentence) in cases {
            match parse(body.as_bytes()) {
                ParsedCall::WrongUnlessBusy(fault) => {
                    assert_eq!(
                        (fault.status.as_u16(), fault.text.as_str()),
                        (status, sentence)
                    );
                }
                other => panic!("{body}: {other:?}"),
            }
        }
    }

    #[test]
    fn other_keys_of_a_call_are_ignored() {
        let body =
            r#"{"x": NaN, "name": "standby.sync", "params": {}, "y": [18446744073709551616]}"#;
        match parse(body.as_bytes()) {
            ParsedCall::Command { command, .. } => assert_eq!(command, "sync"),
            other => panic!("{other:?}"),
        }
    }
}
