//! Messages of `ConductorService` from and to what `conductor` speaks of. An answer that
//! makes no sense is an answer all the same: the schedule tries again, nothing fails.

use ironic_agent_protocol::v1;
use ironic_document::{DocumentError, object, to_struct};
use ironic_program::VERSION;
use ironic_text::Secret;
use thiserror::Error;

use crate::conductor::heartbeat::{InvalidTimeout, Timeout};
use crate::conductor::{
    AttachHello, ConductorError, ConnectionError, Deferral, FoundNode, InspectionOutcome,
    LookupOutcome, LookupRequest, SessionOpen, Verdict,
};
use crate::config::SessionOverrides;
use crate::machine::ironic_node::Node;
use crate::rpc::convert::duration;
use crate::shutdown::ShutdownReason;

/// Why a `LookupResponse` is invalid.
#[derive(Debug, Clone, PartialEq, Error)]
enum InvalidLookupResponse {
    #[error("the answer has no outcome")]
    NoOutcome,
    #[error("the session has no node")]
    NoNode,
    #[error("the session's node has no uuid")]
    NoUuid,
    #[error("the session has no heartbeat_timeout")]
    NoTimeout,
    #[error(transparent)]
    Timeout(#[from] InvalidTimeout),
    #[error(transparent)]
    Document(#[from] DocumentError),
}

pub(super) fn lookup_request(request: LookupRequest) -> v1::LookupRequest {
    v1::LookupRequest {
        addresses: request.addresses,
        node_uuid: request.node_uuid.unwrap_or_default(),
        system_uuid: request.system_uuid,
        serial_number: request.serial_number,
    }
}

pub(super) fn attach_hello(hello: AttachHello) -> v1::AttachHello {
    v1::AttachHello {
        node_uuid: hello.node_uuid,
        agent_token: hello
            .agent_token
            .as_ref()
            .map_or_else(String::new, |token| token.reveal().to_owned()),
        agent_version: VERSION.to_owned(),
        boot_id: hello.boot_id,
        counter: hello.counter,
    }
}

pub(super) fn answer(response: v1::LookupResponse) -> LookupOutcome {
    use v1::lookup_response::Outcome;
    let found = match response.outcome {
        Some(Outcome::Retry(retry)) if retry.retry_after.is_some() => {
            return LookupOutcome::Deferred(deferral(retry.retry_after, retry.reason));
        }
        Some(Outcome::Retry(retry)) => {
            return LookupOutcome::Retry {
                conflict: retry.refusal() == v1::LookupRefusal::Conflict,
                error: ConductorError::Said(retry.reason),
            };
        }
        Some(Outcome::Session(session)) => found(session),
        None => Err(InvalidLookupResponse::NoOutcome),
    };
    match found {
        Ok(found) => LookupOutcome::Found(Box::new(found)),
        Err(error) => LookupOutcome::Retry {
            conflict: false,
            error: ConnectionError::new(error).into(),
        },
    }
}

/// A time that is missing or negative is taken for zero: the schedules know what a wait is at
/// least.
fn deferral(retry_after: Option<prost_types::Duration>, reason: String) -> Deferral {
    Deferral {
        retry_after: retry_after.and_then(duration).unwrap_or_default(),
        reason,
    }
}

fn found(session: v1::Session) -> Result<FoundNode, InvalidLookupResponse> {
    let node = Node(object(
        session.node.ok_or(InvalidLookupResponse::NoNode)?,
        "node",
    )?);
    if node.uuid().is_empty() {
        return Err(InvalidLookupResponse::NoUuid);
    }
    let timeout = session
        .heartbeat_timeout
        .ok_or(InvalidLookupResponse::NoTimeout)?;
    let config = session.config.unwrap_or_default();
    Ok(FoundNode {
        node,
        is_ironics: !session.without_ironic,
        timeout: Timeout::from_secs(seconds(timeout))?,
        agent_token: Secret::new(config.agent_token.as_str()),
        overrides: overrides(config)?,
    })
}

#[expect(clippy::cast_precision_loss, reason = "nobody waits for 2^53 seconds")]
fn seconds(duration: prost_types::Duration) -> f64 {
    duration.seconds as f64 + f64::from(duration.nanos) / 1e9
}

fn overrides(config: v1::SessionConfig) -> Result<SessionOverrides, DocumentError> {
    let containers = config.agent_containers.unwrap_or_default();
    Ok(SessionOverrides {
        agent_md5_checksum_enable: config.agent_md5_checksum_enable,
        disable_deep_image_inspection: config.disable_deep_image_inspection,
        permitted_image_formats: config.permitted_image_formats.map(|list| list.formats),
        enable_bios_bootloader_install: config.enable_bios_bootloader_install,
        agent_skip_bmc_detect: config.agent_skip_bmc_detect,
        tls_min_version: config.tls_min_version,
        tls_cipher_suites: config.tls_cipher_suites,
        agent_containers: object(containers, "agent_containers")?,
    })
}

/// The lookup's answer again, without the token, which has a field of its own.
fn session_config(overrides: SessionOverrides) -> Result<v1::SessionConfig, DocumentError> {
    let containers = &overrides.agent_containers;
    let agent_containers = (!containers.is_empty())
        .then(|| to_struct(containers.clone(), "agent_containers"))
        .transpose()?;
    Ok(v1::SessionConfig {
        agent_token: String::new(),
        agent_md5_checksum_enable: overrides.agent_md5_checksum_enable,
        disable_deep_image_inspection: overrides.disable_deep_image_inspection,
        permitted_image_formats: overrides
            .permitted_image_formats
            .map(|formats| v1::ImageFormats { formats }),
        enable_bios_bootloader_install: overrides.enable_bios_bootloader_install,
        agent_skip_bmc_detect: overrides.agent_skip_bmc_detect,
        tls_min_version: overrides.tls_min_version,
        tls_cipher_suites: overrides.tls_cipher_suites,
        agent_containers,
    })
}

pub(super) fn hello(hello: SessionOpen, callback_url: String) -> Result<v1::Hello, DocumentError> {
    let token = hello.agent_token.as_ref().map(Secret::reveal);
    Ok(v1::Hello {
        node_uuid: hello.node_uuid,
        agent_token: token.unwrap_or_default().to_owned(),
        agent_version: VERSION.to_owned(),
        config: Some(session_config(hello.overrides)?),
        callback_url,
    })
}

pub(super) fn heartbeat(message: v1::heartbeat_request::Message) -> v1::HeartbeatRequest {
    v1::HeartbeatRequest {
        message: Some(message),
    }
}

pub(super) fn keep_alive() -> v1::HeartbeatRequest {
    heartbeat(v1::heartbeat_request::Message::KeepAlive(v1::KeepAlive {}))
}

pub(super) fn farewell(reason: ShutdownReason) -> v1::HeartbeatRequest {
    let reason = match reason {
        ShutdownReason::Stopped => v1::FarewellReason::Unspecified,
        ShutdownReason::Rescued => v1::FarewellReason::Rescued,
        ShutdownReason::LockedDown => v1::FarewellReason::LockedDown,
    };
    heartbeat(v1::heartbeat_request::Message::Farewell(v1::Farewell {
        reason: reason.into(),
    }))
}

pub(super) fn verdict(response: v1::HeartbeatResponse) -> Verdict {
    let verdict = response.verdict();
    let v1::HeartbeatResponse {
        status,
        reason,
        retry_after,
        ..
    } = response;
    match verdict {
        v1::HeartbeatVerdict::Accepted => Verdict::Accepted,
        v1::HeartbeatVerdict::Conflict => Verdict::Conflict { reason },
        v1::HeartbeatVerdict::Refused => Verdict::Refused { status, reason },
        v1::HeartbeatVerdict::Unreachable => Verdict::Unreachable { reason },
        v1::HeartbeatVerdict::Deferred => Verdict::Deferred(deferral(retry_after, reason)),
        v1::HeartbeatVerdict::Unspecified => Verdict::Refused {
            status,
            reason: format!("the answer has no verdict that we know: {reason}"),
        },
    }
}

pub(super) fn inspection_request(
    report: &serde_json::Map<String, serde_json::Value>,
    system_uuid: &str,
) -> Result<v1::SubmitInspectionRequest, DocumentError> {
    Ok(v1::SubmitInspectionRequest {
        report: Some(to_struct(report.clone(), "report")?),
        system_uuid: system_uuid.to_owned(),
    })
}

pub(super) fn submission(response: v1::SubmitInspectionResponse) -> InspectionOutcome {
    let verdict = response.verdict();
    let v1::SubmitInspectionResponse {
        node_uuid,
        reason,
        retry_after,
        ..
    } = response;
    match verdict {
        v1::InspectionVerdict::Accepted => InspectionOutcome::Accepted {
            node_uuid: (!node_uuid.is_empty()).then_some(node_uuid),
        },
        v1::InspectionVerdict::Refused => InspectionOutcome::Refused(ConductorError::Said(reason)),
        v1::InspectionVerdict::Retry if retry_after.is_some() => {
            InspectionOutcome::Deferred(deferral(retry_after, reason))
        }
        v1::InspectionVerdict::Retry => InspectionOutcome::Retry(ConductorError::Said(reason)),
        v1::InspectionVerdict::Disabled => InspectionOutcome::Disabled,
        v1::InspectionVerdict::Unspecified => InspectionOutcome::Retry(ConductorError::Said(
            format!("the answer has no verdict that we know: {reason}"),
        )),
    }
}

#[cfg(test)]
mod tests;
