//! The one table from the errors of the rooms to the classes that Ironic sees. One section per
//! room; every match is exhaustive, so a new error must say what Ironic sees of it.

use crate::failure::Failure;
use crate::task::Cancelled;

impl From<Cancelled> for Failure {
    fn from(cancelled: Cancelled) -> Self {
        Self::execution(cancelled.to_string())
    }
}
