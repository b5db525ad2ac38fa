//! Why a call failed: its status, and the `google.rpc.ErrorInfo` in it.

use std::error::Error;
use std::fmt;

use tonic::{Code, Status, TimeoutExpired};
use tonic_types::StatusExt as _;

use super::observed::TransportProblem;
use crate::exit_kind::ExitKind;

/// The domain of the reasons that gateways and agents give.
const DOMAIN: &str = "ironic.agent.v1";

/// A reason, the kind of failure that it is, and what to do next.
type ReasonRow = (&'static str, ExitKind, &'static str);

/// The reasons that are known here. Others follow their gRPC code.
const REASONS: &[ReasonRow] = &[
    (
        "NODE_NOT_FOUND",
        ExitKind::NotFound,
        "`agentctl nodes` lists the nodes",
    ),
    (
        "NODE_NAME_AMBIGUOUS",
        ExitKind::NotFound,
        "name the node by its UUID: `agentctl nodes` lists them",
    ),
    (
        "NODE_AWAY",
        ExitKind::NodeAway,
        "nothing was done; boot the machine into the ramdisk, `agentctl watch` shows when it comes",
    ),
    (
        "NODE_ELSEWHERE",
        ExitKind::NodeAway,
        "nothing was done: the agent went to another gateway meanwhile; ask again",
    ),
    (
        "NODE_CLOSED",
        ExitKind::NodeAway,
        "the machine was handed over or locked down: boot it into the ramdisk again",
    ),
    (
        "NODE_LOST",
        ExitKind::NodeAway,
        "it may have done what was asked: `agentctl get` shows its commands",
    ),
    (
        "TOO_MANY_WAITING",
        ExitKind::NodeAway,
        "many callers wait for nodes that are away: try again later",
    ),
    (
        "AGENT_BUSY",
        ExitKind::Refused,
        "`agentctl watch` shows what runs, `agentctl cancel` ends it",
    ),
    (
        "COMMAND_NOT_FOUND",
        ExitKind::NotFound,
        "`agentctl get` lists the commands; a machine forgets them when it boots",
    ),
    (
        "TOKEN_INVALID",
        ExitKind::NotTrusted,
        "name the file of the agent's token by --agent-token-file",
    ),
    (
        "NO_INSPECTION",
        ExitKind::NotFound,
        "`agentctl inventory` without --last asks the agent itself",
    ),
    (
        "JOIN_TOKEN_NOT_FOUND",
        ExitKind::NotFound,
        "`agentctl token list` lists them",
    ),
    (
        "JOIN_TOKEN_REQUEST_INVALID",
        ExitKind::Refused,
        "`agentctl token create --help` says what may be asked for",
    ),
    (
        "WATCH_EXPIRED",
        ExitKind::NotFound,
        "begin again without --resume",
    ),
    (
        "POLICY_CHANGED",
        ExitKind::NotFound,
        "the gateway's policy has changed since; begin again without --resume",
    ),
    (
        "TOO_MANY_WATCHERS",
        ExitKind::Refused,
        "end other watches, or try again later",
    ),
    (
        "SHUTTING_DOWN",
        ExitKind::NodeAway,
        "the agent ends: try again when it has started again",
    ),
];

/// Why a call failed.
#[derive(Debug, Clone)]
pub(crate) struct CallFailure {
    cause: CallCause,
    /// Whom was called, where the connection failed and not the other end.
    address: Option<String>,
    /// The reason within [`DOMAIN`]; empty without one.
    pub(crate) error_info_reason: String,
    /// The gRPC code.
    pub(crate) code: Code,
    kind: ExitKind,
    advice: Option<String>,
}

/// What a failure is made of.
#[derive(Debug, Clone)]
enum CallCause {
    Status(Status),
    Transport(TransportProblem),
}

impl fmt::Display for CallFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = &self.address {
            write!(formatter, "{address}: ")?;
        }
        match &self.cause {
            CallCause::Status(status) if status.message().is_empty() => {
                write!(formatter, "{:?}", self.code)
            }
            // What a status says of itself names its fields.
            CallCause::Status(status) => formatter.write_str(status.message()),
            CallCause::Transport(problem) => problem.fmt(formatter),
        }
    }
}

impl Error for CallFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            CallCause::Status(status) => status.source(),
            CallCause::Transport(_) => None,
        }
    }
}

impl CallFailure {
    /// Reads a status of a call to `address`.
    pub(super) fn new(status: Status, address: &str, problem: Option<TransportProblem>) -> Self {
        let info = status.get_details_error_info();
        let reason = info.filter(|info| info.domain == DOMAIN);
        let reason = reason.map_or_else(String::new, |info| info.reason);
        // Our own clock ended the call, which the library calls cancelled.
        let code = if is_caused_by::<TimeoutExpired>(&status) {
            Code::DeadlineExceeded
        } else {
            status.code()
        };
        if let Some(problem) = problem.filter(|_| reason.is_empty()) {
            return Self {
                address: Some(address.to_owned()),
                error_info_reason: reason,
                code,
                kind: problem.kind(),
                advice: Some(problem.advice()),
                cause: CallCause::Transport(problem),
            };
        }
        let has_source = Error::source(&status).is_some();
        let is_transport = reason.is_empty() && (has_source || code == Code::Unavailable);
        let known = REASONS.iter().find(|(known, _, _)| *known == reason);
        let (kind, advice) = match known {
            Some((_, kind, advice)) => (*kind, Some(*advice)),
            None => by_code(code, is_transport),
        };
        Self {
            address: is_transport.then(|| address.to_owned()),
            error_info_reason: reason,
            code,
            kind,
            advice: advice.map(str::to_owned),
            cause: CallCause::Status(status),
        }
    }

    /// The kind of failure.
    pub(crate) fn kind(&self) -> ExitKind {
        self.kind
    }

    /// What to do next.
    pub(crate) fn advice(&self) -> Option<String> {
        self.advice.clone()
    }

    /// Whether the call may have done what was asked, so that it is to be asked again: the
    /// connection to the gateway, or from there to the agent, was lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.error_info_reason == "NODE_LOST"
            || self.error_info_reason == "GATEWAY_STOPPING"
            || self.address.is_some() && self.kind == ExitKind::Unreachable
    }

    /// Whether the answer did not come in time, by the clock of either end. The other one's may
    /// call that cancelled.
    pub(crate) fn is_late(&self) -> bool {
        matches!(self.code, Code::DeadlineExceeded | Code::Cancelled)
    }

    /// Whether the node may be back soon.
    pub(crate) fn is_away(&self) -> bool {
        matches!(
            self.error_info_reason.as_str(),
            "NODE_AWAY" | "NODE_ELSEWHERE" | "SHUTTING_DOWN"
        )
    }
}

/// Whether an error of this type is among the causes of a status.
fn is_caused_by<E: Error + 'static>(status: &Status) -> bool {
    let mut cause = Error::source(status);
    while let Some(error) = cause {
        if error.is::<E>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// What a code without a known reason means.
fn by_code(code: Code, is_transport: bool) -> (ExitKind, Option<&'static str>) {
    match code {
        Code::Unauthenticated | Code::PermissionDenied => (
            ExitKind::NotTrusted,
            Some(
                "what a certificate may do is said by the gateway's policy; `agentctl contexts` shows which one is used",
            ),
        ),
        Code::DeadlineExceeded => (ExitKind::TimedOut, Some("wait longer: --timeout SECONDS")),
        Code::NotFound => (ExitKind::NotFound, None),
        Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::OutOfRange
        | Code::Aborted => (ExitKind::Refused, None),
        Code::Unimplemented => (
            ExitKind::Refused,
            Some("the other end is older than this agentctl, or has this switched off"),
        ),
        _ if is_transport => (
            ExitKind::Unreachable,
            Some("look at the address (`agentctl contexts`) and at whether the gateway runs"),
        ),
        _ => (ExitKind::Other, None),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    fn failure(code: Code, reason: &str) -> CallFailure {
        let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
        let status = Status::with_error_details(code, "it says why", details);
        CallFailure::new(status, "https://gw:1", None)
    }

    #[test]
    fn known_reasons_have_a_kind_and_an_advice() {
        for (reason, kind, _) in REASONS {
            let failure = failure(Code::Unavailable, reason);
            assert_eq!(
                (failure.kind(), failure.error_info_reason.as_str()),
                (*kind, *reason)
            );
            assert_eq!(failure.to_string(), "it says why");
            assert!(failure.advice().is_some());
        }
        assert!(failure(Code::Unavailable, "NODE_LOST").is_lost());
        assert!(!failure(Code::Unavailable, "NODE_AWAY").is_lost());
    }

    #[test]
    fn other_reasons_follow_their_code() {
        for (code, kind) in [
            (Code::PermissionDenied, ExitKind::NotTrusted),
            (Code::InvalidArgument, ExitKind::Refused),
            (Code::NotFound, ExitKind::NotFound),
            (Code::DeadlineExceeded, ExitKind::TimedOut),
            (Code::Internal, ExitKind::Other),
        ] {
            assert_eq!(failure(code, "NEW_REASON").kind(), kind, "{code:?}");
        }
    }

    #[test]
    fn an_answer_that_is_late_says_nothing_of_what_was_done() {
        for (code, is_late) in [
            (Code::DeadlineExceeded, true),
            (Code::Cancelled, true),
            (Code::InvalidArgument, false),
            (Code::Unavailable, false),
        ] {
            assert_eq!(failure(code, "").is_late(), is_late, "{code:?}");
        }
        // A question is not asked for minutes.
        assert!(!failure(Code::DeadlineExceeded, "").is_lost());
    }

    #[test]
    fn a_connection_that_breaks_is_unreachable_and_asked_again() {
        let status = Status::unavailable("connection refused");
        let failure = CallFailure::new(status, "https://gw:1", None);
        assert_eq!(failure.kind(), ExitKind::Unreachable);
        assert!(failure.is_lost());
        assert_eq!(failure.to_string(), "https://gw:1: connection refused");
        let status = Status::unavailable("broken pipe");
        let problem = TransportProblem::CertificateRequired;
        let failure = CallFailure::new(status, "https://gw:1", Some(problem));
        assert_eq!(failure.kind(), ExitKind::NotTrusted);
        assert!(!failure.is_lost());
    }
}
