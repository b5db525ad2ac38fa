//! Generates the table of the verbs: what `verb.proto` notes on the messages of
//! `command.proto`, as the rows of `verbs.rs`.

use std::error::Error;
use std::fmt::Write;

use protox::prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value,
};

const PACKAGE: &str = "ironic.agent.v1";

/// The table, and the function that takes a verb's message apart, as Rust.
pub fn generate(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let command = pool
        .get_message_by_name(&format!("{PACKAGE}.Command"))
        .ok_or("there is no message Command")?;
    let oneof = command.oneofs().next().ok_or("Command has no oneof")?;
    let (mut rows, mut arms, mut count) = (String::new(), String::new(), 0);
    for verb in oneof.fields() {
        let message = Message::of(pool, &verb)?;
        writeln!(arms, "{}", message.arm(count))?;
        for name in &message.names {
            writeln!(rows, "    {},", message.row(name)?)?;
            count += 1;
        }
    }
    Ok(format!(
        "/// Every command, in the order of the protocol.\n\
         pub static VERBS: [VerbDescriptor; {count}] = [\n{rows}];\n\n\
         fn take_apart(verb: Verb) -> Option<(&'static VerbDescriptor, Vec<Option<Argument>>)> {{\n\
         \x20   Some(match verb {{\n{arms}    }})\n}}\n"
    ))
}

/// The message of a verb with its notes.
struct Message {
    /// Its field in `Command`.
    verb: String,
    descriptor: MessageDescriptor,
    names: Vec<String>,
    background: bool,
    ends_service: i32,
    arguments: Vec<Argument>,
}

struct Argument {
    field: FieldDescriptor,
    name: String,
    required: bool,
    kind: &'static str,
}

impl Message {
    fn of(pool: &DescriptorPool, verb: &FieldDescriptor) -> Result<Self, Box<dyn Error>> {
        let Kind::Message(descriptor) = verb.kind() else {
            return Err(format!("{} is no message", verb.full_name()).into());
        };
        let notes = notes(pool, "verb", &descriptor.options())?;
        let names = notes.get_field_by_name("names");
        let names = names.as_deref().and_then(Value::as_list).unwrap_or(&[]);
        let names: Vec<String> = names
            .iter()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect();
        if names.is_empty() {
            return Err(format!("{} has no option (verb).names", descriptor.full_name()).into());
        }
        let fields = descriptor.fields().filter(|field| field.name() != "phase");
        Ok(Self {
            verb: verb.name().to_owned(),
            names,
            background: flag(&notes, "background"),
            ends_service: notes
                .get_field_by_name("ends_service")
                .and_then(|end| end.as_enum_number())
                .unwrap_or(0),
            arguments: fields
                .map(|field| Argument::of(pool, field))
                .collect::<Result<_, _>>()?,
            descriptor,
        })
    }

    fn has_phase(&self) -> bool {
        self.descriptor.get_field_by_name("phase").is_some()
    }

    /// The variant of the generated enum.
    fn variant(&self) -> String {
        let words = self.verb.split('_').map(capitalized);
        words.collect()
    }

    fn row(&self, name: &str) -> Result<String, Box<dyn Error>> {
        let (extension, _) = name.split_once('.').ok_or("a name has no extension")?;
        let (mut arguments, mut fields) = (String::new(), String::new());
        if self.has_phase() {
            let phase = capitalized(extension);
            write!(fields, "phase: v1::StepPhase::{phase}.into(), ")?;
        }
        for (at, argument) in self.arguments.iter().enumerate() {
            write!(
                arguments,
                "ArgumentDescriptor {{ name: {:?}, field: {:?}, kind: ArgumentKind::{}, required: {} }}, ",
                argument.name.replace("{phase}", extension),
                argument.field.name(),
                argument.kind,
                argument.required,
            )?;
            write!(fields, "{}: {}, ", argument.field.name(), argument.take(at))?;
        }
        let ends_service = match self.ends_service {
            0 => "None",
            1 => "Some(ServiceEnd::Rescued)",
            2 => "Some(ServiceEnd::LockedDown)",
            other => return Err(format!("no such end of service: {other}").into()),
        };
        let given = if self.arguments.is_empty() {
            "_"
        } else {
            "mut given"
        };
        Ok(format!(
            "VerbDescriptor {{ verb: {:?}, name: {name:?}, background: {}, \
             ends_service: {ends_service}, arguments: &[{arguments}], \
             build: |{given}| Verb::{}(v1::{} {{ {fields}}}) }}",
            self.verb,
            self.background,
            self.variant(),
            self.descriptor.name(),
        ))
    }

    /// How the message is taken apart; `first` is its first row.
    fn arm(&self, first: usize) -> String {
        let put: Vec<String> = self.arguments.iter().map(Argument::put).collect();
        let row = if self.has_phase() {
            let phases = self.names.iter().enumerate().map(|(at, name)| {
                let phase = capitalized(name.split('.').next().unwrap_or_default());
                format!("Ok(v1::StepPhase::{phase}) => &VERBS[{}], ", first + at)
            });
            let phases: String = phases.collect();
            format!("match v1::StepPhase::try_from(message.phase) {{ {phases}_ => return None }}")
        } else {
            format!("&VERBS[{first}]")
        };
        let message = if put.is_empty() { "_" } else { "message" };
        format!(
            "        Verb::{}({message}) => ({row}, vec![{}]),",
            self.variant(),
            put.join(", ")
        )
    }
}

impl Argument {
    fn of(pool: &DescriptorPool, field: FieldDescriptor) -> Result<Self, Box<dyn Error>> {
        let notes = notes(pool, "argument", &field.options())?;
        let name = notes.get_field_by_name("name");
        let name = name.as_deref().and_then(Value::as_str).unwrap_or("");
        let message = match field.kind() {
            Kind::Message(message) => message.full_name().to_owned(),
            _ => String::new(),
        };
        let many = field.cardinality() == Cardinality::Repeated;
        let kind = match (field.kind(), message.as_str(), many) {
            (Kind::String, _, false) => "Text",
            (Kind::Bool, _, false) => "Flag",
            (_, "google.protobuf.Struct", false) if flag(&notes, "further") => "Further",
            (_, "google.protobuf.Struct", false) => "Object",
            (_, "google.protobuf.Struct", true) => "Objects",
            (_, "google.protobuf.ListValue", false) => "List",
            (_, "google.protobuf.Value", false) => "Any",
            _ => return Err(format!("{} is no argument", field.full_name()).into()),
        };
        Ok(Self {
            name: if name.is_empty() { field.name() } else { name }.to_owned(),
            required: flag(&notes, "required"),
            kind,
            field,
        })
    }

    /// Whether the field distinguishes "absent" from the empty value.
    fn is_optional(&self) -> bool {
        self.field.supports_presence()
    }

    /// The argument as the field's value.
    fn take(&self, at: usize) -> String {
        let method = match self.kind {
            "Text" => "text",
            "Flag" => "flag",
            "Objects" => return format!("given.objects({at})"),
            "List" => "list",
            "Any" => "any",
            _ => "object",
        };
        let default = if self.is_optional() {
            ""
        } else {
            ".unwrap_or_default()"
        };
        format!("given.{method}({at}){default}")
    }

    /// The field's value as an argument.
    fn put(&self) -> String {
        let field = format!("message.{}", self.field.name());
        let kind = match self.kind {
            "Further" => "Object",
            kind => kind,
        };
        match (kind, self.is_optional()) {
            ("Text", false) => format!("Argument::unless_empty({field})"),
            (_, false) => format!("Some(Argument::{kind}({field}))"),
            (_, true) => format!("{field}.map(Argument::{kind})"),
        }
    }
}

/// The notes of an extension among some options; empty when it is not set.
fn notes(
    pool: &DescriptorPool,
    extension: &str,
    options: &DynamicMessage,
) -> Result<DynamicMessage, Box<dyn Error>> {
    let extension = pool
        .get_extension_by_name(&format!("{PACKAGE}.{extension}"))
        .ok_or("verb.proto lacks an extension")?;
    let notes = options.get_extension(&extension);
    Ok(notes.as_message().ok_or("it is no message")?.clone())
}

fn flag(notes: &DynamicMessage, name: &str) -> bool {
    let value = notes.get_field_by_name(name);
    value.as_deref().and_then(Value::as_bool).unwrap_or(false)
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
