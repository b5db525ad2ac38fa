//! `agentctl cancel`.

use ironic_agent_protocol::v1;

use super::Invocation;
use crate::arguments::CancelArguments;
use crate::connection::ControlChannel;
use crate::error::ControlError;
use crate::exit_kind::ExitKind;
use crate::orders::state_word;
use crate::output::message::to_json;
use crate::output::table::TextTable;
use crate::targets::{NodeRef, each, resolve};

/// Asks commands to stop.
pub(super) async fn run(
    invocation: &Invocation,
    arguments: &CancelArguments,
) -> Result<ExitKind, ControlError> {
    let channel = invocation.channel().await?;
    let nodes = resolve(&channel, &arguments.targets).await?;
    let parallel = invocation.connection.parallel;
    let outcomes = each(nodes, parallel, async |node| {
        cancel(&channel, node, arguments).await
    })
    .await;
    let printer = &invocation.printer;
    let ended = printer.outcomes(
        &outcomes,
        |record| Ok(to_json(record)?),
        |records| {
            let columns = [("NODE", 0), ("COMMAND", 0), ("IS", 0), ("ID", 1)];
            let mut table = TextTable::new(&columns);
            for (node, record) in records {
                let is = match record.state() {
                    v1::CommandState::Running => "stopping",
                    state => state_word(state),
                };
                let cells = [node.shown(), &record.name, is, &record.id];
                table.row(cells.map(str::to_owned));
            }
            printer.table(&table)
        },
    )?;
    Ok(ended)
}

async fn cancel(
    channel: &ControlChannel,
    node: &NodeRef,
    arguments: &CancelArguments,
) -> Result<v1::CommandRecord, ControlError> {
    let failure = |status| channel.failure(status);
    let mut calls = channel.commands();
    let id = match &arguments.id {
        Some(id) => id.clone(),
        None => {
            let request = channel.of_node(&node.uuid, v1::GetStatusRequest {});
            let status = calls.get_status(request).await.map_err(failure)?;
            let running = status.into_inner().running;
            running.ok_or(ControlError::NothingRuns)?.id
        }
    };
    let request = v1::CancelCommandRequest {
        id,
        reason: arguments.reason.clone(),
    };
    let request = channel.of_node(&node.uuid, request);
    let answer = calls.cancel_command(request).await.map_err(failure)?;
    let record = answer.into_inner().command;
    record.ok_or(ControlError::Incomplete("command"))
}
