//! The verbs as data: what REST calls them, what they take, how they are answered.
//!
//! The rows are generated from the notes on the verbs' messages, so a verb is described once, in
//! the protocol. The shim reads REST parameters by them and the agent the fields of a message;
//! neither lists verbs of its own for that.
//!
//! The arguments of typed verbs are messages of their own. They arrive as documents, as those of
//! the others do, and their results go out both as a document and as a message.

use prost_types::{ListValue, Struct, Value};

use crate::document::{self, DocumentReader, DocumentWriter};
use crate::roles::CallerRole;
use crate::v1;
use crate::v1::command::Verb;
use crate::v1::command_record::TypedResult;

include!(concat!(env!("OUT_DIR"), "/verbs.rs"));

/// A command as Ironic calls it.
#[derive(Debug)]
pub struct VerbDescriptor {
    /// The verb's field in [`v1::Command`]; three commands of the step machines share one.
    pub verb: &'static str,
    /// Ironic's full name, `<extension>.<command>`.
    pub name: &'static str,
    /// Whether it is answered while it runs (Ironic calls that asynchronous), or when done.
    pub background: bool,
    /// Whether its success ends the agent's service, and why.
    pub ends_service: Option<ServiceEnd>,
    /// Whether its arguments are typed messages: no REST call and no flow reaches it.
    pub typed: bool,
    /// What a caller of a gateway needs for it.
    pub role: CallerRole,
    /// What it takes, in the order of the message.
    pub arguments: &'static [ArgumentDescriptor],
    typed_result: Option<fn(Struct) -> TypedResult>,
    build: fn(GivenArguments) -> Verb,
}

/// One argument of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArgumentDescriptor {
    /// Its name over REST.
    pub name: &'static str,
    /// The field of the message that carries it.
    pub field: &'static str,
    /// What it must be.
    pub kind: ArgumentKind,
    /// Whether the command fails without it.
    pub required: bool,
    /// Whether no REST call and no flow can give it.
    pub grpc_only: bool,
}

/// What an argument must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgumentKind {
    /// A text.
    Text,
    /// `true` or `false`.
    Flag,
    /// A JSON object.
    Object,
    /// A list of JSON objects.
    Objects,
    /// A list of anything.
    List,
    /// Anything.
    Any,
    /// An object of all the arguments that the command does not name.
    Further,
}

/// The value of an argument as a message carries it.
#[derive(Debug, Clone, PartialEq)]
pub enum Argument {
    /// A text.
    Text(String),
    /// `true` or `false`.
    Flag(bool),
    /// An object, also one of further arguments.
    Object(Struct),
    /// A list of objects.
    Objects(Vec<Struct>),
    /// A list of anything.
    List(ListValue),
    /// Anything.
    Any(Value),
}

/// Why a command ends the agent's service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceEnd {
    /// The machine is handed over to a rescuer.
    Rescued,
    /// The machine leaves the network.
    LockedDown,
}

impl VerbDescriptor {
    /// The command with this full name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        VERBS.iter().find(|verb| verb.name == name)
    }

    /// The commands that REST calls and flows reach.
    pub fn of_ironic() -> impl Iterator<Item = &'static Self> {
        VERBS.iter().filter(|verb| !verb.typed)
    }

    /// The result of the command as a message, if it has a type.
    #[must_use]
    pub fn typed_result(&self, document: Struct) -> Option<TypedResult> {
        self.typed_result.map(|read| read(document))
    }

    /// The command of a message and its arguments in the order of the descriptor; `None` when
    /// the message names no step machine.
    #[must_use]
    pub fn decompose(verb: Verb) -> Option<(&'static Self, Vec<Option<Argument>>)> {
        decompose(verb)
    }

    /// The message of this command. Arguments are in the order of the descriptor; one of
    /// another kind counts as absent.
    #[must_use]
    pub fn message(&self, arguments: Vec<Option<Argument>>) -> Verb {
        (self.build)(GivenArguments(arguments))
    }

    /// `clean` of `clean.execute_clean_step`.
    #[must_use]
    pub fn extension(&self) -> &'static str {
        self.name
            .split_once('.')
            .map_or("", |(extension, _)| extension)
    }

    /// `execute_clean_step` of `clean.execute_clean_step`.
    #[must_use]
    pub fn command(&self) -> &'static str {
        bare(self.name)
    }

    /// The Python agent's name for the extension's class, which its messages quote.
    #[must_use]
    pub fn class(&self) -> String {
        let extension = self.extension();
        let (first, rest) = extension.split_at(extension.len().min(1));
        format!("{}{rest}Extension", first.to_ascii_uppercase())
    }
}

impl PartialEq for VerbDescriptor {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for VerbDescriptor {}

/// The command in a full name: `execute_clean_step` of `clean.execute_clean_step`.
#[must_use]
pub fn bare(name: &str) -> &str {
    name.split_once('.').map_or(name, |(_, command)| command)
}

impl Argument {
    /// A text of a field that cannot be absent: empty means absent.
    fn unless_empty(text: String) -> Option<Self> {
        (!text.is_empty()).then_some(Self::Text(text))
    }
}

/// Arguments on their way into a message.
struct GivenArguments(Vec<Option<Argument>>);

impl GivenArguments {
    fn take(&mut self, at: usize) -> Option<Argument> {
        self.0.get_mut(at).and_then(Option::take)
    }

    fn text(&mut self, at: usize) -> Option<String> {
        match self.take(at) {
            Some(Argument::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn flag(&mut self, at: usize) -> Option<bool> {
        match self.take(at) {
            Some(Argument::Flag(flag)) => Some(flag),
            _ => None,
        }
    }

    fn object(&mut self, at: usize) -> Option<Struct> {
        match self.take(at) {
            Some(Argument::Object(object)) => Some(object),
            _ => None,
        }
    }

    fn objects(&mut self, at: usize) -> Vec<Struct> {
        match self.take(at) {
            Some(Argument::Objects(objects)) => objects,
            _ => Vec::new(),
        }
    }

    fn list(&mut self, at: usize) -> Option<ListValue> {
        match self.take(at) {
            Some(Argument::List(list)) => Some(list),
            _ => None,
        }
    }

    fn any(&mut self, at: usize) -> Option<Value> {
        match self.take(at) {
            Some(Argument::Any(value)) => Some(value),
            _ => None,
        }
    }
}
