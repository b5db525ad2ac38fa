//! Lookups through the shim: version discovery, the request as Ironic sees it, and what
//! becomes of every answer. The schedule of retries is the agent's and is tested there.

use std::time::Duration;

use ironic_agent_protocol::v1::LookupRefusal;
use ironic_program::CommonSettings;
use ironic_shim::config::ShimConfig;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::ironic::{FakeIronic, NODE, Reply, TOKEN, recorded};
use crate::support::shim::{Shim, config, found, retry};
use crate::support::tls;

async fn shim(ironic: &FakeIronic, state: &TempDir) -> Shim {
    Shim::start(config(&[&ironic.url], state)).await
}

#[tokio::test]
async fn the_request_is_the_python_agents() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let id = "req-c95aec25-6163-4c99-b98f-41b11959ac2b";
    let config = ShimConfig {
        global_request_id: Some(id.into()),
        ..config(&[&ironic.url], &state)
    };
    let mut shim = Shim::start(config).await;
    found(shim.lookup().await);

    for name in ["root", "lookup"] {
        let recorded = recorded(name);
        let path = recorded["path"].as_str().unwrap();
        let seen = ironic.seen(path);
        let seen = seen.iter().find(|seen| seen.path == path).unwrap();
        assert_eq!(seen.method, recorded["method"].as_str().unwrap());
        assert_eq!(seen.body, "");
        for header in recorded["request_headers"].as_array().unwrap() {
            let (header, value) = (header[0].as_str().unwrap(), header[1].as_str().unwrap());
            assert_eq!(seen.header(header), Some(value), "{header} of {path}");
        }
    }
}

#[tokio::test]
async fn the_answer_arrives_whole() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let session = found(shim(&ironic, &state).await.lookup().await);

    let answer = &recorded("lookup")["response"];
    let node = ironic_document::object(session.node.unwrap(), "node").unwrap();
    assert_eq!(Value::Object(node), answer["node"]);
    assert_eq!(session.heartbeat_timeout.unwrap().seconds, 60);
    let config = session.config.unwrap();
    assert_eq!(config.agent_token, TOKEN);
    assert_eq!(config.agent_md5_checksum_enable, Some(true));
    assert_eq!(config.disable_deep_image_inspection, Some(false));
    assert_eq!(config.enable_bios_bootloader_install, Some(false));
    assert_eq!(config.agent_skip_bmc_detect, Some(true));
    assert_eq!(
        config.permitted_image_formats.unwrap().formats,
        ["raw", "gpt", "qcow2", "iso"]
    );
    assert_eq!(config.tls_min_version, "1.3");
    assert_eq!(config.tls_cipher_suites, "");
    let containers =
        ironic_document::object(config.agent_containers.unwrap(), "containers").unwrap();
    assert_eq!(
        Value::Object(containers),
        answer["config"]["agent_containers"]
    );
}

#[tokio::test]
async fn the_version_is_what_both_sides_know() {
    // What Ironic tells, and the header of the lookup.
    let cases = [
        (Some("1.115"), "1.62"),
        (Some("1.62"), "1.62"),
        (Some("1.61"), "1.61"),
        (Some("1.47"), "1.47"),
        // No sense, or no answer: the oldest version that has all we need.
        (Some("latest"), "1.31"),
        (None, "1.31"),
    ];
    for (offered, asked) in cases {
        let state = tempfile::tempdir().unwrap();
        let ironic = FakeIronic::start().await;
        ironic.set_version(offered);
        shim(&ironic, &state).await.lookup().await;
        assert_eq!(
            ironic.seen("/v1/lookup")[0].version(),
            Some(asked),
            "Ironic offers {offered:?}"
        );
    }
}

#[tokio::test]
async fn a_version_is_learned_once_and_a_failure_is_not_kept() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    ironic.script("/", [Reply::Text(500, "<html>".into())]);
    let mut shim = shim(&ironic, &state).await;
    for _ in 0..3 {
        shim.lookup().await;
    }
    let versions: Vec<_> = ironic
        .seen("/v1/lookup")
        .iter()
        .map(|seen| seen.version().map(str::to_owned))
        .collect();
    assert_eq!(
        versions,
        ["1.31", "1.62", "1.62"].map(|text| Some(text.to_owned()))
    );
    assert_eq!(ironic.seen_root().len(), 2);
}

#[tokio::test]
async fn a_root_document_counts_with_any_status() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let root = recorded("root")["response"].clone();
    ironic.script("/", [Reply::Json(404, root)]);
    shim(&ironic, &state).await.lookup().await;
    assert_eq!(ironic.seen("/v1/lookup")[0].version(), Some("1.62"));
}

#[tokio::test]
async fn a_configured_version_needs_no_discovery() {
    for (option, asked, discoveries) in
        [("1.47", "1.47", 0), ("1.99", "1.62", 0), ("new", "1.62", 1)]
    {
        let state = tempfile::tempdir().unwrap();
        let ironic = FakeIronic::start().await;
        let config = ShimConfig {
            ironic_api_version: Some(option.into()),
            ..config(&[&ironic.url], &state)
        };
        Shim::start(config).await.lookup().await;
        assert_eq!(
            ironic.seen("/v1/lookup")[0].version(),
            Some(asked),
            "{option}"
        );
        assert_eq!(ironic.seen_root().len(), discoveries, "{option}");
    }
}

#[tokio::test]
async fn addresses_and_uuid_stand_in_the_query() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    // An address with slashes at its end is still one address.
    let mut shim = Shim::start(config(&[&format!("{}//", ironic.url)], &state)).await;
    shim.lookup_for(&["02:FC:00:00:00:01", "02:fc:00:00:00:02"], NODE)
        .await;
    shim.lookup_for(&[], NODE).await;
    let paths: Vec<_> = ironic
        .seen("/v1/lookup")
        .into_iter()
        .map(|seen| seen.path)
        .collect();
    assert_eq!(
        paths,
        [
            format!(
                "/v1/lookup?addresses=02%3AFC%3A00%3A00%3A00%3A01%2C02%3Afc%3A00%3A00%3A00%3A02&node_uuid={NODE}"
            ),
            format!("/v1/lookup?addresses=&node_uuid={NODE}"),
        ]
    );
}

#[tokio::test]
async fn refusals_are_quoted_and_only_a_locked_node_is_a_conflict() {
    let not_found = recorded("lookup_not_found")["response"].clone();
    let cases = [
        (
            Reply::Json(404, not_found),
            false,
            "Error 404: Resource could not be found.",
        ),
        (
            Reply::error(409, "Node is locked."),
            true,
            "Error 409: Node is locked.",
        ),
        (
            Reply::Json(
                406,
                json!({"error_message": {"code": 406, "title": "Not Acceptable"}}),
            ),
            false,
            "Error 406: Not Acceptable",
        ),
        (
            Reply::Json(
                400,
                json!({"error_message": {"faultstring": "bad", "title": "x"}}),
            ),
            false,
            "Error 400: bad",
        ),
        (
            Reply::Text(502, "<html>proxy</html>".into()),
            false,
            "Error 502: <html>proxy</html>",
        ),
        (Reply::Text(204, String::new()), false, "Error 204"),
        (
            Reply::Json(201, recorded("lookup")["response"].clone()),
            false,
            "Error 201",
        ),
    ];
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let mut shim = shim(&ironic, &state).await;
    for (reply, locked, reason) in cases {
        ironic.script("/v1/lookup", [reply]);
        let retry = retry(shim.lookup().await);
        assert!(
            retry.reason.starts_with(reason),
            "{:?}, not {reason:?}",
            retry.reason
        );
        assert_eq!(
            retry.refusal() == LookupRefusal::Conflict,
            locked,
            "{reason}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_a_reason_to_ask_again() {
    let good = recorded("lookup")["response"].clone();
    let without = |pointer: &str, key: &str| {
        let mut answer = good.clone();
        answer
            .pointer_mut(pointer)
            .unwrap()
            .as_object_mut()
            .unwrap()
            .remove(key);
        Reply::Json(200, answer)
    };
    let with = |pointer: &str, value: Value| {
        let mut answer = good.clone();
        *answer.pointer_mut(pointer).unwrap() = value;
        Reply::Json(200, answer)
    };
    // The answer, and a word of what the reason has to name.
    let cases = [
        (
            Reply::Text(200, "<html>captive portal</html>".into()),
            "JSON",
        ),
        (Reply::Text(200, String::new()), "JSON"),
        (Reply::Text(200, "\u{feff}null".into()), "JSON"),
        (Reply::Json(200, json!(null)), "node"),
        (Reply::Json(200, json!([{"node": {}}])), "node"),
        (Reply::Json(200, json!({"node": "x"})), "node"),
        (without("", "node"), "node"),
        (without("/node", "uuid"), "node.uuid"),
        (with("/node/uuid", json!(5)), "node.uuid"),
        (without("/node", "instance_info"), "node.instance_info"),
        (with("/node/properties", json!(null)), "node.properties"),
        (without("/config", "heartbeat_timeout"), "heartbeat_timeout"),
        (without("", "config"), "heartbeat_timeout"),
        (
            with("/config/heartbeat_timeout", json!("soon")),
            "heartbeat_timeout",
        ),
        (
            with("/config/heartbeat_timeout", json!(0)),
            "heartbeat_timeout",
        ),
        (
            with("/config/heartbeat_timeout", json!(-3)),
            "heartbeat_timeout",
        ),
        (
            with("/config/heartbeat_timeout", json!(1e300)),
            "heartbeat_timeout",
        ),
        // A number that the protocol cannot carry is refused, never rounded.
        (
            with("/node/properties/vendor", json!(9_007_199_254_740_993_u64)),
            "vendor",
        ),
        (Reply::Cut, ""),
        (Reply::HangUp, ""),
    ];
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let mut shim = shim(&ironic, &state).await;
    for (reply, named) in cases {
        ironic.script("/v1/lookup", [reply.clone()]);
        let retry = retry(shim.lookup().await);
        assert!(
            retry.reason.contains(named),
            "{reply:?}: {:?}",
            retry.reason
        );
        assert!(!retry.reason.is_empty(), "{reply:?}");
        assert_eq!(retry.refusal(), LookupRefusal::Unspecified, "{reply:?}");
    }
    // And after all that nonsense, an answer is an answer.
    found(shim.lookup().await);
}

#[tokio::test]
async fn a_timeout_beside_the_node_counts_where_there_is_no_config() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let mut answer = recorded("lookup")["response"].clone();
    answer.as_object_mut().unwrap().remove("config");
    answer["heartbeat_timeout"] = json!(42.5);
    ironic.script("/v1/lookup", [Reply::Json(200, answer)]);
    let session = found(shim(&ironic, &state).await.lookup().await);
    let timeout = session.heartbeat_timeout.unwrap();
    assert_eq!((timeout.seconds, timeout.nanos), (42, 500_000_000));
    assert_eq!(session.config.unwrap().agent_token, "");
}

#[tokio::test]
async fn settings_pass_as_ironic_wrote_them_and_null_changes_nothing() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let mut answer = recorded("lookup")["response"].clone();
    answer["config"] = json!({
        "heartbeat_timeout": 300,
        "agent_token": "******",
        "agent_md5_checksum_enable": null,
        "disable_deep_image_inspection": true,
        "permitted_image_formats": "raw, qcow2",
        "tls_cipher_suites": "ECDHE-RSA-AES128-GCM-SHA256",
        "agent_containers": {"no_such_option": "x", "runner": "docker"},
        "key_of_a_later_release": [1, 2, 3],
    });
    ironic.script("/v1/lookup", [Reply::Json(200, answer)]);
    let config = found(shim(&ironic, &state).await.lookup().await)
        .config
        .unwrap();
    assert_eq!(config.agent_token, "******");
    assert_eq!(config.agent_md5_checksum_enable, None);
    assert_eq!(config.disable_deep_image_inspection, Some(true));
    assert_eq!(config.enable_bios_bootloader_install, None);
    assert_eq!(
        config.permitted_image_formats.unwrap().formats,
        ["raw", "qcow2"]
    );
    assert_eq!(config.tls_min_version, "");
    assert_eq!(config.tls_cipher_suites, "ECDHE-RSA-AES128-GCM-SHA256");
    let containers =
        ironic_document::object(config.agent_containers.unwrap(), "containers").unwrap();
    assert_eq!(
        Value::Object(containers),
        json!({"no_such_option": "x", "runner": "docker"})
    );
}

#[tokio::test]
async fn the_address_that_answers_is_asked_first_from_then_on() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let refusing = dead_url();
    let other = FakeIronic::start().await;
    let mut shim = Shim::start(config(&[&refusing, &ironic.url, &other.url], &state)).await;
    found(shim.lookup().await);
    // The first address is back, but the second has answered.
    let returned = FakeIronic::start_at(refusing[7..].parse().unwrap(), None).await;
    found(shim.lookup().await);
    assert_eq!(ironic.seen("/v1/lookup").len(), 2);
    assert_eq!(returned.seen("/").len() + other.seen("/").len(), 0);

    // An error is an answer, too: the next address is not bothered.
    ironic.script("/v1/lookup", [Reply::error(500, "database")]);
    assert_eq!(retry(shim.lookup().await).reason, "Error 500: database");
    assert_eq!(returned.seen("/").len() + other.seen("/").len(), 0);

    // When it dies, the others are asked in their old order.
    let address = ironic.address;
    drop(ironic);
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    found(shim.lookup().await);
    assert_eq!(returned.seen("/v1/lookup").len(), 1);
    assert_eq!(other.seen("/").len(), 0);
}

#[tokio::test]
async fn an_ironic_that_says_nothing_is_given_up() {
    let state = tempfile::tempdir().unwrap();
    let (mute, ironic) = (FakeIronic::start().await, FakeIronic::start().await);
    mute.script("/", [Reply::Stall, Reply::Stall]);
    let config = ShimConfig {
        common: CommonSettings {
            http_request_timeout: Duration::from_millis(200),
            ..config(&[&mute.url, &ironic.url], &state).common
        },
        ..config(&[&mute.url, &ironic.url], &state)
    };
    found(Shim::start(config).await.lookup().await);
    assert_eq!(ironic.seen("/v1/lookup")[0].version(), Some("1.62"));
    assert_eq!(mute.seen("/").len(), 1);
}

#[tokio::test]
async fn an_unreachable_ironic_is_named_with_its_address() {
    let state = tempfile::tempdir().unwrap();
    let url = dead_url();
    let retry = retry(Shim::start(config(&[&url], &state)).await.lookup().await);
    assert!(retry.reason.contains(&url), "{}", retry.reason);
    assert!(retry.reason.contains("refused"), "{}", retry.reason);
}

#[tokio::test]
async fn a_server_is_verified_unless_the_operator_says_otherwise() {
    let (acceptor, authority) = tls::server();
    let ironic = FakeIronic::start_tls(acceptor).await;
    let state = tempfile::tempdir().unwrap();
    let cafile = state.path().join("ca.pem");
    std::fs::write(&cafile, authority).unwrap();
    let plain = || config(&[&ironic.url], &state);

    let reason = retry(Shim::start(plain()).await.lookup().await).reason;
    assert!(reason.contains("certificate"), "{reason}");
    assert_eq!(ironic.seen("/").len(), 0);
    found(
        Shim::start(ShimConfig {
            common: CommonSettings {
                cafile: Some(cafile),
                ..plain().common
            },
            ..plain()
        })
        .await
        .lookup()
        .await,
    );
    found(
        Shim::start(ShimConfig {
            common: CommonSettings {
                insecure: true,
                ..plain().common
            },
            ..plain()
        })
        .await
        .lookup()
        .await,
    );
}

#[tokio::test]
async fn an_ironic_may_be_its_own_authority() {
    // What `openssl req -x509` makes, and what the Python agent accepts.
    let own = tls::self_signed_authority();
    let ironic = FakeIronic::start_tls(tls::acceptor(&own)).await;
    let state = tempfile::tempdir().unwrap();
    let cafile = state.path().join("ironic.crt");
    std::fs::write(&cafile, &own.pem).unwrap();
    let config = ShimConfig {
        common: CommonSettings {
            cafile: Some(cafile),
            ..config(&[&ironic.url], &state).common
        },
        ..config(&[&ironic.url], &state)
    };
    found(Shim::start(config).await.lookup().await);
}

/// An address at which nobody listens.
fn dead_url() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}
