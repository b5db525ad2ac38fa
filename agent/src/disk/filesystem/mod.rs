//! File systems: which one is there, reading and making those that need no kernel, mounting.

pub mod copy_tree;
pub mod fat;
pub mod identity;
pub mod image_in_memory;
pub mod mount;
pub mod swap;
