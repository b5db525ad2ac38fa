//! `agentctl inventory`.

use ironic_agent_protocol::v1;
use serde_json::Value;

use super::Invocation;
use crate::arguments::NodeTargets;
use crate::error::ControlError;
use crate::exit_kind::ExitKind;
use crate::output::details::FieldList;
use crate::targets::{each, resolve};

/// Shows the hardware of nodes.
pub(super) async fn run(
    invocation: &Invocation,
    targets: &NodeTargets,
    last: bool,
) -> Result<ExitKind, ControlError> {
    let channel = if last {
        invocation.gateway("inventory --last").await?
    } else {
        invocation.channel().await?
    };
    let nodes = resolve(&channel, targets).await?;
    let parallel = invocation.connection.parallel;
    let failure = |status| channel.failure(status);
    let outcomes = each(nodes, parallel, async |node| {
        let document = if last {
            let node = node.uuid.clone();
            let request = channel.request(v1::GetInspectionRequest { node });
            let answer = channel.fleet().get_inspection(request).await;
            answer.map_err(failure)?.into_inner().report
        } else {
            let request = channel.of_node(&node.uuid, v1::GetInventoryRequest {});
            let answer = channel.commands().get_inventory(request).await;
            answer.map_err(failure)?.into_inner().inventory
        };
        let document = document.ok_or(ControlError::Incomplete("inventory"))?;
        Ok(Value::Object(ironic_document::object(
            document,
            "inventory",
        )?))
    })
    .await;
    let printer = &invocation.printer;
    let width = printer.screen.width();
    let ended = printer.outcomes(
        &outcomes,
        |document| Ok(document.clone()),
        |found| {
            let texts = found.iter().map(|(node, document)| {
                let mut fields = FieldList::default();
                fields.field("node", node.shown());
                fields.document("", document);
                fields.render(width)
            });
            texts.collect::<Vec<_>>().join("\n")
        },
    )?;
    Ok(ended)
}
