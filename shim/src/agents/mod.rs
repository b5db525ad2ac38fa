//! The agents that this shim knows, and how to reach them.
//!
//! [`registry`] is the pure table of them, [`Roster`] the handle to it that the other rooms
//! share. [`Client`] calls one agent's gRPC `CommandService`; [`connect`] opens its
//! connection, [`error`] reads what it refused, [`record`] what it answered.

pub mod client;
pub mod connect;
pub mod error;
pub mod record;
pub mod registry;
pub mod roster;
pub mod status;

pub use client::Client;
pub use connect::InvalidEndpoint;
pub use error::CallError;
pub use record::{Failure, Record, State};
pub use registry::{Generation, Place};
pub use roster::{Agent, Registration, Roster};
pub use status::Status;
