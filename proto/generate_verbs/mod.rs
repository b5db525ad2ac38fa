//! Generates the table of the verbs: what `verb.proto` notes on the messages of
//! `command.proto`, as the rows of `verbs.rs`.
//!
//! [`notes`] reads the notes of each verb, [`rust`] writes them as Rust. A note that cannot be
//! used ends the build with its name.

mod notes;
mod rust;

use std::error::Error;
use std::fmt::Write;

use protox::prost_reflect::DescriptorPool;

use notes::{PACKAGE, VerbMessage};

/// The rows of the table, one for each name of each verb, and the function that takes a verb's
/// message apart into its row and its arguments.
pub fn generate(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let command = pool
        .get_message_by_name(&format!("{PACKAGE}.Command"))
        .ok_or("there is no message Command")?;
    let oneof = command.oneofs().next().ok_or("Command has no oneof")?;
    let (mut rows, mut arms, mut count) = (String::new(), String::new(), 0);
    for verb in oneof.fields() {
        let message = VerbMessage::read(pool, &verb)?;
        writeln!(arms, "        {},", rust::arm(&message, count))?;
        for name in &message.names {
            writeln!(rows, "    {},", rust::row(&message, name)?)?;
            count += 1;
        }
    }
    Ok(format!(
        "/// Every command, in the order of the protocol.\n\
         pub static VERBS: [VerbDescriptor; {count}] = [\n{rows}];\n\n\
         fn decompose(verb: Verb) -> Option<(&'static VerbDescriptor, Vec<Option<Argument>>)> {{\n\
         \x20   Some(match verb {{\n{arms}    }})\n}}\n"
    ))
}
