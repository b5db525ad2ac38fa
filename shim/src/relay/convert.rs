//! Between Ironic's answers and the messages of `ConductorService`.

use ironic_agent_protocol::v1;
use ironic_document::{DocumentError, to_struct};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::ironic::{BeatAnswer, Found, InspectionAnswer, LookupAnswer};

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
        LookupAnswer::Retry { conflict, reason } => {
            let refusal = if conflict {
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
enum UnfitSession {
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error("heartbeat_timeout is too large")]
    Timeout,
}

fn session(found: &Found) -> Result<v1::Session, UnfitSession> {
    let document = |map: &Map<String, Value>, name| to_struct(map.clone(), name);
    let config = found.config.clone();
    let containers = config.agent_containers;
    let containers = containers
        .as_ref()
        .map(|map| document(map, "agent_containers"))
        .transpose()?;
    let timeout = prost_types::Duration::try_from(found.heartbeat_timeout)
        .map_err(|_| UnfitSession::Timeout)?;
    Ok(v1::Session {
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
    const LONGEST: usize = 255;
    let plain = text.chars().filter(|letter| !letter.is_control());
    let plain: String = plain.take(LONGEST).collect();
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
