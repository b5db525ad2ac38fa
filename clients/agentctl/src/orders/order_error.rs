//! Why an order cannot be made from its arguments.

use std::io;
use std::path::PathBuf;

use ironic_document::DocumentError;
use thiserror::Error;

use super::document::DocumentFileError;
use crate::exit_kind::ExitKind;
use crate::output::message::MessageError;

/// Why there is no order.
#[derive(Debug, Error)]
pub(crate) enum OrderError {
    /// Nothing could verify the image.
    #[error(
        "--sha256, --sha384 or --sha512 is needed: only an image in a registry (oci://) brings its digest"
    )]
    NoDigest,
    /// A file of the operator cannot be used.
    #[error(transparent)]
    File(#[from] DocumentFileError),
    /// A config drive cannot be read.
    #[error("cannot read the config drive {path}")]
    ConfigDrive {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file with credentials cannot be read.
    #[error("cannot read the credentials for the image server in {path}")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A layout of arrays is something else.
    #[error("the layout is not a RaidCommand")]
    Layout(#[source] MessageError),
    /// A layout of arrays has none.
    #[error("the layout {0} has no volumes")]
    NoVolumes(PathBuf),
    /// A step has no interface.
    #[error("--step {0:?} is not INTERFACE.STEP, for example deploy.erase_devices_metadata")]
    Step(String),
    /// An argument of a step has no value.
    #[error("--argument {0:?} is not KEY=VALUE")]
    Argument(String),
    /// The command is not JSON.
    #[error("--command is not JSON")]
    Json(#[source] serde_json::Error),
    /// The command is not one of the protocol.
    #[error("the command is not one of the protocol")]
    Command(#[source] MessageError),
    /// A document is not what the protocol can carry.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

impl OrderError {
    /// The kind of failure.
    pub(crate) fn kind(&self) -> ExitKind {
        ExitKind::Usage
    }

    /// What to do next, where there is something to say.
    pub(crate) fn advice(&self) -> Option<String> {
        match self {
            Self::Command(_) | Self::Json(_) => Some(
                "expected one verb of ironic.agent.v1.Command, for example --command '{\"sync\": {}}'"
                    .to_owned(),
            ),
            Self::Layout(_) => {
                Some("for example {\"volumes\": [{\"level\": \"RAID_LEVEL_1\"}]}".to_owned())
            }
            Self::NoVolumes(_) => {
                Some("list them under `volumes`; --delete removes all arrays".to_owned())
            }
            Self::Step(_) => Some("`agentctl steps NODE` lists the steps".to_owned()),
            _ => None,
        }
    }
}
