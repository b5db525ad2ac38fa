//! Why a command of the program failed: the kind that becomes the exit code, and what to do next.

use std::io;
use std::path::PathBuf;

use ironic_agent_protocol::v1;
use ironic_document::DocumentError;
use ironic_text::error_chain;
use thiserror::Error;

use crate::connection::{CallFailure, ConnectError};
use crate::contexts::ContextError;
use crate::exit_kind::ExitKind;
use crate::orders::OrderError;
use crate::output::OutputError;

/// A command that was ordered, and whom to ask about it.
#[derive(Debug)]
pub(crate) struct OrderedCommand {
    /// Its identifier.
    pub(crate) id: String,
    /// The node, as a gateway is asked for it; `None` where --agent leads to it.
    pub(crate) node: Option<String>,
}

impl OrderedCommand {
    fn advice(&self) -> String {
        let id = &self.id;
        match &self.node {
            Some(node) => format!(
                "`agentctl watch {node}` follows it, `agentctl cancel {node} --id {id}` ends it"
            ),
            None => format!(
                "with the same --agent: `agentctl watch` follows it, `agentctl cancel --id {id}` ends it"
            ),
        }
    }
}

/// Why a command failed.
#[derive(Debug, Error)]
pub(crate) enum ControlError {
    /// There is no context.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallFailure),
    /// The order cannot be made from the arguments.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// The result cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// An answer holds a document that is not JSON.
    #[error("the answer holds a document that cannot be shown")]
    Document(#[from] DocumentError),
    /// An answer lacks what it must have.
    #[error("the answer lacks {0}")]
    Incomplete(&'static str),
    /// A file of the operator's cannot be written.
    #[error("cannot write {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no command to cancel.
    #[error("no command runs")]
    NothingRuns,
    /// The command line names no node.
    #[error("no node is named")]
    NoTargets,
    /// The selector selects none.
    #[error("no node has these labels")]
    NothingSelected,
    /// --all, and the gateway knows none.
    #[error("the gateway knows no nodes")]
    NoNodes,
    /// With `--agent` there is one node.
    #[error("--agent leads to one machine: name no node, no --selector and no --all beside it")]
    NodeBesideAgent,
    /// The command asks a gateway.
    #[error("`agentctl {0}` asks a gateway, and --agent leads to one agent")]
    NeedsGateway(&'static str),
    /// A destructive command without `--yes`, and there is nobody to ask.
    #[error("this command destroys data or ends what runs, and there is no terminal to ask at")]
    NobodyToAsk,
    /// The answer was no.
    #[error("not confirmed: nothing was done")]
    NotConfirmed,
    /// The command ran, and did not end well.
    #[error("{}", ending(.0))]
    CommandEnded(Box<v1::CommandRecord>),
    /// The machine has forgotten the command.
    #[error("the agent does not know the command any more: the machine has booted since")]
    CommandForgotten,
    /// It happened after the order was sent, which the agent may carry out or has carried out.
    #[error("{} (command {id})", error_chain(.cause))]
    Sent {
        /// The identifier of the command.
        id: String,
        /// What happened.
        cause: Box<ControlError>,
    },
    /// Ctrl-C, and the command goes on.
    #[error("interrupted: the command {} goes on", .0.id)]
    LeftRunning(OrderedCommand),
    /// Ctrl-C before the order was answered.
    #[error("interrupted: the command {} was ordered, and may run: no answer has come", .0.id)]
    LeftOpen(OrderedCommand),
    /// Ctrl-C before the order was given.
    #[error("interrupted: nothing was ordered")]
    NotOrdered,
    /// The system gives no event loop.
    #[error("the event loop cannot be made")]
    Runtime(#[source] io::Error),
}

impl ControlError {
    /// The kind of failure.
    pub(crate) fn kind(&self) -> ExitKind {
        match self {
            Self::Context(_) => ExitKind::Configuration,
            Self::Connect(error) => error.kind(),
            Self::Call(error) => error.kind(),
            Self::Order(error) => error.kind(),
            Self::Output(error) => error.kind(),
            Self::Document(_) | Self::Incomplete(_) | Self::File { .. } | Self::Runtime(_) => {
                ExitKind::Other
            }
            Self::NoTargets | Self::NodeBesideAgent | Self::NeedsGateway(_) => ExitKind::Usage,
            Self::NothingSelected | Self::NoNodes | Self::NothingRuns => ExitKind::NotFound,
            Self::NobodyToAsk | Self::NotConfirmed => ExitKind::NotConfirmed,
            Self::CommandEnded(record) if record.state() == v1::CommandState::Cancelled => {
                ExitKind::CommandCancelled
            }
            Self::CommandEnded(_) => ExitKind::CommandFailed,
            Self::CommandForgotten => ExitKind::OutcomeUnknown,
            Self::LeftRunning(_) | Self::LeftOpen(_) | Self::NotOrdered => ExitKind::Interrupted,
            Self::Sent { cause, .. } => cause.kind(),
        }
    }

    /// The same after an order was sent, with the identifier of its command.
    pub(crate) fn after_order(self, id: &str) -> Self {
        match self {
            // It names the command itself.
            Self::LeftRunning(_) | Self::LeftOpen(_) | Self::Sent { .. } => self,
            cause => Self::Sent {
                id: id.to_owned(),
                cause: Box::new(cause),
            },
        }
    }

    /// The command that was ordered, where one was.
    pub(crate) fn command_id(&self) -> Option<&str> {
        match self {
            Self::Sent { id, .. } => Some(id),
            Self::LeftRunning(command) | Self::LeftOpen(command) => Some(&command.id),
            _ => None,
        }
    }

    /// The record of the command that did not end well, where that is the failure.
    pub(crate) fn record(&self) -> Option<&v1::CommandRecord> {
        match self {
            Self::CommandEnded(record) => Some(record),
            Self::Sent { cause, .. } => cause.record(),
            _ => None,
        }
    }

    /// What to do next, where there is something to say.
    pub(crate) fn advice(&self) -> Option<String> {
        match self {
            Self::Context(error) => Some(error.advice()),
            Self::Connect(error) => Some(error.advice()),
            Self::Call(error) => error.advice(),
            Self::Order(error) => error.advice(),
            Self::NoTargets => Some("name nodes, or say --selector KEY=VALUE or --all".to_owned()),
            Self::NothingSelected => Some("`agentctl nodes` shows labels in -o json".to_owned()),
            Self::NoNodes => Some("`agentctl contexts` shows which gateway is asked".to_owned()),
            Self::NeedsGateway(_) => Some("leave --agent out, and choose a --context".to_owned()),
            Self::NobodyToAsk => {
                Some("look at it first with `agentctl plan`, then say --yes".to_owned())
            }
            Self::CommandForgotten => Some("look at the machine, and order again".to_owned()),
            Self::LeftRunning(command) | Self::LeftOpen(command) => Some(command.advice()),
            Self::Sent { cause, .. } => match cause.kind() {
                ExitKind::Unreachable | ExitKind::TimedOut | ExitKind::NodeAway => Some(
                    "it may have done what was asked: `agentctl get` shows its commands".to_owned(),
                ),
                _ => cause.advice(),
            },
            _ => None,
        }
    }

    /// The reason of the protocol, for `-o json`; empty without one.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Call(error) => &error.error_info_reason,
            Self::Sent { cause, .. } => cause.reason(),
            _ => "",
        }
    }
}

/// How a command ended, in the words of the agent.
fn ending(record: &v1::CommandRecord) -> String {
    let how = match record.state() {
        v1::CommandState::Cancelled => "was cancelled",
        _ => "failed",
    };
    let failure = record.failure.clone().unwrap_or_default();
    let words = [failure.message, failure.details];
    let words: Vec<_> = words.into_iter().filter(|text| !text.is_empty()).collect();
    format!("{} {how}: {}", record.name, words.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_after_an_order_names_the_command_and_stays_what_it_is() {
        let record = v1::CommandRecord {
            name: "order.erase".to_owned(),
            state: v1::CommandState::Cancelled.into(),
            ..v1::CommandRecord::default()
        };
        let ended = || ControlError::CommandEnded(Box::new(record.clone()));
        let error = ended().after_order("7").after_order("8");
        assert_eq!(error.to_string(), format!("{} (command 7)", ended()));
        assert_eq!(error_chain(&error), error.to_string());
        assert_eq!(error.kind(), ExitKind::CommandCancelled);
        assert_eq!(error.command_id(), Some("7"));
        assert_eq!(error.record(), Some(&record));
        assert_eq!(ended().command_id(), None);
        let left = ControlError::LeftRunning(left(None));
        let text = left.to_string();
        assert_eq!(left.after_order("7").to_string(), text);
    }

    fn left(node: Option<&str>) -> OrderedCommand {
        OrderedCommand {
            id: "7".to_owned(),
            node: node.map(str::to_owned),
        }
    }

    #[test]
    fn the_advice_after_an_interrupt_names_the_node() {
        for (node, words) in [
            (Some("rack1-1"), "`agentctl cancel rack1-1 --id 7`"),
            (None, "`agentctl cancel --id 7`"),
        ] {
            let advice = ControlError::LeftRunning(left(node)).advice().unwrap();
            assert!(advice.contains(words), "{advice}");
            assert_eq!(ControlError::LeftOpen(left(node)).advice(), Some(advice));
        }
    }
}
