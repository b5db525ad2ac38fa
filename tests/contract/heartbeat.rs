//! Heartbeats through the shim: the request as Ironic sees it, the verdict as the agent
//! hears it, and the life of a session. The schedule is the agent's and is tested there.

use std::sync::Arc;
use std::time::Duration;

use ironic_agent_protocol::v1::heartbeat_request::Message;
use ironic_agent_protocol::v1::{self, FarewellReason, HeartbeatVerdict};
use ironic_program::CommonSettings;
use ironic_shim::config::ShimConfig;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tonic::Code;

use crate::support::ironic::{FakeIronic, NODE, Reply, TOKEN, recorded};
use crate::support::shim::{Session, Shim, config, found, hello};

const HEARTBEAT: &str = "/v1/heartbeat/";

/// No certificate: what is sent can be compared with a recording.
fn plain(config: ShimConfig) -> ShimConfig {
    ShimConfig {
        enable_auto_tls: false,
        ..config
    }
}

fn keys(body: &Value) -> Vec<&str> {
    body.as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[tokio::test]
async fn the_request_is_the_python_agents() {
    let recorded = recorded("heartbeat");
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let id = "req-c95aec25-6163-4c99-b98f-41b11959ac2b";
    let config = ShimConfig {
        global_request_id: Some(id.into()),
        advertise_port: 20310,
        ..plain(config(&[&ironic.url], &state))
    };
    let mut shim = Shim::start(config).await;
    let mut session = shim.session(hello()).await.unwrap();
    assert_eq!(
        session.beat().await.unwrap().verdict(),
        HeartbeatVerdict::Accepted
    );

    let seen = ironic.seen(HEARTBEAT).remove(0);
    assert_eq!(seen.method, "POST");
    assert_eq!(seen.path, recorded["path"].as_str().unwrap());
    for header in recorded["request_headers"].as_array().unwrap() {
        let (header, value) = (header[0].as_str().unwrap(), header[1].as_str().unwrap());
        if header != "Content-Length" {
            assert_eq!(seen.header(header), Some(value), "{header}");
        }
    }
    let mut expected = recorded["request"].clone();
    expected["agent_version"] = json!("0.1.0");
    assert_eq!(seen.json(), expected);
    assert_eq!(keys(&seen.json()), keys(&expected));
}

#[tokio::test]
async fn with_a_certificate_the_keys_are_those_of_the_recording_in_every_beat() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    ironic.require_tls();
    let mut shim = Shim::start(config(&[&ironic.url], &state)).await;
    let mut session = shim.session(hello()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(
            session.beat().await.unwrap().verdict(),
            HeartbeatVerdict::Accepted
        );
    }
    let bodies: Vec<_> = ironic
        .seen(HEARTBEAT)
        .iter()
        .map(|seen| seen.json())
        .collect();
    assert_eq!(bodies.len(), 3);
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    assert_eq!(
        keys(&bodies[0]),
        keys(&recorded("heartbeat_tls")["request"])
    );
    assert_eq!(bodies[0]["callback_url"], format!("https://{}", shim.rest));
    let pem = bodies[0]["agent_verify_ca"].as_str().unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\n"), "{pem}");
    assert!(pem.ends_with("-----END CERTIFICATE-----\n"), "{pem}");
}

/// `openstack baremetal node show` shows it in `driver_internal_info`.
#[tokio::test]
async fn activity_is_reported_to_an_ironic_that_takes_it() {
    let long = "x".repeat(300);
    // Ironic's version; what the agent says; the header; what Ironic hears.
    let cases = [
        (
            "1.115",
            "erase /dev/sda: 63 %",
            "1.72",
            Some("erase /dev/sda: 63 %"),
        ),
        ("1.72", "erase", "1.72", Some("erase")),
        ("1.71", "erase", "1.71", None),
        ("1.68", "erase", "1.68", None),
        ("1.115", "", "1.68", None),
        ("1.115", " \n", "1.68", None),
        ("1.115", "a\u{1b}[2Jb\u{9b}\r\n", "1.72", Some("a[2Jb")),
        ("1.115", &long, "1.72", Some(&long[..255])),
    ];
    for (version, said, asked, heard) in cases {
        let state = tempfile::tempdir().unwrap();
        let ironic = FakeIronic::start().await;
        ironic.set_version(Some(version));
        let mut shim = Shim::start(plain(config(&[&ironic.url], &state))).await;
        let mut session = shim.session(hello()).await.unwrap();
        let beat = v1::Beat {
            sequence: 1,
            status_message: said.into(),
            ..v1::Beat::default()
        };
        session.say(Message::Beat(beat)).await;
        let answer = session.hear().await.unwrap();
        assert_eq!(answer.verdict(), HeartbeatVerdict::Accepted);
        let seen = ironic.seen(HEARTBEAT).remove(0);
        assert_eq!(seen.version(), Some(asked), "{version} {said:?}");
        let body = seen.json();
        let message = body.get("agent_status_message").and_then(Value::as_str);
        assert_eq!(message, heard, "{version} {said:?}");
    }
}

#[tokio::test]
async fn the_body_holds_what_this_version_of_ironic_knows() {
    let all = ["callback_url", "agent_token", "agent_version"];
    // What Ironic tells; the header; the keys.
    let cases: [(&str, &str, &[&str]); 6] = [
        ("1.31", "1.31", &["callback_url"]),
        ("1.36", "1.36", &["callback_url", "agent_version"]),
        ("1.61", "1.61", &["callback_url", "agent_version"]),
        ("1.62", "1.62", &all),
        ("1.65", "1.65", &all),
        (
            "1.115",
            "1.68",
            &[
                "callback_url",
                "agent_token",
                "agent_version",
                "agent_verify_ca",
            ],
        ),
    ];
    for (offered, asked, expected) in cases {
        let state = tempfile::tempdir().unwrap();
        let ironic = FakeIronic::start().await;
        ironic.set_version(Some(offered));
        ironic.script(HEARTBEAT, [Reply::Text(202, String::new())]);
        let mut shim = Shim::start(config(&[&ironic.url], &state)).await;
        shim.session(hello()).await.unwrap().beat().await.unwrap();
        let seen = ironic.seen(HEARTBEAT).remove(0);
        assert_eq!(seen.version(), Some(asked), "{offered}");
        assert_eq!(keys(&seen.json()), expected, "{offered}");
        let scheme = if offered == "1.115" { "https" } else { "http" };
        assert_eq!(
            seen.json()["callback_url"],
            format!("{scheme}://{}", shim.rest),
            "{offered}"
        );
    }
}

#[tokio::test]
async fn a_version_that_cannot_be_learned_is_assumed_for_one_beat() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let mut shim = Shim::start(plain(config(&[&ironic.url], &state))).await;
    let mut session = shim.session(hello()).await.unwrap();
    ironic.set_version(None);
    let answer = session.beat().await.unwrap();
    // An Ironic of today does not take what the oldest version can say.
    assert_eq!(answer.verdict(), HeartbeatVerdict::Refused);
    assert_eq!(
        answer.reason,
        "Error 400: Agent token is required for heartbeat processing."
    );
    ironic.set_version(Some("1.115"));
    assert_eq!(
        session.beat().await.unwrap().verdict(),
        HeartbeatVerdict::Accepted
    );
    let seen = ironic.seen(HEARTBEAT);
    assert_eq!(keys(&seen[0].json()), ["callback_url"]);
    assert_eq!(seen[0].version(), Some("1.31"));
    assert_eq!(seen[1].version(), Some("1.68"));
}

#[tokio::test]
async fn without_a_known_version_the_listener_does_not_open_unprotected() {
    // A shim that returns while Ironic is in trouble must not change from https to http.
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    ironic.set_version(None);
    let mut shim = Shim::start(config(&[&ironic.url], &state)).await;
    let refused = shim
        .session(hello())
        .await
        .unwrap()
        .hear()
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert!(refused.message().contains("version"), "{refused:?}");
    ironic.set_version(Some("1.115"));
    shim.session(hello()).await.unwrap().beat().await.unwrap();
    let url = ironic.seen(HEARTBEAT)[0].json()["callback_url"].clone();
    assert_eq!(url, format!("https://{}", shim.rest));
}

#[tokio::test]
async fn an_address_of_version_6_stands_in_brackets() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let config = ShimConfig {
        advertise_host: Some("fc00:1111::4".into()),
        advertise_port: 9999,
        ..plain(config(&[&ironic.url], &state))
    };
    let mut shim = Shim::start(config).await;
    shim.session(hello()).await.unwrap().beat().await.unwrap();
    let url = ironic.seen(HEARTBEAT)[0].json()["callback_url"].clone();
    assert_eq!(url, "http://[fc00:1111::4]:9999");
}

#[tokio::test]
async fn only_202_is_a_success() {
    use HeartbeatVerdict::{Accepted, Conflict, Refused, Unreachable};
    let cases = [
        (Reply::Text(202, String::new()), Accepted, 202, ""),
        (Reply::Text(200, "{}".into()), Refused, 200, "Error 200: {}"),
        (
            Reply::error(409, "Node is locked."),
            Conflict,
            409,
            "Error 409: Node is locked.",
        ),
        (Reply::error(400, "bad"), Refused, 400, "Error 400: bad"),
        (
            Reply::Text(404, "no page".into()),
            Refused,
            404,
            "Error 404: no page",
        ),
        (
            Reply::error(503, "No free worker."),
            Refused,
            503,
            "Error 503: No free worker.",
        ),
        (
            Reply::Json(406, json!({"error_message": {"title": "Not Acceptable"}})),
            Refused,
            406,
            "Error 406: Not Acceptable",
        ),
        (Reply::HangUp, Unreachable, 0, ""),
        (Reply::Stall, Unreachable, 0, ""),
    ];
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let config = ShimConfig {
        common: CommonSettings {
            http_request_timeout: Duration::from_millis(300),
            ..plain(config(&[&ironic.url], &state)).common
        },
        ..plain(config(&[&ironic.url], &state))
    };
    let mut shim = Shim::start(config).await;
    let mut session = shim.session(hello()).await.unwrap();
    for (reply, verdict, status, reason) in cases {
        ironic.script(HEARTBEAT, [reply.clone()]);
        let answer = session.beat().await.unwrap();
        assert_eq!(
            (answer.verdict(), answer.status),
            (verdict, status),
            "{reply:?}"
        );
        if verdict == Unreachable {
            assert!(!answer.reason.is_empty(), "{reply:?}");
        } else {
            assert_eq!(answer.reason, reason, "{reply:?}");
        }
    }
}

#[tokio::test]
async fn what_ironic_refuses_is_reported_in_its_words() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let mut shim = Shim::start(plain(config(&[&ironic.url], &state))).await;
    let mut refusal = async |hello: v1::Hello| {
        let answer = shim.session(hello).await.unwrap().beat().await.unwrap();
        assert_eq!(
            (answer.verdict(), answer.status),
            (HeartbeatVerdict::Refused, 400)
        );
        answer.reason
    };
    assert_eq!(
        refusal(v1::Hello {
            agent_token: "x".repeat(32),
            ..hello()
        })
        .await,
        "Error 400: Invalid or missing agent token received."
    );
    assert_eq!(
        refusal(v1::Hello {
            agent_token: String::new(),
            ..hello()
        })
        .await,
        "Error 400: Agent token is required for heartbeat processing."
    );
    ironic.require_tls();
    assert_eq!(
        refusal(hello()).await,
        "Error 400: TLS is required by configuration"
    );
}

#[tokio::test]
async fn a_session_outlives_an_ironic_that_goes_away() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let mut shim = Shim::start(plain(config(&[&ironic.url], &state))).await;
    let mut session = shim.session(hello()).await.unwrap();
    assert_eq!(
        session.beat().await.unwrap().verdict(),
        HeartbeatVerdict::Accepted
    );

    let address = ironic.address;
    drop(ironic);
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let answer = session.beat().await.unwrap();
    assert_eq!(
        (answer.verdict(), answer.status),
        (HeartbeatVerdict::Unreachable, 0)
    );
    let ironic = FakeIronic::start_at(address, None).await;
    assert_eq!(
        session.beat().await.unwrap().verdict(),
        HeartbeatVerdict::Accepted
    );
    assert_eq!(ironic.seen(HEARTBEAT).len(), 1);
}

#[tokio::test]
async fn health_tells_of_ironic_and_of_the_shim_apart() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let mut shim = Shim::start(plain(config(&[&ironic.url], &state))).await;
    let channel = tonic::transport::Channel::from_shared(shim.url.clone()).unwrap();
    let mut client = HealthClient::new(channel.connect_lazy());
    let request = |service: &str| HealthCheckRequest {
        service: service.into(),
    };
    let own = request("ironic.agent.v1.ConductorService");
    let mut watch = client.watch(request("ironic")).await.unwrap().into_inner();
    let mut next = async || watch.message().await.unwrap().unwrap().status();
    assert_eq!(next().await, ServingStatus::Unknown);
    shim.lookup().await;
    assert_eq!(next().await, ServingStatus::Serving);

    let address = ironic.address;
    drop(ironic);
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    shim.lookup().await;
    assert_eq!(next().await, ServingStatus::NotServing);
    let own = client.check(own).await.unwrap().into_inner().status();
    assert_eq!(own, ServingStatus::Serving);
}

#[tokio::test]
async fn lookups_and_heartbeats_share_what_they_know_of_the_addresses() {
    let state = tempfile::tempdir().unwrap();
    let (dying, ironic) = (FakeIronic::start().await, FakeIronic::start().await);
    dying.script("/v1/lookup", [Reply::HangUp]);
    let mut shim = Shim::start(plain(config(&[&dying.url, &ironic.url], &state))).await;
    found(shim.lookup().await);
    shim.session(hello()).await.unwrap().beat().await.unwrap();
    assert_eq!(ironic.seen(HEARTBEAT).len(), 1);
    assert_eq!(dying.seen(HEARTBEAT).len(), 0);
}

#[tokio::test]
async fn the_rest_listener_opens_right_before_ironic_hears_of_it() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let mut shim = Shim::start(config(&[&ironic.url], &state)).await;
    found(shim.lookup().await);
    assert!(TcpStream::connect(shim.rest).await.is_err());

    let checked = Arc::new(Notify::new());
    ironic.script(HEARTBEAT, [Reply::Late(Arc::clone(&checked))]);
    let mut session = shim.session(hello()).await.unwrap();
    session.send_beat().await;
    ironic.wait_for(HEARTBEAT, 1).await;
    TcpStream::connect(shim.rest)
        .await
        .expect("Ironic could not connect");
    checked.notify_one();
    assert_eq!(
        session.hear().await.unwrap().verdict(),
        HeartbeatVerdict::Accepted
    );
}

#[tokio::test]
async fn a_session_keeps_its_order_or_ends() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let mut shim = Shim::start(plain(config(&[&ironic.url], &state))).await;

    let mut early = Session::open(&mut shim.conductor).await.unwrap();
    let refused = early.beat().await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().contains("Hello"), "{refused:?}");

    let nameless = v1::Hello {
        node_uuid: String::new(),
        ..hello()
    };
    let refused = shim
        .session(nameless)
        .await
        .unwrap()
        .beat()
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    assert!(refused.message().contains("node_uuid"), "{refused:?}");

    let mut twice = shim.session(hello()).await.unwrap();
    twice.say(Message::Hello(hello())).await;
    assert_eq!(
        twice.hear().await.unwrap_err().code(),
        Code::FailedPrecondition
    );
    assert_eq!(ironic.seen(HEARTBEAT).len(), 0);
}

#[tokio::test]
async fn one_beat_of_a_node_is_in_flight() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let mut shim = Shim::start(plain(config(&[&ironic.url], &state))).await;
    let (first, second) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    ironic.script(
        HEARTBEAT,
        [
            Reply::Late(Arc::clone(&first)),
            Reply::Late(Arc::clone(&second)),
        ],
    );

    // Two connections of one node, one of them perhaps forgotten: the second beat waits.
    let mut old = shim.session(hello()).await.unwrap();
    old.send_beat().await;
    ironic.wait_for(HEARTBEAT, 1).await;
    let mut new = shim.session(hello()).await.unwrap();
    new.send_beat().await;
    // The session that waits is alive, and so is everything beside it.
    found(shim.lookup().await);
    assert_eq!(ironic.seen(HEARTBEAT).len(), 1);
    first.notify_one();
    assert_eq!(
        old.hear().await.unwrap().verdict(),
        HeartbeatVerdict::Accepted
    );
    ironic.wait_for(HEARTBEAT, 2).await;

    // Within one session a second beat is a mistake of the agent.
    new.send_beat().await;
    let refused = new.hear().await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert_eq!(ironic.seen(HEARTBEAT).len(), 2);
    drop(second);
}

#[tokio::test]
async fn an_agent_that_hangs_up_does_not_block_its_return() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let mut shim = Shim::start(plain(config(&[&ironic.url], &state))).await;
    ironic.script(HEARTBEAT, [Reply::Stall]);
    let mut session = shim.session(hello()).await.unwrap();
    session.send_beat().await;
    ironic.wait_for(HEARTBEAT, 1).await;
    drop(session);
    // Far less than the 30 s for which the first POST would wait.
    let mut session = shim.session(hello()).await.unwrap();
    assert_eq!(
        session.beat().await.unwrap().verdict(),
        HeartbeatVerdict::Accepted
    );
}

#[tokio::test]
async fn a_farewell_closes_the_listener_when_the_machine_is_handed_over() {
    for (reason, closes) in [
        (FarewellReason::Unspecified, false),
        (FarewellReason::Rescued, true),
        (FarewellReason::LockedDown, true),
    ] {
        let state = tempfile::tempdir().unwrap();
        let ironic = FakeIronic::start().await;
        let mut shim = Shim::start(plain(config(&[&ironic.url], &state))).await;
        let mut session = shim.session(hello()).await.unwrap();
        session.beat().await.unwrap();
        TcpStream::connect(shim.rest).await.unwrap();
        session
            .say(Message::Farewell(v1::Farewell {
                reason: reason.into(),
            }))
            .await;
        assert_eq!(session.hear().await.unwrap_err().code(), Code::Cancelled);
        if !closes {
            TcpStream::connect(shim.rest).await.unwrap();
            continue;
        }
        let gone = async {
            while TcpStream::connect(shim.rest).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone)
            .await
            .expect("the server keeps listening");
        let refused = shim
            .session(hello())
            .await
            .unwrap()
            .hear()
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    }
}

#[tokio::test]
async fn a_shim_that_dies_and_returns_goes_on_where_it_was() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    ironic.require_tls();
    let mut shim = Shim::start(config(&[&ironic.url], &state)).await;
    found(shim.lookup().await);
    let mut session = shim.session(hello()).await.unwrap();
    assert_eq!(
        session.beat().await.unwrap().verdict(),
        HeartbeatVerdict::Accepted
    );
    let config = shim.die().await;
    session.beat().await.unwrap_err();

    // No lookup: the Hello repeats what the first life learned. Ironic refuses a node whose
    // callback URL or certificate changes.
    let mut shim = Shim::start(config).await;
    let mut session = shim.session(hello()).await.unwrap();
    let answer = session.beat().await.unwrap();
    assert_eq!(
        answer.verdict(),
        HeartbeatVerdict::Accepted,
        "{}",
        answer.reason
    );
    TcpStream::connect(shim.rest).await.unwrap();
    let seen = ironic.seen(HEARTBEAT);
    assert_eq!(seen[0].json(), seen[1].json());
    assert_eq!(ironic.seen("/v1/lookup").len(), 1);

    // With another certificate the same node is lost, which is why it is kept.
    let config = shim.die().await;
    std::fs::remove_file(state.path().join("agent.crt")).unwrap();
    let mut shim = Shim::start(config).await;
    let answer = shim.session(hello()).await.unwrap().beat().await.unwrap();
    assert_eq!(
        answer.reason,
        "Error 400: Detected change in ramdisk provided \"agent_verify_ca\""
    );
}

#[tokio::test]
async fn a_listener_that_cannot_open_names_the_option_and_is_tried_again() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let config = plain(config(&[&ironic.url], &state));
    let other = std::net::TcpListener::bind(("127.0.0.1", config.listen_port)).unwrap();
    let mut shim = Shim::start(config).await;
    let refused = shim
        .session(hello())
        .await
        .unwrap()
        .hear()
        .await
        .unwrap_err();
    assert!(refused.message().contains("listen_port"), "{refused:?}");
    drop(other);
    let answer = shim.session(hello()).await.unwrap().beat().await.unwrap();
    assert_eq!(answer.verdict(), HeartbeatVerdict::Accepted);
}

#[tokio::test]
async fn an_unreachable_ironic_keeps_the_listener_closed() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let address = ironic.address;
    let mut shim = Shim::start(plain(config(&[&ironic.url], &state))).await;
    drop(ironic);
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let refused = shim
        .session(hello())
        .await
        .unwrap()
        .hear()
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert!(refused.message().contains("api_url"), "{refused:?}");
    let _ironic = FakeIronic::start_at(address, None).await;
    let answer = shim.session(hello()).await.unwrap().beat().await.unwrap();
    assert_eq!(answer.verdict(), HeartbeatVerdict::Accepted);
}

#[test]
fn the_recorded_node_is_the_fake_ones() {
    assert_eq!(recorded("heartbeat")["request"]["agent_token"], TOKEN);
    assert_eq!(recorded("heartbeat")["path"], format!("{HEARTBEAT}{NODE}"));
}
