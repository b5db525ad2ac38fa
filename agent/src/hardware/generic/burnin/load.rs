//! Load for processors, memory and graphics cards: the programs and their arguments.

use super::error::BurnInError;
use super::options::{option, option_or};
use super::program::{execute, log_output};
use crate::hardware::StepContext;
use crate::machine::ironic_node::Node;
use crate::system::Cmd;

pub(super) fn cpu(node: &Node) -> Cmd {
    let log = option(node, "cpu_outputfile");
    Cmd::new("stress-ng")
        .args(["--cpu".to_owned(), option_or(node, "cpu_cpu", "0")])
        .args([
            "--timeout".to_owned(),
            option_or(node, "cpu_timeout", "86400"),
        ])
        .arg("--metrics-brief")
        .args(
            log.into_iter()
                .flat_map(|file| ["--log-file".to_owned(), file]),
        )
}

pub(super) fn memory(node: &Node) -> Cmd {
    let log = option(node, "vm_outputfile");
    Cmd::new("stress-ng")
        .args(["--vm".to_owned(), option_or(node, "vm_vm", "0")])
        .args([
            "--timeout".to_owned(),
            option_or(node, "vm_timeout", "86400"),
        ])
        .args([
            "--vm-bytes".to_owned(),
            option_or(node, "vm_vm-bytes", "98%"),
        ])
        .arg("--metrics-brief")
        .args(
            log.into_iter()
                .flat_map(|file| ["--log-file".to_owned(), file]),
        )
}

/// How the cards are listed, and how they are burnt in.
pub(super) fn gpu(node: &Node) -> (Cmd, Cmd) {
    let directory = option_or(node, "gpu_install_dir", "/opt/gpu-burn");
    let program = || Cmd::new("./gpu_burn").directory(&directory);
    let burn = program()
        .args(["-m".to_owned(), option_or(node, "gpu_memory", "95%")])
        .arg(option_or(node, "gpu_timeout", "86400"));
    (program().arg("-l"), burn)
}

pub(super) async fn burn_gpus(ctx: StepContext<'_>) -> Result<(), BurnInError> {
    let (list, burn) = gpu(ctx.node);
    let count = option_or(ctx.node, "gpu_count", "0");
    let Ok(expected) = count.parse::<usize>() else {
        return Err(BurnInError::GpuCount { value: count });
    };
    if expected > 0 {
        let listed = execute(ctx, list).await?.text();
        let found = listed.lines().filter(|line| line.starts_with("ID")).count();
        if found != expected {
            return Err(BurnInError::GpusMissing { found, expected });
        }
    }
    log_output(&execute(ctx, burn).await?.stdout);
    Ok(())
}
