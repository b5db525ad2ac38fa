//! Why a command failed, in the classes that Ironic knows, and the one table that turns the
//! errors of the modules below into them.

mod steps;
mod table;

pub use crate::failure::{Failure, FailureKind};
#[cfg(test)]
pub(crate) use steps::StepFailure;
