//! Between Ironic's answers and the messages of `ConductorService`.

use ironic_agent_protocol::v1;
use ironic_document::{DocumentError, to_struct};
use ironic_transport::grpc::HandshakeOutcome;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::ironic::{BeatAnswer, Found, InspectionAnswer, LookupAnswer};
use crate::metrics::labels::{BeatResult, HandshakeResult, InspectionResult, LookupResult};
use crate::pacing::{CallOutcome, RetryAfter};

/// The answer to a lookup. A document that does not fit the protocol is a reason to retry:
/// nothing of it is rounded or dropped.
pub(super) fn lookup_response(answer: LookupAnswer) -> v1::LookupResponse {
    use v1::lookup_response::Outcome;
    let outcome = match answer {
        LookupAnswer::Found(found) => match session(&found) {
            Ok(session) => Outcome::Session(session),
            Err(error) => Outcome::Retry(v1::LookupRetry {
                refusal: v1::LookupRefusal::Unspecified.into(),
                reason: error.to_string(),
                retry_after: None,
            }),
        },
        LookupAnswer::Retry { status, reason } => {
            let refusal = if status == Some(409) {
                v1::LookupRefusal::Conflict
            } else {
                v1::LookupRefusal::Unspecified
            };
            Outcome::Retry(v1::LookupRetry {
                refusal: refusal.into(),
                reason,
                retry_after: None,
            })
        }
    };
    v1::LookupResponse {
        outcome: Some(outcome),
    }
}

/// Why a node cannot be carried to its agent.
#[derive(Debug, Error)]
enum InvalidSession {
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error("heartbeat_timeout is too large")]
    Timeout,
}

fn session(found: &Found) -> Result<v1::Session, InvalidSession> {
    let document = |map: &Map<String, Value>, name| to_struct(map.clone(), name);
    let config = found.config.clone();
    let containers = config.agent_containers;
    let containers = containers
        .as_ref()
        .map(|map| document(map, "agent_containers"))
        .transpose()?;
    let timeout = prost_types::Duration::try_from(found.heartbeat_timeout)
        .map_err(|_| InvalidSession::Timeout)?;
    Ok(v1::Session {
        without_ironic: found.without_ironic,
        node: Some(document(&found.node, "node")?),
        heartbeat_timeout: Some(timeout),
        config: Some(v1::SessionConfig {
            agent_token: config.agent_token.unwrap_or_default(),
            agent_md5_checksum_enable: config.agent_md5_checksum_enable,
            disable_deep_image_inspection: config.disable_deep_image_inspection,
            permitted_image_formats: config
                .permitted_image_formats
                .map(|formats| v1::ImageFormats { formats }),
            enable_bios_bootloader_install: config.enable_bios_bootloader_install,
            agent_skip_bmc_detect: config.agent_skip_bmc_detect,
            tls_min_version: config.tls_min_version.unwrap_or_default(),
            tls_cipher_suites: config.tls_cipher_suites.unwrap_or_default(),
            agent_containers: containers,
        }),
    })
}

/// What an agent says that it is doing, as Ironic may show it: one line without control
/// characters, and not long. `None`: it says nothing.
pub(super) fn status_message(text: &str) -> Option<String> {
    const MAX_TEXT_CHARS: usize = 255;
    let plain = text.chars().filter(|letter| !letter.is_control());
    let plain: String = plain.take(MAX_TEXT_CHARS).collect();
    Some(plain).filter(|plain| !plain.trim().is_empty())
}

/// The verdict on a beat.
pub(super) fn heartbeat_response(sequence: u64, answer: BeatAnswer) -> v1::HeartbeatResponse {
    use v1::HeartbeatVerdict::{Accepted, Conflict, Refused, Unreachable};
    let (verdict, status, reason) = match answer {
        BeatAnswer::Accepted => (Accepted, 202, String::new()),
        BeatAnswer::Conflict(reason) => (Conflict, 409, reason),
        BeatAnswer::Refused { status, reason } => (Refused, i32::from(status), reason),
        BeatAnswer::Unreachable(reason) => (Unreachable, 0, reason),
    };
    v1::HeartbeatResponse {
        sequence,
        verdict: verdict.into(),
        status,
        reason,
        retry_after: None,
    }
}

/// What a lookup says about Ironic: whether it was there, whatever it said.
pub(super) fn lookup_outcome(answer: &LookupAnswer) -> CallOutcome {
    match answer {
        LookupAnswer::Found(_) => CallOutcome::Answered,
        LookupAnswer::Retry { status, .. } => status.map_or(CallOutcome::Unavailable, outcome),
    }
}

/// The same of a heartbeat.
pub(super) fn beat_outcome(answer: &BeatAnswer) -> CallOutcome {
    match answer {
        BeatAnswer::Accepted | BeatAnswer::Conflict(_) => CallOutcome::Answered,
        BeatAnswer::Refused { status, .. } => outcome(*status),
        BeatAnswer::Unreachable(_) => CallOutcome::Unavailable,
    }
}

/// Proxies say 502 and 504 for an API that is away; Ironic says 503 when no worker is free.
fn outcome(status: u16) -> CallOutcome {
    match status {
        429 | 502 | 503 | 504 => CallOutcome::Unavailable,
        _ => CallOutcome::Answered,
    }
}

/// A handshake as it is counted.
pub(super) fn handshake_result(outcome: HandshakeOutcome) -> HandshakeResult {
    match outcome {
        HandshakeOutcome::Done => HandshakeResult::Done,
        HandshakeOutcome::TimedOut => HandshakeResult::TimedOut,
        HandshakeOutcome::ClientCertificate => HandshakeResult::ClientCertificate,
        HandshakeOutcome::RefusedByClient => HandshakeResult::RefusedByClient,
        HandshakeOutcome::Failed => HandshakeResult::Failed,
    }
}

/// A verdict as it is counted.
pub(super) fn beat_result(response: &v1::HeartbeatResponse) -> BeatResult {
    match response.verdict() {
        v1::HeartbeatVerdict::Accepted => BeatResult::Accepted,
        v1::HeartbeatVerdict::Conflict => BeatResult::Conflict,
        v1::HeartbeatVerdict::Unreachable => BeatResult::Unreachable,
        v1::HeartbeatVerdict::Deferred => BeatResult::Deferred,
        v1::HeartbeatVerdict::Refused | v1::HeartbeatVerdict::Unspecified => BeatResult::Refused,
    }
}

/// The answer to a lookup as it is counted.
pub(super) fn lookup_result(response: &v1::LookupResponse) -> LookupResult {
    match &response.outcome {
        Some(v1::lookup_response::Outcome::Session(_)) => LookupResult::Found,
        Some(v1::lookup_response::Outcome::Retry(retry)) if retry.retry_after.is_some() => {
            LookupResult::Deferred
        }
        Some(v1::lookup_response::Outcome::Retry(_)) | None => LookupResult::Retry,
    }
}

/// The answer to an inspection report as it is counted.
pub(super) fn inspection_result(response: &v1::SubmitInspectionResponse) -> InspectionResult {
    match response.verdict() {
        _ if response.retry_after.is_some() => InspectionResult::Deferred,
        v1::InspectionVerdict::Accepted => InspectionResult::Accepted,
        v1::InspectionVerdict::Refused => InspectionResult::Refused,
        v1::InspectionVerdict::Disabled => InspectionResult::Disabled,
        v1::InspectionVerdict::Retry | v1::InspectionVerdict::Unspecified => {
            InspectionResult::Retry
        }
    }
}

/// The answer to a beat that comes back later: the reason is Ironic's, where it was asked.
pub(super) fn deferred_beat(
    sequence: u64,
    retry_after: RetryAfter,
    answer: Option<BeatAnswer>,
) -> v1::HeartbeatResponse {
    let asked = answer.map(|answer| heartbeat_response(sequence, answer));
    v1::HeartbeatResponse {
        sequence,
        verdict: v1::HeartbeatVerdict::Deferred.into(),
        retry_after: wire_time(retry_after),
        ..asked.unwrap_or_else(|| v1::HeartbeatResponse {
            reason: retry_after.to_string(),
            ..v1::HeartbeatResponse::default()
        })
    }
}

/// The answer to a lookup that comes back later.
pub(super) fn deferred_lookup(
    retry_after: RetryAfter,
    answer: Option<LookupAnswer>,
) -> v1::LookupResponse {
    let reason = match answer {
        Some(LookupAnswer::Retry { reason, .. }) => reason,
        Some(LookupAnswer::Found(_)) | None => retry_after.to_string(),
    };
    v1::LookupResponse {
        outcome: Some(v1::lookup_response::Outcome::Retry(v1::LookupRetry {
            refusal: v1::LookupRefusal::Unspecified.into(),
            reason,
            retry_after: wire_time(retry_after),
        })),
    }
}

/// The answer to an inspection report that comes back later.
pub(super) fn deferred_inspection(retry_after: RetryAfter) -> v1::SubmitInspectionResponse {
    v1::SubmitInspectionResponse {
        verdict: v1::InspectionVerdict::Retry.into(),
        reason: retry_after.to_string(),
        retry_after: wire_time(retry_after),
        ..v1::SubmitInspectionResponse::default()
    }
}

fn wire_time(retry_after: RetryAfter) -> Option<prost_types::Duration> {
    // A deferral has minutes at most, which always fit.
    prost_types::Duration::try_from(retry_after.0).ok()
}

/// What became of an inspection report.
pub(super) fn inspection_response(answer: InspectionAnswer) -> v1::SubmitInspectionResponse {
    use v1::InspectionVerdict::{Accepted, Disabled, Refused, Retry};
    let (verdict, node_uuid, reason) = match answer {
        InspectionAnswer::Accepted(uuid) => (Accepted, uuid.unwrap_or_default(), String::new()),
        InspectionAnswer::Refused(reason) => (Refused, String::new(), reason),
        InspectionAnswer::Retry(reason) => (Retry, String::new(), reason),
        InspectionAnswer::Disabled => (Disabled, String::new(), String::new()),
    };
    v1::SubmitInspectionResponse {
        verdict: verdict.into(),
        node_uuid,
        reason,
        retry_after: None,
    }
}
