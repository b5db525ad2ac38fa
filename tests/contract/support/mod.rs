//! What the contract tests stand on: a fake Ironic, a running shim, recorded traffic; and on
//! the other side a client that writes raw bytes, REST servers, agents to talk to, images, golden files.

pub mod agents;
pub mod front;
pub mod gateway;
pub mod golden;
pub mod http;
pub mod images;
pub(crate) mod ironic;
pub(crate) mod replicas;
pub(crate) mod shim;
pub(crate) mod tls;
pub(crate) mod watched_agent;
