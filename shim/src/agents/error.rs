//! Why a call to an agent failed, read from its status and the `google.rpc.ErrorInfo` in it.

use std::error::Error as StdError;
use std::fmt;

use thiserror::Error;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::attachment::Away;
use super::record::{InvalidRecord, bare};
use crate::metrics::labels::{CommandVerdict, DropReason};

/// The domain of the reasons that an agent gives.
const DOMAIN: &str = "ironic.agent.v1";

/// Why a call failed.
#[derive(Debug, Clone, Error)]
pub enum CallError {
    /// A background command runs; its bare name.
    #[error("Agent is busy: executing command {0}")]
    Busy(String),
    /// The agent does not take this order.
    #[error("{message}")]
    Refused {
        /// `<message>: <details>` of the failure, as Ironic prints it.
        message: String,
    },
    /// The agent knows the verb and cannot do it yet.
    #[error("{message}")]
    NotBuilt {
        /// The agent's words.
        message: String,
    },
    /// No command has this identifier.
    #[error("{message}")]
    NotFound {
        /// The agent's words.
        message: String,
    },
    /// The identifier belongs to another command.
    #[error("{message}")]
    IdReused {
        /// The agent's words.
        message: String,
    },
    /// The agent has another token, or none.
    #[error("the agent does not accept the token")]
    Unauthenticated,
    /// The agent stops.
    #[error("the agent is shutting down")]
    ShuttingDown,
    /// The request or the answer is larger than a message may be.
    #[error("a message is too large: {message}")]
    TooLarge {
        /// Which limit, in the words of the transport.
        message: String,
    },
    /// Nobody answers.
    #[error("the agent does not answer at {endpoint}")]
    Unreachable {
        /// Where it should be.
        endpoint: String,
        /// What the transport says.
        source: TransportStatus,
    },
    /// The agent has no connection open, and nobody waits for it any longer.
    #[error("{name}: {away}")]
    Away {
        /// Which agent.
        name: String,
        /// Why nobody waits.
        away: Away,
    },
    /// As many orders for the agent as may wait do so already.
    #[error("{name}: too many orders wait for their turn")]
    Crowded {
        /// Which agent.
        name: String,
    },
    /// Nobody waits for the answer any longer, and the agent was not given the order.
    #[error("the caller has hung up")]
    Abandoned,
    /// The connection that the agent had opened was lost, and it may have done what was asked.
    #[error("{name}")]
    Lost {
        /// Which agent.
        name: String,
        /// What the transport says.
        source: TransportStatus,
    },
    /// It answers too slowly.
    #[error("the agent at {endpoint} has not answered in time")]
    Slow {
        /// Where it is.
        endpoint: String,
    },
    /// It is attached and answers too slowly.
    #[error("{name}: the agent is attached and has not answered in time")]
    Silent {
        /// Which agent.
        name: String,
    },
    /// An invalid answer.
    #[error("the agent's answer makes no sense: {0}")]
    Nonsense(#[from] InvalidRecord),
    /// Anything else.
    #[error("the agent failed: {code:?}: {message}")]
    Other {
        /// The gRPC code.
        code: Code,
        /// The agent's words.
        message: String,
    },
}

/// A status that no agent sent, printed as its message; what lies under it is its cause.
#[derive(Debug, Clone)]
pub struct TransportStatus(Status);

impl From<Status> for TransportStatus {
    fn from(status: Status) -> Self {
        Self(status)
    }
}

impl fmt::Display for TransportStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.message())
    }
}

impl StdError for TransportStatus {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

impl CallError {
    /// What a status from `endpoint` means.
    #[must_use]
    pub fn from_status(status: &Status, endpoint: &str) -> Self {
        let message = status.message().to_owned();
        let info = status
            .get_details_error_info()
            .filter(|info| info.domain == DOMAIN);
        if let Some(info) = info {
            match (info.reason.as_str(), status.code()) {
                ("AGENT_BUSY", _) => {
                    let named = info.metadata.get("command").map(String::as_str);
                    let named = named.or_else(|| message.rsplit(' ').next());
                    return Self::Busy(bare(named.unwrap_or_default()).to_owned());
                }
                ("COMMAND_NOT_FOUND", _) => return Self::NotFound { message },
                ("COMMAND_ID_REUSED", _) => return Self::IdReused { message },
                ("TOKEN_INVALID", _) => return Self::Unauthenticated,
                ("SHUTTING_DOWN", _) => return Self::ShuttingDown,
                (_, Code::InvalidArgument) => return Self::Refused { message },
                _ => {}
            }
        }
        match status.code() {
            Code::Unauthenticated => Self::Unauthenticated,
            Code::NotFound => Self::NotFound { message },
            Code::AlreadyExists => Self::IdReused { message },
            Code::InvalidArgument => Self::Refused { message },
            Code::Unimplemented => Self::NotBuilt { message },
            Code::OutOfRange | Code::ResourceExhausted => Self::TooLarge { message },
            Code::DeadlineExceeded => Self::Slow {
                endpoint: endpoint.to_owned(),
            },
            Code::Unavailable => Self::unreachable(status, endpoint),
            // The transport reports a connection that broke within a call like this.
            Code::Unknown | Code::Internal | Code::Cancelled
                if StdError::source(status).is_some() =>
            {
                Self::unreachable(status, endpoint)
            }
            code => Self::Other { code, message },
        }
    }

    /// Why the conductor is to be left without an answer, if it is: it tries again what has
    /// none, and takes an error for the end of the deployment.
    #[must_use]
    pub fn drop_reason(&self) -> Option<DropReason> {
        match self {
            Self::Away { away, .. } => Some(away.drop_reason()),
            Self::Crowded { .. } => Some(DropReason::TooMany),
            Self::Lost { .. } => Some(DropReason::ConnectionLost),
            Self::Silent { .. } => Some(DropReason::AgentSlow),
            _ => None,
        }
    }

    /// As a command is counted that ended so.
    #[must_use]
    pub fn command_verdict(&self) -> CommandVerdict {
        match self {
            Self::Busy(_) => CommandVerdict::Busy,
            Self::Refused { .. }
            | Self::NotBuilt { .. }
            | Self::NotFound { .. }
            | Self::IdReused { .. }
            | Self::Unauthenticated
            | Self::TooLarge { .. } => CommandVerdict::Refused,
            Self::ShuttingDown
            | Self::Unreachable { .. }
            | Self::Away { .. }
            | Self::Crowded { .. }
            | Self::Abandoned
            | Self::Lost { .. }
            | Self::Slow { .. }
            | Self::Silent { .. }
            | Self::Nonsense(_)
            | Self::Other { .. } => CommandVerdict::Unanswered,
        }
    }

    /// Whether the call may never have reached the agent, so that a repetition may help.
    #[must_use]
    pub fn is_broken_connection(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Lost { .. })
    }

    fn unreachable(status: &Status, endpoint: &str) -> Self {
        Self::Unreachable {
            endpoint: endpoint.to_owned(),
            source: status.clone().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    fn status(code: Code, reason: &str, message: &str, command: Option<&str>) -> Status {
        let metadata: HashMap<String, String> = command
            .map(|name| ("command".to_owned(), name.to_owned()))
            .into_iter()
            .collect();
        let details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
        Status::with_error_details(code, message, details)
    }

    #[test]
    fn every_documented_reason_is_read() {
        let busy = "Agent is busy: executing command prepare_image";
        let cases = [
            (
                status(Code::FailedPrecondition, "AGENT_BUSY", busy, None),
                "Busy(\"prepare_image\")",
            ),
            (
                status(
                    Code::FailedPrecondition,
                    "AGENT_BUSY",
                    "",
                    Some("standby.prepare_image"),
                ),
                "Busy(\"prepare_image\")",
            ),
            (
                status(Code::NotFound, "COMMAND_NOT_FOUND", "n", None),
                "NotFound { message: \"n\" }",
            ),
            (
                status(Code::AlreadyExists, "COMMAND_ID_REUSED", "r", None),
                "IdReused { message: \"r\" }",
            ),
            (
                status(Code::Unimplemented, "", "b", None),
                "NotBuilt { message: \"b\" }",
            ),
            (
                status(Code::Unauthenticated, "TOKEN_INVALID", "", None),
                "Unauthenticated",
            ),
            (
                status(Code::Unavailable, "SHUTTING_DOWN", "", None),
                "ShuttingDown",
            ),
            (
                status(
                    Code::InvalidArgument,
                    "InvalidCommandParamsError",
                    "bad",
                    None,
                ),
                "Refused { message: \"bad\" }",
            ),
            (
                Status::out_of_range("decoded message length too large"),
                "TooLarge { message: \"decoded message length too large\" }",
            ),
            (
                Status::deadline_exceeded("x"),
                "Slow { endpoint: \"unix:/a\" }",
            ),
            (
                Status::data_loss("odd"),
                "Other { code: DataLoss, message: \"odd\" }",
            ),
        ];
        for (status, expected) in cases {
            let error = CallError::from_status(&status, "unix:/a");
            assert_eq!(format!("{error:?}"), expected);
        }
    }

    #[test]
    fn an_agent_that_does_not_answer_is_named_with_every_cause() {
        let mut status = Status::unavailable("tcp connect error");
        status.set_source(std::sync::Arc::new(std::io::Error::other("refused")));
        let error = CallError::from_status(&status, "unix:/a");
        assert!(matches!(error, CallError::Unreachable { .. }), "{error:?}");
        assert_eq!(
            ironic_text::error_chain(&error),
            "the agent does not answer at unix:/a: tcp connect error: refused"
        );
    }

    #[test]
    fn reasons_of_another_domain_mean_nothing() {
        let details = ErrorDetails::with_error_info("AGENT_BUSY", "example.org", HashMap::new());
        let status = Status::with_error_details(Code::Unavailable, "proxy", details);
        let error = CallError::from_status(&status, "http://a:1");
        assert!(matches!(error, CallError::Unreachable { .. }), "{error:?}");
    }
}
