//! The program behind a manager: started, watched, and started again when it has ended.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::peer::{Described, Dial, Lost, Peer};
use crate::system::Daemon;

/// How long a program may take from its start to telling what it is.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How often a socket is looked for that is not there yet.
const SOCKET_PERIOD: Duration = Duration::from_millis(50);
/// How long a program may take to end when it is asked to.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// The pause before a program is started again: doubled up to the longest, and the first
/// again once it has run for that long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The kernel's limit for the path of a socket (`sun_path` with its final zero).
const LONGEST_SOCKET_PATH: usize = 107;

/// A watched program and its peer.
#[derive(Debug)]
pub struct Program {
    name: String,
    peer: Arc<dyn Peer>,
    state: watch::Receiver<State>,
    stop: mpsc::Sender<()>,
}

/// How the program is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// It told what it is and is to be called.
    Up,
    /// It is not, and why.
    Down(String),
}

impl Program {
    /// Starts a program and hears what it is. It lives as long as this value.
    ///
    /// # Errors
    /// Why it is no manager, for an operator. It is ended then.
    pub async fn start(
        path: PathBuf,
        sockets: &Path,
        dial: &Dial,
    ) -> Result<(Arc<Self>, Described), String> {
        let name = path
            .file_name()
            .unwrap_or_else(|| OsStr::new("manager"))
            .to_string_lossy()
            .into_owned();
        let socket = sockets.join(format!("{name}.sock"));
        if socket.as_os_str().len() > LONGEST_SOCKET_PATH {
            return Err(format!(
                "the path of its socket, {}, is longer than {LONGEST_SOCKET_PATH} bytes: \
                 give the program a shorter name",
                socket.display()
            ));
        }
        let peer = dial(&socket);
        let launch = Launch {
            name: name.clone(),
            path,
            socket,
            peer: Arc::clone(&peer),
        };
        let (daemon, described) = launch.run().await?;
        let (report, state) = watch::channel(State::Up);
        let (stop, stopped) = mpsc::channel(1);
        let watched = Watched {
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
    pub fn peer(&self) -> &dyn Peer {
        self.peer.as_ref()
    }

    /// Why it cannot be called now; `None` when it can.
    #[must_use]
    pub fn down(&self) -> Option<String> {
        match &*self.state.borrow() {
            State::Up => None,
            State::Down(reason) => Some(reason.clone()),
        }
    }

    /// Completes with the reason when it is no longer up.
    pub async fn ended(&self) -> String {
        let mut state = self.state.clone();
        match state.wait_for(|state| *state != State::Up).await {
            Ok(state) => match &*state {
                State::Down(reason) => reason.clone(),
                State::Up => String::new(),
            },
            Err(_) => "it is no longer watched".to_owned(),
        }
    }

    /// Ends it, with whatever it is doing, and waits until it has ended. It is started again.
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
    peer: Arc<dyn Peer>,
}

impl Launch {
    /// Starts it and asks what it is.
    async fn run(&self) -> Result<(Daemon, Described), String> {
        // A socket of an earlier run would take calls that nobody answers.
        let _ = std::fs::remove_file(&self.socket);
        let args = ["--socket".to_owned(), self.socket.display().to_string()];
        let mut daemon =
            Daemon::start(&self.name, &self.path, &args).map_err(|error| error.to_string())?;
        let asked = tokio::select! {
            ended = daemon.ended() => Err(format!("the program {ended} before it told what it is")),
            asked = tokio::time::timeout(START_PATIENCE, self.ask()) => match asked {
                Ok(described) => described.map_err(|lost| format!("it does not tell what it is: {lost}")),
                Err(_) => Err(format!(
                    "it did not tell what it is within {} s", START_PATIENCE.as_secs()
                )),
            },
        };
        match asked {
            Ok(described) => Ok((daemon, described)),
            Err(reason) => {
                daemon.stop(END_PATIENCE).await;
                Err(reason)
            }
        }
    }

    async fn ask(&self) -> Result<Described, Lost> {
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
struct Watched {
    launch: Launch,
    described: Described,
    report: watch::Sender<State>,
    stopped: mpsc::Receiver<()>,
}

impl Watched {
    /// Runs until nobody needs the program any more.
    async fn run(mut self, first: Daemon) {
        let mut daemon = Some(first);
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(running) = daemon.take() {
                let since = Instant::now();
                let Some(reason) = self.watch(running).await else {
                    return;
                };
                if since.elapsed() >= LONGEST_PAUSE {
                    pause = FIRST_PAUSE;
                }
                self.down(reason);
            }
            tokio::select! {
                () = self.report.closed() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            // A wish from before has come true.
            let _ = self.stopped.try_recv();
            match self.launch.run().await {
                Ok((running, described)) if described == self.described => {
                    tracing::info!(program = %self.launch.name, "the hardware manager is back");
                    self.report.send_replace(State::Up);
                    daemon = Some(running);
                }
                Ok((running, _)) => {
                    running.stop(END_PATIENCE).await;
                    self.down(
                        "the program was started again and now says that it is something else"
                            .to_owned(),
                    );
                }
                Err(reason) => self.down(reason),
            }
        }
    }

    /// Waits for the end of the program and answers why; `None` when nobody needs it.
    async fn watch(&mut self, mut daemon: Daemon) -> Option<String> {
        let ended = tokio::select! {
            ended = daemon.ended() => ended,
            _ = self.stopped.recv() => daemon.stop(END_PATIENCE).await,
            () = self.report.closed() => {
                daemon.stop(END_PATIENCE).await;
                return None;
            }
        };
        Some(format!("the program {ended}"))
    }

    fn down(&self, reason: String) {
        tracing::error!(program = %self.launch.name, %reason, "the hardware manager is down");
        self.report.send_replace(State::Down(reason));
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("program", &self.launch.name)
            .finish_non_exhaustive()
    }
}
