//! What `verb.proto` notes on a verb's message and its fields.

use std::error::Error;

use protox::prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value,
};

/// The package of the protocol.
pub(super) const PACKAGE: &str = "ironic.agent.v1";

/// The message of a verb with its notes.
pub(super) struct VerbMessage {
    /// The verb's field in `Command`.
    pub(super) verb: String,
    pub(super) descriptor: MessageDescriptor,
    /// Ironic's full names: several where the message has a phase.
    pub(super) names: Vec<String>,
    pub(super) background: bool,
    /// A number of `ServiceEnd`.
    pub(super) ends_service: i32,
    /// Whether its arguments are typed messages.
    pub(super) typed: bool,
    /// A number of `CallerRole`.
    pub(super) role: i32,
    pub(super) arguments: Vec<VerbArgument>,
}

/// A field of the message that is an argument.
pub(super) struct VerbArgument {
    pub(super) field: FieldDescriptor,
    /// The name over REST, with `{phase}` for the extension.
    pub(super) name: String,
    pub(super) required: bool,
    pub(super) kind: VerbArgumentKind,
    /// Whether no REST call can give it.
    pub(super) grpc_only: bool,
}

/// The variants of `ArgumentKind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VerbArgumentKind {
    Text,
    Flag,
    Object,
    Objects,
    List,
    Any,
    Further,
}

impl VerbMessage {
    /// Reads the notes on the message of a field of `Command`.
    pub(super) fn read(
        pool: &DescriptorPool,
        verb: &FieldDescriptor,
    ) -> Result<Self, Box<dyn Error>> {
        let Kind::Message(descriptor) = verb.kind() else {
            return Err(format!("{} is no message", verb.full_name()).into());
        };
        let notes = extension(pool, "verb", &descriptor.options())?;
        let names = texts(&notes, "names");
        if names.is_empty() {
            return Err(format!("{} has no option (verb).names", descriptor.full_name()).into());
        }
        let typed = flag(&notes, "typed");
        let fields = descriptor.fields().filter(|field| field.name() != "phase");
        Ok(Self {
            typed,
            verb: verb.name().to_owned(),
            names,
            background: flag(&notes, "background"),
            ends_service: number(&notes, "ends_service"),
            role: number(&notes, "role"),
            arguments: fields
                .map(|field| VerbArgument::read(pool, field, typed))
                .collect::<Result<_, _>>()?,
            descriptor,
        })
    }

    /// Whether one message serves the commands of several step machines.
    pub(super) fn has_phase(&self) -> bool {
        self.descriptor.get_field_by_name("phase").is_some()
    }
}

impl VerbArgument {
    fn read(
        pool: &DescriptorPool,
        field: FieldDescriptor,
        typed: bool,
    ) -> Result<Self, Box<dyn Error>> {
        let notes = extension(pool, "argument", &field.options())?;
        let name = notes.get_field_by_name("name");
        let name = name.as_deref().and_then(Value::as_str).unwrap_or("");
        let kind = VerbArgumentKind::of(&field, flag(&notes, "further"), typed)
            .ok_or_else(|| format!("{} cannot be an argument", field.full_name()))?;
        Ok(Self {
            name: if name.is_empty() { field.name() } else { name }.to_owned(),
            required: flag(&notes, "required"),
            kind,
            grpc_only: typed || flag(&notes, "grpc_only"),
            field,
        })
    }

    /// Whether the field distinguishes "absent" from the empty value.
    pub(super) fn is_optional(&self) -> bool {
        self.field.supports_presence()
    }
}

impl VerbArgumentKind {
    /// The kind that the type of a field says. `None`: no argument has this type.
    fn of(field: &FieldDescriptor, further: bool, typed: bool) -> Option<Self> {
        let repeated = field.cardinality() == Cardinality::Repeated;
        let message = match field.kind() {
            Kind::String if !repeated => return Some(Self::Text),
            Kind::Bool if !repeated => return Some(Self::Flag),
            Kind::Enum(_) if typed && !repeated => return Some(Self::Text),
            Kind::Message(message) if typed && !is_open(&message) => {
                return Some(if repeated {
                    Self::Objects
                } else {
                    Self::Object
                });
            }
            Kind::Message(message) => message,
            _ => return None,
        };
        match (message.full_name(), repeated) {
            ("google.protobuf.Struct", false) if further => Some(Self::Further),
            ("google.protobuf.Struct", false) => Some(Self::Object),
            ("google.protobuf.Struct", true) => Some(Self::Objects),
            ("google.protobuf.ListValue", false) => Some(Self::List),
            ("google.protobuf.Value", false) => Some(Self::Any),
            _ => None,
        }
    }
}

/// Whether a message is a document that is open by nature.
pub(super) fn is_open(message: &MessageDescriptor) -> bool {
    message.package_name() != PACKAGE
}

/// The notes of an extension among some options; empty when it is not set.
fn extension(
    pool: &DescriptorPool,
    name: &str,
    options: &DynamicMessage,
) -> Result<DynamicMessage, Box<dyn Error>> {
    let extension = pool
        .get_extension_by_name(&format!("{PACKAGE}.{name}"))
        .ok_or_else(|| format!("verb.proto has no extension {name}"))?;
    let notes = options.get_extension(&extension);
    let notes = notes.as_message();
    Ok(notes
        .ok_or_else(|| format!("the extension {name} is no message"))?
        .clone())
}

fn texts(notes: &DynamicMessage, name: &str) -> Vec<String> {
    let values = notes.get_field_by_name(name);
    let values = values.as_deref().and_then(Value::as_list).unwrap_or(&[]);
    let texts = values.iter().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// The number of an enum's value.
fn number(notes: &DynamicMessage, name: &str) -> i32 {
    let value = notes.get_field_by_name(name);
    value.and_then(|value| value.as_enum_number()).unwrap_or(0)
}

fn flag(notes: &DynamicMessage, name: &str) -> bool {
    let value = notes.get_field_by_name(name);
    value.as_deref().and_then(Value::as_bool).unwrap_or(false)
}
