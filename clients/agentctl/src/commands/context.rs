//! `agentctl login` and `agentctl contexts`.

use std::path::{Path, PathBuf};

use ironic_agent_protocol::v1;
use ironic_text::printable;
use serde_json::{Value, json};

use super::Invocation;
use crate::arguments::{ContextAction, LoginArguments};
use crate::connection::ControlChannel;
use crate::contexts::{ContextFile, GatewayContext};
use crate::error::ControlError;
use crate::exit_kind::ExitKind;
use crate::output::table::TextTable;

/// Writes a context, once the gateway has answered.
pub(super) async fn login(
    invocation: &Invocation,
    arguments: LoginArguments,
) -> Result<ExitKind, ControlError> {
    if invocation.connection.agent.is_some() {
        return Err(ControlError::NeedsGateway("login"));
    }
    let (mut file, path) = invocation.contexts()?;
    let connection = &invocation.connection;
    let context = GatewayContext {
        gateway: arguments.gateway.to_string(),
        ca_file: absolute(connection.ca_file.as_deref()),
        certificate_file: absolute(connection.certificate_file.as_deref()),
        key_file: absolute(connection.key_file.as_deref()),
    };
    if !arguments.offline {
        let files = context.tls_files();
        let timeout = invocation.timeout();
        let channel = ControlChannel::gateway(&arguments.gateway, files, timeout).await?;
        let request = v1::ListNodesRequest {
            page_size: 1,
            ..v1::ListNodesRequest::default()
        };
        let answer = channel.fleet().list_nodes(channel.request(request)).await;
        answer.map_err(|status| channel.failure(status))?;
    }
    file.contexts.insert(arguments.name.clone(), context);
    file.current_context = Some(arguments.name.clone());
    file.write(&path)?;
    say(&format!(
        "context {:?} is the current one in {}",
        arguments.name,
        path.display()
    ));
    Ok(ExitKind::Done)
}

/// Lists, chooses and removes contexts.
pub(super) fn contexts(
    invocation: &Invocation,
    action: Option<ContextAction>,
) -> Result<ExitKind, ControlError> {
    let (mut file, path) = invocation.contexts()?;
    match action.unwrap_or(ContextAction::List) {
        ContextAction::List => list(invocation, &file)?,
        ContextAction::Use { name } => {
            file.choose(Some(&name), &path)?;
            file.current_context = Some(name.clone());
            file.write(&path)?;
            say(&format!("context {name:?} is the current one"));
        }
        ContextAction::Remove { name } => {
            file.choose(Some(&name), &path)?;
            file.contexts.remove(&name);
            if file.current_context.as_ref() == Some(&name) {
                file.current_context = None;
            }
            file.write(&path)?;
            say(&format!(
                "context {name:?} is removed; its files are left alone"
            ));
        }
    }
    Ok(ExitKind::Done)
}

fn list(invocation: &Invocation, file: &ContextFile) -> Result<(), ControlError> {
    let printer = &invocation.printer;
    let current = |name: &String| file.current_context.as_ref() == Some(name);
    let value = || {
        let entries = file.contexts.iter().map(|(name, context)| {
            json!({
                "name": name,
                "current": current(name),
                "gateway": context.gateway,
                "ca_file": context.ca_file,
                "certificate_file": context.certificate_file,
                "key_file": context.key_file,
            })
        });
        Ok(Value::Array(entries.collect()))
    };
    let table = || {
        let columns = [("", 0), ("NAME", 0), ("GATEWAY", 0), ("CERTIFICATE", 1)];
        let mut table = TextTable::new(&columns);
        for (name, context) in &file.contexts {
            let certificate = context.certificate_file.as_ref();
            let certificate = certificate.map(|path| path.display().to_string());
            table.row([
                if current(name) { "*" } else { "" }.to_owned(),
                name.clone(),
                context.gateway.clone(),
                certificate.unwrap_or_default(),
            ]);
        }
        printer.table(&table)
    };
    let names = || {
        file.contexts
            .keys()
            .map(|name| printable(name).into_owned())
            .collect()
    };
    printer.whole(value, names, table)?;
    Ok(())
}

/// A path that means the same from every directory.
fn absolute(path: Option<&Path>) -> Option<PathBuf> {
    path.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
}

/// What was done, for a person; standard output stays free for results.
fn say(text: &str) {
    eprintln!("agentctl: {}", printable(text));
}
