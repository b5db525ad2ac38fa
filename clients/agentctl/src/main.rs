//! The `agentctl` program: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    ironic_agentctl::main()
}
