//! The notes of a verb as Rust: a row of the table for each of its names, and the arm of the
//! `match` that takes its message apart.

use std::error::Error;

use super::notes::{VerbArgument, VerbArgumentKind, VerbMessage};

/// A `VerbDescriptor`: the row of one of the verb's names.
pub(super) fn row(message: &VerbMessage, name: &str) -> Result<String, Box<dyn Error>> {
    let (extension, _) = name.split_once('.').ok_or("a name has no extension")?;
    let arguments = message.arguments.iter();
    let arguments: String = arguments
        .map(|argument| descriptor(argument, extension))
        .collect();
    // A closure that uses no argument must not name them either.
    let given = if message.arguments.is_empty() {
        "_"
    } else {
        "mut given"
    };
    Ok(format!(
        "VerbDescriptor {{ verb: {:?}, name: {name:?}, background: {}, \
         ends_service: {}, arguments: &[{arguments}], \
         build: |{given}| Verb::{}(v1::{} {{ {}}}) }}",
        message.verb,
        message.background,
        ends_service(message.ends_service)?,
        variant(message),
        message.descriptor.name(),
        fields(message, extension),
    ))
}

/// The arm that takes the message apart; `first` is the index of its first row.
pub(super) fn arm(message: &VerbMessage, first: usize) -> String {
    let arguments: Vec<String> = message.arguments.iter().map(field_to_argument).collect();
    let binding = if arguments.is_empty() { "_" } else { "message" };
    format!(
        "Verb::{}({binding}) => ({}, vec![{}])",
        variant(message),
        row_of_message(message, first),
        arguments.join(", ")
    )
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
        "ArgumentDescriptor {{ name: {:?}, field: {:?}, kind: ArgumentKind::{:?}, required: {} }}, ",
        argument.name.replace("{phase}", extension),
        argument.field.name(),
        argument.kind,
        argument.required,
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

/// The variant of the generated enum.
fn variant(message: &VerbMessage) -> String {
    message.verb.split('_').map(capitalized).collect()
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
