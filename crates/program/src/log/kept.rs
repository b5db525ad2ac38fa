//! The last lines of a log, kept in memory for those who follow it.
//!
//! Lines have numbers without gaps. A reader holds the number of the next line that it wants and
//! nothing else, so a slow reader costs no memory: it finds that the line is gone.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;
use tracing::Level;

/// Bytes of all lines that are kept.
const KEPT_BYTES: usize = 1 << 20;
/// Bytes that a line takes beside its text.
const LINE_BYTES: usize = 64;

static OF_THIS_PROCESS: OnceLock<KeptLog> = OnceLock::new();

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptLine {
    /// Its number, from 0.
    pub sequence: u64,
    /// When it was written.
    pub at: SystemTime,
    /// How much it matters.
    pub level: Level,
    /// What it says: printable, without time and level.
    pub text: Arc<str>,
}

/// The last lines of a log. Cheap to clone; clones are the same log.
#[derive(Debug, Clone)]
pub struct KeptLog(Arc<KeptLogState>);

#[derive(Debug)]
struct KeptLogState {
    /// Tells this log from that of another process.
    id: u64,
    capacity: usize,
    lines: Mutex<KeptLines>,
    /// The number of the next line.
    next: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct KeptLines {
    lines: VecDeque<KeptLine>,
    bytes: usize,
}

impl KeptLog {
    /// The log of this process. Lines are kept from the first call on.
    #[must_use]
    pub fn of_this_process() -> Self {
        OF_THIS_PROCESS
            .get_or_init(|| Self::with_capacity(KEPT_BYTES))
            .clone()
    }

    /// The log of this process, if somebody wants its lines kept.
    pub(super) fn if_wanted() -> Option<&'static Self> {
        OF_THIS_PROCESS.get()
    }

    /// An empty log that keeps so many bytes, and always its last line.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Arc::new(KeptLogState {
            // Its keys are random.
            id: RandomState::new().build_hasher().finish(),
            capacity,
            lines: Mutex::default(),
            next: watch::Sender::new(0),
        }))
    }

    /// Tells this log from that of another process.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Adds a line; the oldest ones make room.
    pub fn write(&self, at: SystemTime, level: Level, text: &str) {
        let mut kept = self.lines();
        let sequence = *self.0.next.borrow();
        kept.bytes += text.len() + LINE_BYTES;
        kept.lines.push_back(KeptLine {
            sequence,
            at,
            level,
            text: text.into(),
        });
        while kept.bytes > self.0.capacity && kept.lines.len() > 1 {
            let oldest = kept.lines.pop_front();
            kept.bytes -= oldest.map_or(0, |line| line.text.len() + LINE_BYTES);
        }
        self.0.next.send_replace(sequence + 1);
    }

    /// The first line that is kept of those from a number on.
    #[must_use]
    pub fn line_from(&self, sequence: u64) -> Option<KeptLine> {
        let kept = self.lines();
        let first = kept.lines.front()?.sequence;
        let index = usize::try_from(sequence.saturating_sub(first)).ok()?;
        kept.lines.get(index).cloned()
    }

    /// How many lines are kept.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.lines().lines.len() as u64
    }

    /// The number of the next line, which changes with each.
    #[must_use]
    pub fn next(&self) -> watch::Receiver<u64> {
        self.0.next.subscribe()
    }

    fn lines(&self) -> MutexGuard<'_, KeptLines> {
        // Nothing in there is left half done that matters to a reader.
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(log: &KeptLog, text: &str) {
        log.write(SystemTime::UNIX_EPOCH, Level::INFO, text);
    }

    #[test]
    fn lines_are_numbered_and_the_oldest_make_room() {
        let log = KeptLog::with_capacity(3 * (LINE_BYTES + 1));
        assert_eq!(log.line_from(0), None);
        for text in ["a", "b", "c", "d", "e"] {
            write(&log, text);
        }
        assert_eq!((log.count(), *log.next().borrow()), (3, 5));
        let read = |from| log.line_from(from).map(|line| (line.sequence, line.text));
        assert_eq!(read(0), Some((2, "c".into())), "the first that is kept");
        assert_eq!(read(3), Some((3, "d".into())));
        assert_eq!(read(5), None);
        assert_eq!(read(u64::MAX), None);
        let long = "x".repeat(10_000);
        write(&log, &long);
        assert_eq!(read(0), Some((5, long.as_str().into())));
        assert_eq!(log.count(), 1);
    }

    #[test]
    fn logs_of_two_processes_differ() {
        let ids = [(); 2].map(|()| KeptLog::with_capacity(1).id());
        assert_ne!(ids[0], ids[1]);
    }
}
