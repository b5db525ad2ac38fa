//! TLS of the REST server, seen from the conductor's side.

use std::path::PathBuf;
use std::time::Duration;

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::conductor_service_client::ConductorServiceClient;
use ironic_program::CommonSettings;
use ironic_shim::config::{Protocol, ShimConfig};
use rustls::pki_types::UnixTime;
use rustls::version::{TLS12, TLS13};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tonic::Code;

use crate::support::ironic::FakeIronic;
use crate::support::shim::{Shim, config, hello, secret};
use crate::support::tls;

const HEARTBEAT: &str = "/v1/heartbeat/";

/// A shim that listens; the PEM that Ironic was given.
async fn opened(
    config: ShimConfig,
    hello: v1::Hello,
    ironic: &FakeIronic,
) -> (Shim, Option<String>) {
    let mut shim = Shim::start(config).await;
    let mut session = shim.session(hello).await.unwrap();
    session.beat().await.unwrap();
    let body = ironic.seen(HEARTBEAT).remove(0).json();
    (shim, body["agent_verify_ca"].as_str().map(str::to_owned))
}

fn hello_with(tls_min_version: &str, tls_cipher_suites: &str) -> v1::Hello {
    let mut hello = hello();
    hello.config = Some(v1::SessionConfig {
        tls_min_version: tls_min_version.into(),
        tls_cipher_suites: tls_cipher_suites.into(),
        ..v1::SessionConfig::default()
    });
    hello
}

#[tokio::test]
async fn the_conductor_trusts_the_certificate_that_was_reported() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let (shim, pem) = opened(config(&[&ironic.url], &state), hello(), &ironic).await;
    let pem = pem.unwrap();
    let peer = tls::connect(shim.rest, &pem, &[&TLS13]).await.unwrap();
    let answer = tls::root(peer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // Another certificate is not believed: the name alone is no proof.
    let (_, stranger) = tls::server();
    tls::connect(shim.rest, &stranger, &[&TLS13])
        .await
        .unwrap_err();
}

#[tokio::test]
async fn a_clock_an_hour_off_does_not_matter() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let (shim, pem) = opened(config(&[&ironic.url], &state), hello(), &ironic).await;
    let (pem, now) = (pem.unwrap(), UnixTime::now().as_secs());
    let at = |seconds: u64| {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        tls::is_believed(&pem, shim.rest, time)
    };
    const DAY: u64 = 86_400;
    assert!(at(now));
    assert!(at(now - 3590), "the conductor's clock is an hour behind");
    assert!(!at(now - 3610));
    assert!(at(now + 30 * DAY - 60));
    assert!(!at(now + 30 * DAY + 60));
}

#[tokio::test]
async fn the_skew_is_an_option() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let config = ShimConfig {
        auto_tls_allowed_clock_skew: Duration::from_secs(7 * 86_400),
        ..config(&[&ironic.url], &state)
    };
    let (shim, pem) = opened(config, hello(), &ironic).await;
    let week_ago = UnixTime::now().as_secs() - 7 * 86_400 + 60;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(week_ago));
    assert!(tls::is_believed(&pem.unwrap(), shim.rest, time));
}

#[tokio::test]
async fn the_lookup_decides_the_oldest_version() {
    // What the lookup says, and whether a conductor with TLS 1.2 gets in.
    for (said, old_allowed) in [("", true), ("1.2", true), ("1.3", false)] {
        let state = tempfile::tempdir().unwrap();
        let ironic = FakeIronic::start().await;
        let (shim, pem) = opened(
            config(&[&ironic.url], &state),
            hello_with(said, ""),
            &ironic,
        )
        .await;
        let pem = pem.unwrap();
        let old = tls::connect(shim.rest, &pem, &[&TLS12]).await;
        assert_eq!(old.is_ok(), old_allowed, "{said:?}");
        if let Err(error) = old {
            assert!(error.to_string().contains("ProtocolVersion"), "{error}");
        }
        tls::connect(shim.rest, &pem, &[&TLS13]).await.unwrap();
    }
}

#[tokio::test]
async fn nonsense_from_the_lookup_is_named() {
    for (version, suites, named) in [
        ("1.1", "", "1.1"),
        ("1.2", "ROT13:XOR", "ROT13"),
        ("newest", "", "newest"),
    ] {
        let state = tempfile::tempdir().unwrap();
        let ironic = FakeIronic::start().await;
        let mut shim = Shim::start(config(&[&ironic.url], &state)).await;
        let mut session = shim.session(hello_with(version, suites)).await.unwrap();
        let refused = session.hear().await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
        assert!(refused.message().contains(named), "{refused:?}");
        // It was a bad word, not a broken shim.
        shim.session(hello()).await.unwrap().beat().await.unwrap();
    }
}

#[tokio::test]
async fn unknown_suites_beside_known_ones_are_left_out() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let suites = "ROT13:ECDHE-ECDSA-AES128-GCM-SHA256";
    let (shim, pem) = opened(
        config(&[&ironic.url], &state),
        hello_with("1.2", suites),
        &ironic,
    )
    .await;
    let peer = tls::connect(shim.rest, &pem.unwrap(), &[&TLS12])
        .await
        .unwrap();
    let suite = peer.get_ref().1.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(
        suite,
        rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
    );
}

#[tokio::test]
async fn plain_http_gets_no_http_answer_from_a_tls_listener() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let (shim, _) = opened(config(&[&ironic.url], &state), hello(), &ironic).await;
    let peer = TcpStream::connect(shim.rest).await.unwrap();
    // A reset is as good as a silent end.
    let answer = tls::root(peer).await.unwrap_or_default();
    assert!(!answer.contains("HTTP"), "{answer}");
}

#[tokio::test]
async fn a_certificate_is_made_only_where_ironic_can_receive_it() {
    for (version, enable_auto_tls) in [("1.67", true), ("1.115", false)] {
        let state = tempfile::tempdir().unwrap();
        let ironic = FakeIronic::start().await;
        ironic.set_version(Some(version));
        let config = ShimConfig {
            enable_auto_tls,
            ..config(&[&ironic.url], &state)
        };
        let (shim, pem) = opened(config, hello(), &ironic).await;
        assert_eq!(pem, None, "{version}");
        let answer = tls::root(TcpStream::connect(shim.rest).await.unwrap())
            .await
            .unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(!state.path().join("agent.key").exists(), "{version}");
    }
}

/// The operator's certificate and key as files, and its PEM.
fn operators(state: &TempDir) -> (PathBuf, PathBuf, String) {
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (state.path().join("own.crt"), state.path().join("own.key"));
    std::fs::write(&certificate, signed.cert.pem()).unwrap();
    std::fs::write(&key, signed.signing_key.serialize_pem()).unwrap();
    (certificate, key, signed.cert.pem())
}

#[tokio::test]
async fn an_operator_brings_a_certificate() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let (certificate, key, pem) = operators(&state);
    let config = ShimConfig {
        listen_tls: true,
        tls_cert_file: Some(certificate),
        tls_key_file: Some(key),
        advertise_protocol: Protocol::Https,
        ..config(&[&ironic.url], &state)
    };
    let (shim, given) = opened(config, hello(), &ironic).await;
    // The operator's authority is known to the operator's conductor.
    assert_eq!(given, None);
    let url = ironic.seen(HEARTBEAT)[0].json()["callback_url"].clone();
    assert_eq!(url, format!("https://{}", shim.rest));
    let answer = tls::root(tls::connect(shim.rest, &pem, &[&TLS13]).await.unwrap()).await;
    assert!(answer.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn half_a_certificate_is_no_certificate() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let (certificate, _, _) = operators(&state);
    let broken = state.path().join("broken.key");
    std::fs::write(&broken, "-----BEGIN NOTHING-----\n").unwrap();
    let base = || ShimConfig {
        listen_tls: true,
        ..config(&[&ironic.url], &state)
    };
    let missing = state.path().join("missing.key");
    let cases = [
        (
            ShimConfig {
                tls_cert_file: Some(certificate.clone()),
                ..base()
            },
            "tls_key_file",
        ),
        (
            ShimConfig {
                tls_cert_file: Some(certificate.clone()),
                tls_key_file: Some(missing),
                ..base()
            },
            "missing.key",
        ),
        (
            ShimConfig {
                tls_cert_file: Some(certificate),
                tls_key_file: Some(broken),
                ..base()
            },
            "private key",
        ),
    ];
    for (config, named) in cases {
        let mut shim = Shim::start(config).await;
        let refused = shim
            .session(hello())
            .await
            .unwrap()
            .hear()
            .await
            .unwrap_err();
        assert!(refused.message().contains(named), "{refused:?}");
    }
}

#[tokio::test]
async fn a_certificate_needs_an_address() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let config = ShimConfig {
        advertise_host: Some("node.example".into()),
        ..config(&[&ironic.url], &state)
    };
    let mut shim = Shim::start(config).await;
    let refused = shim
        .session(hello())
        .await
        .unwrap()
        .hear()
        .await
        .unwrap_err();
    assert!(refused.message().contains("advertise_host"), "{refused:?}");
    assert!(refused.message().contains("node.example"), "{refused:?}");
}

#[tokio::test]
async fn a_broken_state_directory_is_repaired_with_a_new_certificate() {
    let state = tempfile::tempdir().unwrap();
    // The remains of a crash: a key that belongs to no certificate, and half a certificate.
    let (certificate, key) = (
        state.path().join("agent.crt"),
        state.path().join("agent.key"),
    );
    let stranger = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for (half, secret) in [("-----BEGIN CERT", stranger.as_str()), ("", "")] {
        std::fs::write(&certificate, half).unwrap();
        std::fs::write(&key, secret).unwrap();
        let ironic = FakeIronic::start().await;
        let (shim, pem) = opened(config(&[&ironic.url], &state), hello(), &ironic).await;
        tls::connect(shim.rest, &pem.unwrap(), &[&TLS13])
            .await
            .unwrap();
    }
    // A whole certificate whose key was lost and replaced.
    std::fs::write(&key, stranger).unwrap();
    let ironic = FakeIronic::start().await;
    let (shim, pem) = opened(config(&[&ironic.url], &state), hello(), &ironic).await;
    tls::connect(shim.rest, &pem.unwrap(), &[&TLS13])
        .await
        .unwrap();
}

#[tokio::test]
async fn agents_and_shim_know_each_other_by_certificates() {
    use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
    let state = tempfile::tempdir().unwrap();
    let (authority, stranger) = (tls::Authority::new(), tls::Authority::new());
    let own = authority.sign();
    let file = |name: &str, text: &str| {
        let path = state.path().join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    };
    let config = ShimConfig {
        common: CommonSettings {
            grpc_tls_ca_file: file("ca.pem", &authority.pem),
            grpc_tls_cert_file: file("own.pem", &own.pem),
            grpc_tls_key_file: file("own.key", &own.key),
            ..config(&[], &state).common
        },
        ..config(&[], &state)
    };
    let shim = Shim::start(config).await;
    let url = shim.url.replace("http:", "https:");
    let lookup = async |tls: ClientTlsConfig| {
        let channel = Channel::from_shared(url.clone())
            .unwrap()
            .tls_config(tls)
            .unwrap();
        let mut client = ConductorServiceClient::new(channel.connect_lazy());
        client.lookup(v1::LookupRequest::default()).await
    };
    let trusting = || ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&authority.pem));
    let showing =
        |signed: tls::Signed| trusting().identity(Identity::from_pem(signed.pem, signed.key));

    lookup(showing(authority.sign())).await.unwrap();
    for refused in [trusting(), showing(stranger.sign())] {
        // In TLS 1.3 a client hears of it only when it reads.
        lookup(refused).await.unwrap_err();
    }
    // Without TLS there is no answer at all.
    let mut plain = shim.conductor.clone();
    plain
        .lookup(v1::LookupRequest::default())
        .await
        .unwrap_err();
}

#[tokio::test]
async fn without_an_ironic_the_listener_is_open_at_once_and_plain() {
    let state = tempfile::tempdir().unwrap();
    let config = ShimConfig {
        common: CommonSettings {
            agent_token: secret("T"),
            ..config(&[], &state).common
        },
        ..config(&[], &state)
    };
    let shim = Shim::start(config).await;
    let answer = tls::root(TcpStream::connect(shim.rest).await.unwrap())
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
