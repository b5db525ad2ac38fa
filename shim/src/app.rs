//! How the shim is wired, started and stopped: the only place that knows every room.

use std::process::ExitCode;

/// Runs the program: configuration, log, runtime, doors.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
