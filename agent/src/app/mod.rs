//! How the agent is wired, started and stopped: the only place that knows every room.
//!
//! The order of a day: configuration, log, machine, engine, gRPC door, and then what the
//! agent says unasked: inspection, lookup, heartbeats. It ends in reverse.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::BoxFuture;
use ironic_options::{Loaded, Parameters, Settings};
use ironic_program::{runtime, start};
use ironic_text::printable;
use ironic_transport::Endpoint;
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::commands::power::clock;
use crate::commands::verbs::{finalize_rescue, lockdown};
use crate::commands::{CommandContext, Engine, NodeMemory, NodeSource, OwnVerbs};
use crate::conductor::backoff::Backoff;
use crate::conductor::heartbeat::{Control, Heartbeats, Schedule};
use crate::conductor::lookup::{LookupError, Lookups};
use crate::conductor::token::TokenMemory;
use crate::conductor::{Conductor, LookupRequest, call_deadline, inspection};
use crate::config::{self, Config};
use crate::disk::virtual_media::{self, MediumError};
use crate::hardware::{Registry, bring_up, external, vlan};
use crate::image::LastDeployment;
use crate::machine::ironic_node::Node;
use crate::machine::network::interface;
use crate::shutdown::ShutdownReason;
use crate::system::process::OwnedPrograms;
use crate::system::{System, sandbox};
use crate::{inspect, rpc};

mod introspection;
mod progress_report;
mod write_image;

/// How long the network may take to show an interface, and how often it is looked at.
const NETWORK_PATIENCE: Duration = Duration::from_secs(60);
const NETWORK_PERIOD: Duration = Duration::from_secs(1);
/// How long the answer to the command that ends the service may take to leave.
const ANSWER_PATIENCE: Duration = Duration::from_millis(200);
/// How long the conductor may take to hear our farewell.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(2);

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
    if word == introspection::NAME {
        let arguments = std::env::args_os();
        // The options are the agent's.
        let arguments = arguments.enumerate().filter(|(at, _)| *at != 1);
        let arguments = arguments.map(|(_, argument)| argument);
        return start(arguments, take_virtual_media, introspection::run);
    }
    start(std::env::args_os(), take_virtual_media, run)
}

/// Reads what Ironic put on virtual media, before the configuration is read. The shim beside
/// this agent waits for it.
fn take_virtual_media(config: &Config) -> anyhow::Result<()> {
    let root = Path::new("/");
    // Nothing is mounted for a simulation.
    if config.simulate.is_some() || !Parameters::of_kernel(root).boots_from_virtual_media() {
        return Ok(());
    }
    let name = Config::PROGRAM.name;
    match runtime()?.block_on(virtual_media::take(&System::linux(), name)) {
        // The machine may do without; if not, this program ends later and tries again.
        Err(error @ MediumError::Mount { .. }) => {
            eprintln!("{}", printable(&format!("{name}: {error}")));
        }
        other => other?,
    }
    ironic_options::virtual_media::announce(root)
        .context("the end of reading virtual media cannot be announced")
}

async fn run(loaded: Loaded<Config>) -> anyhow::Result<ExitCode> {
    let config = config::Shared::new(loaded.settings);
    let told = config.current();
    let system = machine(&told);
    if told.simulate.is_none() && finalize_rescue::was_rescued(&system) {
        warn!("the machine was rescued: the agent stays silent");
        return std::future::pending().await;
    }
    if told.simulate.is_none() {
        virtual_media::release_config_drive(&system).await;
    }
    serve(config, system).await
}

fn machine(told: &Config) -> System {
    match &told.simulate {
        Some(directory) => System::simulated(directory),
        None => System {
            run: Arc::new(OwnedPrograms::new(&told.state_dir)),
            ..System::linux()
        },
    }
}

/// A burn-in or an erase of a process of this agent that was killed would go on writing to
/// disks under whatever comes next.
fn end_leftovers(told: &Config) {
    let ended = OwnedPrograms::new(&told.state_dir).end_leftovers();
    if ended > 0 {
        warn!(
            processes = ended,
            "ended what an earlier agent had left running"
        );
    }
}

/// Serves commands, and speaks to the conductor where there is one.
async fn serve(config: config::Shared, system: System) -> anyhow::Result<ExitCode> {
    let told = config.current();
    let stop = CancellationToken::new();
    if told.simulate.is_none() {
        end_leftovers(&told);
    }
    set_clock(&system, &told).await?;
    tokio::time::sleep(told.hardware_initialization_delay).await;
    bring_up::bring_up(&system).await;
    let external = external::start(&told, &rpc::manager_client::dial()).await;
    let registry = Arc::new(Registry::with(external, &system, &told).await?);
    vlan::bring_up(&system, &told).await;
    let boot = system.root.read_optional("/proc/sys/kernel/random/boot_id");
    let context = CommandContext {
        system: system.clone(),
        config: config.clone(),
        registry: Arc::clone(&registry),
        installed: Arc::new(LastDeployment::kept(&told.state_dir, boot.as_deref())),
        node: NodeMemory::default(),
    };
    let (engine, task) = Engine::new(context, Arc::new(OwnVerbs), &told.state_dir);
    tokio::spawn(task.run());

    let server = rpc::bind(engine.clone(), &told, stop.clone()).await?;
    info!(version = %ironic_program::version(), listen = %server.listen(), "ironic-agent");
    let mut serving = tokio::spawn(server.run());

    // A command that has ended is a reason to report early.
    let control = Control::new(engine.finished());
    let speaking = async {
        if told.standalone || !has_conductor(&told) {
            info!("there is no conductor to report to: commands are awaited");
            return std::future::pending().await;
        }
        speak(&engine, &config, &system, &registry, &control).await
    };
    tokio::pin!(speaking);
    let mut shutdown = engine.shutdown();
    let reason = tokio::select! {
        ended = &mut serving => {
            ended.context("the gRPC server was lost")??;
            return Ok(ExitCode::SUCCESS);
        }
        ended = &mut speaking => return ended,
        Ok(reason) = shutdown.wait_for(Option::is_some) => *reason,
    };
    let reason = reason.unwrap_or(ShutdownReason::Stopped);

    // The answer to the command that ended us goes out first.
    tokio::time::sleep(ANSWER_PATIENCE).await;
    control.stop(reason);
    if tokio::time::timeout(FAREWELL_PATIENCE, speaking)
        .await
        .is_err()
    {
        info!("the conductor hears no farewell");
    }
    stop.cancel();
    if reason == ShutdownReason::LockedDown {
        lockdown::isolate(&system).await;
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
async fn set_clock(system: &System, told: &Config) -> anyhow::Result<()> {
    let Some(server) = told.ntp_server.as_deref() else {
        return Ok(());
    };
    if told.simulate.is_some() {
        return Ok(());
    }
    match clock::ask_the_time(system, server).await {
        Ok(()) => info!(server, "the clock is set"),
        Err(failure) if told.fail_if_clock_not_set => return Err(failure.into()),
        Err(failure) => warn!(%failure, "the clock is not set"),
    }
    Ok(())
}

/// Whether anybody is there to look the node up or to take an inspection: an orchestrator at
/// an address of its own, or a shim that knows where Ironic is.
fn has_conductor(config: &Config) -> bool {
    config.conductor != Config::default().conductor
        || wants_lookup(config)
        || inspection::is_wanted(config)
}

/// Inspection alone needs no lookup: Ironic then sends no `ipa-api-url`.
fn wants_lookup(config: &Config) -> bool {
    !matches!(config.conductor, Endpoint::Unix(_))
        || !config.common.api_url.is_empty()
        || config.common.use_mdns
}

/// Inspection, lookup, heartbeats. Ends only when it cannot go on.
async fn speak(
    engine: &Engine,
    config: &config::Shared,
    system: &System,
    registry: &Registry,
    control: &Control,
) -> anyhow::Result<ExitCode> {
    let told = config.current();
    let conductor: Arc<dyn Conductor> =
        Arc::new(rpc::conductor_client::ConductorClient::new(&told)?);
    // Each process has its own randomness: a fleet that is powered on together must part.
    let mut jitter: StdRng = rand::make_rng();
    let mut request = LookupRequest {
        addresses: await_interfaces(system).await,
        node_uuid: None,
    };

    if inspection::is_wanted(&told) {
        let report = inspect::collect(system, &told, registry).await;
        request.node_uuid = inspection::submit(conductor.as_ref(), &report.data)
            .await
            .context("the inspection report could not be delivered")?;
    }
    if !wants_lookup(&told) {
        info!("no Ironic to look the node up at: commands are awaited");
        return std::future::pending().await;
    }

    let memory = TokenMemory::new(&told.state_dir, &system.root);
    let lookups = Lookups::new(Arc::clone(&conductor), config.clone(), memory);
    let session = match lookups.run(&request, &mut jitter).await {
        Ok(session) => session,
        Err(taken @ LookupError::TokenTaken { .. }) => {
            // Ironic is waiting for the other agent: no commands, no heartbeats, and a
            // network that the operator can use.
            error!(error = %taken, "the agent idles");
            return std::future::pending().await;
        }
        Err(error) => return Err(error.into()),
    };
    engine.context().node.remember(session.node().clone());
    request.node_uuid = Some(session.node().uuid().to_owned());
    let refresher = NodeRefresher { lookups, request };
    engine.context().node.learn_from(Arc::new(refresher));

    let (line, status) = tokio::sync::watch::channel(String::new());
    let narrating = async {
        engine.narrate(&line, || control.force()).await;
        // The engine is gone, and its end is somebody else's matter.
        std::future::pending::<()>().await;
    };
    let told = config.current();
    let hello = session.hello(config);
    let schedule = Schedule::new(session.timeout(), rand::make_rng::<StdRng>());
    let backoff = Backoff::new(jitter);
    let heartbeats = Heartbeats {
        hello: &hello,
        deadline: call_deadline(&told),
        schedule,
        backoff,
        status: &status,
    };
    tokio::select! {
        () = heartbeats.run(conductor.as_ref(), control) => {}
        () = narrating => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks for one node again, whenever a command needs it as it is now.
#[derive(Debug)]
struct NodeRefresher {
    /// The client of the lookup that found the node.
    lookups: Lookups,
    /// What was asked then, and who was found.
    request: LookupRequest,
}

impl NodeSource for NodeRefresher {
    fn node(&self) -> BoxFuture<'_, Option<Node>> {
        Box::pin(async {
            let mut jitter: StdRng = rand::make_rng();
            self.lookups.refresh(&self.request, &mut jitter).await
        })
    }
}

/// The MAC addresses of the machine, once it has any. A machine that shows none in time is
/// looked up without: Ironic may know its UUID from the inspection.
async fn await_interfaces(system: &System) -> Vec<String> {
    let deadline = tokio::time::Instant::now() + NETWORK_PATIENCE;
    loop {
        let found: Vec<String> = interface::probe(system)
            .into_iter()
            .map(|interface| interface.mac_address)
            .collect();
        if !found.is_empty() {
            return found;
        }
        if tokio::time::Instant::now() >= deadline {
            warn!("no network interface has a MAC address");
            return found;
        }
        tokio::time::sleep(NETWORK_PERIOD).await;
    }
}
