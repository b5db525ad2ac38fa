//! The network: two machines fill the line between them, first in one direction and then in
//! the other.

use std::time::Duration;

use serde_json::Value;

use super::error::{BurnInError, NetworkConfigError};
use super::options::{option, option_or};
use super::pairing::Pairing;
use super::program::{MAX_RUN_TIME, log_output};
use super::role::FioRole;
use crate::hardware::StepContext;
use crate::machine::ironic_node::Node;
use crate::system::{Cmd, RunError};

/// The status of `fio` when its partner is not there (yet).
const NO_PARTNER: i32 = 16;
const PARTNER_PERIOD: Duration = Duration::from_secs(30);

/// With whom the network is burnt in.
#[derive(Debug, PartialEq, Eq)]
enum Partner {
    /// As the operator wrote it.
    Configured(FioRole, String),
    /// As it comes.
    Met(Pairing),
}

/// One line for each run, the node's own role first.
pub(super) fn plan(node: &Node) -> Result<Vec<String>, BurnInError> {
    Ok(match partner(node)? {
        Partner::Configured(role, partner) => commands(node, role, &partner)
            .map(|(_, command)| format!("Run {command}"))
            .into(),
        Partner::Met(pairing) => vec![
            pairing.description(),
            "Run fio as writer and as reader with that partner".to_owned(),
        ],
    })
}

/// The runs in their order: the node's own role, then the other one.
fn commands(node: &Node, role: FioRole, partner: &str) -> [(FioRole, Cmd); 2] {
    [role, role.other()].map(|role| (role, command(node, role, partner)))
}

/// The node's role and its partner, or where to find one. What the operator wrote wins.
fn partner(node: &Node) -> Result<Partner, BurnInError> {
    let config = match node.value("driver_info", "agent_burnin_fio_network_config") {
        // Options that were set on a command line are texts.
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or(Value::Null),
        Some(value) => value.clone(),
        None => Value::Null,
    };
    if config.is_null() {
        let pairing = Pairing::of(node)?.map(Partner::Met);
        return pairing.ok_or_else(|| NetworkConfigError::Missing.into());
    }
    let text = |key: &str| config[key].as_str().unwrap_or_default();
    let role = match text("role") {
        "writer" => FioRole::Writer,
        "reader" => FioRole::Reader,
        other => {
            let role = other.to_owned();
            return Err(NetworkConfigError::Role { role }.into());
        }
    };
    match text("partner") {
        "" => Err(NetworkConfigError::Partner.into()),
        partner => Ok(Partner::Configured(role, partner.to_owned())),
    }
}

fn command(node: &Node, role: FioRole, partner: &str) -> Cmd {
    let file = option(node, "fio_network_outputfile");
    let output = file.into_iter().flat_map(|file| {
        ["--output-format", "json", "--output"]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("{file}.{}", role.word())])
    });
    let common = Cmd::new("fio")
        .args(["--ioengine", "net", "--port", "9000", "--fill_device", "1"])
        .args(["--group_reporting", "--gtod_reduce", "1", "--numjobs", "16"]);
    match role {
        // Only the writer watches the clock. A reader that stopped by itself would close
        // connections to which the writer still writes, and fio dies of SIGPIPE.
        FioRole::Writer => common
            .args(["--name", "writer", "--rw", "write"])
            .args([
                "--runtime".to_owned(),
                option_or(node, "fio_network_runtime", "21600"),
            ])
            .args(["--time_based", "--listen"]),
        FioRole::Reader => common
            .args(["--name", "reader", "--rw", "read"])
            .args(["--hostname", partner]),
    }
    .args(output)
}

pub(super) async fn run(ctx: StepContext<'_>) -> Result<(), BurnInError> {
    let (role, partner) = match partner(ctx.node)? {
        Partner::Configured(role, partner) => (role, partner),
        Partner::Met(pairing) => pairing.find(ctx).await?,
    };
    for (role, command) in commands(ctx.node, role, &partner) {
        let line = command.to_string();
        loop {
            let command = command.clone().timeout(MAX_RUN_TIME);
            let running = ctx.system.run.run(command.ends_with_agent());
            let result = tokio::select! {
                result = running => result,
                () = ctx.task.cancelled() => return Err(ctx.task.cancellation().into()),
            };
            match result {
                Ok(output) => {
                    log_output(&output.stdout);
                    break;
                }
                Err(RunError::Failed { status, .. })
                    if role == FioRole::Reader && status == NO_PARTNER =>
                {
                    tracing::info!(command = %line, "the partner does not write yet");
                    tokio::select! {
                        () = tokio::time::sleep(PARTNER_PERIOD) => {}
                        () = ctx.task.cancelled() => return Err(ctx.task.cancellation().into()),
                    }
                }
                Err(error) => return Err(BurnInError::of_program(line, error)),
            }
        }
        ctx.task
            .phase_ended(format!("network burn-in as {} ended", role.word()));
    }
    Ok(())
}
