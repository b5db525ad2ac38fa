//! `ironic-shim` stands between Ironic and agents. [`rest`] is what the conductor calls: the REST
//! API of ironic-python-agent, byte for byte. [`ironic`] is the client of the Ironic API. Towards
//! agents, [`relay`] serves the gRPC `ConductorService`, and [`agents`] knows the agents and how
//! to reach them.
//!
//! Beside one agent, [`rest_server`] decides when and how the REST server starts, with the
//! address that [`advertise`] finds and the certificate of [`tls`]; for many agents it is
//! [`gateway`], [`identity`] signs certificates that say which node a machine is (for join tokens of [`join_token_tool`]), [`pacing`] decides when their calls go to Ironic, and [`fleet`] shows its nodes to
//! orchestrators and operators, [`page`] to people with a browser. Several gateways share their nodes as [`peers`]. Where there is no Ironic, [`registrar`] answers in its
//! place. [`discover`] finds Ironic by multicast DNS where that is asked for. [`config`] holds the options, `descriptors` shares out what may be open, [`weight`] bounds the memory of what strangers send. [`app`]
//! wires the rooms; [`metrics`] is what they count and operators read. Which room may import which is a table in `tests/contract/house.rs`.

pub mod advertise;
pub mod agents;
pub mod app;
pub mod config;
mod descriptors;
pub mod discover;
pub mod fleet;
pub mod gateway;
pub mod identity;
pub mod ironic;
pub mod join_token_tool;
pub mod metrics;
pub mod pacing;
pub mod page;
pub mod peers;
pub mod registrar;
pub mod relay;
pub mod rest;
pub mod rest_server;
pub mod tls;
pub mod weight;
