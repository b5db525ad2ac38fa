//! The `ironic-shim` program: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    ironic_shim::app::main()
}
