//! The notes of a verb as Rust: a row of the table for each of its names, and the arm of the
//! `match` that takes its message apart.

use std::error::Error;

use protox::prost_reflect::Kind;

use super::documents::{DocumentFunctions, set_value, word_writer};
use super::notes::{VerbArgument, VerbArgumentKind, VerbMessage, is_open};

/// A `VerbDescriptor`: the row of one of the verb's names. `result` is the function that reads
/// its typed result.
pub(super) fn row(
    message: &VerbMessage,
    name: &str,
    result: Option<&str>,
) -> Result<String, Box<dyn Error>> {
    let (extension, _) = name.split_once('.').ok_or("a name has no extension")?;
    let arguments = message.arguments.iter();
    let arguments: String = arguments
        .map(|argument| descriptor(argument, extension))
        .collect();
    // A closure that uses no argument must not name them either.
    let given = if message.arguments.iter().all(|argument| argument.grpc_only) {
        "_"
    } else {
        "mut given"
    };
    let variant = variant(message);
    let result = result.map_or_else(
        || "None".to_owned(),
        |reader| format!("Some(|document| TypedResult::{variant}({reader}(document)))"),
    );
    Ok(format!(
        "VerbDescriptor {{ verb: {:?}, name: {name:?}, background: {}, \
         ends_service: {}, role: {}, typed: {}, arguments: &[{arguments}], typed_result: {result}, \
         build: |{given}| Verb::{variant}(v1::{} {{ {}}}) }}",
        message.verb,
        message.background,
        ends_service(message.ends_service)?,
        role(message.role)?,
        message.typed,
        message.descriptor.name(),
        fields(message, extension),
    ))
}

/// The arm that takes the message apart; `first` is the index of its first row.
pub(super) fn arm(
    message: &VerbMessage,
    first: usize,
    functions: &mut DocumentFunctions,
) -> Result<String, Box<dyn Error>> {
    let mut arguments = Vec::new();
    for argument in &message.arguments {
        arguments.push(match typed_argument(argument, functions)? {
            Some(typed) if message.typed => typed,
            _ => field_to_argument(argument),
        });
    }
    let binding = if arguments.is_empty() { "_" } else { "message" };
    Ok(format!(
        "Verb::{}({binding}) => ({}, vec![{}])",
        variant(message),
        row_of_message(message, first),
        arguments.join(", ")
    ))
}

/// The expression for the argument in a field of a typed verb, where it is not that of any verb.
fn typed_argument(
    argument: &VerbArgument,
    functions: &mut DocumentFunctions,
) -> Result<Option<String>, Box<dyn Error>> {
    let field = &argument.field;
    Ok(match (field.kind(), argument.kind) {
        (Kind::Enum(words), _) => {
            let word = word_writer(&words, "Argument::Text");
            Some(format!("{}.map({word})", set_value(field)))
        }
        (Kind::Message(message), VerbArgumentKind::Object) if !is_open(&message) => {
            let writer = functions.writer(&message)?;
            let object = format!("|message| Argument::Object({writer}(message))");
            Some(format!("{}.map({object})", set_value(field)))
        }
        (Kind::Message(message), VerbArgumentKind::Objects) if !is_open(&message) => {
            let writer = functions.writer(&message)?;
            let name = field.name();
            let objects = format!("message.{name}.into_iter().map({writer}).collect()");
            Some(format!("Some(Argument::Objects({objects}))"))
        }
        _ => None,
    })
}

/// The expression for the row that a message belongs to: the phase chooses among several.
fn row_of_message(message: &VerbMessage, first: usize) -> String {
    if !message.has_phase() {
        return format!("&VERBS[{first}]");
    }
    let phases = message.names.iter().zip(first..).map(|(name, index)| {
        let phase = capitalized(name.split('.').next().unwrap_or_default());
        format!("Ok(v1::StepPhase::{phase}) => &VERBS[{index}], ")
    });
    let phases: String = phases.collect();
    format!("match v1::StepPhase::try_from(message.phase) {{ {phases}_ => return None }}")
}

/// An `ArgumentDescriptor` with its comma.
fn descriptor(argument: &VerbArgument, extension: &str) -> String {
    format!(
        "ArgumentDescriptor {{ name: {:?}, field: {:?}, kind: ArgumentKind::{:?}, \
         required: {}, grpc_only: {} }}, ",
        argument.name.replace("{phase}", extension),
        argument.field.name(),
        argument.kind,
        argument.required,
        argument.grpc_only,
    )
}

/// The fields of a message that is built from the arguments given.
fn fields(message: &VerbMessage, extension: &str) -> String {
    let phase = message.has_phase().then(|| {
        let phase = capitalized(extension);
        format!("phase: v1::StepPhase::{phase}.into(), ")
    });
    let arguments = message.arguments.iter().enumerate();
    let arguments = arguments.map(|(index, argument)| {
        let value = argument_to_field(argument, index);
        format!("{}: {value}, ", argument.field.name())
    });
    phase.into_iter().chain(arguments).collect()
}

/// The expression for the field of an argument that was given.
fn argument_to_field(argument: &VerbArgument, index: usize) -> String {
    if argument.grpc_only {
        // Messages are built for calls that cannot give it.
        return "Default::default()".to_owned();
    }
    let method = match argument.kind {
        VerbArgumentKind::Text => "text",
        VerbArgumentKind::Flag => "flag",
        VerbArgumentKind::Objects => return format!("given.objects({index})"),
        VerbArgumentKind::List => "list",
        VerbArgumentKind::Any => "any",
        VerbArgumentKind::Object | VerbArgumentKind::Further => "object",
    };
    let default = if argument.is_optional() {
        ""
    } else {
        ".unwrap_or_default()"
    };
    format!("given.{method}({index}){default}")
}

/// The expression for the argument in a field: the reverse of [`argument_to_field`].
fn field_to_argument(argument: &VerbArgument) -> String {
    let field = format!("message.{}", argument.field.name());
    let kind = match argument.kind {
        VerbArgumentKind::Further => VerbArgumentKind::Object,
        kind => kind,
    };
    match (kind, argument.is_optional()) {
        (VerbArgumentKind::Text, false) => format!("Argument::unless_empty({field})"),
        (kind, false) => format!("Some(Argument::{kind:?}({field}))"),
        (kind, true) => format!("{field}.map(Argument::{kind:?})"),
    }
}

fn ends_service(number: i32) -> Result<&'static str, Box<dyn Error>> {
    match number {
        0 => Ok("None"),
        1 => Ok("Some(ServiceEnd::Rescued)"),
        2 => Ok("Some(ServiceEnd::LockedDown)"),
        other => Err(format!("ServiceEnd has no value {other}").into()),
    }
}

/// The `CallerRole` of a number.
pub(super) fn role(number: i32) -> Result<&'static str, Box<dyn Error>> {
    match number {
        1 => Ok("CallerRole::Observer"),
        2 => Ok("CallerRole::Operator"),
        // What is not noted is nobody else's.
        0 | 3 => Ok("CallerRole::Provisioner"),
        other => Err(format!("CallerRole has no value {other}").into()),
    }
}

/// The variant of the generated enum.
fn variant(message: &VerbMessage) -> String {
    message.verb.split('_').map(capitalized).collect()
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
