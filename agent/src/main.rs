//! The `ironic-agent` program: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    ironic_agent::app::main()
}
