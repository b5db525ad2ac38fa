//! What an order would do, and whether it may.

use ironic_agent_protocol::v1;

use super::command::PreparedOrder;
use crate::connection::ControlChannel;
use crate::error::ControlError;
use crate::output::table::TextTable;
use crate::output::{Printer, complain};
use crate::targets::{NodeOutcomes, NodeRef, each};
use crate::terminal::ask;

/// What an order would do to each node. Nothing is changed.
pub(crate) async fn plan(
    channel: &ControlChannel,
    order: &PreparedOrder,
    nodes: Vec<NodeRef>,
    parallel: u16,
) -> NodeOutcomes<v1::Plan> {
    each(nodes, parallel, async |node| {
        let request = v1::ExecuteCommandRequest {
            command: Some(order.command(node)?),
            validate_only: true,
            ..v1::ExecuteCommandRequest::default()
        };
        let request = channel.of_node(&node.uuid, request);
        let answer = channel.commands().execute_command(request).await;
        let answer = answer.map_err(|status| channel.failure(status))?;
        let plan = answer.into_inner().plan;
        plan.ok_or(ControlError::Incomplete("plan"))
    })
    .await
}

/// Plans as a table: what will be lost.
pub(crate) fn plan_table(plans: &[(&NodeRef, &v1::Plan)]) -> TextTable {
    let mut table = TextTable::new(&[("NODE", 0), ("DEVICE", 0), ("DATA", 0), ("ACTION", 0)]);
    for (node, plan) in plans {
        for action in &plan.actions {
            table.row([
                node.shown().to_owned(),
                action.device.clone(),
                if action.destructive { "LOST" } else { "kept" }.to_owned(),
                action.description.clone(),
            ]);
        }
    }
    table
}

/// Shows on standard error what an order would do, and asks whether it may.
///
/// # Errors
/// There is nobody to ask, the answer is no, or the order cannot be planned for a node.
pub(crate) async fn confirm(
    channel: &ControlChannel,
    order: &PreparedOrder,
    nodes: &[NodeRef],
    parallel: u16,
    printer: &Printer,
) -> Result<(), ControlError> {
    if !printer.screen.can_ask() {
        return Err(ControlError::NobodyToAsk);
    }
    let mut plans = Vec::new();
    let mut refused = Vec::new();
    for (node, outcome) in plan(channel, order, nodes.to_vec(), parallel).await {
        match outcome {
            Ok(plan) => plans.push((node, plan)),
            Err(error) => refused.push((node, error)),
        }
    }
    if let Some((last_node, last)) = refused.pop() {
        for (node, error) in &refused {
            complain(Some(node), error);
        }
        eprintln!(
            "agentctl: nothing was done: {} cannot do it",
            last_node.shown()
        );
        return Err(last);
    }
    let rows: Vec<_> = plans.iter().map(|(node, plan)| (node, plan)).collect();
    eprint!("{}", printer.table(&plan_table(&rows)));
    let question = match nodes {
        [node] => format!("Go on with {}? [yes/no]", node.shown()),
        nodes => format!("Go on with {} nodes? [yes/no]", nodes.len()),
    };
    // A thread of its own, so that Ctrl-C ends the program meanwhile.
    let typed = tokio::task::spawn_blocking(move || ask(&question)).await;
    match typed.ok().flatten().as_deref() {
        Some("yes" | "y") => Ok(()),
        _ => Err(ControlError::NotConfirmed),
    }
}
