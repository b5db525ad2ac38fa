//! How a program starts and ends: options, log, runtime, signals, exit code.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use ironic_options::{CommandLine, ConfigError, Loaded, Settings};
use ironic_text::printable;
use ironic_transport::socket;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, warn};

use crate::{CommonSettings, log};

/// What `kill` without a name sends; the status that shells and supervisors expect for it.
const TERMINATED: u8 = 143;

/// How long work that cannot be interrupted may delay the exit of the program.
pub const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs a program. `arguments` begin with its name. `prepare` runs once the command line was
/// read and before any other source of options is; `run` is the program's work.
pub fn start<S, F>(
    arguments: impl Iterator<Item = OsString>,
    prepare: impl FnOnce(&S) -> anyhow::Result<()>,
    run: impl FnOnce(Loaded<S>) -> F,
) -> ExitCode
where
    S: Settings + AsRef<CommonSettings>,
    F: Future<Output = anyhow::Result<ExitCode>>,
{
    let loaded = match load(arguments, prepare) {
        Ok(loaded) => loaded,
        Err(NotLoaded::Config(error)) => return error.print(),
        Err(NotLoaded::Prepare(error)) => {
            let line = format!("{}: {error:#}", S::PROGRAM.name);
            eprintln!("{}", printable(&line));
            return ExitCode::FAILURE;
        }
    };
    log::start(loaded.settings.as_ref().debug);
    if let Err(error) = socket::raise_descriptor_limit() {
        warn!(%error, "the limit of open files stays as it is");
    }
    loaded.report();
    let ended = runtime().and_then(|runtime| {
        let ended = runtime.block_on(until_signalled(run(loaded)));
        shut_down(runtime);
        ended
    });
    ended.unwrap_or_else(|error| {
        error!(error = %format!("{error:#}"), "{} ends", S::PROGRAM.name);
        ExitCode::FAILURE
    })
}

/// Why a program does not start.
enum NotLoaded {
    Config(ConfigError),
    Prepare(anyhow::Error),
}

/// Every source of options is read once: a file may be a pipe.
fn load<S: Settings>(
    arguments: impl Iterator<Item = OsString>,
    prepare: impl FnOnce(&S) -> anyhow::Result<()>,
) -> Result<Loaded<S>, NotLoaded> {
    let root = Path::new("/");
    let line = CommandLine::<S>::parse(arguments, root).map_err(NotLoaded::Config)?;
    prepare(&line.preview(root)).map_err(NotLoaded::Prepare)?;
    line.load(root).map_err(NotLoaded::Config)
}

/// Ends the tasks, and with them the programs that they run. A thread that waits in the kernel
/// for a device or a file is left behind: dropping the runtime would wait for it.
pub fn shut_down(runtime: Runtime) {
    runtime.shutdown_timeout(EXIT_TIMEOUT);
}

/// The runtime of a program.
///
/// # Errors
/// The system refuses threads or descriptors.
pub fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the runtime cannot be started")
}

/// Works until the work ends or a signal does: SIGTERM with the status that supervisors
/// expect, an interrupt as a normal end. Signals are handled before the work begins.
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
        shut_down(runtime);
        assert!(start.elapsed() < EXIT_TIMEOUT + Duration::from_secs(30));
        drop(release);
    }
}
