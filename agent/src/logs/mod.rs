//! The machine's logs: the archive of all of them, and the agent's and the kernel's record by
//! record.

pub mod archive;
pub mod follow;
mod secrets;
