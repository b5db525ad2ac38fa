//! Typed messages as documents, and documents as typed messages: a function for each message
//! that is reached from the message of a typed verb, or from a typed result.
//!
//! A document has the fields that are set, under their names in the protocol. Enumerations are
//! the names of their values, bytes are base64.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;

use protox::prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

use super::notes::is_open;

/// The functions that are needed, by their names.
#[derive(Default)]
pub(super) struct DocumentFunctions(BTreeMap<String, String>);

impl DocumentFunctions {
    /// The name of the function that makes a document of a message.
    pub(super) fn writer(&mut self, message: &MessageDescriptor) -> Result<String, Box<dyn Error>> {
        let name = format!("write_{}", snake(message.name()));
        if self.0.contains_key(&name) {
            return Ok(name);
        }
        // Before its fields, which may lead here again.
        self.0.insert(name.clone(), String::new());
        let mut puts = String::new();
        for field in message.fields() {
            let set = set_value(&field);
            let value = self.item_writer(&field)?;
            let value = if field.is_list() {
                format!("{set}.map(|items| document::list(items.into_iter().map({value})))")
            } else {
                format!("{set}.map({value})")
            };
            writeln!(puts, "    document.put({:?}, {value});", field.name())?;
        }
        let message = message.name();
        self.0.insert(
            name.clone(),
            format!(
                "fn {name}(message: v1::{message}) -> Struct {{\n\
                 \x20   let mut document = DocumentWriter::default();\n{puts}    \
                 document.finish()\n}}\n"
            ),
        );
        Ok(name)
    }

    /// The name of the function that makes a message of a document.
    pub(super) fn reader(&mut self, message: &MessageDescriptor) -> Result<String, Box<dyn Error>> {
        let name = format!("read_{}", snake(message.name()));
        if self.0.contains_key(&name) {
            return Ok(name);
        }
        self.0.insert(name.clone(), String::new());
        let mut fields = String::new();
        for field in message.fields() {
            let from_value = self.item_reader(&field)?;
            let taken = format!("document.take({:?})", field.name());
            let value = if field.is_list() {
                format!("document::items({taken}).into_iter().filter_map({from_value}).collect()")
            } else if field.supports_presence() {
                format!("{taken}.and_then({from_value})")
            } else {
                format!("{taken}.and_then({from_value}).unwrap_or_default()")
            };
            writeln!(fields, "        {}: {value},", field.name())?;
        }
        let message = message.name();
        self.0.insert(
            name.clone(),
            format!(
                "fn {name}(document: Struct) -> v1::{message} {{\n\
                 \x20   let mut document = DocumentReader::new(document);\n\
                 \x20   v1::{message} {{\n{fields}    }}\n}}\n"
            ),
        );
        Ok(name)
    }

    /// All of them.
    pub(super) fn finish(self) -> String {
        self.0.into_values().collect::<Vec<_>>().join("\n")
    }

    /// The function from one item of a field to a value.
    fn item_writer(&mut self, field: &FieldDescriptor) -> Result<String, Box<dyn Error>> {
        Ok(match field.kind() {
            Kind::String => "document::text".to_owned(),
            Kind::Bool => "document::flag".to_owned(),
            Kind::Uint32 => "|number| document::number(u64::from(number))".to_owned(),
            Kind::Uint64 => "document::number".to_owned(),
            Kind::Bytes => "document::bytes".to_owned(),
            Kind::Enum(words) => word_writer(&words, "document::text"),
            Kind::Message(message) if !is_open(&message) => {
                let writer = self.writer(&message)?;
                format!("|message| document::object({writer}(message))")
            }
            _ => return Err(unsupported(field)),
        })
    }

    /// The function from a value to one item of a field, if it is one.
    fn item_reader(&mut self, field: &FieldDescriptor) -> Result<String, Box<dyn Error>> {
        Ok(match field.kind() {
            Kind::String => "document::as_text".to_owned(),
            Kind::Enum(words) => format!(
                "|value| v1::{}::from_str_name(&document::as_text(value)?).map(i32::from)",
                words.name()
            ),
            Kind::Message(message) if !is_open(&message) => {
                let reader = self.reader(&message)?;
                format!("|value| document::as_object(value).map({reader})")
            }
            _ => return Err(unsupported(field)),
        })
    }
}

/// The function from a number of an enumeration to the name of its value, as `wrap` takes it. A
/// number without a name stays a number.
pub(super) fn word_writer(words: &EnumDescriptor, wrap: &str) -> String {
    let name = words.name();
    format!(
        "|number| {wrap}(v1::{name}::try_from(number)\
         .map_or_else(|_| number.to_string(), |word| word.as_str_name().to_owned()))"
    )
}

/// The expression for the value of a field, if it is set.
pub(super) fn set_value(field: &FieldDescriptor) -> String {
    let value = format!("message.{}", field.name());
    if field.supports_presence() {
        value
    } else {
        format!("document::unless_default({value})")
    }
}

fn unsupported(field: &FieldDescriptor) -> Box<dyn Error> {
    format!("{} has a type that no document has", field.full_name()).into()
}

/// `write_image_command` of `WriteImageCommand`.
fn snake(camel: &str) -> String {
    let mut name = String::new();
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}
