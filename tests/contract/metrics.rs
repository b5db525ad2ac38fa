//! What operators see of a gateway: metrics, health and readiness, and the pages that name them.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use ironic_shim::config::ShimConfig;
use ironic_shim::metrics::{CertificateEnd, Metrics, Observation};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support::gateway::{Machine, SYNC, ask, gateway_config};
use crate::support::http::{Answer, Line};
use crate::support::ironic::{FakeIronic, Reply};
use crate::support::shim::{Shim, config};

const HEARTBEAT: &str = "/v1/heartbeat/";
const PAGE: &str = "docs/metrics.md";
const DASHBOARD: &str = "docs/grafana/ironic-shim.json";

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a gateway serves that has nothing to count yet.
fn served() -> String {
    let certificates = vec![CertificateEnd {
        name: "grpc",
        ends_in_seconds: 1,
    }];
    Metrics::new().text(&Observation {
        certificates,
        ..Observation::default()
    })
}

/// One metric, as it describes itself.
struct Served {
    name: String,
    kind: String,
    help: String,
    label: String,
    values: BTreeSet<String>,
}

fn metrics() -> Vec<Served> {
    let text = served();
    let mut all: Vec<Served> = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            all.push(Served {
                name: name.to_owned(),
                kind: String::new(),
                help: help.trim_end_matches('.').to_owned(),
                label: String::new(),
                values: BTreeSet::new(),
            });
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (_, kind) = rest.split_once(' ').unwrap();
            all.last_mut().unwrap().kind = kind.to_owned();
        } else if let Some((_, labels)) = line.split_once('{') {
            let labels = labels.split_once('}').unwrap().0;
            let (key, value) = labels.split_once('=').unwrap();
            let value = value.trim_matches('"');
            let last = all.last_mut().unwrap();
            if matches!(key, "le" | "version") {
                continue;
            }
            key.clone_into(&mut last.label);
            last.values.insert(value.to_owned());
        }
    }
    all
}

/// The names of the series, as a query of Prometheus says them.
fn series() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in served().lines().filter(|line| !line.starts_with('#')) {
        let end = line.find(['{', ' ']).unwrap();
        names.insert(line[..end].to_owned());
    }
    names
}

/// The names in a text that can only be those of metrics.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words = text.split(|letter: char| !is_part(letter));
    let words =
        words.filter(|word| word.starts_with("ironic_shim_") || word.starts_with("process_"));
    words.map(str::to_owned).collect()
}

#[test]
fn the_page_of_metrics_lists_what_is_served() {
    let mut page = "# Metrics of a gateway\n\n\
        What `metrics_listen` serves at `/metrics`, in the text format of OpenMetrics; \
        [gateway.md](gateway.md#watching-it) says what to\nwatch. Counters end in `_total`. \
        No label has a node, an address or a text as its value.\n\n\
        `tests/contract/metrics.rs` writes this page with `UPDATE_GOLDEN=1` and compares it \
        with what is served without.\n\n\
        | name | kind | what | labels |\n|---|---|---|---|\n"
        .to_owned();
    for Served {
        name,
        kind,
        help,
        label,
        values,
    } in metrics()
    {
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        let labels = match label.as_str() {
            "" => String::new(),
            label => format!("`{label}`: {}", values.join(", ")),
        };
        let name = match kind.as_str() {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name,
        };
        page += &format!("| `{name}` | {kind} | {help} | {labels} |\n");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "{PAGE}: UPDATE_GOLDEN=1 writes it anew");
}

#[test]
fn pages_and_dashboard_use_only_metrics_that_exist() {
    let series = series();
    for path in ["docs/gateway.md", DASHBOARD] {
        let text = read(path);
        let named = named(&text);
        assert!(named.len() > 8, "{path} names only {named:?}");
        let unknown: Vec<_> = named.difference(&series).collect();
        assert!(unknown.is_empty(), "{path}: nothing serves {unknown:?}");
    }
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        let targets = panel["targets"].as_array();
        let queries = targets.is_some_and(|targets| !targets.is_empty());
        assert!(queries || panel["type"] == "row", "{title} shows nothing");
    }
}

async fn get(shim: &Shim, path: &str) -> Answer {
    let mut line = Line::open(shim.metrics.expect("a listener of metrics")).await;
    line.ask("GET", path, "", b"").await
}

/// The value of a series.
async fn value(shim: &Shim, series: &str) -> f64 {
    let text = get(shim, "/metrics").await.text().to_owned();
    let found = text.lines().find_map(|line| line.strip_prefix(series));
    let found = found.unwrap_or_else(|| panic!("{series} is not served: {text}"));
    found.trim().parse().unwrap()
}

/// Waits until a series has this value.
async fn wait_for(shim: &Shim, series: &str, wanted: f64) {
    let waiting = async {
        while (value(shim, series).await - wanted).abs() > 1e-9 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    assert!(waited.is_ok(), "{series} never was {wanted}");
}

fn watched(config: ShimConfig) -> ShimConfig {
    ShimConfig {
        metrics_listen: Some("127.0.0.1:0".parse().unwrap()),
        ..config
    }
}

#[tokio::test]
async fn what_happens_at_a_gateway_is_counted() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let shim = Shim::start(watched(gateway_config(&ironic, &state))).await;
    assert_eq!(value(&shim, "ironic_shim_attachments ").await, 0.0);
    let machine = Machine::new();
    let agent = machine.start_agent(&shim.url);
    wait_for(&shim, "ironic_shim_attachments ", 1.0).await;
    ironic.wait_for(HEARTBEAT, 1).await;
    wait_for(
        &shim,
        "ironic_shim_heartbeats_total{verdict=\"accepted\"} ",
        1.0,
    )
    .await;
    let answer = ask(&shim, "POST", "/v1/commands/", SYNC).await;
    assert_eq!(answer.json()["command_status"], "SUCCEEDED", "{answer:?}");
    for (series, expected) in [
        ("ironic_shim_attaches_total{outcome=\"accepted\"} ", 1.0),
        ("ironic_shim_heartbeat_sessions ", 1.0),
        ("ironic_shim_heartbeat_lag_seconds_count ", 1.0),
        ("ironic_shim_lookups_total{outcome=\"found\"} ", 1.0),
        ("ironic_shim_commands_total{outcome=\"succeeded\"} ", 1.0),
        ("ironic_shim_commands_in_flight ", 0.0),
        ("ironic_shim_known_nodes ", 1.0),
        ("ironic_shim_ironic_reachable ", 1.0),
        ("ironic_shim_draining ", 0.0),
    ] {
        assert_eq!(value(&shim, series).await, expected, "{series}");
    }
    drop(agent);
    wait_for(&shim, "ironic_shim_attachments ", 0.0).await;
    // A request for it waits, and is counted until its client gives up.
    let target = format!("/nodes/{}/v1/status", crate::support::ironic::NODE);
    let mut held = Line::open(shim.rest).await;
    held.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"))
        .await;
    wait_for(&shim, "ironic_shim_requests_waiting ", 1.0).await;
    drop(held);
    wait_for(&shim, "ironic_shim_requests_waiting ", 0.0).await;
    assert_eq!(value(&shim, "ironic_shim_requests_held_total ").await, 1.0);
    let text = get(&shim, "/metrics").await;
    let node = crate::support::ironic::NODE;
    assert!(!text.text().contains(node), "no series of a node");
}

#[tokio::test]
async fn readiness_names_what_is_wrong_and_ironic_away_is_no_reason_to_leave() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let mut shim = Shim::start(watched(gateway_config(&ironic, &state))).await;
    let ready = get(&shim, "/readyz").await;
    assert_eq!(
        (ready.status, &ready.json()["status"]),
        (200, &"ready".into())
    );
    assert_eq!(get(&shim, "/healthz").await.status, 200);
    let channel = Channel::from_shared(shim.url.clone()).unwrap();
    let mut health = HealthClient::new(channel.connect_lazy());
    let mut check = async |service: &str| {
        let service = service.to_owned();
        let asked = health.check(HealthCheckRequest { service }).await;
        asked.unwrap().into_inner().status()
    };
    assert_eq!(check("").await, ServingStatus::Serving);

    ironic.script("/v1/lookup", std::iter::repeat_n(Reply::HangUp, 3));
    shim.lookup().await;
    let degraded = get(&shim, "/readyz").await;
    assert_eq!(degraded.status, 200, "{degraded:?}");
    let document = degraded.json();
    assert_eq!(document["status"], "degraded", "{document}");
    let named = &document["dependencies"]["ironic"];
    assert_eq!(named["status"], "degraded", "{document}");
    assert!(
        named["reason"].as_str().unwrap().contains("api_url"),
        "{document}"
    );
    assert_eq!(check("ironic").await, ServingStatus::NotServing);
    assert_eq!(check("").await, ServingStatus::Serving);
}

#[tokio::test]
async fn the_listener_of_metrics_is_bounded_and_refuses_what_it_does_not_serve() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let shim = Shim::start(watched(gateway_config(&ironic, &state))).await;
    assert_eq!(get(&shim, "/").await.status, 404);
    let mut line = Line::open(shim.metrics.unwrap()).await;
    let refused = line.ask("POST", "/metrics", "", b"").await;
    assert_eq!(refused.status, 405);
    assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    // Connections that say nothing keep nobody away.
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(Line::open(shim.metrics.unwrap()).await);
    }
    assert_eq!(get(&shim, "/healthz").await.status, 200);
}

#[tokio::test]
async fn a_shim_beside_its_agent_serves_no_metrics() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let config = watched(config(&[&ironic.url], &state));
    let started = ironic_shim::app::Shim::start(config, CancellationToken::new()).await;
    let error = format!("{:#}", started.unwrap_err());
    assert!(
        error.contains("metrics_listen") && error.contains("gateway_url"),
        "{error}"
    );
}
