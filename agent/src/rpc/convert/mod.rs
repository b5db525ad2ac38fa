//! The door between the wire and the house: generated messages in, domain types out, and
//! back. Nothing behind the door sees a message; nothing before it decides anything.

mod command;
mod document;
mod record;

pub use command::{InvalidCommand, InvalidExecuteRequest, execute_request};
pub use document::{InvalidDocument, object, to_struct, to_value, value};
pub use record::{line, milestone, plan, progress, record, timestamp};
