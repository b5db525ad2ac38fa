//! `ironic-shim` is a corridor with two doors. [`rest`] is the conductor's: the REST API of
//! ironic-python-agent, byte for byte. [`ironic`] is the client of the Ironic API. Behind
//! them, [`relay`] serves the agent's gRPC `ConductorService` and [`agents`] knows the
//! agents and how to reach them. [`app`] wires the rooms.

pub mod agents;
pub mod app;
pub mod ironic;
pub mod relay;
pub mod rest;
