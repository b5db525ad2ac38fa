//! Generates the table of the verbs: what `verb.proto` notes on the messages of
//! `command.proto`, as the rows of `verbs.rs`.
//!
//! [`notes`] reads the notes of each verb, [`rust`] writes them as Rust, [`documents`] the
//! functions between typed messages and documents. [`methods`] does the same for the methods of
//! services. A note that cannot be used ends the build with its name.

mod documents;
mod methods;
mod notes;
mod rust;

use std::error::Error;
use std::fmt::Write;

use protox::prost_reflect::DescriptorPool;

use documents::DocumentFunctions;
pub use methods::generate as generate_methods;
use notes::{PACKAGE, VerbMessage};
use protox::prost_reflect::MessageDescriptor;

/// The rows of the table, one for each name of each verb, and the function that takes a verb's
/// message apart into its row and its arguments.
pub fn generate(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let command = pool
        .get_message_by_name(&format!("{PACKAGE}.Command"))
        .ok_or("there is no message Command")?;
    let oneof = command.oneofs().next().ok_or("Command has no oneof")?;
    let (mut rows, mut arms, mut count) = (String::new(), String::new(), 0);
    let mut functions = DocumentFunctions::default();
    for verb in oneof.fields() {
        let message = VerbMessage::read(pool, &verb)?;
        writeln!(
            arms,
            "        {},",
            rust::arm(&message, count, &mut functions)?
        )?;
        let result = match typed_result(pool, &message.verb)? {
            Some(result) => Some(functions.reader(&result)?),
            None => None,
        };
        for name in &message.names {
            writeln!(
                rows,
                "    {},",
                rust::row(&message, name, result.as_deref())?
            )?;
            count += 1;
        }
    }
    let functions = functions.finish();
    Ok(format!(
        "{functions}\n/// Every command, in the order of the protocol.\n\
         pub static VERBS: [VerbDescriptor; {count}] = [\n{rows}];\n\n\
         fn decompose(verb: Verb) -> Option<(&'static VerbDescriptor, Vec<Option<Argument>>)> {{\n\
         \x20   Some(match verb {{\n{arms}    }})\n}}\n"
    ))
}

/// The message of a verb's typed result: the field of the verb's name in a record.
fn typed_result(
    pool: &DescriptorPool,
    verb: &str,
) -> Result<Option<MessageDescriptor>, Box<dyn Error>> {
    let record = pool
        .get_message_by_name(&format!("{PACKAGE}.CommandRecord"))
        .ok_or("there is no message CommandRecord")?;
    let typed = record.oneofs().find(|oneof| oneof.name() == "typed_result");
    let typed = typed.ok_or("CommandRecord has no oneof typed_result")?;
    let field = typed.fields().find(|field| field.name() == verb);
    Ok(field.and_then(|field| field.kind().as_message().cloned()))
}
