//! `agentctl events`.

use ironic_agent_protocol::v1;
use serde_json::{Value, json};

use super::Invocation;
use super::fleet_stream::{FleetChange, FleetStream};
use crate::arguments::{EventsArguments, OutputFormat};
use crate::error::ControlError;
use crate::exit_kind::ExitKind;
use crate::orders::state_word;
use crate::output::message::to_json;
use crate::output::quantity;
use crate::targets::NodeRef;

/// Prints what changes about nodes. Exit: after `--count` events, or when the reader goes away.
pub(super) async fn run(
    invocation: &Invocation,
    arguments: &EventsArguments,
) -> Result<ExitKind, ControlError> {
    let channel = invocation.gateway("events").await?;
    let resume = arguments.resume.clone();
    let mut stream = FleetStream::new(&channel, &arguments.targets, resume).await?;
    let mut printed = 0;
    let printer = &invocation.printer;
    while arguments.count.is_none_or(|count| printed < count) {
        let change = stream.next().await?;
        let with_token = |mut value: Value| {
            value["resume_token"] = Value::from(stream.resume_token());
            value
        };
        match change {
            FleetChange::Event(event) => {
                let value = || Ok(with_token(to_json(&*event)?));
                let node = event.node.clone().unwrap_or_default();
                let node = NodeRef::of(&node);
                printer.part(value, node.shown(), || event_line(&event, node.shown()))?;
                printed += 1;
            }
            // It has no name.
            FleetChange::Gap(reason) if printer.format != OutputFormat::Name => {
                let value = || Ok(with_token(json!({"gap": {"reason": reason}})));
                printer.part(value, "", || format!("-- {} --", gap_text(&reason)))?;
            }
            _ => {}
        }
    }
    Ok(ExitKind::Done)
}

/// Why events may be missing.
fn gap_text(reason: &str) -> &'static str {
    if reason == "POLICY_CHANGED" {
        "events may be missing: the gateway's policy has changed"
    } else {
        "events may be missing: the gateway was started again, or does not have them any more"
    }
}

/// An event in one line.
pub(super) fn event_line(event: &v1::NodeEvent, node: &str) -> String {
    let at = event.at.as_ref().map(ToString::to_string);
    let mut line = format!(
        "{} {node} {}",
        at.unwrap_or_default(),
        kind_word(event.kind())
    );
    let command = event.node.as_ref().and_then(|node| node.command.as_ref());
    let concerns_command = matches!(
        event.kind(),
        v1::NodeEventKind::CommandStarted
            | v1::NodeEventKind::CommandProgress
            | v1::NodeEventKind::CommandEnded
    );
    if let Some(command) = command.filter(|_| concerns_command) {
        line.push_str(&format!(" {}", command.name));
        let percent = command.progress.as_ref().and_then(quantity::percent);
        match (command.state(), percent) {
            (v1::CommandState::Running, Some(percent)) => line.push_str(&format!(" {percent}%")),
            (state, _) => line.push_str(&format!(" {}", state_word(state))),
        }
        if let Some(failure) = &command.failure {
            line.push_str(&format!(": {}: {}", failure.message, failure.details));
        }
    }
    match event.kind() {
        v1::NodeEventKind::Ordered => line.push_str(&order_words(event)),
        v1::NodeEventKind::Elsewhere => {
            let gateway = event.node.as_ref().map(|node| node.gateway.as_str());
            line.push_str(&format!(" {}", gateway.unwrap_or_default()));
        }
        _ => {}
    }
    ironic_text::printable(line.trim_end()).into_owned()
}

/// What was ordered, by whom, and why it was refused.
fn order_words(event: &v1::NodeEvent) -> String {
    let order = event.order.clone().unwrap_or_default();
    let mut words = format!(" {}", order.verb);
    if order.validate_only {
        words.push_str(" as a dry run");
    }
    if !order.caller.is_empty() {
        words.push_str(&format!(" by {}", order.caller));
    }
    if !order.reason.is_empty() {
        words.push_str(&format!(", refused: {}", order.reason));
    }
    words
}

fn kind_word(kind: v1::NodeEventKind) -> &'static str {
    match kind {
        v1::NodeEventKind::Added => "added",
        v1::NodeEventKind::Changed => "described anew",
        v1::NodeEventKind::Removed => "removed",
        v1::NodeEventKind::Attached => "attached",
        v1::NodeEventKind::Lost => "away",
        v1::NodeEventKind::Closed => "closed",
        v1::NodeEventKind::CommandStarted => "started",
        v1::NodeEventKind::CommandProgress => "progress",
        v1::NodeEventKind::CommandEnded => "ended",
        v1::NodeEventKind::Inspected => "inspected",
        v1::NodeEventKind::Ordered => "ordered",
        v1::NodeEventKind::Elsewhere => "elsewhere",
        // Of a gateway that is newer.
        v1::NodeEventKind::Unspecified => "changed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_says_why() {
        assert!(gap_text("POLICY_CHANGED").ends_with("policy has changed"));
        assert!(gap_text("WATCH_EXPIRED").contains("started again"));
    }
}
