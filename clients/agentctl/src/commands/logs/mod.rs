//! `agentctl logs`.

use std::collections::BTreeMap;
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
    let names = file_names(&nodes);
    let outcomes = each(nodes, parallel, async |node| {
        let name = names.get(&node.uuid).map_or("", String::as_str);
        fetch(channel, node, directory.join(name)).await
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

/// The file of each node's archive, by UUID: it is called as the node, or by its UUID where
/// several nodes are called so.
fn file_names(nodes: &[NodeRef]) -> BTreeMap<String, String> {
    // A name of the gateway's must not lead out of the directory.
    let plain = |name: &str| name.replace(['/', '\0'], "_");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for node in nodes {
        *counts.entry(plain(node.shown())).or_default() += 1;
    }
    let names = nodes.iter().map(|node| {
        let mut name = plain(node.shown());
        if counts.get(&name).is_some_and(|count| *count > 1) {
            name = plain(&node.uuid);
        }
        (node.uuid.clone(), format!("{name}.tar.gz"))
    });
    names.collect()
}

async fn fetch(
    channel: &ControlChannel,
    node: &NodeRef,
    path: PathBuf,
) -> Result<LogArchive, ControlError> {
    let failure = |status| channel.failure(status);
    let request = channel.stream_of_node(&node.uuid, v1::CollectLogsRequest {});
    let answer = channel.commands().collect_logs(request).await;
    let mut chunks = answer.map_err(failure)?.into_inner();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_archives_have_one_file() {
        let node = |uuid: &str, name: &str| NodeRef {
            uuid: uuid.to_owned(),
            name: name.to_owned(),
        };
        let nodes = [
            node("u-1", "twin"),
            node("u-2", "twin"),
            node("u-3", "a/b"),
            node("u-4", "a_b"),
            node("u-5", "../alone"),
            node("u-6", ""),
        ];
        let names = file_names(&nodes);
        let names: Vec<_> = names.values().map(String::as_str).collect();
        let expected = ["u-1", "u-2", "u-3", "u-4", ".._alone", "u-6"];
        assert_eq!(names, expected.map(|name| format!("{name}.tar.gz")));
    }
}
