//! Text that people read in terminals and logs.
//!
//! [`printable`] escapes what a terminal obeys, [`Secret`] keeps tokens and passwords out of
//! logs, and [`error_chain`] prints an error with its causes.

mod error_chain;
mod printable;
mod secret;

pub use error_chain::{error_chain, with_causes};
pub use printable::{printable, printable_lines};
pub use secret::{Secret, constant_time_eq};
