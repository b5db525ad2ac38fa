//! The logs of the machine and of the agent, as an archive.

pub mod archive;
