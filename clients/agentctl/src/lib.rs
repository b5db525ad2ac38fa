//! `agentctl`: the nodes of a gateway, or one agent, from the command line.
//!
//! | module | what it does |
//! |---|---|
//! | [`arguments`] | the command line |
//! | `contexts` | the configuration file: which gateway, and with which certificate |
//! | `connection` | connects, and says which node a call is for |
//! | `targets` | from names and labels to nodes; several at once |
//! | `orders` | from arguments to a `Command` of the protocol, and its execution |
//! | `commands` | one file for each command |
//! | `output` | tables, JSON and YAML |
//! | `terminal` | width, colours, lines that are drawn again, questions |
//! | [`exit_kind`], `error` | what an exit code means, and why a command failed |

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use ironic_text::{error_chain, printable};
use tokio::runtime::Builder;

pub mod arguments;
mod commands;
mod connection;
mod contexts;
mod error;
pub mod exit_kind;
mod orders;
mod output;
mod targets;
mod terminal;

use arguments::AgentctlArguments;
use error::ControlError;
use exit_kind::ExitKind;

/// The JSON schema of what each command prints with `-o json`, for the documentation.
///
/// # Errors
/// The description of the protocol cannot be read.
pub fn output_schema() -> Result<serde_json::Value, Box<dyn std::error::Error + Send + Sync>> {
    Ok(output::schema::output_schema()?)
}

/// Runs the program.
pub fn main() -> ExitCode {
    run(std::env::args_os()).exit_code()
}

fn run(arguments: impl Iterator<Item = OsString>) -> ExitKind {
    let line = match AgentctlArguments::try_parse_from(arguments) {
        Ok(line) => line,
        Err(error) => {
            // A closed pipe is nobody's fault.
            let _ = error.print();
            return if error.use_stderr() {
                ExitKind::Usage
            } else {
                ExitKind::Done
            };
        }
    };
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&ControlError::Runtime(error)),
    };
    let ended = runtime.block_on(commands::run(line));
    // A question that nobody answers waits on a thread of its own.
    runtime.shutdown_background();
    match ended {
        Ok(kind) => kind,
        Err(error) => report(&error),
    }
}

/// Says why a command failed, and what to do next.
fn report(error: &ControlError) -> ExitKind {
    let kind = error.kind();
    if kind != ExitKind::OutputClosed {
        eprintln!("agentctl: {}", printable(&error_chain(error)));
        if let Some(advice) = error.advice() {
            eprintln!("  {}", printable(&advice));
        }
    }
    kind
}
