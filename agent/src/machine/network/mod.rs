//! The machine's network interfaces, their names on the case, and what switches say of them.

pub mod interface;
pub mod lldp;
pub mod lldp_listener;
mod port_name;
