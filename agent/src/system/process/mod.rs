//! Running programs: by argument vector, never a shell, always with a timeout.

mod command;
mod programs;
#[cfg(any(test, feature = "fake"))]
pub mod recording;
#[cfg(any(test, feature = "fake"))]
mod script;
#[cfg(test)]
mod tests;

pub use command::{Cmd, Output, Run, RunError};
pub use programs::{OwnedPrograms, Programs};
#[cfg(any(test, feature = "fake"))]
pub use script::Script;
