//! `agentctl erase`, `write`, `raid`, `run` and `power`, and `agentctl plan` of each.

use ironic_agent_protocol::v1;
use serde_json::Value;

use super::Invocation;
use crate::arguments::{ExecutionArguments, OrderArguments};
use crate::error::ControlError;
use crate::exit_kind::ExitKind;
use crate::orders::{self, Execution, PreparedOrder, plan_table, state_word};
use crate::output::message::to_json;
use crate::output::table::TextTable;
use crate::targets::{NodeRef, resolve};

/// Shows what an order would do.
pub(super) async fn plan(
    invocation: &Invocation,
    arguments: &OrderArguments,
) -> Result<ExitKind, ControlError> {
    let order = PreparedOrder::new(arguments)?;
    let channel = invocation.channel().await?;
    let nodes = resolve(&channel, arguments.targets()).await?;
    let parallel = invocation.connection.parallel;
    let outcomes = orders::plan(&channel, &order, nodes, parallel).await;
    let printer = &invocation.printer;
    let ended = printer.outcomes(
        &outcomes,
        |plan| Ok(to_json(plan)?),
        |plans| printer.table(&plan_table(plans)),
    )?;
    Ok(ended)
}

/// Gives an order, once it is confirmed.
pub(super) async fn give(
    invocation: &Invocation,
    arguments: &OrderArguments,
    execution: &ExecutionArguments,
) -> Result<ExitKind, ControlError> {
    let order = PreparedOrder::new(arguments)?;
    let printer = &invocation.printer;
    let parallel = invocation.connection.parallel;
    let asks = order.asks_first() && !execution.yes;
    if asks && !printer.screen.can_ask() {
        return Err(ControlError::NobodyToAsk);
    }
    let channel = invocation.channel().await?;
    let nodes = resolve(&channel, arguments.targets()).await?;
    if asks {
        orders::confirm(&channel, &order, &nodes, parallel, printer).await?;
    }
    let execution = Execution {
        channel: &channel,
        order: &order,
        arguments: execution,
        parallel,
        screen: printer.screen,
    };
    let outcomes = execution.run(nodes).await;
    let ended = printer.outcomes(
        &outcomes,
        |record| Ok(to_json(record)?),
        |records| printer.table(&table(records)),
    )?;
    Ok(ended)
}

fn table(records: &[(&NodeRef, &v1::CommandRecord)]) -> TextTable {
    let columns = [
        ("NODE", 0),
        ("COMMAND", 0),
        ("IS", 0),
        ("RESULT", 1),
        ("ID", 2),
    ];
    let mut table = TextTable::new(&columns);
    for (node, record) in records {
        let result = record.result.clone();
        let result = result.and_then(|result| ironic_document::value(result, "").ok());
        let result = match result {
            Some(Value::String(text)) => text,
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        };
        table.row([
            node.shown().to_owned(),
            record.name.clone(),
            state_word(record.state()).to_owned(),
            result,
            record.id.clone(),
        ]);
    }
    table
}
