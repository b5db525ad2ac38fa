//! Text that people read in terminals and logs.
//!
//! [`printable`] escapes what a terminal obeys, [`Secret`] keeps tokens and passwords out of
//! logs, and [`error_chain`] prints an error with its causes. [`is_host`] says what can
//! be the name or address of a machine.

mod error_chain;
mod host;
mod printable;
mod secret;

pub use error_chain::{error_chain, with_causes};
pub use host::is_host;
pub use printable::{printable, printable_lines};
pub use secret::{Secret, constant_time_eq};
