//! The door between the wire and the house: generated messages in, domain types out, and
//! back. Nothing behind the door sees a message; nothing before it decides anything.

mod command;
mod record;

pub use command::{InvalidCommand, InvalidExecuteRequest, execute_request};
pub use record::{line, milestone, plan, progress, record, timestamp};
