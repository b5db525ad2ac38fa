//! `ironic-agent` runs on the machine that is being provisioned. It reads like its day: it
//! reads its configuration ([`config`]), what it is ([`machine`]), finds its conductor
//! ([`conductor`]), hears a command ([`rpc`] → [`commands`]), asks who on this hardware
//! should act ([`steps`], [`hardware`]), acts on disks ([`image`], [`disk`]), and touches
//! the world only through [`system`]. [`app`] wires the rooms; nothing else knows them all.
//!
//! Which room may import which is a table in `tests/contract/house.rs`, checked by a test.

pub mod app;
pub mod commands;
pub mod conductor;
pub mod config;
pub mod disk;
pub mod failure;
pub mod hardware;
pub mod image;
pub mod inspect;
pub mod logs;
pub mod machine;
pub mod network;
pub mod rpc;
pub mod shutdown;
pub mod steps;
pub mod system;
pub mod task;
