//! From arguments to a `Command` of the protocol, what it would do, and its execution.

pub(crate) mod board;
mod command;
mod confirm;
mod delivery;
mod document;
mod execution;
mod follow;
mod interrupt;
mod order_error;

pub(crate) use command::PreparedOrder;
pub(crate) use confirm::{confirm, plan, plan_table};
pub(crate) use execution::Execution;
pub(crate) use follow::{follow, state_word};
pub(crate) use order_error::OrderError;
