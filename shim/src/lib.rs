//! `ironic-shim` stands between Ironic and agents, beside one agent or as a gateway for many.
//!
//! | module | what it does |
//! |---|---|
//! | [`app`] | starts, connects and stops the others; `main` calls it |
//! | [`config`] | the options |
//! | [`rest`] | the REST API of ironic-python-agent, byte for byte: what the conductor calls |
//! | [`relay`] | the gRPC `ConductorService`: what agents call |
//! | [`agents`] | the agents that are known, whose tokens are proved, and how each is reached |
//! | [`ironic`] | the client of the Ironic API: lookup, heartbeat, inspection |
//! | [`discover`] | finds Ironic by multicast DNS, where that is asked for |
//!
//! Beside an agent:
//!
//! | module | what it does |
//! |---|---|
//! | [`rest_server`] | when and how the REST server starts |
//! | [`advertise`] | the address that Ironic is given |
//! | [`tls`] | the REST server's certificate |
//!
//! As a gateway:
//!
//! | module | what it does |
//! |---|---|
//! | [`gateway`] | one REST server for many agents, its certificate, and how it drains |
//! | [`pacing`] | when calls of agents go on to Ironic |
//! | [`peers`] | several gateways that share their nodes |
//! | [`identity`], [`join_token_tool`] | certificates that say which node a machine is, and tokens for them |
//! | [`registrar`] | answers agents where there is no Ironic |
//! | [`fleet`] | the nodes, for orchestrators and operators, by gRPC |
//! | [`page`] | the nodes, for people with a browser |
//! | [`metrics`] | what is counted, for operators' monitoring |
//! | `descriptors`, [`weight`] | how open descriptors are shared out; the memory that a document will take |
//!
//! Which module may import which is a table in `tests/contract/layering.rs`, held by a test.

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
