//! Shaping disks: what is on them, what may be erased, how they become bootable.
//!
//! The modules build on each other in this order: [`partition`] (tables and their devices) and
//! [`filesystem`]; [`erase`] with the guard that decides what may be erased; [`raid`]; and
//! [`boot`].

pub mod boot;
pub mod erase;
pub mod filesystem;
pub mod inject;
pub mod partition;
pub mod raid;
pub mod virtual_media;
