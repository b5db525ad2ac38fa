//! The agents that this shim knows, and how to reach them.
//!
//! [`registry`] is the pure table of them, [`AgentRegistry`] the handle to it that the other modules
//! share, [`proofs`] the tokens that are known to be their nodes'. [`Client`] calls one agent's
//! gRPC `CommandService`, over the [`channel`] to where it listens ([`connect`]) or over the
//! connection that it has opened ([`attachment`]), on which [`handover`] notices an agent that takes
//! nothing; [`error`] reads what it refused, [`record`] what it answered. [`node_key`] keys the
//! tables that remember nodes. [`waiters`] are the callers that wait for something to happen to a
//! node.

pub mod agent_registry;
pub mod attachment;
mod channel;
pub mod client;
pub mod connect;
pub mod error;
mod handover;
pub mod logical_time;
pub mod node_key;
pub mod proofs;
pub mod record;
pub mod registry;
pub mod status;
pub mod waiters;

pub use agent_registry::{Agent, AgentRegistry, Registration};
pub use attachment::{AttachmentId, AttachmentSignals, AttachmentSlot, Superseded};
pub use client::{AgentOrder, Client};
pub use error::CallError;
pub use handover::OrderMemory;
pub use logical_time::LogicalTime;
pub use node_key::NodeKey;
pub use proofs::{ProofLine, Proofs, TokenDigest};
pub use record::{CommandError, CommandResult, ExecutedCommand, State};
pub use registry::{AgentKey, Generation};
pub use status::Status;
pub use waiters::NodeWaiters;
