//! What went wrong, as a gRPC status: one table.
//!
//! The message is the sentence that Ironic's REST clients expect, so that the shim can pass
//! it on. The details are a `google.rpc.ErrorInfo`. Both travel in HTTP/2 headers, and a
//! header list above 16 KiB loses everything, so the message is bounded.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use ironic_text::error_chain;

use super::convert::{InvalidCommand, InvalidExecuteRequest, InvalidFollowRequest};
use crate::commands::Refusal;
use crate::failure::{Failure, FailureKind};
use crate::logs::follow::FollowError;

/// The domain of every reason.
pub const DOMAIN: &str = "ironic.agent.v1";

/// The status of a refused order.
#[must_use]
pub fn refusal(refusal: &Refusal) -> Status {
    let (code, reason) = match refusal {
        Refusal::Busy { .. } => (Code::FailedPrecondition, "AGENT_BUSY"),
        Refusal::IdReused(_) => (Code::AlreadyExists, "COMMAND_ID_REUSED"),
        Refusal::NotFound(_) => (Code::NotFound, "COMMAND_NOT_FOUND"),
        Refusal::ShuttingDown => return shutting_down(),
        Refusal::Failure(failure) => return self::failure(failure),
    };
    status(code, reason, &refusal.to_string())
}

/// The status of a call that failed without being a command: a refused order, a plan that
/// cannot be made, an inventory that cannot be read.
#[must_use]
pub fn failure(failure: &Failure) -> Status {
    let code = if failure.kind.is_refusal() {
        Code::InvalidArgument
    } else {
        Code::FailedPrecondition
    };
    status(code, failure.kind.name(), &failure.to_string())
}

/// The status of a request that makes no sense.
#[must_use]
pub fn invalid(error: &InvalidExecuteRequest) -> Status {
    let kind = match error {
        // A verb of a newer protocol is not seen, so that both look alike.
        InvalidExecuteRequest::Command(InvalidCommand::NoVerb) => {
            return status(Code::Unimplemented, "COMMAND_NOT_BUILT", &error.to_string());
        }
        InvalidExecuteRequest::NoCommand => FailureKind::InvalidCommand,
        InvalidExecuteRequest::Id
        | InvalidExecuteRequest::Deadline
        | InvalidExecuteRequest::Command(_) => FailureKind::InvalidCommandParams,
    };
    failure(&Failure::new(kind, error.to_string()))
}

/// The status of a request for logs that makes no sense.
#[must_use]
pub fn invalid_follow(error: &InvalidFollowRequest) -> Status {
    status(
        Code::InvalidArgument,
        "LOG_REQUEST_INVALID",
        &error.to_string(),
    )
}

/// The status of a call that cannot read a log.
#[must_use]
pub fn follow(error: &FollowError) -> Status {
    status(
        Code::FailedPrecondition,
        "LOG_SOURCE_UNAVAILABLE",
        &error_chain(error),
    )
}

/// The status of a reader of logs that was cut off.
#[must_use]
pub fn log_reader_slow() -> Status {
    status(
        Code::ResourceExhausted,
        "LOG_READER_SLOW",
        "A message was not read for 30 s: go on from the last cursor",
    )
}

/// The status of one reader of logs too many.
#[must_use]
pub fn too_many_log_readers() -> Status {
    status(
        Code::ResourceExhausted,
        "TOO_MANY_LOG_READERS",
        "16 readers follow the logs already: end one of them, or ask later",
    )
}

/// The status of a call without the token.
#[must_use]
pub fn token_invalid() -> Status {
    status(Code::Unauthenticated, "TOKEN_INVALID", "Token invalid.")
}

/// The status of a call to an agent that stops.
#[must_use]
pub fn shutting_down() -> Status {
    status(
        Code::Unavailable,
        "SHUTTING_DOWN",
        "The agent is shutting down",
    )
}

fn status(code: Code, reason: &str, message: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    Status::with_error_details(code, bounded(message), details)
}

/// The message, cut so that there is room for it twice: percent-encoded, and in the details.
fn bounded(message: &str) -> String {
    const MAX_MESSAGE_BYTES: usize = 1536;
    if message.len() <= MAX_MESSAGE_BYTES {
        return message.to_owned();
    }
    let cut = message.floor_char_boundary(MAX_MESSAGE_BYTES);
    format!("{}...", &message[..cut])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::CommandId;

    #[test]
    fn every_refusal_has_its_code_reason_and_sentence() {
        let id = CommandId::parse("6dd11111-2222-4333-8444-555555555555").unwrap();
        let cases = [
            (
                Refusal::Busy {
                    command: "async_sleep".to_owned(),
                },
                Code::FailedPrecondition,
                "AGENT_BUSY",
                "Agent is busy: executing command async_sleep",
            ),
            (
                Refusal::NotFound("abc".to_owned()),
                Code::NotFound,
                "COMMAND_NOT_FOUND",
                "Not found: Command Result with id abc not found.",
            ),
            (
                Refusal::IdReused(id),
                Code::AlreadyExists,
                "COMMAND_ID_REUSED",
                "The identifier 6dd11111-2222-4333-8444-555555555555 belongs to another command: choose a new one",
            ),
            (
                Refusal::Failure(Failure::new(
                    FailureKind::InvalidCommandParams,
                    "Image is missing 'id' field.",
                )),
                Code::InvalidArgument,
                "InvalidCommandParamsError",
                "Invalid command parameters: Image is missing 'id' field.",
            ),
            (
                Refusal::Failure(Failure::new(FailureKind::DeviceNotFound, "none")),
                Code::FailedPrecondition,
                "DeviceNotFound",
                "Error finding the disk or partition device to deploy the image onto: none",
            ),
            (
                Refusal::ShuttingDown,
                Code::Unavailable,
                "SHUTTING_DOWN",
                "The agent is shutting down",
            ),
        ];
        for (refused, code, reason, message) in cases {
            let status = refusal(&refused);
            assert_eq!(status.code(), code);
            assert_eq!(status.message(), message);
            let info = status.get_details_error_info().unwrap();
            assert_eq!(
                (info.reason.as_str(), info.domain.as_str()),
                (reason, DOMAIN)
            );
        }
    }

    #[test]
    fn no_status_is_too_long_for_its_headers() {
        let failure = Failure::execution("\u{1f4be}".repeat(10_000));
        let status = self::failure(&failure);
        let encoded = status.message().len() * 3 + status.details().len() * 4 / 3;
        assert!(encoded < 8 * 1024, "{encoded}");
    }
}
