//! The nodes of a gateway, for orchestrators and operators who come by gRPC.
//!
//! [`Fleet`] is what the gateway knows of its nodes: every module that learns something notes it
//! there. [`CommandFollower`] follows the commands that run. [`FleetServer`] listens at option
//! `fleet_listen`: [`FleetApi`] lists and watches the nodes, [`NodeProxy`] passes the calls of a
//! node's `CommandService` to its agent, and [`JoinTokenApi`] manages join tokens. [`FleetAccess`]
//! decides who may, by a [`policy`] where there is one. [`FleetParts`] puts all of it together.

mod access;
mod call_timeout;
mod clock;
mod elsewhere;
mod error;
mod executed;
mod follower;
mod frame;
mod handle;
mod history;
mod inspections;
mod join_tokens;
mod node_command;
mod node_log;
mod node_table;
mod policy;
mod proxy;
mod server;
mod service;
mod start;
mod tls;
mod viewer;
mod watch;

pub use access::{FleetAccess, FleetCaller, FleetRequest, OrderedVerb, RequestTarget};
pub use clock::now;
pub use error::FleetError;
pub use follower::CommandFollower;
pub use handle::{AttachmentNumber, Fleet};
pub use history::HistoryEntry;
pub use inspections::{InspectionError, Inspections};
pub use join_tokens::JoinTokenApi;
pub use node_log::Labels;
pub use policy::file::PolicyFileError;
pub use policy::principal::Principal;
pub use policy::rules::InvalidPolicy;
pub use proxy::{AttachedAgents, NodeProxy};
pub use server::access;
pub use server::{FleetServer, FleetServerError, FleetServices};
pub use service::{DrainRequests, FleetApi};
pub use start::{FleetParts, OpenFleet, serve_gateways};
pub use tls::{FleetTls, demands_certificates};
pub use viewer::{FleetViewer, ViewError};
pub use watch::{NodeWatch, WatchMessage};
