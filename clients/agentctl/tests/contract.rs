//! The shape of the executable itself, and how fast it starts.
//!
//! The target has the name of the contract tests of the workspace, which run the program: cargo
//! builds a program for the integration tests of its own package only.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../tests/executable/mod.rs"]
mod executable;

#[test]
fn the_program_is_static_and_position_independent() {
    executable::check(env!("CARGO_BIN_EXE_agentctl"));
}
