//! The machine's processors and what is near which of them.

pub mod cpu;
pub mod numa;
