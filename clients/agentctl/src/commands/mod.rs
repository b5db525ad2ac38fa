//! The commands of the program, one file each.

use std::fs;
use std::time::Duration;

use clap::CommandFactory as _;
use ironic_text::Secret;
use ironic_transport::grpc::{InvalidEndpoint, TlsFiles};

use crate::arguments::{AgentctlArguments, ConnectionArguments, ControlCommand, OrderArguments};
use crate::connection::{ConnectError, ControlChannel};
use crate::contexts::{ContextError, ContextFile, config_path};
use crate::error::ControlError;
use crate::exit_kind::ExitKind;
use crate::output::Printer;
use crate::terminal::Screen;

mod cancel;
mod context;
mod events;
mod fleet_stream;
mod get;
mod inventory;
mod logs;
mod nodes;
mod order;
mod running;
mod steps;
mod token;
mod watch;

/// What every command works with.
struct Invocation {
    connection: ConnectionArguments,
    printer: Printer,
}

/// Does what the command line says.
pub(crate) async fn run(line: AgentctlArguments) -> Result<ExitKind, ControlError> {
    let invocation = Invocation {
        connection: line.connection,
        printer: Printer {
            format: line.output,
            screen: Screen::new(),
        },
    };
    let (order, execution) = match line.command {
        ControlCommand::Nodes(arguments) => return nodes::run(&invocation, &arguments).await,
        ControlCommand::Get { targets } => return get::run(&invocation, &targets).await,
        ControlCommand::Inventory { targets, last } => {
            return inventory::run(&invocation, &targets, last).await;
        }
        ControlCommand::Steps { targets, phase } => {
            return steps::run(&invocation, &targets, phase).await;
        }
        ControlCommand::Plan { order } => return order::plan(&invocation, &order).await,
        ControlCommand::Watch(arguments) => return watch::run(&invocation, &arguments).await,
        ControlCommand::Events(arguments) => return events::run(&invocation, &arguments).await,
        ControlCommand::Logs(arguments) => return logs::run(&invocation, &arguments).await,
        ControlCommand::Cancel(arguments) => return cancel::run(&invocation, &arguments).await,
        ControlCommand::Token { action } => return token::run(&invocation, action).await,
        ControlCommand::Login(arguments) => return context::login(&invocation, arguments).await,
        ControlCommand::Contexts { action } => return context::contexts(&invocation, action),
        ControlCommand::Completion { shell } => return completion(&invocation.printer, shell),
        ControlCommand::Erase { order, execution } => (OrderArguments::Erase(order), execution),
        ControlCommand::Write { order, execution } => (OrderArguments::Write(order), execution),
        ControlCommand::Raid { order, execution } => (OrderArguments::Raid(order), execution),
        ControlCommand::Run { order, execution } => (OrderArguments::Run(order), execution),
        ControlCommand::Power { order, execution } => (OrderArguments::Power(order), execution),
    };
    order::give(&invocation, &order, &execution).await
}

impl Invocation {
    /// The files of the options, and in place of those that are not given others.
    fn files(&self, others: TlsFiles) -> TlsFiles {
        let connection = &self.connection;
        // A certificate and its key are given together.
        TlsFiles {
            certificate: connection.certificate_file.clone().or(others.certificate),
            key: connection.key_file.clone().or(others.key),
            authorities: connection.ca_file.clone().or(others.authorities),
        }
    }

    fn timeout(&self) -> Duration {
        self.connection.timeout
    }

    /// The configuration file, and where it is.
    fn contexts(&self) -> Result<(ContextFile, std::path::PathBuf), ControlError> {
        let option = self.connection.config.as_deref();
        let path = config_path(option, |name| std::env::var_os(name).map(Into::into))?;
        Ok((ContextFile::read(&path)?, path))
    }

    /// The agent of `--agent`, or the gateway of the context.
    async fn channel(&self) -> Result<ControlChannel, ControlError> {
        if let Some(agent) = &self.connection.agent {
            let token = match &self.connection.agent_token_file {
                None => None,
                Some(path) => {
                    let text = fs::read_to_string(path);
                    let text = text.map_err(|source| ConnectError::TokenFile {
                        path: path.clone(),
                        source,
                    })?;
                    Some((path.clone(), Secret::new(text.trim())))
                }
            };
            let files = self.files(TlsFiles::default());
            let channel = ControlChannel::agent(agent, files, token, self.timeout());
            return Ok(channel.await?);
        }
        let (file, path) = self.contexts()?;
        let name = self.connection.context.as_deref();
        let (name, context) = file.choose(name, &path)?;
        let unusable = |source| ContextError::Gateway {
            name: name.to_owned(),
            path: path.clone(),
            source,
        };
        let endpoint = context.endpoint().map_err(unusable)?;
        let files = self.files(context.tls_files());
        let channel = ControlChannel::gateway(&endpoint, files, self.timeout());
        channel.await.map_err(|error| match error {
            ConnectError::Invalid(source @ InvalidEndpoint::Url(_)) => unusable(source).into(),
            error => error.into(),
        })
    }

    /// The gateway, for a command that one agent cannot answer.
    async fn gateway(&self, command: &'static str) -> Result<ControlChannel, ControlError> {
        if self.connection.agent.is_some() {
            return Err(ControlError::NeedsGateway(command));
        }
        self.channel().await
    }
}

fn completion(printer: &Printer, shell: clap_complete::Shell) -> Result<ExitKind, ControlError> {
    let mut script = Vec::new();
    let mut command = AgentctlArguments::command();
    clap_complete::generate(shell, &mut command, "agentctl", &mut script);
    let text = String::from_utf8_lossy(&script);
    printer.text(&text)?;
    Ok(ExitKind::Done)
}
