//! How the agent is wired, started and stopped: the only place that knows every room.
//!
//! The order of a day: configuration, log, machine, engine, gRPC door, and then what the
//! agent says unasked: inspection, lookup, heartbeats. It ends in reverse.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::BoxFuture;
use ironic_text::printable;
use rand::rngs::StdRng;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::commands::power::clock;
use crate::commands::verbs::{finalize_rescue, lockdown};
use crate::commands::{CommandContext, Engine, NodeMemory, NodeSource, OwnVerbs};
use crate::conductor::backoff::Backoff;
use crate::conductor::heartbeat::{self, Control, Schedule};
use crate::conductor::lookup::{LookupError, Lookups};
use crate::conductor::token::Memory;
use crate::conductor::{Conductor, Question, call_deadline, inspection};
use crate::config::{self, Config, Endpoint, Loaded, Parameters, Program};
use crate::disk::virtual_media::{self, MediumError};
use crate::hardware::{Registry, bring_up, external, vlan};
use crate::image::Installed;
use crate::machine::ironic_node::Node;
use crate::machine::network::interface;
use crate::shutdown::ShutdownReason;
use crate::system::process::OwnedPrograms;
use crate::system::{System, sandbox, socket};
use crate::{inspect, logs, rpc};

mod introspection;
mod progress_report;
mod write_image;

/// What `kill` without a name sends; the status that shells and supervisors expect for it.
const TERMINATED: u8 = 143;
/// How long the network may take to show an interface, and how often it is looked at.
const NETWORK_PATIENCE: Duration = Duration::from_secs(60);
const NETWORK_PERIOD: Duration = Duration::from_secs(1);
/// How long the answer to the command that ends the service may take to leave.
const ANSWER_PATIENCE: Duration = Duration::from_millis(200);
/// How long work that cannot be interrupted may delay the exit of the program.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);
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
        return start_with(Program::Agent, arguments, introspection::run);
    }
    start(Program::Agent, run)
}

/// What both programs do around their work: configuration, log, runtime, signals, exit code.
pub fn start<F>(program: Program, run: impl FnOnce(Loaded) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<ExitCode>>,
{
    start_with(program, std::env::args_os(), run)
}

fn start_with<F>(
    program: Program,
    arguments: impl Iterator<Item = OsString>,
    run: impl FnOnce(Loaded) -> F,
) -> ExitCode
where
    F: Future<Output = anyhow::Result<ExitCode>>,
{
    let arguments: Vec<OsString> = arguments.collect();
    let load = || Config::load(program, arguments.iter().cloned(), Path::new("/"));
    // Nothing is mounted for a simulation.
    let simulates = load().is_ok_and(|loaded| loaded.config.simulate.is_some());
    if !simulates && let Err(error) = take_virtual_media(program) {
        eprintln!("{}", printable(&format!("{}: {error:#}", program.name())));
        return ExitCode::FAILURE;
    }
    let loaded = match load() {
        Ok(loaded) => loaded,
        Err(error) => return error.print(),
    };
    logs::start(loaded.config.debug);
    if let Err(error) = socket::raise_descriptor_limit() {
        warn!(%error, "the limit of open files stays as it is");
    }
    loaded.report();
    let ended = runtime().and_then(|runtime| {
        let ended = runtime.block_on(until_signalled(run(loaded)));
        end(runtime);
        ended
    });
    ended.unwrap_or_else(|error| {
        error!(error = %format!("{error:#}"), "{} ends", program.name());
        ExitCode::FAILURE
    })
}

/// Reads what Ironic put on virtual media, before the configuration is read.
fn take_virtual_media(program: Program) -> anyhow::Result<()> {
    if !Parameters::of_kernel(Path::new("/")).boots_from_virtual_media() {
        return Ok(());
    }
    match runtime()?.block_on(virtual_media::take(&System::linux(), program.name())) {
        // The machine may do without; if not, this program ends later and tries again.
        Err(error @ MediumError::Mount { .. }) => {
            eprintln!("{}", printable(&format!("{}: {error}", program.name())));
        }
        other => other?,
    }
    Ok(())
}

/// Ends the tasks, and with them the programs that they run. A thread that waits in the kernel
/// for a device or a file is left behind: dropping the runtime would wait for it.
fn end(runtime: tokio::runtime::Runtime) {
    runtime.shutdown_timeout(EXIT_TIMEOUT);
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the runtime cannot be started")
}

/// Works until the work ends or a signal does: SIGTERM with the status that supervisors
/// expect, an interrupt as a normal end. Signals are heard before the work begins.
async fn until_signalled(
    work: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        ended = work => ended,
        _ = terminate.recv() => Ok(ExitCode::from(TERMINATED)),
        _ = interrupt.recv() => Ok(ExitCode::SUCCESS),
    }
}

async fn run(loaded: Loaded) -> anyhow::Result<ExitCode> {
    let config = config::Shared::new(loaded.config);
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
        installed: Arc::new(Installed::kept(&told.state_dir, boot.as_deref())),
        node: NodeMemory::default(),
    };
    let (engine, task) = Engine::new(context, Arc::new(OwnVerbs), &told.state_dir);
    tokio::spawn(task.run());

    let server = rpc::bind(engine.clone(), &told, stop.clone()).await?;
    info!(version = %config::version(), listen = %server.listen(), "ironic-agent");
    let mut serving = tokio::spawn(server.run());

    let control = Control::default();
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
/// an address of its own, or a shim that was told where Ironic is.
fn has_conductor(config: &Config) -> bool {
    config.conductor != Config::default().conductor
        || wants_lookup(config)
        || inspection::is_wanted(config)
}

/// Inspection alone needs no lookup: Ironic then sends no `ipa-api-url`.
fn wants_lookup(config: &Config) -> bool {
    !matches!(config.conductor, Endpoint::Unix(_))
        || !config.api_url.is_empty()
        || config.mdns.use_mdns
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
    let mut question = Question {
        addresses: await_interfaces(system).await,
        node_uuid: None,
    };

    if inspection::is_wanted(&told) {
        let report = inspect::collect(system, &told, registry).await;
        question.node_uuid = inspection::submit(conductor.as_ref(), &report.data)
            .await
            .context("the inspection report could not be delivered")?;
    }
    if !wants_lookup(&told) {
        info!("no Ironic to look the node up at: commands are awaited");
        return std::future::pending().await;
    }

    let memory = Memory::new(&told.state_dir, &system.root);
    let lookups = Lookups::new(Arc::clone(&conductor), config.clone(), memory);
    let session = match lookups.run(&question, &mut jitter).await {
        Ok(session) => session,
        Err(taken @ LookupError::TokenTaken { .. }) => {
            // Ironic is waiting for the other agent: no commands, no heartbeats, and a
            // network that whoever looks after the machine can use.
            error!(error = %taken, "the agent idles");
            return std::future::pending().await;
        }
        Err(error) => return Err(error.into()),
    };
    engine.context().node.remember(session.node().clone());
    question.node_uuid = Some(session.node().uuid().to_owned());
    let again = Again { lookups, question };
    engine.context().node.learn_from(Arc::new(again));

    let finished = engine.finished();
    let forcing = async {
        loop {
            finished.notified().await;
            control.force();
        }
    };
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
    let beating = heartbeat::run(
        conductor.as_ref(),
        &hello,
        call_deadline(&told),
        schedule,
        backoff,
        control,
        &status,
    );
    tokio::select! {
        () = beating => {}
        () = forcing => {}
        () = narrating => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks for one node again, whenever a command needs it as it is now.
#[derive(Debug)]
struct Again {
    /// The client of the lookup that found the node.
    lookups: Lookups,
    /// What was asked then, and who was found.
    question: Question,
}

impl NodeSource for Again {
    fn node(&self) -> BoxFuture<'_, Option<Node>> {
        Box::pin(async {
            let mut jitter: StdRng = rand::make_rng();
            self.lookups.refresh(&self.question, &mut jitter).await
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As one that waits in the kernel for a disk or a file.
    #[test]
    fn a_thread_that_does_not_come_back_does_not_hold_the_exit() {
        let runtime = runtime().unwrap();
        let (release, gate) = std::sync::mpsc::channel::<()>();
        let (tell, begun) = std::sync::mpsc::channel();
        runtime.spawn_blocking(move || {
            tell.send(()).unwrap();
            let _ = gate.recv();
        });
        begun.recv().unwrap();
        let start = std::time::Instant::now();
        end(runtime);
        assert!(start.elapsed() < EXIT_TIMEOUT + Duration::from_secs(30));
        drop(release);
    }
}
