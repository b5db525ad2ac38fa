//! A place in the logs that a reader keeps while it is away.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The first part of every cursor: what the rest means.
const FORMAT: &str = "1";
/// Stands for a number that there is not.
const NOTHING: &str = "-";

/// A place in the logs: of each source the next record that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogCursor {
    /// The kernel's identifier of the boot; empty where it does not say it.
    pub(super) boot: String,
    /// The place in the agent's log, if that was read.
    pub(super) agent: Option<AgentLogPosition>,
    /// The next record of the kernel, if that was read.
    pub(super) kernel: Option<u64>,
}

/// A place in the log of one process of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AgentLogPosition {
    /// Of which process.
    pub(super) log: u64,
    /// The next line.
    pub(super) next: u64,
}

/// A text is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("'cursor' must be one that FollowLogs has sent, or empty")]
pub struct InvalidCursor;

/// `1:BOOT:LOG:NEXT:KERNEL`.
impl fmt::Display for LogCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FORMAT}:{}:", self.boot)?;
        match self.agent {
            Some(AgentLogPosition { log, next }) => write!(f, "{log:016x}:{next}:")?,
            None => write!(f, "{NOTHING}:{NOTHING}:")?,
        }
        match self.kernel {
            Some(next) => write!(f, "{next}"),
            None => f.write_str(NOTHING),
        }
    }
}

impl FromStr for LogCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let parts: Vec<&str> = text.split(':').collect();
        let [FORMAT, boot, log, next, kernel] = parts.as_slice() else {
            return Err(InvalidCursor);
        };
        let number = |text: &str, radix| match text {
            NOTHING => Ok(None),
            text => u64::from_str_radix(text, radix)
                .map(Some)
                .map_err(|_| InvalidCursor),
        };
        let agent = match (number(log, 16)?, number(next, 10)?) {
            (Some(log), Some(next)) => Some(AgentLogPosition { log, next }),
            (None, None) => None,
            _ => return Err(InvalidCursor),
        };
        Ok(Self {
            boot: (*boot).to_owned(),
            agent,
            kernel: number(kernel, 10)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_back() {
        let position = AgentLogPosition {
            log: u64::MAX,
            next: 7,
        };
        for (agent, kernel) in [
            (Some(position), Some(3)),
            (None, Some(0)),
            (Some(position), None),
        ] {
            let cursor = LogCursor {
                boot: "6dd11111-2222-4333-8444-555555555555".to_owned(),
                agent,
                kernel,
            };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "x",
            "2:b:1:1:1",
            "1:b:1:1",
            "1:b:1:1:1:1",
            "1:b:-:1:1",
            "1:b:x:1:1",
            "1:b:1:-1:1",
            "1:b:1:1:18446744073709551616",
        ] {
            assert_eq!(text.parse::<LogCursor>(), Err(InvalidCursor), "{text}");
        }
    }
}
