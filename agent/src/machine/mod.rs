//! What this machine is. Read only: every file is types, `parse(&str)` and a thin `probe`.

pub mod block;
pub mod node;
