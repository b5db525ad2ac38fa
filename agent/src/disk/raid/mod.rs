//! Software RAID by `mdadm`: planned, made and removed.

mod creation;
mod deletion;
mod error;
mod facts;
pub mod plan;
mod superblocks;

pub use creation::{Creation, create, plan_creation, validate};
pub use deletion::{Deletion, delete, plan_deletion};
pub use error::{ArrayAction, PartitionCause, RaidError};

#[cfg(test)]
mod tests;
