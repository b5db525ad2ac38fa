//! The arguments of a command, checked against its descriptor and taken one by one.

use ironic_document::JsonObject;
use serde_json::Value;

use super::descriptor::{ArgumentKind, VerbDescriptor};
use super::misuse::Misuse;

/// What a caller gave, not yet checked.
#[derive(Debug, Default)]
pub struct GivenArguments {
    /// The arguments by name.
    pub named: JsonObject,
    /// Those that a verb takes without naming them.
    pub further: JsonObject,
    /// The first argument that was sent and that the verb does not have.
    pub unexpected: Option<String>,
}

/// Arguments that fit their verb: each is of its kind, and none that is required is absent.
#[derive(Debug)]
pub struct VerbArguments {
    verb: &'static VerbDescriptor,
    named: JsonObject,
    further: JsonObject,
}

impl GivenArguments {
    /// The arguments in a JSON object; null is as good as absent.
    #[must_use]
    pub fn from_object(verb: &VerbDescriptor, mut given: JsonObject) -> Self {
        let mut arguments = Self::default();
        for argument in verb.arguments.iter().filter(|argument| !argument.grpc_only) {
            if argument.kind == ArgumentKind::Further {
                arguments.further = std::mem::take(&mut given);
            } else if let Some(value) = given.shift_remove(argument.name)
                && !value.is_null()
            {
                arguments.named.insert(argument.name.to_owned(), value);
            }
        }
        arguments.unexpected = given.into_iter().next().map(|(name, _)| name);
        arguments
    }
}

impl VerbArguments {
    /// Checks arguments. Like Python, which looks at what it was given before it looks for
    /// what it needs.
    ///
    /// # Errors
    /// The first thing that is wrong with the call.
    pub fn check(verb: &'static VerbDescriptor, given: GivenArguments) -> Result<Self, Misuse> {
        let GivenArguments {
            named,
            further,
            unexpected,
        } = given;
        let mut missing = Vec::new();
        for argument in verb.arguments {
            let (name, expected) = (argument.name, argument.kind);
            match named.get(name) {
                None if argument.required => missing.push(name),
                Some(value) if !fits(value, expected) => {
                    return Err(Misuse::Kind { name, expected });
                }
                None | Some(_) => {}
            }
        }
        if let Some(name) = unexpected {
            return Err(Misuse::Unexpected(name));
        }
        if !missing.is_empty() {
            return Err(Misuse::Missing(missing));
        }
        Ok(Self {
            verb,
            named,
            further,
        })
    }

    /// The command that they are for.
    #[must_use]
    pub fn verb(&self) -> &'static VerbDescriptor {
        self.verb
    }

    /// All that the verb names, as one document.
    #[must_use]
    pub fn named(self) -> JsonObject {
        self.named
    }

    /// A text.
    pub fn text(&mut self, name: &str) -> Option<String> {
        match self.named.shift_remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &str) -> Option<bool> {
        self.named
            .shift_remove(name)
            .and_then(|value| value.as_bool())
    }

    /// An object; an empty one where it is absent.
    pub fn object(&mut self, name: &str) -> JsonObject {
        match self.named.shift_remove(name) {
            Some(Value::Object(object)) => object,
            _ => JsonObject::new(),
        }
    }

    /// A list of objects. Ironic sends no ports as an empty object, too.
    pub fn objects(&mut self, name: &str) -> Vec<JsonObject> {
        let objects = self.list(name).into_iter().filter_map(|value| match value {
            Value::Object(object) => Some(object),
            _ => None,
        });
        objects.collect()
    }

    /// A list of anything.
    pub fn list(&mut self, name: &str) -> Vec<Value> {
        match self.named.shift_remove(name) {
            Some(Value::Array(values)) => values,
            _ => Vec::new(),
        }
    }

    /// Anything.
    pub fn any(&mut self, name: &str) -> Option<Value> {
        self.named.shift_remove(name)
    }

    /// Those that the verb does not name.
    pub fn further(&mut self) -> JsonObject {
        std::mem::take(&mut self.further)
    }
}

fn fits(value: &Value, kind: ArgumentKind) -> bool {
    match kind {
        ArgumentKind::Text => value.is_string(),
        ArgumentKind::Flag => value.is_boolean(),
        ArgumentKind::Object | ArgumentKind::Further => value.is_object(),
        ArgumentKind::List => value.is_array(),
        ArgumentKind::Any => true,
        ArgumentKind::Objects => match value {
            Value::Object(none) => none.is_empty(),
            Value::Array(values) => values.iter().all(Value::is_object),
            _ => false,
        },
    }
}
