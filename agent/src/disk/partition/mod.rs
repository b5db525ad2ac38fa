//! Partitions: the tables that name them, a deployment's plan of them, and their devices.

pub mod device;
pub mod layout;
pub mod table;
