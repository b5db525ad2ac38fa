//! Refusals: their status and the sentence that the conductor shows to its operator.

use http::StatusCode;
use ironic_text::error_chain;
use serde::Serialize;

use super::json::write;
use crate::agents::CallError;
use crate::metrics::labels::DropReason;
use crate::weight::TooHeavy;

/// A refused request. The conductor needs `faultstring` to be a text in every answer from
/// 400 on, or it breaks with a type error of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestError {
    /// The status.
    pub status: StatusCode,
    /// The sentence.
    pub text: String,
    /// Why the connection ends in place of an answer, if it does: the conductor then asks again,
    /// and takes any answer of this status for the end of the deployment.
    pub unanswered: Option<DropReason>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    faultcode: &'static str,
    faultstring: &'a str,
}

impl RestError {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
            unanswered: None,
        }
    }

    /// The body, a JSON document.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let client = self.status.is_client_error();
        write::text(&ErrorBody {
            faultcode: if client { "Client" } else { "Server" },
            faultstring: &self.text,
        })
    }

    /// No such path.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "404 Not Found: The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again.",
        )
    }

    /// No agent is registered for this node.
    #[must_use]
    pub fn no_node(uuid: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            format!("Not found: Node with id {uuid} not found."),
        )
    }

    /// No such command.
    #[must_use]
    pub fn no_command(id: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            format!("Not found: Command Result with id {id} not found."),
        )
    }

    /// No such extension.
    #[must_use]
    pub fn no_extension(name: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            format!("Not found: Extension with id {name} not found."),
        )
    }

    /// The path has other methods.
    #[must_use]
    pub fn wrong_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "405 Method Not Allowed: The method is not allowed for the requested URL.",
        )
    }

    /// No token, a wrong one, or none to compare with.
    #[must_use]
    pub fn token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "401 Unauthorized: Token invalid.")
    }

    /// The body is no JSON.
    #[must_use]
    pub fn malformed(error: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            format!("400 Bad Request: Failed to decode JSON object: {error}"),
        )
    }

    /// The body is no larger than allowed, but what it holds would be.
    #[must_use]
    pub fn heavy(error: TooHeavy) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("413 Request Entity Too Large: The request body {error}."),
        )
    }

    /// Other requests hold the memory that bodies are given.
    #[must_use]
    pub fn crowded() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "503 Service Unavailable: too many large requests at once: try again.",
        )
    }

    /// The same for a request that waited for its node's sake and is not answered.
    #[must_use]
    pub fn crowded_out() -> Self {
        Self {
            unanswered: Some(DropReason::TooMany),
            ..Self::crowded()
        }
    }

    /// The body is JSON and no command.
    #[must_use]
    pub fn shapeless() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "400 Bad Request: Missing or invalid name or params",
        )
    }

    /// The name has no dot.
    #[must_use]
    pub fn nameless() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "Invalid command: Command name must be of the form <extension>.<name>",
        )
    }

    /// The extension has no such command.
    #[must_use]
    pub fn unknown_command(name: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            format!("Invalid command: Unknown command: {name}"),
        )
    }

    /// A parameter has the wrong shape.
    #[must_use]
    pub fn parameters(error: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            format!("Invalid command parameters: {error}"),
        )
    }

    /// A background command runs.
    #[must_use]
    pub fn busy(command: &str) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            format!("Agent is busy: executing command {command}"),
        )
    }

    /// The body is larger than `limit` bytes.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        let mib = limit / (1024 * 1024);
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "413 Request Entity Too Large: The request body is larger than the limit of {limit} bytes ({mib} MiB)."
            ),
        )
    }

    /// The body does not arrive.
    #[must_use]
    pub fn slow(seconds: u64) -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("408 Request Timeout: The request body stalled for {seconds} s."),
        )
    }

    /// The body breaks off or its framing is wrong.
    #[must_use]
    pub fn broken_body() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "400 Bad Request: The request body could not be read to its end.",
        )
    }

    /// We failed.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "500 Internal Server Error: the shim's log says more.",
        )
    }

    /// A call to the agent failed.
    #[must_use]
    pub fn call(error: &CallError) -> Self {
        let status = match error {
            CallError::Busy(command) => return Self::busy(command),
            CallError::Unauthenticated => return Self::token(),
            CallError::Refused { message } | CallError::NotBuilt { message } => {
                return Self::new(StatusCode::BAD_REQUEST, message);
            }
            CallError::NotFound { message } => {
                return Self::new(StatusCode::NOT_FOUND, message);
            }
            CallError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            CallError::ShuttingDown
            | CallError::Unreachable { .. }
            | CallError::Away { .. }
            | CallError::Crowded { .. }
            | CallError::Abandoned
            | CallError::Lost { .. } => StatusCode::SERVICE_UNAVAILABLE,
            CallError::Slow { .. } | CallError::Silent { .. } => StatusCode::GATEWAY_TIMEOUT,
            CallError::Nonsense(_) | CallError::IdReused { .. } | CallError::Other { .. } => {
                StatusCode::BAD_GATEWAY
            }
        };
        let name = status.canonical_reason().unwrap_or("Error");
        Self {
            unanswered: error.drop_reason(),
            ..Self::new(
                status,
                format!("{} {name}: {}.", status.as_u16(), error_chain(error)),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_the_python_agents() {
        assert_eq!(
            RestError::token().body(),
            br#"{"faultcode": "Client", "faultstring": "401 Unauthorized: Token invalid."}"#
        );
        // The contract counts the bytes.
        assert_eq!(RestError::token().body().len(), 74);
        let gone = CallError::Unreachable {
            endpoint: "unix:/run/ironic-agent/agent.sock".into(),
            source: tonic::Status::unavailable("No such file or directory (os error 2)").into(),
        };
        assert_eq!(
            String::from_utf8(RestError::call(&gone).body()).unwrap(),
            r#"{"faultcode": "Server", "faultstring": "503 Service Unavailable: the agent does not answer at unix:/run/ironic-agent/agent.sock: No such file or directory (os error 2)."}"#
        );
        // An agent beside us is slow; of one that is attached the conductor asks again.
        let slow = CallError::Slow {
            endpoint: "unix:/a".into(),
        };
        let silent = CallError::Silent {
            name: "node n".into(),
        };
        assert_eq!(RestError::call(&slow).unanswered, None);
        assert_eq!(
            RestError::call(&silent).unanswered,
            Some(DropReason::AgentSlow)
        );
        assert_eq!(
            RestError::call(&CallError::Busy("x".into())),
            RestError::busy("x")
        );
    }
}
