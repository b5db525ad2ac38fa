//! Messages of `ConductorService` from and to what `conductor` speaks of. An answer that
//! makes no sense is an answer: the schedule tries again, nothing fails.

use ironic_agent_protocol::v1;
use ironic_document::{DocumentError, object, to_struct};
use ironic_program::VERSION;
use ironic_text::Secret;
use thiserror::Error;

use crate::conductor::heartbeat::{InvalidTimeout, Timeout};
use crate::conductor::{Answer, Found, Hello, Question, Submission, Verdict};
use crate::config::SessionOverrides;
use crate::machine::ironic_node::Node;
use crate::shutdown::ShutdownReason;

/// Why a `LookupResponse` is no answer.
#[derive(Debug, Clone, PartialEq, Error)]
enum InvalidLookup {
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

pub(super) fn lookup_request(question: Question) -> v1::LookupRequest {
    v1::LookupRequest {
        addresses: question.addresses,
        node_uuid: question.node_uuid.unwrap_or_default(),
    }
}

pub(super) fn answer(response: v1::LookupResponse) -> Answer {
    use v1::lookup_response::Outcome;
    let found = match response.outcome {
        Some(Outcome::Retry(retry)) => {
            return Answer::Retry {
                conflict: retry.refusal() == v1::LookupRefusal::Conflict,
                reason: retry.reason,
            };
        }
        Some(Outcome::Session(session)) => found(session),
        None => Err(InvalidLookup::NoOutcome),
    };
    match found {
        Ok(found) => Answer::Found(Box::new(found)),
        Err(error) => Answer::Retry {
            conflict: false,
            reason: error.to_string(),
        },
    }
}

fn found(session: v1::Session) -> Result<Found, InvalidLookup> {
    let node = Node(object(session.node.ok_or(InvalidLookup::NoNode)?, "node")?);
    if node.uuid().is_empty() {
        return Err(InvalidLookup::NoUuid);
    }
    let timeout = session.heartbeat_timeout.ok_or(InvalidLookup::NoTimeout)?;
    let config = session.config.unwrap_or_default();
    Ok(Found {
        node,
        timeout: Timeout::from_secs(seconds(timeout))?,
        agent_token: Secret::new(config.agent_token.as_str()),
        overrides: overrides(config)?,
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "2^53 seconds are no timeout anyway"
)]
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

pub(super) fn hello(hello: Hello) -> Result<v1::Hello, DocumentError> {
    let token = hello.agent_token.as_ref().map(Secret::reveal);
    Ok(v1::Hello {
        node_uuid: hello.node_uuid,
        agent_token: token.unwrap_or_default().to_owned(),
        agent_version: VERSION.to_owned(),
        config: Some(session_config(hello.overrides)?),
        callback_url: String::new(),
    })
}

pub(super) fn heartbeat(message: v1::heartbeat_request::Message) -> v1::HeartbeatRequest {
    v1::HeartbeatRequest {
        message: Some(message),
    }
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
    let v1::HeartbeatResponse { status, reason, .. } = response;
    match verdict {
        v1::HeartbeatVerdict::Accepted => Verdict::Accepted,
        v1::HeartbeatVerdict::Conflict => Verdict::Conflict { reason },
        v1::HeartbeatVerdict::Refused => Verdict::Refused { status, reason },
        v1::HeartbeatVerdict::Unreachable => Verdict::Unreachable { reason },
        v1::HeartbeatVerdict::Unspecified => Verdict::Refused {
            status,
            reason: format!("the answer has no verdict that we know: {reason}"),
        },
    }
}

pub(super) fn inspection_request(
    report: &serde_json::Map<String, serde_json::Value>,
) -> Result<v1::SubmitInspectionRequest, DocumentError> {
    let report = Some(to_struct(report.clone(), "report")?);
    Ok(v1::SubmitInspectionRequest { report })
}

pub(super) fn submission(response: v1::SubmitInspectionResponse) -> Submission {
    let verdict = response.verdict();
    let v1::SubmitInspectionResponse {
        node_uuid, reason, ..
    } = response;
    match verdict {
        v1::InspectionVerdict::Accepted => Submission::Accepted {
            node_uuid: (!node_uuid.is_empty()).then_some(node_uuid),
        },
        v1::InspectionVerdict::Refused => Submission::Refused { reason },
        v1::InspectionVerdict::Retry => Submission::Retry { reason },
        v1::InspectionVerdict::Disabled => Submission::Disabled,
        v1::InspectionVerdict::Unspecified => Submission::Retry {
            reason: format!("the answer has no verdict that we know: {reason}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn session() -> v1::Session {
        let node = json!({"uuid": "U", "properties": {"cpus": 4}});
        v1::Session {
            node: Some(to_struct(node.as_object().unwrap().clone(), "node").unwrap()),
            heartbeat_timeout: Some(prost_types::Duration {
                seconds: 300,
                nanos: 500_000_000,
            }),
            config: Some(v1::SessionConfig {
                agent_token: "T".into(),
                agent_md5_checksum_enable: Some(true),
                permitted_image_formats: Some(v1::ImageFormats {
                    formats: vec!["raw".into()],
                }),
                tls_min_version: "1.3".into(),
                agent_containers: Some(
                    to_struct(
                        json!({"runner": "docker"}).as_object().unwrap().clone(),
                        "c",
                    )
                    .unwrap(),
                ),
                ..v1::SessionConfig::default()
            }),
        }
    }

    fn outcome(session: v1::Session) -> Answer {
        answer(v1::LookupResponse {
            outcome: Some(v1::lookup_response::Outcome::Session(session)),
        })
    }

    #[test]
    fn a_session_is_read_and_repeated_in_the_hello() {
        let Answer::Found(found) = outcome(session()) else {
            panic!("not found")
        };
        assert_eq!(found.node.uuid(), "U");
        assert_eq!(found.node.value("properties", "cpus"), Some(&json!(4)));
        assert_eq!(found.timeout.get().as_millis(), 300_500);
        assert_eq!(found.agent_token, Secret::new("T"));
        let hello = hello(Hello {
            node_uuid: "U".into(),
            agent_token: Some(Secret::new("in force")),
            overrides: found.overrides,
        })
        .unwrap();
        assert_eq!(
            (hello.agent_token.as_str(), hello.agent_version.as_str()),
            ("in force", VERSION)
        );
        let expected = v1::SessionConfig {
            agent_token: String::new(),
            ..session().config.unwrap()
        };
        assert_eq!(hello.config, Some(expected));
    }

    #[test]
    fn what_makes_no_sense_is_tried_again() {
        let node = |node: serde_json::Value| {
            Some(to_struct(node.as_object().unwrap().clone(), "node").unwrap())
        };
        let duration = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let cases = [
            (
                v1::Session {
                    node: None,
                    ..session()
                },
                "no node",
            ),
            (
                v1::Session {
                    node: node(json!({})),
                    ..session()
                },
                "no uuid",
            ),
            (
                v1::Session {
                    node: node(json!({"uuid": 5})),
                    ..session()
                },
                "no uuid",
            ),
            (
                v1::Session {
                    heartbeat_timeout: None,
                    ..session()
                },
                "no heartbeat_timeout",
            ),
            (
                v1::Session {
                    heartbeat_timeout: duration(0),
                    ..session()
                },
                "heartbeat_timeout is 0 s",
            ),
            (
                v1::Session {
                    heartbeat_timeout: duration(-300),
                    ..session()
                },
                "heartbeat_timeout is -300 s",
            ),
            (
                v1::Session {
                    heartbeat_timeout: duration(i64::MAX),
                    ..session()
                },
                "heartbeat_timeout is",
            ),
        ];
        for (session, problem) in cases {
            let answer = outcome(session);
            let Answer::Retry {
                conflict: false,
                reason,
            } = &answer
            else {
                panic!("{answer:?}")
            };
            assert!(reason.contains(problem), "{reason}");
        }
        assert!(matches!(
            answer(v1::LookupResponse { outcome: None }),
            Answer::Retry { .. }
        ));
    }

    #[test]
    fn only_a_conflict_is_a_conflict() {
        for (refusal, is_conflict) in [(0, false), (1, true), (77, false)] {
            let retry = v1::LookupRetry {
                refusal,
                reason: "why".into(),
            };
            let outcome = Some(v1::lookup_response::Outcome::Retry(retry));
            let expected = Answer::Retry {
                conflict: is_conflict,
                reason: "why".into(),
            };
            assert_eq!(answer(v1::LookupResponse { outcome }), expected);
        }
    }

    #[test]
    fn verdicts() {
        let reason = || "why".to_owned();
        let cases = [
            (1, Verdict::Accepted),
            (2, Verdict::Conflict { reason: reason() }),
            (
                3,
                Verdict::Refused {
                    status: 400,
                    reason: reason(),
                },
            ),
            (4, Verdict::Unreachable { reason: reason() }),
        ];
        let response = |verdict| v1::HeartbeatResponse {
            sequence: 1,
            verdict,
            status: 400,
            reason: reason(),
        };
        for (number, expected) in cases {
            assert_eq!(verdict(response(number)), expected);
        }
        for garbage in [0, 99, -1] {
            assert!(matches!(
                verdict(response(garbage)),
                Verdict::Refused { .. }
            ));
        }
        for (number, expected) in [
            (1, Submission::Accepted { node_uuid: None }),
            (2, Submission::Refused { reason: reason() }),
            (3, Submission::Retry { reason: reason() }),
            (4, Submission::Disabled),
        ] {
            let response = v1::SubmitInspectionResponse {
                verdict: number,
                node_uuid: String::new(),
                reason: reason(),
            };
            assert_eq!(submission(response), expected);
        }
    }
}
