//! The agent's log and the kernel's, record by record, from a place that survives a reader's
//! absence.
//!
//! Nothing is kept for a reader: it holds a place, and what both logs keep anyway is bounded. A
//! reader that is too slow finds a [gap](LogGap).

use std::collections::VecDeque;
use std::future::pending;
use std::io;

use ironic_program::log::KeptLog;
use thiserror::Error;

use crate::system::System;

mod cursor;
mod event;
mod source;

pub use cursor::{InvalidCursor, LogCursor};
pub use event::{LogEvent, LogGap, LogOpening, LogRecord, LogSource};

use cursor::AgentLogPosition;
use source::{SourceReader, count_kernel};

/// What a reader wants.
#[derive(Debug, Clone, Default)]
pub struct FollowOptions {
    /// The logs; empty means all that can be read.
    pub sources: Vec<LogSource>,
    /// Whether to go on with new records.
    pub follow: bool,
    /// Where to begin.
    pub begin: FollowBegin,
}

/// Where a reader begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum FollowBegin {
    /// With the oldest record that is kept.
    #[default]
    Oldest,
    /// With the last so many records of all logs together.
    Tail(u32),
    /// Where it was before.
    Cursor(LogCursor),
}

/// Why logs cannot be followed.
#[derive(Debug, Error)]
pub enum FollowError {
    /// A log that was asked for by name.
    #[error("the kernel's log cannot be read")]
    Unavailable(#[source] io::Error),
    /// A log that could be read before.
    #[error("the kernel's log cannot be read any more")]
    Lost(#[source] io::Error),
}

/// The logs of a machine.
#[derive(Debug, Clone)]
pub struct FollowedLogs {
    /// The agent's.
    pub agent: KeptLog,
    /// Has the kernel's, and says which boot this is.
    pub system: System,
}

/// A reader.
#[derive(Debug)]
pub struct LogFollower {
    boot: String,
    agent: Option<SourceReader>,
    kernel: Option<SourceReader>,
    follow: bool,
    /// What comes before the first record.
    beginning: VecDeque<LogEvent>,
    log: u64,
}

impl LogFollower {
    /// Opens the logs.
    ///
    /// # Errors
    /// One that was asked for by name cannot be read.
    pub fn open(logs: &FollowedLogs, options: &FollowOptions) -> Result<Self, FollowError> {
        let boot = logs.system.root.boot_id().unwrap_or_default();
        let (resume, gap) = match &options.begin {
            FollowBegin::Cursor(cursor) => positions(cursor, &boot, logs.agent.id()),
            FollowBegin::Oldest | FollowBegin::Tail(_) => (ResumePositions::default(), None),
        };
        let wants = |source| options.sources.is_empty() || options.sources.contains(&source);
        let agent = wants(LogSource::Agent).then(|| SourceReader::agent(&logs.agent, resume.agent));
        let mut unavailable = Vec::new();
        let mut kernel = None;
        if wants(LogSource::Kernel) {
            match SourceReader::kernel(logs.system.kernel_log.as_ref(), resume.kernel) {
                Ok(reader) => kernel = Some(reader),
                Err(error) if options.sources.is_empty() => {
                    unavailable.push((LogSource::Kernel, error));
                }
                Err(error) => return Err(FollowError::Unavailable(error)),
            }
        }
        let readers = [&agent, &kernel].into_iter().flatten();
        let opening = LogEvent::Opening(LogOpening {
            boot: boot.clone(),
            sources: readers.map(SourceReader::source).collect(),
            unavailable,
        });
        let mut follower = Self {
            boot,
            agent,
            kernel,
            follow: options.follow,
            beginning: std::iter::once(opening)
                .chain(gap.map(LogEvent::Gap))
                .collect(),
            log: logs.agent.id(),
        };
        if let FollowBegin::Tail(tail) = options.begin {
            let skipped = follower.skip_to_tail(logs, tail);
            skipped.map_err(FollowError::Lost)?;
        }
        Ok(follower)
    }

    /// The next event; `None` at the end of what is kept, if new records are not followed.
    ///
    /// # Errors
    /// A log cannot be read any more.
    pub async fn next(&mut self) -> Result<Option<LogEvent>, FollowError> {
        if let Some(event) = self.beginning.pop_front() {
            return Ok(Some(event));
        }
        // Goal: the next event that the reader wants. Exit: there is one, or the end is reached
        // and not to be gone beyond.
        loop {
            match self.take().map_err(FollowError::Lost)? {
                Some(event) => return Ok(Some(event)),
                None if self.follow => self.changed().await.map_err(FollowError::Lost)?,
                None => return Ok(None),
            }
        }
    }

    /// The place behind the last event.
    #[must_use]
    pub fn cursor(&self) -> LogCursor {
        let position = |reader: &Option<SourceReader>| reader.as_ref().and_then(SourceReader::next);
        LogCursor {
            boot: self.boot.clone(),
            agent: position(&self.agent).map(|next| AgentLogPosition {
                log: self.log,
                next,
            }),
            kernel: position(&self.kernel),
        }
    }

    /// Leaves out what is kept, but for the last so many records.
    fn skip_to_tail(&mut self, logs: &FollowedLogs, tail: u32) -> io::Result<()> {
        let mut kept = self.agent.as_ref().map_or(0, |_| logs.agent.count());
        if self.kernel.is_some() {
            kept += count_kernel(logs.system.kernel_log.as_ref())?;
        }
        for _ in u64::from(tail)..kept {
            self.take()?;
        }
        Ok(())
    }

    /// The earlier of what is next in both logs.
    fn take(&mut self) -> io::Result<Option<LogEvent>> {
        let mut earliest = None;
        for reader in [&mut self.agent, &mut self.kernel].into_iter().flatten() {
            let at = reader.peek()?.map(|record| record.at);
            earliest = match (earliest, at) {
                (Some((first, _)), Some(at)) if at < first => Some((at, reader)),
                (None, Some(at)) => Some((at, reader)),
                (earliest, _) => earliest,
            };
        }
        Ok(earliest.and_then(|(_, reader)| reader.take()))
    }

    async fn changed(&mut self) -> io::Result<()> {
        let agent = async {
            match &mut self.agent {
                Some(reader) => reader.changed().await,
                None => pending().await,
            }
        };
        let kernel = async {
            match &mut self.kernel {
                Some(reader) => reader.changed().await,
                None => pending().await,
            }
        };
        tokio::select! {
            changed = agent => changed,
            changed = kernel => changed,
        }
    }
}

/// Where a reader that was here before goes on in each log.
#[derive(Debug, Default)]
struct ResumePositions {
    agent: Option<u64>,
    kernel: Option<u64>,
}

/// What a cursor is worth in this boot and this process, and what is lost by it.
fn positions(cursor: &LogCursor, boot: &str, log: u64) -> (ResumePositions, Option<LogGap>) {
    if cursor.boot != boot {
        return (ResumePositions::default(), Some(LogGap::MachineRestarted));
    }
    let kernel = cursor.kernel;
    match cursor.agent {
        Some(position) if position.log != log => {
            let agent = None;
            let gap = Some(LogGap::AgentRestarted);
            (ResumePositions { agent, kernel }, gap)
        }
        position => {
            let agent = position.map(|position| position.next);
            (ResumePositions { agent, kernel }, None)
        }
    }
}

#[cfg(test)]
mod tests;
