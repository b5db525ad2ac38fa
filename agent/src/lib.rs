//! `ironic-agent` runs on the machine that is being provisioned, and serves the gRPC `CommandService`.
//!
//! In the order in which a deployment passes through them:
//!
//! | module | what it does |
//! |---|---|
//! | [`app`] | starts, connects and stops the others; `main` calls it |
//! | [`config`] | the options, and what a lookup changes of them |
//! | [`network`] | the network of the ramdisk: what every interface gets |
//! | [`machine`] | what this machine is: block devices, firmware, cards; reads only |
//! | [`inspect`] | the inspection report |
//! | [`conductor`] | lookup, heartbeat, inspection report, attachment: what the agent says unasked |
//! | [`rpc`] | the gRPC server and client: conversions between messages and commands |
//! | [`commands`] | the engine that executes commands, and the verbs, one file each |
//! | [`steps`] | clean, deploy and service steps: which there are, and their execution |
//! | [`hardware`] | hardware managers: which one offers a step or does what a verb asks |
//! | [`image`] | images: download, verification, decoding, writing |
//! | [`disk`] | disks: partitions, file systems, erasure, RAID, boot loaders |
//! | [`logs`] | the archive of the machine's logs, and the agent's own, record by record |
//! | [`system`] | programs, block devices, downloads, power: what touches the machine |
//! | [`failure`], [`shutdown`], [`task`] | plain data that every module may use |
//!
//! Which module may import which is a table in `tests/contract/layering.rs`, held by a test.

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
