//! Inspection reports through the shim: where they go, and what becomes of every answer. The
//! schedule of rounds is the agent's and is tested there.

use ironic_agent_protocol::v1::{
    InspectionVerdict, SubmitInspectionRequest, SubmitInspectionResponse,
};
use ironic_program::CommonSettings;
use ironic_shim::config::ShimConfig;
use serde_json::{Value, json};

use crate::support::ironic::{FakeIronic, NODE, Reply, recorded};
use crate::support::shim::{Shim, config};

const PATH: &str = "/v1/continue_inspection";

async fn submit(shim: &mut Shim, report: &Value) -> SubmitInspectionResponse {
    let report = ironic_document::to_struct(report.as_object().unwrap().clone(), "report").unwrap();
    let request = SubmitInspectionRequest {
        report: Some(report),
        system_uuid: String::new(),
    };
    // A report with logs is larger than what a client sends without being asked.
    let mut conductor = shim.conductor.clone().max_encoding_message_size(usize::MAX);
    conductor
        .submit_inspection(request)
        .await
        .unwrap()
        .into_inner()
}

fn collectors(config: ShimConfig) -> ShimConfig {
    ShimConfig {
        common: CommonSettings {
            inspection_collectors: Some(vec!["default".into(), "logs".into()]),
            ..config.common.clone()
        },
        ..config
    }
}

#[tokio::test]
async fn the_report_arrives_as_the_python_agents() {
    let recorded = recorded("inspection");
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let id = "req-11111111-1111-1111-1111-111111111111";
    let config = ShimConfig {
        global_request_id: Some(id.into()),
        ..collectors(config(&[&format!("{}/", ironic.url)], &state))
    };
    let mut shim = Shim::start(config).await;
    let answer = submit(&mut shim, &recorded["request"]).await;
    assert_eq!(answer.verdict(), InspectionVerdict::Accepted);
    assert_eq!(answer.node_uuid, NODE);

    let seen = ironic.seen(PATH).remove(0);
    assert_eq!(seen.method, "POST");
    assert_eq!(seen.path, PATH);
    assert_eq!(seen.json(), recorded["request"]);
    assert_eq!(seen.header("Accept"), Some("application/json"));
    assert_eq!(seen.header("Content-Type"), Some("application/json"));
    assert_eq!(seen.header("X-OpenStack-Request-ID"), Some(id));
    // Ironic answers an unversioned request as 1.1, which it makes an exception for.
    assert_eq!(seen.version(), None);
    assert_eq!(ironic.seen_root().len(), 0);
}

#[tokio::test]
async fn callback_urls_are_used_as_they_are_and_come_before_the_api() {
    let state = tempfile::tempdir().unwrap();
    let (api, inspector) = (FakeIronic::start().await, FakeIronic::start().await);
    inspector.script("/v1/continue", [Reply::Json(202, json!({"uuid": "a"}))]);
    let config = ShimConfig {
        common: CommonSettings {
            inspection_callback_url: vec![format!("{}/v1/continue", inspector.url)],
            ..collectors(config(&[&api.url], &state)).common
        },
        ..collectors(config(&[&api.url], &state))
    };
    let answer = submit(
        &mut Shim::start(config).await,
        &recorded("inspection")["request"],
    )
    .await;
    assert_eq!(
        (answer.verdict(), answer.node_uuid.as_str()),
        (InspectionVerdict::Accepted, "a")
    );
    assert_eq!(inspector.seen("/")[0].path, "/v1/continue");
    assert_eq!(api.seen("/").len(), 0);
}

#[tokio::test]
async fn without_a_request_no_report_is_submitted() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let mut shim = Shim::start(config(&[&ironic.url], &state)).await;
    let answer = submit(&mut shim, &recorded("inspection")["request"]).await;
    assert_eq!(answer.verdict(), InspectionVerdict::Disabled);
    assert_eq!(ironic.seen("/").len(), 0);
}

#[tokio::test]
async fn every_answer_has_its_verdict() {
    use InspectionVerdict::{Accepted, Refused, Retry};
    let schema = "Schema error for data: None is not of type 'string'";
    let whole = json!({"node": {"uuid": NODE}, "config": {"agent_token": "x"}});
    let cases = [
        (Reply::Json(202, json!({"uuid": NODE})), Accepted, NODE, ""),
        // From API 1.84 on.
        (Reply::Json(202, whole), Accepted, NODE, ""),
        (Reply::Text(202, String::new()), Accepted, "", ""),
        (Reply::Text(200, "<html>".into()), Accepted, "", ""),
        (
            Reply::Text(503, "busy".into()),
            Retry,
            "",
            "Error 503: busy",
        ),
        (
            Reply::error(500, "database"),
            Retry,
            "",
            "Error 500: database",
        ),
        (Reply::error(409, "locked"), Retry, "", "Error 409: locked"),
        (
            Reply::error(404, "Resource could not be found."),
            Refused,
            "",
            "Error 404: Resource",
        ),
        (
            Reply::error(400, schema),
            Refused,
            "",
            "Error 400: Schema error",
        ),
        (Reply::HangUp, Retry, "", ""),
    ];
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let mut shim = Shim::start(collectors(config(&[&ironic.url], &state))).await;
    for (reply, verdict, uuid, reason) in cases {
        ironic.script(PATH, [reply.clone()]);
        let answer = submit(&mut shim, &recorded("inspection")["request"]).await;
        assert_eq!(answer.verdict(), verdict, "{reply:?}: {}", answer.reason);
        assert_eq!(answer.node_uuid, uuid, "{reply:?}");
        assert!(
            answer.reason.starts_with(reason),
            "{reply:?}: {}",
            answer.reason
        );
        assert_eq!(answer.reason.is_empty(), verdict == Accepted, "{reply:?}");
    }
}

#[tokio::test]
async fn a_report_that_ironic_refuses_is_explained() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let mut shim = Shim::start(collectors(config(&[&ironic.url], &state))).await;
    let mut report = recorded("inspection")["request"].clone();
    report["inventory"]["interfaces"][0]["mac_address"] = Value::Null;
    let answer = submit(&mut shim, &report).await;
    assert_eq!(answer.verdict(), InspectionVerdict::Refused);
    assert_eq!(
        answer.reason,
        "Error 400: Schema error for data: None is not of type 'string'"
    );
}

#[tokio::test]
async fn one_round_asks_each_address_until_one_answers() {
    let state = tempfile::tempdir().unwrap();
    let (first, second) = (FakeIronic::start().await, FakeIronic::start().await);
    let mut shim = Shim::start(collectors(config(&[&first.url, &second.url], &state))).await;
    let report = recorded("inspection")["request"].clone();

    // An error is an answer: the second address is not asked.
    first.script(PATH, [Reply::Text(503, "busy".into())]);
    assert_eq!(
        submit(&mut shim, &report).await.verdict(),
        InspectionVerdict::Retry
    );
    assert_eq!((first.seen(PATH).len(), second.seen(PATH).len()), (1, 0));

    first.script(PATH, [Reply::HangUp]);
    assert_eq!(
        submit(&mut shim, &report).await.verdict(),
        InspectionVerdict::Accepted
    );
    assert_eq!((first.seen(PATH).len(), second.seen(PATH).len()), (2, 1));
}

#[tokio::test]
async fn a_report_with_a_long_log_fits() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let mut shim = Shim::start(collectors(config(&[&ironic.url], &state))).await;
    let mut report = recorded("inspection")["request"].clone();
    let logs = "H4sI".repeat(5 << 20);
    report["logs"] = json!(logs);
    let answer = submit(&mut shim, &report).await;
    assert_eq!(
        answer.verdict(),
        InspectionVerdict::Accepted,
        "{}",
        answer.reason
    );
    assert_eq!(
        ironic.seen(PATH)[0].json()["logs"].as_str().unwrap().len(),
        logs.len()
    );
}
