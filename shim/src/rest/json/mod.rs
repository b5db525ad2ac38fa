//! JSON as Python reads and writes it: the conductor's logs quote the errors, and clients
//! compare the bytes.

pub mod read;
pub mod write;
