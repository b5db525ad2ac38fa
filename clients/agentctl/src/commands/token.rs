//! `agentctl token`.

use ironic_agent_protocol::v1;
use ironic_text::printable;
use serde_json::json;

use super::Invocation;
use crate::arguments::{LabelSelector, TokenAction, TokenArguments};
use crate::connection::ControlChannel;
use crate::error::ControlError;
use crate::exit_kind::ExitKind;
use crate::output::message::{to_json, to_json_list};
use crate::output::table::TextTable;

/// Makes, lists and revokes join tokens.
pub(super) async fn run(
    invocation: &Invocation,
    action: TokenAction,
) -> Result<ExitKind, ControlError> {
    let channel = invocation.gateway("token").await?;
    let printer = &invocation.printer;
    let failure = |status| channel.failure(status);
    let mut calls = channel.join_tokens();
    match action {
        TokenAction::Create(new) => create(invocation, &channel, new).await?,
        TokenAction::List => {
            let request = channel.request(v1::ListJoinTokensRequest {});
            let answer = calls.list_join_tokens(request).await.map_err(failure)?;
            let tokens = answer.into_inner().join_tokens;
            let ids = tokens.iter().map(|token| printable(&token.id).into_owned());
            printer.whole(
                || Ok(to_json_list(&tokens)?),
                || ids.collect(),
                || printer.table(&table(&tokens)),
            )?;
        }
        TokenAction::Revoke { id } => {
            let request = channel.request(v1::RevokeJoinTokenRequest { id });
            let answer = calls.revoke_join_token(request).await.map_err(failure)?;
            let token = answer.into_inner().join_token.ok_or(MISSING)?;
            printer.whole(
                || Ok(to_json(&token)?),
                || vec![printable(&token.id).into_owned()],
                || printer.table(&table(std::slice::from_ref(&token))),
            )?;
        }
    }
    Ok(ExitKind::Done)
}

/// An answer without the token that it is about.
const MISSING: ControlError = ControlError::Incomplete("join_token");

/// Makes a token and prints its secret.
async fn create(
    invocation: &Invocation,
    channel: &ControlChannel,
    new: TokenArguments,
) -> Result<(), ControlError> {
    let labels = new.selector.as_ref().map(LabelSelector::labels);
    let request = v1::CreateJoinTokenRequest {
        node_uuid: new.node.unwrap_or_default(),
        labels: labels.unwrap_or_default(),
        max_uses: new.uses,
        lifetime: new.lifetime.map(|seconds| prost_types::Duration {
            seconds: seconds.into(),
            nanos: 0,
        }),
    };
    let request = channel.request(request);
    let answer = channel.join_tokens().create_join_token(request).await;
    let answer = answer.map_err(|status| channel.failure(status))?;
    let answer = answer.into_inner();
    let token = answer.join_token.ok_or(MISSING)?;
    let secret = printable(&answer.secret).into_owned();
    invocation.printer.whole(
        || Ok(json!({"join_token": to_json(&token)?, "secret": secret})),
        || vec![secret.clone()],
        || format!("{secret}\n"),
    )?;
    Ok(())
}

fn table(tokens: &[v1::JoinToken]) -> TextTable {
    let columns = [
        ("ID", 0),
        ("USES", 0),
        ("ENDS", 1),
        ("NODE", 2),
        ("LABELS", 3),
    ];
    let mut table = TextTable::new(&columns);
    for token in tokens {
        let mut labels: Vec<_> = token.labels.iter().collect();
        labels.sort();
        let labels = labels.iter().map(|(key, value)| format!("{key}={value}"));
        let ends = token.expires_at.as_ref().map(ToString::to_string);
        table.row([
            token.id.clone(),
            format!("{}/{}", token.uses, token.max_uses),
            if token.revoked {
                "revoked".to_owned()
            } else {
                ends.unwrap_or_default()
            },
            if token.node_uuid.is_empty() {
                "any".to_owned()
            } else {
                token.node_uuid.clone()
            },
            labels.collect::<Vec<_>>().join(","),
        ]);
    }
    table
}
