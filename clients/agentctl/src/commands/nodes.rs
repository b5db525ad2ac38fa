//! `agentctl nodes`.

use ironic_agent_protocol::v1;
use ironic_text::printable;

use super::Invocation;
use crate::arguments::{NodeStateArgument, NodesArguments};
use crate::error::ControlError;
use crate::exit_kind::ExitKind;
use crate::orders::state_word;
use crate::output::message::to_json_list;
use crate::output::quantity;
use crate::output::table::TextTable;
use crate::targets::{self, NodeRef};

/// Lists the nodes.
pub(super) async fn run(
    invocation: &Invocation,
    arguments: &NodesArguments,
) -> Result<ExitKind, ControlError> {
    let channel = invocation.gateway("nodes").await?;
    let states = arguments.state.iter().map(|state| match state {
        NodeStateArgument::Attached => v1::NodeState::Attached,
        NodeStateArgument::Away => v1::NodeState::Away,
        NodeStateArgument::Closed => v1::NodeState::Closed,
        NodeStateArgument::Elsewhere => v1::NodeState::Elsewhere,
    });
    let states: Vec<_> = states.collect();
    let nodes = targets::list(&channel, arguments.selector.as_ref(), &states).await?;
    let printer = &invocation.printer;
    printer.whole(
        || Ok(to_json_list(&nodes)?),
        || {
            nodes
                .iter()
                .map(|node| printable(NodeRef::of(node).shown()).into_owned())
                .collect()
        },
        || printer.table(&table(&nodes)),
    )?;
    Ok(ExitKind::Done)
}

fn table(nodes: &[v1::Node]) -> TextTable {
    let columns = [
        ("NAME", 0),
        ("STATE", 0),
        ("COMMAND", 0),
        ("IS", 1),
        ("UUID", 3),
        ("AGENT", 4),
    ];
    let mut table = TextTable::new(&columns);
    for node in nodes {
        let (command, is) = command_words(node.command.as_ref());
        let version = node
            .attachment
            .as_ref()
            .map(|attachment| &attachment.agent_version);
        table.row([
            NodeRef::of(node).shown().to_owned(),
            node_state_word(node.state()).to_owned(),
            command,
            is,
            node.uuid.clone(),
            version.cloned().unwrap_or_default(),
        ]);
    }
    table
}

/// A word for the state of a node.
pub(super) fn node_state_word(state: v1::NodeState) -> &'static str {
    match state {
        v1::NodeState::Attached => "attached",
        v1::NodeState::Away => "away",
        v1::NodeState::Closed => "closed",
        v1::NodeState::Elsewhere => "elsewhere",
        // Of a gateway that is newer.
        v1::NodeState::Unspecified => "unknown",
    }
}

/// The command of a node and what it is doing.
fn command_words(command: Option<&v1::NodeCommand>) -> (String, String) {
    let Some(command) = command else {
        return (String::new(), String::new());
    };
    let percent = command.progress.as_ref().and_then(quantity::percent);
    let is = match (command.state(), percent) {
        (v1::CommandState::Running, Some(percent)) => format!("{percent}%"),
        (state, _) => state_word(state).to_owned(),
    };
    (command.name.clone(), is)
}
