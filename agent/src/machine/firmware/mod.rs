//! The machine's firmware: its tables, how it started the machine, its management controller.

pub mod bmc;
pub mod boot;
pub mod dmi;
