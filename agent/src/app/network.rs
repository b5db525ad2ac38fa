//! `ironic-agent network`: brings up the network of the ramdisk, and keeps it up. The init runs it
//! beside the agent.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use ironic_text::{error_chain, printable};

use crate::network::BringUp;
use crate::system::System;

/// The word that chooses this tool.
pub(super) const NAME: &str = "network";

/// Brings up the network as network_data.json on virtual media and the kernel command line say,
/// writes what came of it to standard output, and does not end. /run/network/ready is there once
/// the agent can be started.
#[derive(Debug, Parser)]
#[command(name = NAME, bin_name = "ironic-agent network", max_term_width = 100)]
struct NetworkArguments {
    /// Treat these interfaces as the machine's cards, instead of all that lead to a device;
    /// repeated
    #[arg(long = "card", value_name = "NAME")]
    cards: Vec<String>,
}

/// The tool as clap knows it: its manual page and its shell completions are made of it.
#[must_use]
pub fn clap_command() -> clap::Command {
    NetworkArguments::command()
}

/// Runs the tool. `arguments` begin with the name of the program and [`NAME`].
pub(super) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = match NetworkArguments::try_parse_from(arguments.skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            // A closed pipe is nobody's fault.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let bring_up = BringUp::new(System::linux(), arguments.cards);
    let ended = super::runtime().map(|runtime| runtime.block_on(bring_up.run()));
    let error = match ended {
        Ok(Ok(never)) => match never {},
        Ok(Err(error)) => error_chain(&error),
        Err(error) => format!("{error:#}"),
    };
    eprintln!(
        "ironic-agent {NAME}: {}",
        printable(&error.replace('\n', " "))
    );
    ExitCode::FAILURE
}
