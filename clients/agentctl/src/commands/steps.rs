//! `agentctl steps`.

use ironic_agent_protocol::v1;
use serde_json::Value;

use super::Invocation;
use crate::arguments::{NodeTargets, StepPhaseArgument};
use crate::error::ControlError;
use crate::exit_kind::ExitKind;
use crate::orders::PreparedOrder;
use crate::output::table::TextTable;
use crate::targets::{NodeRef, each, resolve};

/// Lists the steps that nodes offer.
pub(super) async fn run(
    invocation: &Invocation,
    targets: &NodeTargets,
    phase: StepPhaseArgument,
) -> Result<ExitKind, ControlError> {
    let channel = invocation.channel().await?;
    let nodes = resolve(&channel, targets).await?;
    let parallel = invocation.connection.parallel;
    let outcomes = each(nodes, parallel, async |node| {
        let request = v1::ExecuteCommandRequest {
            command: Some(PreparedOrder::steps(phase, node)?),
            ..v1::ExecuteCommandRequest::default()
        };
        let request = channel.of_node(&node.uuid, request);
        let answer = channel.commands().execute_command(request).await;
        let answer = answer.map_err(|status| channel.failure(status))?;
        let record = answer.into_inner().command;
        let record = record.ok_or(ControlError::Incomplete("command"))?;
        match record.result {
            Some(result) => Ok(ironic_document::value(result, "result")?),
            None => Err(ControlError::CommandEnded(Box::new(record))),
        }
    })
    .await;
    let printer = &invocation.printer;
    let ended = printer.outcomes(
        &outcomes,
        |document| Ok(document.clone()),
        |found| printer.table(&table(found)),
    )?;
    Ok(ended)
}

fn table(found: &[(&NodeRef, &Value)]) -> TextTable {
    let columns = [
        ("NODE", 0),
        ("STEP", 0),
        ("PRIORITY", 2),
        ("ABORTABLE", 3),
        ("MANAGER", 1),
    ];
    let mut table = TextTable::new(&columns);
    for (node, document) in found {
        // `{"<phase>_steps": {manager: [step]}, "hardware_manager_version": ...}`
        let lists = document.as_object().into_iter().flatten();
        let lists = lists.filter(|(key, _)| key.ends_with("_steps"));
        let managers = lists
            .filter_map(|(_, managers)| managers.as_object())
            .flatten();
        for (manager, steps) in managers {
            for step in steps.as_array().into_iter().flatten() {
                let text = |key: &str| match &step[key] {
                    Value::String(text) => text.clone(),
                    Value::Null => String::new(),
                    other => other.to_string(),
                };
                table.row([
                    node.shown().to_owned(),
                    format!("{}.{}", text("interface"), text("step")),
                    text("priority"),
                    text("abortable"),
                    manager.clone(),
                ]);
            }
        }
    }
    table
}
