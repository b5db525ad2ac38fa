//! One of the logs: a place in it, and the record that is next.

use std::io;

use ironic_program::log::KeptLog;
use tokio::sync::watch;

use super::event::{LogEvent, LogGap, LogRecord, LogSource};
use crate::system::KernelLog;
use crate::system::kernel_log::KernelLogReader;

/// A place in a log.
#[derive(Debug)]
pub(super) struct SourceReader {
    source: LogSource,
    records: Records,
    /// The number of the next record that is wanted; `None` while the log is empty.
    next: Option<u64>,
    /// The first record from there on, if it was looked at already.
    peeked: Option<(u64, LogRecord)>,
}

#[derive(Debug)]
enum Records {
    Agent {
        log: KeptLog,
        latest: watch::Receiver<u64>,
    },
    Kernel(Box<dyn KernelLogReader>),
}

impl SourceReader {
    /// A place in the agent's log: before this line, or before the oldest that is kept.
    pub(super) fn agent(log: &KeptLog, next: Option<u64>) -> Self {
        let latest = log.next();
        let next = next.unwrap_or_else(|| {
            let oldest = log.line_from(0).map(|line| line.sequence);
            oldest.unwrap_or_else(|| *latest.borrow())
        });
        let log = log.clone();
        Self::new(LogSource::Agent, Records::Agent { log, latest }, Some(next))
    }

    /// A place in the kernel's log: before this record, or before the oldest that it has.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(super) fn kernel(log: &dyn KernelLog, next: Option<u64>) -> io::Result<Self> {
        let records = Records::Kernel(log.open()?);
        let mut reader = Self::new(LogSource::Kernel, records, next);
        reader.fill()?;
        let oldest = reader.peeked.as_ref().map(|(sequence, _)| *sequence);
        reader.next = next.or(oldest);
        Ok(reader)
    }

    fn new(source: LogSource, records: Records, next: Option<u64>) -> Self {
        Self {
            source,
            records,
            next,
            peeked: None,
        }
    }

    pub(super) fn source(&self) -> LogSource {
        self.source
    }

    /// The number of the next record; `None` while the log is empty.
    pub(super) fn next(&self) -> Option<u64> {
        self.next
    }

    /// The record that is next, if there is one.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(super) fn peek(&mut self) -> io::Result<Option<&LogRecord>> {
        self.fill()?;
        Ok(self.peeked.as_ref().map(|(_, record)| record))
    }

    /// Takes the record that was peeked at, or the gap before it.
    pub(super) fn take(&mut self) -> Option<LogEvent> {
        let (sequence, record) = self.peeked.take()?;
        let missing = self.next.map_or(0, |next| sequence.saturating_sub(next));
        if missing > 0 {
            self.next = Some(sequence);
            self.peeked = Some((sequence, record));
            return Some(LogEvent::Gap(LogGap::Overwritten {
                source: self.source,
                records: missing,
            }));
        }
        self.next = Some(sequence + 1);
        Some(LogEvent::Record(record))
    }

    /// Completes when there may be a record, after none was found.
    pub(super) async fn changed(&mut self) -> io::Result<()> {
        match &mut self.records {
            Records::Agent { latest, .. } => {
                // The log lives: this reader holds it.
                let _ = latest.changed().await;
                Ok(())
            }
            Records::Kernel(reader) => reader.readable().await,
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.peeked.is_some() {
            return Ok(());
        }
        let from = self.next.unwrap_or(0);
        self.peeked = match &mut self.records {
            Records::Agent { log, latest } => {
                latest.borrow_and_update();
                let line = log.line_from(from);
                line.map(|line| (line.sequence, line.into()))
            }
            Records::Kernel(reader) => loop {
                match reader.read()? {
                    // Seen before the reader was away.
                    Some(record) if record.sequence < from => {}
                    Some(record) => break Some((record.sequence, (&record).into())),
                    None => break None,
                }
            },
        };
        Ok(())
    }
}

/// How many records the kernel has now.
///
/// # Errors
/// The log cannot be read.
pub(super) fn count_kernel(log: &dyn KernelLog) -> io::Result<u64> {
    let mut reader = log.open()?;
    let mut count = 0;
    while reader.read()?.is_some() {
        count += 1;
    }
    Ok(count)
}
