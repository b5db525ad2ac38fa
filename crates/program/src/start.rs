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
use tokio::sync::watch;
use tracing::{error, warn};

use crate::{CommonSettings, log};

/// What `kill` without a name sends; the status that shells and supervisors expect for it.
const TERMINATED: u8 = 143;

/// What a program hears of SIGTERM if it waits for it: the first one then ends nothing, and the
/// program ends in its own time. The second one ends it at once.
#[derive(Debug)]
pub struct StopRequest(watch::Receiver<bool>);

impl StopRequest {
    /// Completes at the first SIGTERM.
    pub async fn asked(mut self) {
        // A sender that is gone means that the process ends.
        let _ = self.0.wait_for(|asked| *asked).await;
    }
}

/// How long work that cannot be interrupted may delay the exit of the program.
pub const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs a program. `arguments` begin with its name. `prepare` runs once the command line was
/// read and before any other source of options is; `run` is the program's work.
pub fn start<S, F>(
    arguments: impl Iterator<Item = OsString>,
    prepare: impl FnOnce(&S) -> anyhow::Result<()>,
    run: impl FnOnce(Loaded<S>, StopRequest) -> F,
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
    raise_descriptor_limit(DESCRIPTORS);
    loaded.report();
    let ended = runtime().and_then(|runtime| {
        let (asking, asked) = watch::channel(false);
        let work = run(loaded, StopRequest(asked));
        let ended = runtime.block_on(until_signalled(work, asking));
        shut_down(runtime);
        ended
    });
    ended.unwrap_or_else(|error| {
        error!(error = %format!("{error:#}"), "{} ends", S::PROGRAM.name);
        ExitCode::FAILURE
    })
}

/// Descriptors that a program wants: connections of two listeners, and its work.
const DESCRIPTORS: u64 = 4096;

/// Lets this program open so many descriptors, or as many as the system allows.
pub fn raise_descriptor_limit(wanted: u64) {
    if let Err(error) = socket::raise_descriptor_limit(wanted) {
        warn!(%error, "the limit of open files stays as it is");
    }
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

/// Works until the work ends or a signal ends it: SIGTERM with the status that supervisors
/// expect, an interrupt as a normal end. Signals are handled before the work begins.
async fn until_signalled(
    work: impl Future<Output = anyhow::Result<ExitCode>>,
    asking: watch::Sender<bool>,
) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            ended = &mut work => {
                let was_asked = *asking.borrow();
                return ended.map(|code| if was_asked { ExitCode::from(TERMINATED) } else { code });
            }
            _ = terminate.recv() => {
                let is_heard = asking.receiver_count() > 0;
                if !is_heard || asking.send_replace(true) {
                    return Ok(ExitCode::from(TERMINATED));
                }
            }
            _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
        }
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
