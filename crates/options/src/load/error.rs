//! Where a setting was found, and what may be wrong with it.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use ironic_text::{error_chain, printable, printable_lines};
use thiserror::Error;

use super::MAX_SECRET_BYTES;
use crate::ini::SyntaxError;

/// Where a setting was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// On the kernel command line.
    Kernel {
        /// The key.
        key: String,
    },
    /// In `parameters.txt` on virtual media.
    VirtualMedia {
        /// The key.
        key: String,
    },
    /// In a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// In the environment.
    Environment {
        /// The variable.
        variable: &'static str,
    },
    /// On the command line.
    CommandLine {
        /// The flag without dashes.
        flag: String,
    },
}

/// Something that was set and has no or another effect.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Warning {
    /// An option that we deliberately do not have.
    #[error("{option} has no effect here: {reason} ({origin})")]
    NotOffered {
        /// The option.
        option: String,
        /// Why we do not have it.
        reason: &'static str,
        /// Where it was set.
        origin: Origin,
    },
    /// A certificate without its key, or the other way round.
    #[error("{present} is set and {missing} is not: both are needed, neither is used")]
    HalfPair {
        /// The option that is set.
        present: &'static str,
        /// The option that has to be set, too.
        missing: &'static str,
    },
    /// A secret where every user of the machine can read it.
    #[error(
        "{option} is on the command line, where every user of this machine can read it: put it into a file and name that by --{option}_file"
    )]
    SecretOnCommandLine {
        /// The option.
        option: String,
    },
    /// A secret's file that every user of the machine can read.
    #[error("{} holds {option} and can be read by every user of this machine: take the permission away by chmod o-r", path.display())]
    SecretForAll {
        /// The option.
        option: &'static str,
        /// The file.
        path: PathBuf,
    },
}

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// `--help` or `--version`: no error, but the end. The text is for standard output.
    #[error("{0}")]
    Asked(String),
    /// The command line is wrong. The text is for standard error.
    #[error("{0}")]
    CommandLine(String),
    /// A value is not valid.
    #[error("{origin}: {option}: expected {expected}{}", instead(.given))]
    Invalid {
        /// The option.
        option: String,
        /// Where it was set.
        origin: Origin,
        /// What it should have been.
        expected: &'static str,
        /// What it was; `None` for secrets.
        given: Option<String>,
    },
    /// A line of a file is not valid.
    #[error("{}:{line}: {error}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        error: SyntaxError,
    },
    /// A file that must hold a secret holds something else.
    #[error("{}: expected {option}, on one line of at most {MAX_SECRET_BYTES} bytes", path.display())]
    NoSecret {
        /// The option.
        option: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A file or directory that was asked for cannot be read.
    #[error("{}: cannot be read", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl ConfigError {
    /// Prints what is wrong, and returns the exit code of the program.
    #[must_use]
    pub fn print(&self) -> ExitCode {
        match self {
            Self::Asked(text) => {
                print!("{text}");
                ExitCode::SUCCESS
            }
            // Several lines of clap's, with what was given.
            Self::CommandLine(text) => {
                eprintln!("{}", printable_lines(text));
                ExitCode::FAILURE
            }
            Self::Unreadable { .. }
            | Self::Invalid { .. }
            | Self::Syntax { .. }
            | Self::NoSecret { .. } => {
                let line = format!("error: {}", error_chain(self));
                eprintln!("{}", printable(&line));
                ExitCode::FAILURE
            }
        }
    }
}

fn instead(given: &Option<String>) -> String {
    given
        .as_ref()
        .map(|given| format!(", not {given:?}"))
        .unwrap_or_default()
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel { key } => write!(f, "kernel parameter {key}"),
            Self::VirtualMedia { key } => write!(f, "virtual media parameter {key}"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
            Self::CommandLine { flag } => write!(f, "--{flag}"),
        }
    }
}
