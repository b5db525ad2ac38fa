//! The shape of the executable itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../tests/executable/mod.rs"]
mod executable;

#[test]
fn the_program_is_static_and_position_independent() {
    executable::check(env!("CARGO_BIN_EXE_ironic-shim"));
}
