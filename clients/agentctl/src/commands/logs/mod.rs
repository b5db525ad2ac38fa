//! `agentctl logs`.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use ironic_agent_protocol::v1;
use serde_json::json;

use super::Invocation;
use crate::arguments::LogsArguments;
use crate::connection::ControlChannel;
use crate::error::ControlError;
use crate::exit_kind::ExitKind;
use crate::output::quantity;
use crate::output::table::TextTable;
use crate::targets::{NodeRef, each, resolve};

mod records;

/// An archive that was fetched.
struct LogArchive {
    path: PathBuf,
    bytes: u64,
}

/// Prints the logs of nodes, or fetches their archives.
pub(super) async fn run(
    invocation: &Invocation,
    arguments: &LogsArguments,
) -> Result<ExitKind, ControlError> {
    let channel = invocation.channel().await?;
    let nodes = resolve(&channel, &arguments.targets).await?;
    match &arguments.archive {
        Some(directory) => archives(invocation, &channel, nodes, directory).await,
        None => records::print(invocation, &channel, nodes, arguments).await,
    }
}

async fn archives(
    invocation: &Invocation,
    channel: &ControlChannel,
    nodes: Vec<NodeRef>,
    directory: &Path,
) -> Result<ExitKind, ControlError> {
    fs::create_dir_all(directory).map_err(|source| ControlError::File {
        path: directory.to_owned(),
        source,
    })?;
    let parallel = invocation.connection.parallel;
    let outcomes = each(nodes, parallel, async |node| {
        fetch(channel, node, directory).await
    })
    .await;
    let printer = &invocation.printer;
    let ended = printer.outcomes(
        &outcomes,
        |archive| Ok(json!({"file": archive.path, "bytes": archive.bytes})),
        |archives| {
            let mut table = TextTable::new(&[("NODE", 0), ("SIZE", 1), ("FILE", 0)]);
            for (node, archive) in archives {
                let size = quantity::bytes(archive.bytes);
                let path = archive.path.display().to_string();
                table.row([node.shown().to_owned(), size, path]);
            }
            printer.table(&table)
        },
    )?;
    Ok(ended)
}

async fn fetch(
    channel: &ControlChannel,
    node: &NodeRef,
    directory: &Path,
) -> Result<LogArchive, ControlError> {
    let failure = |status| channel.failure(status);
    let request = channel.stream_of_node(&node.uuid, v1::CollectLogsRequest {});
    let answer = channel.commands().collect_logs(request).await;
    let mut chunks = answer.map_err(failure)?.into_inner();
    // A name of the gateway's must not lead out of the directory.
    let name = node.shown().replace(['/', '\0'], "_");
    let path = directory.join(format!("{name}.tar.gz"));
    // It has its name when it is whole.
    let part = path.with_extension("gz.part");
    let unwritten = |source| ControlError::File {
        path: path.clone(),
        source,
    };
    let mut file = File::create(&part).map_err(unwritten)?;
    let mut bytes = 0;
    while let Some(part) = chunks.message().await.map_err(failure)? {
        file.write_all(&part.chunk).map_err(unwritten)?;
        bytes += u64::try_from(part.chunk.len()).unwrap_or(0);
    }
    fs::rename(&part, &path).map_err(unwritten)?;
    Ok(LogArchive { path, bytes })
}
