//! `agentctl get`.

use ironic_agent_protocol::v1;
use serde_json::{Value, json};

use super::Invocation;
use super::nodes::node_state_word;
use crate::arguments::NodeTargets;
use crate::connection::ControlChannel;
use crate::error::ControlError;
use crate::exit_kind::ExitKind;
use crate::orders::state_word;
use crate::output::OutputError;
use crate::output::details::FieldList;
use crate::output::message::{to_json, to_json_list};
use crate::output::quantity;
use crate::targets::{self, NodeRef, each, resolve};

/// What is known of a node.
struct NodeDetails {
    /// What the gateway knows; `None` of an agent without a gateway.
    node: Option<v1::Node>,
    /// What the agent says of itself; `None` when it cannot be called.
    status: Option<v1::GetStatusResponse>,
    commands: Vec<v1::CommandRecord>,
}

/// Shows nodes in full.
pub(super) async fn run(
    invocation: &Invocation,
    targets: &NodeTargets,
) -> Result<ExitKind, ControlError> {
    let channel = invocation.channel().await?;
    let nodes = resolve(&channel, targets).await?;
    let parallel = invocation.connection.parallel;
    let outcomes = each(nodes, parallel, async |node| look(&channel, node).await).await;
    let printer = &invocation.printer;
    let width = printer.screen.width();
    let ended = printer.outcomes(&outcomes, json, |found| {
        let texts = found
            .iter()
            .map(|(node, details)| fields(node, details).render(width));
        texts.collect::<Vec<_>>().join("\n")
    })?;
    Ok(ended)
}

async fn look(channel: &ControlChannel, node: &NodeRef) -> Result<NodeDetails, ControlError> {
    let known = if channel.is_agent() {
        None
    } else {
        Some(targets::get(channel, &node.uuid).await?)
    };
    // Calls are passed on to the gateway that holds the node.
    let callable = [v1::NodeState::Attached, v1::NodeState::Elsewhere];
    let is_away = known
        .as_ref()
        .is_some_and(|node| !callable.contains(&node.state()));
    if is_away {
        return Ok(NodeDetails {
            node: known,
            status: None,
            commands: Vec::new(),
        });
    }
    let failure = |status| channel.failure(status);
    let mut calls = channel.commands();
    let request = channel.of_node(&node.uuid, v1::GetStatusRequest {});
    let status = calls.get_status(request).await.map_err(failure)?;
    let request = channel.of_node(&node.uuid, v1::ListCommandsRequest {});
    let commands = calls.list_commands(request).await.map_err(failure)?;
    Ok(NodeDetails {
        node: known,
        status: Some(status.into_inner()),
        commands: commands.into_inner().commands,
    })
}

fn json(details: &NodeDetails) -> Result<Value, OutputError> {
    let mut value = json!({"commands": to_json_list(&details.commands)?});
    if let Some(node) = &details.node {
        value["node"] = to_json(node)?;
    }
    if let Some(status) = &details.status {
        value["status"] = to_json(status)?;
    }
    Ok(value)
}

fn fields(node: &NodeRef, details: &NodeDetails) -> FieldList {
    let mut fields = FieldList::default();
    fields.field("name", node.name.as_str());
    fields.field("uuid", node.uuid.as_str());
    if let Some(node) = &details.node {
        fields.field("state", node_state_word(node.state()));
        let mut labels: Vec<_> = node.labels.iter().collect();
        labels.sort();
        let labels = labels.iter().map(|(key, value)| format!("{key}={value}"));
        fields.field("labels", labels.collect::<Vec<_>>().join(", "));
        fields.field("gateway", node.gateway.as_str());
        if let Some(attachment) = &node.attachment {
            fields.field("called from", attachment.peer.as_str());
            fields.field("boot", attachment.boot_id.as_str());
        }
        let seen = node.last_seen_at.as_ref().map(ToString::to_string);
        fields.field("last seen", seen.unwrap_or_default());
    }
    if let Some(status) = &details.status {
        fields.field("agent", status.version.as_str());
        let started = status.started_at.as_ref().map(ToString::to_string);
        fields.field("agent started", started.unwrap_or_default());
    }
    for command in &details.commands {
        fields.field("command", command_line(command));
    }
    fields
}

/// A command in one line.
fn command_line(command: &v1::CommandRecord) -> String {
    let mut line = format!(
        "{} {} {}",
        command.id,
        command.name,
        state_word(command.state())
    );
    let percent = command.progress.as_ref().and_then(quantity::percent);
    if let Some(percent) = percent.filter(|_| command.state() == v1::CommandState::Running) {
        line.push_str(&format!(" {percent}%"));
    }
    if let Some(failure) = &command.failure {
        line.push_str(&format!(": {}: {}", failure.message, failure.details));
    }
    line
}
