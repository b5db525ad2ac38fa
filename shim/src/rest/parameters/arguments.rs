//! The named arguments of a call, taken one by one.

use std::fmt;

use ironic_agent_protocol::verbs::{Argument, ArgumentDescriptor, ArgumentKind};
use ironic_document::{DocumentError, to_list, to_struct, to_value};
use prost_types::{ListValue, Struct};
use serde_json::{Map, Value};
use thiserror::Error;

/// The arguments that were not taken yet.
#[derive(Debug)]
pub struct Arguments(Map<String, Value>);

/// What an argument must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A JSON string.
    Text,
    /// `true` or `false`.
    Flag,
    /// A JSON object.
    Object,
    /// A JSON array.
    List,
    /// A JSON array of objects.
    Objects,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "a string",
            Self::Flag => "true or false",
            Self::Object => "an object",
            Self::List => "a list",
            Self::Objects => "a list of objects",
        })
    }
}

/// Why an argument cannot be passed on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WrongArgument {
    /// It never has this shape.
    #[error("'{name}' must be {expected}, but is {found}")]
    Shape {
        /// Its name, with an index if it is an item of a list.
        name: String,
        /// What it must be.
        expected: Shape,
        /// What it is.
        found: &'static str,
    },
    /// A value within it cannot be carried.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

type Taken<T> = Result<T, WrongArgument>;

impl Arguments {
    /// The parameters of a call.
    #[must_use]
    pub fn new(parameters: Map<String, Value>) -> Self {
        Self(parameters)
    }

    /// The argument that a row describes; null is as good as absent.
    ///
    /// # Errors
    /// It has a shape that this argument never has, or cannot be carried.
    pub fn take(&mut self, argument: &ArgumentDescriptor) -> Taken<Option<Argument>> {
        let name = argument.name;
        Ok(match argument.kind {
            ArgumentKind::Text => self.text(name)?.map(Argument::Text),
            ArgumentKind::Flag => self.flag(name)?.map(Argument::Flag),
            ArgumentKind::Object => self.object(name)?.map(Argument::Object),
            ArgumentKind::Objects => Some(Argument::Objects(self.objects(name)?)),
            ArgumentKind::List => self.list(name)?.map(Argument::List),
            ArgumentKind::Any => self.value(name)?.map(Argument::Any),
            ArgumentKind::Further => Some(Argument::Object(self.rest()?)),
        })
    }

    /// A string; null is as good as absent.
    fn text(&mut self, name: &str) -> Taken<Option<String>> {
        match self.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, Shape::Text, &other)),
        }
    }

    /// A boolean; null is as good as absent.
    fn flag(&mut self, name: &str) -> Taken<Option<bool>> {
        match self.remove(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(wrong(name, Shape::Flag, &other)),
        }
    }

    /// An object; null is as good as absent.
    fn object(&mut self, name: &str) -> Taken<Option<Struct>> {
        match self.remove(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(structure(name, object)?)),
            Some(other) => Err(wrong(name, Shape::Object, &other)),
        }
    }

    /// A list of objects; null and absent are as good as empty.
    fn objects(&mut self, name: &str) -> Taken<Vec<Struct>> {
        let items = match self.remove(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(wrong(name, Shape::Objects, &other)),
        };
        let objects = items.into_iter().enumerate().map(|(at, item)| {
            let name = format!("{name}[{at}]");
            match item {
                Value::Object(object) => structure(&name, object),
                other => Err(wrong(&name, Shape::Object, &other)),
            }
        });
        objects.collect()
    }

    /// A list; null is as good as absent.
    fn list(&mut self, name: &str) -> Taken<Option<ListValue>> {
        match self.remove(name) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(to_list(items, name)?)),
            Some(other) => Err(wrong(name, Shape::List, &other)),
        }
    }

    /// Anything; null is as good as absent.
    fn value(&mut self, name: &str) -> Taken<Option<prost_types::Value>> {
        let value = self.remove(name).map(|value| to_value(value, name));
        Ok(value.transpose()?)
    }

    /// All that were not taken, with their values; afterwards none are left.
    fn rest(&mut self) -> Taken<Struct> {
        Ok(to_struct(std::mem::take(&mut self.0), "")?)
    }

    /// The names of those that were not taken, in the order in which they came.
    #[must_use]
    pub fn into_names(self) -> Vec<String> {
        self.0.into_iter().map(|(name, _)| name).collect()
    }

    fn remove(&mut self, name: &str) -> Option<Value> {
        // The plain removal would change the order of the others.
        self.0.shift_remove(name).filter(|value| !value.is_null())
    }
}

fn structure(name: &str, object: Map<String, Value>) -> Taken<Struct> {
    Ok(to_struct(object, name)?)
}

fn wrong(name: &str, expected: Shape, found: &Value) -> WrongArgument {
    WrongArgument::Shape {
        name: name.to_owned(),
        expected,
        found: match found {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        },
    }
}
