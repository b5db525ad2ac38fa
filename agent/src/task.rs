//! What a running command may say and hear: progress, milestones, cancellation.
//!
//! Every module that works long takes a `&Task`. Progress is latest-wins and may be reported
//! as often as the worker likes; milestones are kept and numbered by the listener.

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Where a long command stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// What is being done, one word: `fetch`, `write_image`, `erase`.
    pub phase: Cow<'static, str>,
    /// Units done; bytes unless `unit` says otherwise.
    pub done: u64,
    /// Units in all, when known.
    pub total: Option<u64>,
    /// Units per second over the last seconds.
    pub rate: u64,
    /// Time left at this rate, when known.
    pub remaining: Option<Duration>,
    /// What is counted; empty means bytes.
    pub unit: Cow<'static, str>,
    /// What is worked on, for example `/dev/sda`.
    pub subject: String,
    /// Bytes of the target that hold their new content, where `done` counts what is read.
    pub written: Option<u64>,
}

/// Something that happened once, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskNote {
    /// A phase of the command ended.
    PhaseEnded(String),
    /// Something to know that is not a failure.
    Warning(String),
}

/// A line of a command's log, for those who follow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When.
    pub at: SystemTime,
    /// How much it matters.
    pub level: Level,
    /// The text, without secrets.
    pub text: String,
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The command fails because of it.
    Error,
    /// Something to know that is not a failure.
    Warn,
    /// What happens.
    Info,
    /// Details for developers.
    Debug,
}

impl Level {
    /// The word in the protocol.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// Lines that wait for a follower; of a slower one the oldest are dropped.
const LINES: usize = 256;
/// Notes of one command that are kept, far more than any step of ours has. Each is written to
/// disk with the command's record and goes to those who watch it.
const MAX_NOTES: usize = 1000;
/// Bytes of a note that are kept.
const MAX_NOTE_BYTES: usize = 4096;

/// A worker stopped because it was asked to, for this reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("The command was cancelled: {0}")]
pub struct Cancelled(String);

/// The worker's end of a running command. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Task {
    progress: watch::Sender<Option<Progress>>,
    notes: mpsc::UnboundedSender<TaskNote>,
    noted: Arc<AtomicUsize>,
    lines: broadcast::Sender<LogLine>,
    cancel: CancellationToken,
    reason: Arc<std::sync::Mutex<Option<String>>>,
}

/// The listener's end of a running command.
#[derive(Debug)]
pub struct TaskListener {
    /// The latest progress.
    pub progress: watch::Receiver<Option<Progress>>,
    /// Notes in their order.
    pub notes: mpsc::UnboundedReceiver<TaskNote>,
}

impl Task {
    /// A task and the end that listens to it.
    #[must_use]
    pub fn new() -> (Self, TaskListener) {
        let (progress, progress_receiver) = watch::channel(None);
        let (notes, notes_receiver) = mpsc::unbounded_channel();
        let task = Self {
            progress,
            notes,
            noted: Arc::default(),
            lines: broadcast::channel(LINES).0,
            cancel: CancellationToken::new(),
            reason: Arc::default(),
        };
        (
            task,
            TaskListener {
                progress: progress_receiver,
                notes: notes_receiver,
            },
        )
    }

    /// A task that nobody listens to.
    #[must_use]
    pub fn detached() -> Self {
        Self::new().0
    }

    /// Replaces the latest progress.
    pub fn progress(&self, progress: Progress) {
        self.progress.send_replace(Some(progress));
    }

    /// Notes the end of a phase.
    pub fn phase_ended(&self, text: impl Into<String>) {
        let text = text.into();
        self.line(Level::Info, &text);
        self.note(TaskNote::PhaseEnded(shortened(text)));
    }

    /// Notes something to know that is not a failure.
    pub fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        self.line(Level::Warn, &text);
        self.note(TaskNote::Warning(shortened(text)));
    }

    fn note(&self, note: TaskNote) {
        let note = match self.noted.fetch_add(1, Ordering::Relaxed) {
            ..MAX_NOTES => note,
            MAX_NOTES => TaskNote::Warning(format!(
                "This command has said more than {MAX_NOTES} things: the others are left out."
            )),
            _ => return,
        };
        // A listener that is gone has nothing to learn.
        let _ = self.notes.send(note);
    }

    /// Says what happens to those who follow the command now. It is not kept with the
    /// command: what must be known later is a phase or a warning.
    pub fn say(&self, text: impl AsRef<str>) {
        tracing::info!(text = text.as_ref(), "step of a command");
        self.line(Level::Info, text.as_ref());
    }

    /// Says why the command fails.
    pub fn say_failure(&self, failure: &dyn Error) {
        self.line(Level::Error, &failure.to_string());
    }

    /// The lines from now on.
    #[must_use]
    pub fn lines(&self) -> broadcast::Receiver<LogLine> {
        self.lines.subscribe()
    }

    fn line(&self, level: Level, text: &str) {
        if self.lines.receiver_count() > 0 {
            // The receivers may have gone in between.
            let _ = self.lines.send(LogLine {
                at: SystemTime::now(),
                level,
                text: text.to_owned(),
            });
        }
    }

    /// Asks the worker to stop as soon as it safely can.
    pub fn cancel(&self, reason: impl Into<String>) {
        if let Ok(mut slot) = self.reason.lock() {
            slot.get_or_insert(reason.into());
        }
        self.cancel.cancel();
    }

    /// Completes when the worker is asked to stop.
    pub async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    /// Whether the worker is asked to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// The error of a worker that stopped because it was asked to.
    #[must_use]
    pub fn cancellation(&self) -> Cancelled {
        let reason = self.reason.lock().ok().and_then(|slot| slot.clone());
        Cancelled(reason.unwrap_or_else(|| "no reason was given".to_owned()))
    }

    /// `Err` with [`Task::cancellation`] once the worker is asked to stop.
    ///
    /// # Errors
    /// The cancellation.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() {
            Err(self.cancellation())
        } else {
            Ok(())
        }
    }
}

/// The beginning of a text that is too long to be kept.
fn shortened(mut text: String) -> String {
    if text.len() > MAX_NOTE_BYTES {
        text.truncate(text.floor_char_boundary(MAX_NOTE_BYTES));
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_notes_is_cut() {
        let (task, mut heard) = Task::new();
        for number in 0..MAX_NOTES * 3 {
            let clone = task.clone();
            clone.warn(format!("{number} {}", "\u{e9}".repeat(MAX_NOTE_BYTES)));
            clone.phase_ended("x");
        }
        let mut notes = Vec::new();
        while let Ok(note) = heard.notes.try_recv() {
            notes.push(note);
        }
        assert_eq!(notes.len(), MAX_NOTES + 1);
        for note in &notes {
            let (TaskNote::PhaseEnded(text) | TaskNote::Warning(text)) = note;
            assert!(text.len() <= MAX_NOTE_BYTES + 3);
        }
        let Some(TaskNote::Warning(last)) = notes.last() else {
            panic!("{:?}", notes.last())
        };
        assert!(last.contains("left out"), "{last}");
    }

    #[test]
    fn the_first_reason_of_a_cancellation_stands() {
        let task = Task::detached();
        assert_eq!(task.check(), Ok(()));
        task.cancel("deadline");
        task.cancel("operator");
        let cancelled = task.check().unwrap_err();
        assert_eq!(cancelled.to_string(), "The command was cancelled: deadline");
    }
}
