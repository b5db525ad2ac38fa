//! The program behind a manager: started, watched, and started again when it has ended.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::error::{PeerError, ProgramDown, StartError};
use super::peer::{ConnectPeer, ManagerDescription, ManagerPeer};
use crate::system::Daemon;

/// How long a program may take from its start to telling what it is.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a socket is looked for that is not there yet.
const SOCKET_PERIOD: Duration = Duration::from_millis(50);
/// How long a program may take to end when it is asked to.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause before a program is started again: doubled up to the longest, and the first
/// again once it has run for that long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// The kernel's limit for the path of a socket (`sun_path` with its final zero).
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// A watched program and its peer.
#[derive(Debug)]
pub struct ManagerProgram {
    name: String,
    peer: Arc<dyn ManagerPeer>,
    state: watch::Receiver<ProgramState>,
    stop: mpsc::Sender<()>,
}

/// How the program is.
#[derive(Debug, Clone)]
enum ProgramState {
    /// It can be called.
    Up,
    /// It cannot.
    Down(ProgramDown),
}

impl ManagerProgram {
    /// Starts a program and hears what it is. It lives as long as this value.
    ///
    /// # Errors
    /// Why it is not a manager, for an operator. It is ended then.
    pub async fn start(
        path: PathBuf,
        sockets: &Path,
        dial: &ConnectPeer,
    ) -> Result<(Arc<Self>, ManagerDescription), StartError> {
        let name = path
            .file_name()
            .unwrap_or_else(|| OsStr::new("manager"))
            .to_string_lossy()
            .into_owned();
        let socket = sockets.join(format!("{name}.sock"));
        if socket.as_os_str().len() > MAX_SOCKET_PATH_BYTES {
            return Err(StartError::SocketPath {
                path: socket,
                longest: MAX_SOCKET_PATH_BYTES,
            });
        }
        let peer = dial(&socket);
        let launch = Launch {
            name: name.clone(),
            path,
            socket,
            peer: Arc::clone(&peer),
        };
        let (daemon, described) = launch.run().await?;
        let (report, state) = watch::channel(ProgramState::Up);
        let (stop, stopped) = mpsc::channel(1);
        let watched = WatchLoop {
            launch,
            described: described.clone(),
            report,
            stopped,
        };
        tokio::spawn(watched.run(daemon));
        let program = Self {
            name,
            peer,
            state,
            stop,
        };
        Ok((Arc::new(program), described))
    }

    /// Its file name, for the log and errors.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The other end of its socket.
    #[must_use]
    pub fn peer(&self) -> &dyn ManagerPeer {
        self.peer.as_ref()
    }

    /// Why it cannot be called now; `None` when it can.
    #[must_use]
    pub fn down(&self) -> Option<ProgramDown> {
        match &*self.state.borrow() {
            ProgramState::Up => None,
            ProgramState::Down(reason) => Some(reason.clone()),
        }
    }

    /// Completes with the reason when it is no longer up.
    pub async fn ended(&self) -> ProgramDown {
        let mut state = self.state.clone();
        let is_down = |state: &ProgramState| matches!(state, ProgramState::Down(_));
        match state.wait_for(is_down).await.as_deref() {
            Ok(ProgramState::Down(reason)) => reason.clone(),
            Ok(ProgramState::Up) | Err(_) => ProgramDown::Unwatched,
        }
    }

    /// Ends it, with all that it is doing, and waits until it has ended. It is started again.
    pub async fn restart(&self) {
        // A full channel holds such a wish already.
        let _ = self.stop.try_send(());
        self.ended().await;
    }
}

/// What it takes to start the program.
struct Launch {
    name: String,
    path: PathBuf,
    socket: PathBuf,
    peer: Arc<dyn ManagerPeer>,
}

impl Launch {
    /// Starts it and asks what it is.
    async fn run(&self) -> Result<(Daemon, ManagerDescription), StartError> {
        // A socket of an earlier run would take calls that nobody answers.
        let _ = std::fs::remove_file(&self.socket);
        let args = ["--socket".to_owned(), self.socket.display().to_string()];
        let mut daemon = Daemon::start(&self.name, &self.path, &args)?;
        let asked = tokio::select! {
            end = daemon.ended() => Err(StartError::Ended(end)),
            asked = tokio::time::timeout(START_TIMEOUT, self.ask()) => match asked {
                Ok(described) => described.map_err(StartError::Describe),
                Err(_) => Err(StartError::Silent { seconds: START_TIMEOUT.as_secs() }),
            },
        };
        match asked {
            Ok(described) => Ok((daemon, described)),
            Err(error) => {
                daemon.stop(END_TIMEOUT).await;
                Err(error)
            }
        }
    }

    async fn ask(&self) -> Result<ManagerDescription, PeerError> {
        loop {
            if self.socket.exists() {
                match self.peer.describe().await {
                    // Between making a socket and listening there is a moment.
                    Err(lost) if lost.unreachable => {}
                    answer => return answer,
                }
            }
            tokio::time::sleep(SOCKET_PERIOD).await;
        }
    }
}

/// The loop around a program that runs.
struct WatchLoop {
    launch: Launch,
    described: ManagerDescription,
    report: watch::Sender<ProgramState>,
    stopped: mpsc::Receiver<()>,
}

impl WatchLoop {
    /// Runs until the program is no longer needed.
    async fn run(mut self, first: Daemon) {
        let mut daemon = Some(first);
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(running) = daemon.take() {
                let since = Instant::now();
                let Some(reason) = self.watch(running).await else {
                    return;
                };
                if since.elapsed() >= MAX_PAUSE {
                    pause = FIRST_PAUSE;
                }
                self.down(reason);
            }
            tokio::select! {
                () = self.report.closed() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(MAX_PAUSE);
            // A wish from before has come true.
            let _ = self.stopped.try_recv();
            match self.launch.run().await {
                Ok((running, described)) if described == self.described => {
                    tracing::info!(program = %self.launch.name, "the hardware manager is back");
                    self.report.send_replace(ProgramState::Up);
                    daemon = Some(running);
                }
                Ok((running, _)) => {
                    running.stop(END_TIMEOUT).await;
                    self.down(ProgramDown::Changed);
                }
                Err(error) => self.down(ProgramDown::NotStarted(Arc::new(error))),
            }
        }
    }

    /// Waits for the end of the program and answers why; `None` when it is no longer needed.
    async fn watch(&mut self, mut daemon: Daemon) -> Option<ProgramDown> {
        let ended = tokio::select! {
            ended = daemon.ended() => ended,
            _ = self.stopped.recv() => daemon.stop(END_TIMEOUT).await,
            () = self.report.closed() => {
                daemon.stop(END_TIMEOUT).await;
                return None;
            }
        };
        Some(ProgramDown::Ended(Arc::new(ended)))
    }

    fn down(&self, reason: ProgramDown) {
        tracing::error!(program = %self.launch.name, %reason, "the hardware manager is down");
        self.report.send_replace(ProgramState::Down(reason));
    }
}

impl fmt::Debug for WatchLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("program", &self.launch.name)
            .finish_non_exhaustive()
    }
}
