//! Why a result was not printed.

use std::io;

use thiserror::Error;

use super::message::MessageError;
use crate::exit_kind::ExitKind;

/// Why a result was not printed.
#[derive(Debug, Error)]
pub(crate) enum OutputError {
    /// The reader of standard output has gone away.
    #[error("the reader of the output has gone away")]
    Closed,
    /// Standard output takes nothing.
    #[error("cannot write to standard output")]
    Write(#[source] io::Error),
    /// A value cannot be JSON.
    #[error("a result cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// A value cannot be YAML.
    #[error("a result cannot be written as YAML")]
    Yaml(#[from] serde_saphyr::SerializeError),
    /// A message of the protocol cannot be read by its description.
    #[error(transparent)]
    Message(#[from] MessageError),
}

impl OutputError {
    /// The kind of failure.
    pub(crate) fn kind(&self) -> ExitKind {
        match self {
            Self::Closed => ExitKind::OutputClosed,
            _ => ExitKind::Other,
        }
    }
}
