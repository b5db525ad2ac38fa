//! Converts between the messages of the wire and the types of the other modules, both ways.
//! No other module sees a message, and nothing here decides anything.

mod command;
mod duration;
mod failure;
mod logs;
mod record;

pub use command::{InvalidCommand, InvalidExecuteRequest, execute_request};
pub(super) use duration::duration;
pub use failure::failure_kind;
pub use logs::{InvalidFollowRequest, follow_options, log_event};
pub use record::{line, milestone, plan, progress, record, timestamp};
