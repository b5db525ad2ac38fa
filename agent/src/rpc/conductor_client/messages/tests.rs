use std::time::Duration;

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
        without_ironic: false,
    }
}

fn outcome(session: v1::Session) -> LookupOutcome {
    answer(v1::LookupResponse {
        outcome: Some(v1::lookup_response::Outcome::Session(session)),
    })
}

#[test]
fn a_session_is_read_and_repeated_in_the_hello() {
    let LookupOutcome::Found(found) = outcome(session()) else {
        panic!("not found")
    };
    assert_eq!(found.node.uuid(), "U");
    assert_eq!(found.node.value("properties", "cpus"), Some(&json!(4)));
    assert_eq!(found.timeout.get().as_millis(), 300_500);
    assert_eq!(found.agent_token, Secret::new("T"));
    let hello = hello(
        SessionOpen {
            node_uuid: "U".into(),
            agent_token: Some(Secret::new("in force")),
            overrides: found.overrides,
        },
        "http://192.0.2.1:9".into(),
    )
    .unwrap();
    assert_eq!(hello.callback_url, "http://192.0.2.1:9");
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
        let LookupOutcome::Retry {
            conflict: false,
            error,
        } = &answer
        else {
            panic!("{answer:?}")
        };
        let reason = ironic_text::error_chain(error);
        assert!(reason.contains(problem), "{reason}");
    }
    assert!(matches!(
        answer(v1::LookupResponse { outcome: None }),
        LookupOutcome::Retry { .. }
    ));
}

#[test]
fn only_a_conflict_is_a_conflict() {
    for (refusal, is_conflict) in [(0, false), (1, true), (77, false)] {
        let retry = v1::LookupRetry {
            refusal,
            reason: "why".into(),
            retry_after: None,
        };
        let outcome = Some(v1::lookup_response::Outcome::Retry(retry));
        let expected = LookupOutcome::Retry {
            conflict: is_conflict,
            error: ConductorError::Said("why".into()),
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
        retry_after: None,
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
        (1, InspectionOutcome::Accepted { node_uuid: None }),
        (
            2,
            InspectionOutcome::Refused(ConductorError::Said(reason())),
        ),
        (3, InspectionOutcome::Retry(ConductorError::Said(reason()))),
        (4, InspectionOutcome::Disabled),
    ] {
        let response = v1::SubmitInspectionResponse {
            verdict: number,
            node_uuid: String::new(),
            reason: reason(),
            retry_after: None,
        };
        assert_eq!(submission(response), expected);
    }
}

/// A time that makes no sense is taken for zero.
#[test]
fn deferrals() {
    let time = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    let cases = [
        (time(7, 500_000_000), Duration::from_millis(7500)),
        (time(0, 0), Duration::ZERO),
        (time(-5, 0), Duration::ZERO),
        (time(i64::MIN, i32::MIN), Duration::ZERO),
        (
            time(i64::MAX, 0),
            Duration::from_secs(i64::MAX.unsigned_abs()),
        ),
    ];
    for (retry_after, expected) in cases {
        let deferral = || Deferral {
            retry_after: expected,
            reason: "why".into(),
        };
        let beat = v1::HeartbeatResponse {
            verdict: v1::HeartbeatVerdict::Deferred.into(),
            reason: "why".into(),
            retry_after,
            ..v1::HeartbeatResponse::default()
        };
        assert_eq!(verdict(beat), Verdict::Deferred(deferral()));
        let retry = v1::LookupRetry {
            reason: "why".into(),
            retry_after,
            ..v1::LookupRetry::default()
        };
        let outcome = Some(v1::lookup_response::Outcome::Retry(retry));
        let lookup = answer(v1::LookupResponse { outcome });
        assert_eq!(lookup, LookupOutcome::Deferred(deferral()));
        let report = v1::SubmitInspectionResponse {
            verdict: v1::InspectionVerdict::Retry.into(),
            reason: "why".into(),
            retry_after,
            ..v1::SubmitInspectionResponse::default()
        };
        assert_eq!(submission(report), InspectionOutcome::Deferred(deferral()));
    }
    let without = v1::HeartbeatResponse {
        verdict: v1::HeartbeatVerdict::Deferred.into(),
        ..v1::HeartbeatResponse::default()
    };
    let Verdict::Deferred(deferral) = verdict(without) else {
        panic!("DEFERRED is no deferral without a time")
    };
    assert_eq!(deferral.retry_after, Duration::ZERO);
}
