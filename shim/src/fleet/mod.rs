//! The nodes of a gateway, for orchestrators and operators who come by gRPC.
//!
//! [`Fleet`] is what the gateway knows of its nodes: every room that learns something notes it
//! there. [`CommandFollower`] follows the commands that run. [`FleetServer`] listens at option
//! `fleet_listen`: [`FleetApi`] lists and watches the nodes, [`NodeProxy`] passes the calls of a
//! node's `CommandService` to its agent. [`FleetAccess`] decides who may.

mod access;
mod call_timeout;
mod clock;
mod error;
mod executed;
mod follower;
mod handle;
mod history;
mod inspections;
mod node_command;
mod node_log;
mod node_table;
mod proxy;
mod server;
mod service;
mod viewer;
mod watch;

pub use access::{FleetAccess, FleetCaller, FleetRequest};
pub use clock::now;
pub use error::FleetError;
pub use follower::CommandFollower;
pub use handle::{AttachmentNumber, Fleet};
pub use history::HistoryEntry;
pub use inspections::{InspectionError, Inspections};
pub use node_log::Labels;
pub use proxy::NodeProxy;
pub use server::{FLEET_TLS, FleetServer, FleetServerError};
pub use service::FleetApi;
pub use viewer::{FleetViewer, ViewError};
pub use watch::{NodeWatch, WatchMessage};
