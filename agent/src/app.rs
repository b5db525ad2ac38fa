//! How the agent is wired, started and stopped: the only place that knows every room.
//!
//! The order of a day: configuration, log, machine, engine, gRPC door, and then what the
//! agent says unasked: inspection, lookup, heartbeats. It ends in reverse.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::commands::{Engine, NodeMemory, Verbs, Workplace};
use crate::config::{self, Config, Loaded, Program};
use crate::hardware::Registry;
use crate::system::System;
use crate::{logs, rpc};

/// What `kill` without a name sends; the status that shells and supervisors expect for it.
const TERMINATED: u8 = 143;
/// Left behind by a rescue: the machine belongs to its owner now.
const RESCUED: &str = "/etc/.rescued";

/// Runs the program: configuration, log, runtime, agent.
#[must_use]
pub fn main() -> ExitCode {
    let loaded = match Config::load(Program::Agent, std::env::args_os(), Path::new("/")) {
        Ok(loaded) => loaded,
        Err(error) => return error.print(),
    };
    logs::start(loaded.config.debug);
    loaded.report();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run(loaded)),
        Err(error) => Err(error).context("the runtime cannot be started"),
    };
    ended.unwrap_or_else(|error| {
        error!(error = %format!("{error:#}"), "the agent ends");
        ExitCode::FAILURE
    })
}

async fn run(loaded: Loaded) -> anyhow::Result<ExitCode> {
    let config = config::Shared::new(loaded.config);
    let told = config.current();
    let system = match &told.simulate {
        Some(directory) => System::simulated(directory),
        None => System::linux(),
    };
    let stop = CancellationToken::new();
    let work = async {
        if system.root.exists(RESCUED) && told.simulate.is_none() {
            warn!(
                marker = RESCUED,
                "the machine was rescued: the agent stays silent"
            );
            return std::future::pending().await;
        }
        serve(config.clone(), system.clone(), stop.clone()).await
    };

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let code = tokio::select! {
        ended = work => ended?,
        _ = terminate.recv() => ExitCode::from(TERMINATED),
        _ = interrupt.recv() => ExitCode::SUCCESS,
    };
    stop.cancel();
    Ok(code)
}

/// Serves commands, and speaks to the conductor where there is one.
async fn serve(
    config: config::Shared,
    system: System,
    stop: CancellationToken,
) -> anyhow::Result<ExitCode> {
    let told = config.current();
    tokio::time::sleep(told.hardware_initialization_delay).await;
    let registry = Arc::new(Registry::compiled_in(&system)?);
    let place = Workplace {
        system: system.clone(),
        config: config.clone(),
        registry: Arc::clone(&registry),
        installed: Arc::default(),
        node: NodeMemory::default(),
    };
    let (engine, work) = Engine::new(place, Arc::new(Verbs), &told.state_dir);
    tokio::spawn(work.run());

    let server = rpc::bind(engine.clone(), &told, stop.clone()).await?;
    info!(version = %config::version(), listen = %server.listen(), "ironic-agent");
    let mut serving = tokio::spawn(server.run());

    let speaking = async {
        if told.standalone || !has_conductor(&told) {
            info!("there is no conductor to report to: commands are awaited");
            return std::future::pending().await;
        }
        Err(anyhow::anyhow!(
            "the client of ConductorService is not wired yet"
        ))
    };
    tokio::select! {
        ended = &mut serving => {
            ended.context("the gRPC server was lost")??;
            Ok(ExitCode::SUCCESS)
        }
        ended = speaking => ended,
    }
}

/// Whether anybody is there to look the node up or to take an inspection: an orchestrator at
/// an address of its own, or a shim that was told where Ironic is.
fn has_conductor(config: &Config) -> bool {
    config.conductor != Config::default().conductor || !config.api_url.is_empty()
}
