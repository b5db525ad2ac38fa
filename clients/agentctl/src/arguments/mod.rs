//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use ironic_transport::Endpoint;

use crate::exit_kind::ExitKind;

mod disk;
mod orders;
mod selector;

pub(crate) use orders::{
    BootModeArgument, EraseArguments, EraseKind, ExecutionArguments, ImageFormatArgument,
    OnInterrupt, OrderArguments, PowerArguments, PowerChange, RaidArguments, RunArguments,
    StepPhaseArgument, WriteArguments,
};
pub(crate) use selector::LabelSelector;

/// The nodes of a gateway, or one agent: lists and watches them, erases disks, writes images.
#[derive(Debug, Parser)]
#[command(name = "agentctl", version = ironic_program::version(), max_term_width = 100)]
#[command(after_long_help = exit_codes())]
pub struct AgentctlArguments {
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
    /// How results are printed
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "table"
    )]
    pub(crate) output: OutputFormat,
    #[command(subcommand)]
    pub(crate) command: ControlCommand,
}

/// The command line for its man pages and shell completions.
#[must_use]
pub fn clap_command() -> clap::Command {
    AgentctlArguments::command()
}

/// The table of exit codes.
fn exit_codes() -> String {
    let mut text = "Exit codes:\n".to_owned();
    for kind in ExitKind::ALL {
        text.push_str(&format!("  {:>3}  {}\n", kind.code(), kind.meaning()));
    }
    text
}

/// Where the nodes are, and how many are called at once.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArguments {
    /// The configuration file; ~/.config/agentctl/config.yaml when not given
    #[arg(long, global = true, value_name = "FILE", env = "AGENTCTL_CONFIG")]
    #[arg(hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// The context of the configuration file; its current one when not given
    #[arg(long, global = true, value_name = "NAME", env = "AGENTCTL_CONTEXT")]
    #[arg(hide_env_values = true)]
    pub(crate) context: Option<String>,
    /// Call this one agent, without a gateway: http://HOST:PORT, https://HOST:PORT or unix:/PATH
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) agent: Option<Endpoint>,
    /// The file that holds the agent token, with --agent
    #[arg(long, global = true, value_name = "FILE", requires = "agent")]
    pub(crate) agent_token_file: Option<PathBuf>,
    /// PEM certificates that the server's must chain to; those of the context when not given
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// PEM certificate of the caller; that of the context when not given
    #[arg(long, global = true, value_name = "FILE", requires = "key_file")]
    pub(crate) certificate_file: Option<PathBuf>,
    /// PEM key of the certificate
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        requires = "certificate_file"
    )]
    pub(crate) key_file: Option<PathBuf>,
    /// How long an answer may take; an order is asked about again, and commands may run for longer
    #[arg(long, global = true, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// How many nodes are worked on at once
    #[arg(long, global = true, value_name = "N", default_value_t = 16)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) parallel: u16,
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse::<f64>().ok();
    let seconds = seconds.filter(|seconds| *seconds > 0.0 && *seconds <= 864_000.0);
    let seconds = seconds.ok_or("expected a number of seconds, more than 0 and at most 864000")?;
    Ok(Duration::from_secs_f64(seconds))
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For a person
    Table,
    /// One JSON document; one for each line where results come one by one
    Json,
    /// The same as YAML
    Yaml,
    /// Names or identifiers, one each line
    Name,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum ControlCommand {
    /// Lists the nodes
    Nodes(NodesArguments),
    /// Shows nodes in full, with their commands
    Get {
        #[command(flatten)]
        targets: NodeTargets,
    },
    /// Shows the hardware of nodes, read now by their agents
    Inventory {
        #[command(flatten)]
        targets: NodeTargets,
        /// The last inspection report that the gateway has taken, also of a node that is away
        #[arg(long)]
        last: bool,
    },
    /// Lists the steps that nodes offer
    Steps {
        #[command(flatten)]
        targets: NodeTargets,
        /// Of which step machine
        #[arg(long, default_value = "clean")]
        phase: StepPhaseArgument,
    },
    /// Shows what a command would do and which data would be lost; changes nothing
    Plan {
        #[command(subcommand)]
        order: OrderArguments,
    },
    /// Erases the disks of nodes
    Erase {
        #[command(flatten)]
        order: EraseArguments,
        #[command(flatten)]
        execution: ExecutionArguments,
    },
    /// Writes an image to the root disk of nodes
    Write {
        #[command(flatten)]
        order: Box<WriteArguments>,
        #[command(flatten)]
        execution: ExecutionArguments,
    },
    /// Makes or removes software RAID
    Raid {
        #[command(flatten)]
        order: RaidArguments,
        #[command(flatten)]
        execution: ExecutionArguments,
    },
    /// Runs a step, or any command of the protocol
    Run {
        #[command(flatten)]
        order: RunArguments,
        #[command(flatten)]
        execution: ExecutionArguments,
    },
    /// Follows nodes live: a line with a bar for each
    Watch(WatchArguments),
    /// Prints what changes about nodes, one line each
    Events(EventsArguments),
    /// Prints the logs of nodes, or fetches them as archives
    Logs(LogsArguments),
    /// Cancels the command that runs
    Cancel(CancelArguments),
    /// Powers nodes off, or boots them into the deployed system
    Power {
        #[command(flatten)]
        order: PowerArguments,
        #[command(flatten)]
        execution: ExecutionArguments,
    },
    /// Makes, lists and revokes join tokens, which prove to a gateway which node a machine is
    Token {
        #[command(subcommand)]
        action: TokenAction,
    },
    /// Writes a context: a gateway, its CA, and the caller's certificate and key
    Login(LoginArguments),
    /// Lists, chooses and removes contexts
    Contexts {
        #[command(subcommand)]
        action: Option<ContextAction>,
    },
    /// Prints the completion script of a shell
    Completion {
        /// The shell
        shell: Shell,
    },
}

/// Which nodes are meant.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct NodeTargets {
    /// Names or UUIDs
    #[arg(value_name = "NODE")]
    pub(crate) nodes: Vec<String>,
    /// All nodes that have these labels
    #[arg(
        short = 'l',
        long,
        value_name = "KEY=VALUE,...",
        conflicts_with = "nodes"
    )]
    pub(crate) selector: Option<LabelSelector>,
    /// All nodes
    #[arg(long, conflicts_with_all = ["nodes", "selector"])]
    pub(crate) all: bool,
}

/// Arguments of `nodes`.
#[derive(Debug, Args)]
pub(crate) struct NodesArguments {
    /// Only those that have these labels
    #[arg(short = 'l', long, value_name = "KEY=VALUE,...")]
    pub(crate) selector: Option<LabelSelector>,
    /// Only those in this state; may be repeated
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Vec<NodeStateArgument>,
}

/// A state of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NodeStateArgument {
    /// The agent can be called
    Attached,
    /// The agent cannot be called
    Away,
    /// The machine was handed over or locked down
    Closed,
    /// Another gateway holds the agent, and passes calls on
    Elsewhere,
}

/// Arguments of `watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArguments {
    #[command(flatten)]
    pub(crate) targets: NodeTargets,
    /// End when no command runs any more; the exit code says how the commands ended
    #[arg(long)]
    pub(crate) until_idle: bool,
}

/// Arguments of `events`.
#[derive(Debug, Args)]
pub(crate) struct EventsArguments {
    #[command(flatten)]
    pub(crate) targets: NodeTargets,
    /// Go on after the event that had this resume_token in -o json
    #[arg(long, value_name = "TOKEN")]
    pub(crate) resume: Option<String>,
    /// End after this many events
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
}

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArguments {
    #[command(flatten)]
    pub(crate) targets: NodeTargets,
    /// Go on with new records
    #[arg(short, long, conflicts_with = "archive")]
    pub(crate) follow: bool,
    /// Begin with the last so many records; with the oldest that is kept when not given
    #[arg(long, value_name = "N", conflicts_with_all = ["archive", "cursor"])]
    pub(crate) tail: Option<u32>,
    /// Only this log; may be repeated
    #[arg(long, value_name = "LOG", conflicts_with = "archive")]
    pub(crate) source: Vec<LogSourceArgument>,
    /// Go on after the record that had this cursor in -o json
    #[arg(long, value_name = "CURSOR", conflicts_with = "archive")]
    pub(crate) cursor: Option<String>,
    /// Write the archive of all logs, a gzip of a tar, to DIR/NODE.tar.gz
    #[arg(long, value_name = "DIR")]
    pub(crate) archive: Option<PathBuf>,
}

/// A log of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogSourceArgument {
    /// The agent's own
    Agent,
    /// The kernel's
    Kernel,
}

/// Arguments of `cancel`.
#[derive(Debug, Args)]
pub(crate) struct CancelArguments {
    #[command(flatten)]
    pub(crate) targets: NodeTargets,
    /// The command; the one that runs when not given
    #[arg(long, value_name = "UUID")]
    pub(crate) id: Option<String>,
    /// Why, for the record of the command
    #[arg(long, default_value = "cancelled by agentctl")]
    pub(crate) reason: String,
}

/// What to do with join tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenAction {
    /// Makes a token and prints it, once
    Create(TokenArguments),
    /// Lists the tokens, without their secrets
    List,
    /// Ends a token
    Revoke {
        /// What the token begins with
        id: String,
    },
}

/// Arguments of `token create`.
#[derive(Debug, Args)]
pub(crate) struct TokenArguments {
    /// The only node that it is for
    #[arg(long, value_name = "UUID")]
    pub(crate) node: Option<String>,
    /// Labels that the node must have
    #[arg(short = 'l', long, value_name = "KEY=VALUE,...")]
    pub(crate) selector: Option<LabelSelector>,
    /// How often it may be used
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) uses: u32,
    /// How long it may be used; an hour when not given
    #[arg(long, value_name = "SECONDS")]
    pub(crate) lifetime: Option<u32>,
}

/// Arguments of `login`.
#[derive(Debug, Args)]
pub(crate) struct LoginArguments {
    /// The name of the context, which becomes the current one
    pub(crate) name: String,
    /// The gateway's fleet_listen: https://HOST:PORT, http://HOST:PORT or unix:/PATH
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) gateway: Endpoint,
    /// Write the context without calling the gateway
    #[arg(long)]
    pub(crate) offline: bool,
}

/// What to do with contexts.
#[derive(Debug, Subcommand)]
pub(crate) enum ContextAction {
    /// Lists the contexts; the current one has a star
    List,
    /// Makes a context the current one
    Use {
        /// Its name
        name: String,
    },
    /// Removes a context from the file
    Remove {
        /// Its name
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        clap_command().debug_assert();
    }

    #[test]
    fn times_are_bounded() {
        assert_eq!(seconds("0.5").unwrap(), Duration::from_millis(500));
        for text in ["0", "-1", "1e9", "x", "NaN", "inf"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
