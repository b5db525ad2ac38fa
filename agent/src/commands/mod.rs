//! The commands. What a verb is called and what it takes is a row of the protocol's table
//! ([`descriptor`]); what it does is its file in [`verbs`]; nothing else lists verbs.
//!
//! A [`CommandRequest`] comes in from `rpc`; the [`Engine`] admits it by the rules of [`queue`],
//! runs the verb as a task ([`runner`]), keeps the [`CommandRecord`] ([`store`]) and answers the
//! callers that wait.

pub mod arguments;
pub mod context;
pub mod descriptor;
mod disk_selector;
pub mod document_fields;
pub mod engine;
mod erase_order;
pub mod failure;
pub mod fingerprint;
mod image_order;
pub mod misuse;
mod ordered_step;
pub mod plan;
pub mod power;
pub mod queue;
pub mod record;
pub mod request;
mod root_device;
pub mod runner;
mod step_context;
pub mod store;
pub mod verbs;

#[cfg(test)]
pub(crate) mod testing;

pub use context::{CommandContext, NodeMemory, NodeSource};
pub use engine::{Engine, EngineStatus, EngineTask, Watching};
pub use plan::{CommandPlan, PlannedAction};
pub use queue::Refusal;
pub use record::{
    CommandId, CommandOutcome, CommandRecord, CommandState, Milestone, MilestoneKind,
};
pub use request::CommandRequest;
pub use runner::{OwnVerbs, Perform};
pub use verbs::{Command, VerbCall, VerbFuture};
