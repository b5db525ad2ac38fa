//! What an exit code of the program means.

use std::process::ExitCode;

/// How a run of the program ended. Each kind has an exit code of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitKind {
    /// What was asked for is done.
    Done,
    /// None of the others, or nodes failed in different ways.
    Other,
    /// The command line makes no sense.
    Usage,
    /// The configuration file, its context or a file that it names cannot be used.
    Configuration,
    /// A certificate or token is missing, expired or not accepted, or the caller may not do this.
    NotTrusted,
    /// Nobody answers at the address.
    Unreachable,
    /// There is no such node, command or join token, or several have the name.
    NotFound,
    /// The node is known, and its agent cannot be called now.
    NodeAway,
    /// The command was refused, and nothing was done.
    Refused,
    /// The command ran and failed.
    CommandFailed,
    /// The command was cancelled, or its deadline has passed.
    CommandCancelled,
    /// A destructive command was not confirmed, and nothing was done.
    NotConfirmed,
    /// There was no answer within `--timeout`.
    TimedOut,
    /// How a command ended is not known, and cannot be asked any more.
    OutcomeUnknown,
    /// Ctrl-C: commands that were given go on.
    Interrupted,
    /// The reader of the output has gone away.
    OutputClosed,
}

impl ExitKind {
    /// All kinds, in the order of their codes.
    pub const ALL: [Self; 16] = [
        Self::Done,
        Self::Other,
        Self::Usage,
        Self::Configuration,
        Self::NotTrusted,
        Self::Unreachable,
        Self::NotFound,
        Self::NodeAway,
        Self::Refused,
        Self::CommandFailed,
        Self::CommandCancelled,
        Self::NotConfirmed,
        Self::TimedOut,
        Self::OutcomeUnknown,
        Self::Interrupted,
        Self::OutputClosed,
    ];

    /// The exit code. The last two are those of programs that end by SIGINT and SIGPIPE.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Other => 1,
            Self::Usage => 2,
            Self::Configuration => 3,
            Self::NotTrusted => 4,
            Self::Unreachable => 5,
            Self::NotFound => 6,
            Self::NodeAway => 7,
            Self::Refused => 8,
            Self::CommandFailed => 9,
            Self::CommandCancelled => 10,
            Self::NotConfirmed => 11,
            Self::TimedOut => 12,
            Self::OutcomeUnknown => 13,
            Self::Interrupted => 130,
            Self::OutputClosed => 141,
        }
    }

    /// Its name in `-o json`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Other => "other",
            Self::Usage => "usage",
            Self::Configuration => "configuration",
            Self::NotTrusted => "not_trusted",
            Self::Unreachable => "unreachable",
            Self::NotFound => "not_found",
            Self::NodeAway => "node_away",
            Self::Refused => "refused",
            Self::CommandFailed => "command_failed",
            Self::CommandCancelled => "command_cancelled",
            Self::NotConfirmed => "not_confirmed",
            Self::TimedOut => "timed_out",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Interrupted => "interrupted",
            Self::OutputClosed => "output_closed",
        }
    }

    /// What it means, for the manual.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Other => "another failure, or nodes failed in different ways",
            Self::Usage => "the command line makes no sense",
            Self::Configuration => {
                "the configuration file, its context, or a file that it names cannot be used"
            }
            Self::NotTrusted => {
                "a certificate or token is missing, expired or not accepted, or the caller may not do this"
            }
            Self::Unreachable => "nobody answers at the address",
            Self::NotFound => "no such node, command or join token, or several have the name",
            Self::NodeAway => "the node is known, and its agent cannot be called now",
            Self::Refused => "the command was refused, and nothing was done",
            Self::CommandFailed => "the command ran and failed",
            Self::CommandCancelled => "the command was cancelled, or its deadline has passed",
            Self::NotConfirmed => "a destructive command was not confirmed, and nothing was done",
            Self::TimedOut => "no answer within --timeout",
            Self::OutcomeUnknown => {
                "the machine has booted since, or was lost: how the command ended is not known"
            }
            Self::Interrupted => "interrupted by Ctrl-C: commands that were given go on",
            Self::OutputClosed => "the reader of the output has gone away",
        }
    }

    /// How several nodes ended together: the kind that all failures have, else [`Self::Other`].
    #[must_use]
    pub fn of_several(kinds: impl IntoIterator<Item = Self>) -> Self {
        let failures = kinds.into_iter().filter(|kind| *kind != Self::Done);
        failures
            .reduce(|first, next| if first == next { first } else { Self::Other })
            .unwrap_or(Self::Done)
    }

    /// For the operating system.
    #[must_use]
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_code_and_a_word_of_its_own() {
        let codes: Vec<_> = ExitKind::ALL.iter().map(|kind| kind.code()).collect();
        assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
        let mut words: Vec<_> = ExitKind::ALL.iter().map(|kind| kind.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), ExitKind::ALL.len());
    }

    #[test]
    fn nodes_that_fail_in_the_same_way_keep_their_code() {
        use ExitKind::{CommandFailed, Done, NodeAway, Other};
        for (kinds, together) in [
            (vec![], Done),
            (vec![Done, Done], Done),
            (vec![Done, NodeAway, NodeAway], NodeAway),
            (vec![NodeAway, CommandFailed, Done], Other),
        ] {
            assert_eq!(ExitKind::of_several(kinds), together);
        }
    }
}
