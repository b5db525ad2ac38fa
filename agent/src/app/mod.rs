//! How the agent is wired, started and stopped: the only place that knows every module.
//!
//! The order of a day: configuration, log, machine, engine, gRPC server, and then what the
//! agent says unasked ([`conductor`]): inspection, lookup, heartbeats. It ends in reverse.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use ironic_options::{Loaded, Parameters, Settings};
use ironic_program::log::KeptLog;
use ironic_program::{runtime, start};
use ironic_text::{error_chain, printable};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::commands::verbs::{finalize_rescue, lockdown};
use crate::commands::{CommandContext, Engine, NodeMemory, OwnVerbs};
use crate::conductor::heartbeat::Control;
use crate::config::{self, AgentConfig};
use crate::disk::virtual_media::{self, VirtualMediaError};
use crate::hardware::{ManagerRegistry, bring_up, external, vlan};
use crate::image::LastDeployment;
use crate::rpc;
use crate::shutdown::ShutdownReason;
use crate::system::process::OwnedPrograms;
use crate::system::time_server::set_clock_by;
use crate::system::{System, sandbox};

mod conductor;
mod introspection;
mod network;
mod progress_report;
mod write_image;

pub use network::clap_command as network_clap_command;
pub use write_image::clap_command as write_image_clap_command;

/// How long the answer to the command that ends the service may take to leave.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(200);
/// How long the conductor may take to hear our farewell.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs the program: the agent, or the tool that its first argument names.
#[must_use]
pub fn main() -> ExitCode {
    let word = std::env::args_os().nth(1).unwrap_or_default();
    if word == sandbox::NAME {
        return sandbox::main(std::env::args_os());
    }
    if word == write_image::NAME {
        return write_image::main(std::env::args_os());
    }
    if word == network::NAME {
        return network::main(std::env::args_os());
    }
    if word == introspection::NAME {
        let arguments = std::env::args_os();
        // The options are the agent's.
        let arguments = arguments.enumerate().filter(|(at, _)| *at != 1);
        let arguments = arguments.map(|(_, argument)| argument);
        return start(arguments, take_virtual_media, |loaded, _| {
            introspection::run(loaded)
        });
    }
    // From the first line on, for those who follow it.
    let _kept = KeptLog::of_this_process();
    start(std::env::args_os(), take_virtual_media, |loaded, _| {
        run(loaded)
    })
}

/// Reads what Ironic put on virtual media, before the configuration is read. The shim beside
/// this agent waits for it.
fn take_virtual_media(config: &AgentConfig) -> anyhow::Result<()> {
    let root = Path::new("/");
    // Nothing is mounted for a simulation.
    if config.simulate.is_some() || !Parameters::of_kernel(root).boots_from_virtual_media() {
        return Ok(());
    }
    let name = AgentConfig::PROGRAM.name;
    match runtime()?.block_on(virtual_media::take(&System::linux(), name)) {
        // The machine may do without; if not, this program ends later and tries again.
        Err(error @ VirtualMediaError::Mount { .. }) => {
            let error = error_chain(&error);
            eprintln!("{}", printable(&format!("{name}: {error}")));
        }
        other => other?,
    }
    ironic_options::virtual_media::announce(root)
        .context("the end of reading virtual media cannot be announced")
}

async fn run(loaded: Loaded<AgentConfig>) -> anyhow::Result<ExitCode> {
    let config = config::Shared::new(loaded.settings);
    let current = config.current();
    let system = machine(&current);
    if current.simulate.is_none() && finalize_rescue::was_rescued(&system) {
        warn!("the machine was rescued: the agent stays silent");
        return std::future::pending().await;
    }
    if current.simulate.is_none() {
        virtual_media::release_config_drive(&system).await;
    }
    serve(config, system).await
}

fn machine(config: &AgentConfig) -> System {
    match &config.simulate {
        Some(directory) => System::simulated(directory),
        None => System {
            run: Arc::new(OwnedPrograms::new(&config.state_dir)),
            ..System::linux()
        },
    }
}

/// A burn-in or an erase of a process of this agent that was killed would go on writing to
/// disks that the next command works on.
fn end_leftovers(config: &AgentConfig) {
    let ended = OwnedPrograms::new(&config.state_dir).end_leftovers();
    if ended > 0 {
        warn!(
            processes = ended,
            "ended what an earlier agent had left running"
        );
    }
}

/// Serves commands, and reports to the conductor where there is one. Ends when a command ends the
/// service; within a process of its own, or of many simulated machines. Dropping the future ends
/// the service at once.
///
/// # Errors
/// The configuration cannot work, or what the agent cannot do without has failed.
pub async fn serve(config: config::Shared, system: System) -> anyhow::Result<ExitCode> {
    let current = config.current();
    let stop = CancellationToken::new();
    let _dropped = stop.clone().drop_guard();
    let engine = start_engine(&config, &system).await?;
    let server = rpc::bind(engine.clone(), &current, stop.clone()).await?;
    info!(version = %ironic_program::version(), listen = %server.listen(), "ironic-agent");
    let attachments = server.attachments();
    let mut serving = tokio::spawn(server.run());

    // A command that has ended is a reason to report early.
    let control = Control::new(engine.finished());
    let has_conductor = !current.standalone && conductor::has_conductor(&current);
    anyhow::ensure!(
        has_conductor || attachments.is_none(),
        "nobody could reach this agent: grpc_listen = none needs a conductor that it attaches to"
    );
    let reporting = async {
        if !has_conductor {
            info!("no conductor to report to: waiting for commands");
            return std::future::pending().await;
        }
        conductor::report(&engine, &config, &control, attachments).await
    };
    tokio::pin!(reporting);
    let mut shutdown = engine.shutdown();
    let reason = tokio::select! {
        ended = &mut serving => {
            ended.context("the gRPC server was lost")??;
            return Ok(ExitCode::SUCCESS);
        }
        ended = &mut reporting => return ended,
        Ok(reason) = shutdown.wait_for(Option::is_some) => *reason,
    };
    let reason = reason.unwrap_or(ShutdownReason::Stopped);

    // The answer to the command that ended us goes out first.
    tokio::time::sleep(ANSWER_TIMEOUT).await;
    control.stop(reason);
    let farewell = tokio::time::timeout(FAREWELL_TIMEOUT, reporting);
    if has_conductor && farewell.await.is_err() {
        info!("the conductor hears no farewell");
    }
    stop.cancel();
    shut_down(reason, &system).await
}

/// Readies the machine, and starts what runs commands on it.
async fn start_engine(config: &config::Shared, system: &System) -> anyhow::Result<Engine> {
    let current = config.current();
    if current.simulate.is_none() {
        end_leftovers(&current);
    }
    set_clock(system, &current).await?;
    tokio::time::sleep(current.hardware_initialization_delay).await;
    bring_up::bring_up(system).await;
    let external = external::start(&current, &rpc::manager_client::dial()).await;
    let registry = Arc::new(ManagerRegistry::with(external, system, &current).await?);
    vlan::bring_up(system, &current).await;
    let boot = system.root.boot_id();
    let context = CommandContext {
        system: system.clone(),
        config: config.clone(),
        registry,
        installed: Arc::new(LastDeployment::kept(&current.state_dir, boot.as_deref())),
        node: NodeMemory::default(),
    };
    let (engine, task) = Engine::new(context, Arc::new(OwnVerbs), &current.state_dir);
    tokio::spawn(task.run());
    Ok(engine)
}

/// What is left to do once nothing is served any more.
async fn shut_down(reason: ShutdownReason, system: &System) -> anyhow::Result<ExitCode> {
    if reason == ShutdownReason::LockedDown {
        lockdown::isolate(system).await;
        warn!("the machine is off the network: the agent idles until the power is cut");
        return std::future::pending().await;
    }
    info!("the machine was handed over to a rescuer: the agent ends");
    Ok(ExitCode::SUCCESS)
}

/// Sets the clock before anything looks at a certificate.
///
/// # Errors
/// It cannot be set, and the operator insists on a right clock.
async fn set_clock(system: &System, config: &AgentConfig) -> anyhow::Result<()> {
    let Some(server) = config.ntp_server.as_deref() else {
        return Ok(());
    };
    if config.simulate.is_some() {
        return Ok(());
    }
    match set_clock_by(system, server).await {
        Ok(()) => info!(server, "the clock is set"),
        Err(error) if config.fail_if_clock_not_set => return Err(error.into()),
        Err(error) => warn!(%error, "the clock is not set"),
    }
    Ok(())
}
