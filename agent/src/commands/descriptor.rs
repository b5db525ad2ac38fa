//! What a command is called, what it takes and how it is answered: the rows that the protocol
//! notes on its messages. This file alone knows where they come from.

use serde_json::{Map, Value};

pub use ironic_agent_protocol::verbs::{
    ArgumentDescriptor, ArgumentKind, ServiceEnd, VERBS, VerbDescriptor, bare,
};

/// A text answer travels as an object: `{"result": "<text>"}`, and the answer of a
/// background verb names the verb in it: `{"result": "prepare_image: <text>"}`.
#[must_use]
pub fn wrap(verb: &VerbDescriptor, answer: Value) -> Value {
    match answer {
        Value::String(text) => {
            let text = if verb.background {
                format!("{}: {text}", verb.command())
            } else {
                text
            };
            Value::Object(Map::from_iter([("result".to_owned(), text.into())]))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_answers_are_wrapped() {
        let cases = [
            ("standby.sync", json!("hello"), json!({"result": "hello"})),
            (
                "standby.prepare_image",
                json!("done"),
                json!({"result": "prepare_image: done"}),
            ),
            ("standby.prepare_image", json!(null), json!(null)),
            ("poll.get_hardware_info", json!({"a": 1}), json!({"a": 1})),
            ("standby.sync", json!(["x"]), json!(["x"])),
        ];
        for (name, answer, wrapped) in cases {
            let verb = VerbDescriptor::by_name(name).unwrap();
            assert_eq!(wrap(verb, answer), wrapped);
        }
    }
}
