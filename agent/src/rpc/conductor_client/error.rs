//! Why a call to the conductor failed.

use std::error::Error;
use std::io;
use std::time::Duration;

use ironic_document::DocumentError;
use ironic_transport::{Endpoint, Endpoints};
use thiserror::Error as ThisError;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::conductor::{ConductorError, ConnectionError, Deferral, SessionLost};
use crate::rpc::call_status::CallStatus;

/// Why a call got no answer.
#[derive(Debug, ThisError)]
pub(in crate::rpc) enum ConductorCallError {
    /// The connection was refused or failed.
    #[error("{conductor}")]
    Dial {
        conductor: Endpoint,
        #[source]
        source: io::Error,
    },
    /// The call took too long.
    #[error("{conductor}: no answer within {} s", timeout.as_secs_f64())]
    NoAnswer {
        conductor: Endpoints,
        timeout: Duration,
    },
    /// It was answered by a status.
    #[error(transparent)]
    Status(#[from] CallStatus),
    /// The session was ended by the other side.
    #[error("the conductor closed the session")]
    Ended,
    /// The agent's server closed the connection, or this server is not to be reached like this.
    #[error("the agent's server closed the connection")]
    Stopped,
    /// The document does not fit the protocol.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The document is too large.
    #[error("the report has {size} bytes, {limit} are the limit")]
    TooLarge { size: usize, limit: usize },
}

impl From<Status> for ConductorCallError {
    fn from(status: Status) -> Self {
        Self::Status(CallStatus(status))
    }
}

impl ConductorCallError {
    /// The time after which the server asks for the call again: it has too much to do, which is
    /// no failure.
    pub(super) fn deferral(&self) -> Option<Deferral> {
        let Self::Status(CallStatus(status)) = self else {
            return None;
        };
        let retry_after = status.get_details_retry_info()?.retry_delay?;
        Some(Deferral {
            retry_after,
            reason: self.to_string(),
        })
    }

    /// Whether a new connection is needed: the server did not answer, or is unavailable.
    pub(super) fn condemns_connection(&self) -> bool {
        match self {
            Self::Dial { .. } | Self::NoAnswer { .. } => true,
            Self::Status(CallStatus(status)) => {
                status.code() == Code::Unavailable || status.source().is_some()
            }
            Self::Ended | Self::Stopped | Self::Document(_) | Self::TooLarge { .. } => false,
        }
    }
}

impl From<ConductorCallError> for SessionLost {
    fn from(error: ConductorCallError) -> Self {
        ConnectionError::new(error).into()
    }
}

impl From<ConductorCallError> for ConductorError {
    fn from(error: ConductorCallError) -> Self {
        ConnectionError::new(error).into()
    }
}
