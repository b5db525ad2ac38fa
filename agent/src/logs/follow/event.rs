//! What a reader of the logs gets.

use std::io;
use std::time::SystemTime;

use ironic_text::printable;
use tracing::Level as TracingLevel;

use crate::logs::secrets::text_without_secrets;
use crate::system::clock;
use crate::system::kernel_log::KernelRecord;
use crate::task::Level;
use ironic_program::log::KeptLine;

/// Where records come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSource {
    /// The agent's own log.
    Agent,
    /// The kernel's.
    Kernel,
}

/// One thing to read.
#[derive(Debug)]
pub enum LogEvent {
    /// What is read. The first event, and only the first.
    Opening(LogOpening),
    /// A record.
    Record(LogRecord),
    /// Records that are lost.
    Gap(LogGap),
}

/// The beginning of a stream of logs.
#[derive(Debug)]
pub struct LogOpening {
    /// The kernel's identifier of this boot; empty where it does not say it.
    pub boot: String,
    /// What is read.
    pub sources: Vec<LogSource>,
    /// What was not asked for by name and cannot be read, and why.
    pub unavailable: Vec<(LogSource, io::Error)>,
}

/// A record of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Where it comes from.
    pub source: LogSource,
    /// When, by the machine's clock.
    pub at: SystemTime,
    /// How much it matters.
    pub level: Level,
    /// One printable line without secrets.
    pub text: String,
}

/// Why records are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogGap {
    /// Newer ones took their place.
    Overwritten {
        /// Whose they were.
        source: LogSource,
        /// How many.
        records: u64,
    },
    /// The place was in the log of an earlier process of the agent.
    AgentRestarted,
    /// The place was in the logs of an earlier boot.
    MachineRestarted,
}

impl From<KeptLine> for LogRecord {
    fn from(line: KeptLine) -> Self {
        Self {
            source: LogSource::Agent,
            at: line.at,
            level: match line.level {
                TracingLevel::ERROR => Level::Error,
                TracingLevel::WARN => Level::Warn,
                TracingLevel::INFO => Level::Info,
                TracingLevel::DEBUG | TracingLevel::TRACE => Level::Debug,
            },
            // A line is printable when it is kept.
            text: text_without_secrets(&line.text),
        }
    }
}

impl From<&KernelRecord> for LogRecord {
    fn from(record: &KernelRecord) -> Self {
        let age = clock::since_boot().saturating_sub(record.since_boot);
        let now = SystemTime::now();
        Self {
            source: LogSource::Kernel,
            at: now.checked_sub(age).unwrap_or(now),
            level: match record.priority {
                0..=3 => Level::Error,
                4 => Level::Warn,
                5 | 6 => Level::Info,
                _ => Level::Debug,
            },
            text: printable(&text_without_secrets(&record.text)).into_owned(),
        }
    }
}
