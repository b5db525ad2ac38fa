//! The policy: a file with rules, each of which gives a caller a role, for all nodes or for
//! those with certain labels.
//!
//! [`principal`] identifies a caller by its certificate; [`rules`] are pure; [`file`] reads them,
//! and again when the file changes.

pub(super) mod file;
pub(super) mod principal;
pub(super) mod rules;
