//! Who may do what: a file with rules, each of which gives somebody a role, for all nodes or for
//! those with certain labels.
//!
//! [`principal`] is who a caller is, by its certificate; [`rules`] are pure; [`file`] reads them,
//! and again when the file changes.

pub(super) mod file;
pub(super) mod principal;
pub(super) mod rules;
