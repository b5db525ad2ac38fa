//! What tests would have run, for the suite that runs it with the real programs
//! (`tests/arguments`).
//!
//! Unit tests replace programs by scripts of what they are expected to be called with. Whether
//! a program understands these words no such test can say: `burnin_network` passed its unit
//! test for as long as it existed and failed with every real `fio`. So the scripts write down
//! each command line and the place in the source that made it, where `IRONIC_AGENT_RECORD`
//! names a file for it.

use std::io::Write as _;
use std::panic::Location;

use serde_json::json;

use super::command::Cmd;

/// The variable that names the file.
const VARIABLE: &str = "IRONIC_AGENT_RECORD";

/// A place in the source. All are equal: where a command comes from does not make it another.
#[derive(Debug, Clone, Copy)]
pub struct CommandOrigin(&'static Location<'static>);

impl CommandOrigin {
    /// The caller.
    #[track_caller]
    #[must_use]
    pub fn here() -> Self {
        Self(Location::caller())
    }
}

impl PartialEq for CommandOrigin {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for CommandOrigin {}

/// Adds a command to the file, as one line of JSON.
///
/// # Panics
/// The file cannot be written: a recording with gaps proves nothing.
#[allow(
    clippy::panic,
    clippy::expect_used,
    reason = "a fake fails its test loudly"
)]
pub fn record(cmd: &Cmd) {
    let Some(path) = std::env::var_os(VARIABLE) else {
        return;
    };
    let origin = cmd.origin.0;
    let line = json!({
        "program": cmd.program, "args": cmd.args, "accepted": cmd.accepted,
        "has_input": !cmd.stdin.is_empty(), "directory": cmd.directory,
        "file": origin.file(), "line": origin.line(),
    });
    // One write for each line: tests run in parallel.
    std::fs::File::options()
        .append(true)
        .create(true)
        .open(path)
        .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
        .expect("the file of IRONIC_AGENT_RECORD can be written");
}
