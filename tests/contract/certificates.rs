//! Certificates of a gateway that are replaced while it serves: all of them or none.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ironic_program::CommonSettings;
use ironic_shim::config::ShimConfig;
use rustls::version::TLS13;
use tempfile::TempDir;

use crate::support::gateway::gateway_config;
use crate::support::http::Line;
use crate::support::ironic::FakeIronic;
use crate::support::shim::Shim;
use crate::support::tls::{self, Authority, Signed};

/// A gateway with a certificate of the operator's at each listener.
struct Certified {
    shim: Shim,
    authority: Authority,
    files: TempDir,
    _state: TempDir,
}

impl Certified {
    async fn new(rest: &Signed, grpc: &Signed, authority: Authority) -> Self {
        let (state, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let ironic = FakeIronic::start().await;
        let config = gateway_config(&ironic, &state);
        let path = |name: &str| Some(files.path().join(name));
        write(files.path(), "rest", rest);
        write(files.path(), "grpc", grpc);
        let config = ShimConfig {
            gateway_url: Some(
                format!("https://127.0.0.1:{}", config.listen_port)
                    .parse()
                    .unwrap(),
            ),
            metrics_listen: Some("127.0.0.1:0".parse().unwrap()),
            tls_cert_file: path("rest.pem"),
            tls_key_file: path("rest.key"),
            common: CommonSettings {
                grpc_tls_cert_file: path("grpc.pem"),
                grpc_tls_key_file: path("grpc.key"),
                ..config.common
            },
            ..config
        };
        Self {
            shim: Shim::start(config).await,
            authority,
            files,
            _state: state,
        }
    }

    fn replace(&self, name: &str, signed: &Signed) {
        write(self.files.path(), name, signed);
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// What the REST listener and the listener of agents show.
    async fn shown(&self) -> [Vec<u8>; 2] {
        let agents = self.shim.url.trim_start_matches("http://");
        let agents: SocketAddr = agents.parse().unwrap();
        let mut shown = [Vec::new(), Vec::new()];
        for (at, address) in [self.shim.rest, agents].into_iter().enumerate() {
            let stream = tls::connect(address, &self.authority.pem, &[&TLS13]).await;
            let stream = stream.unwrap();
            let (_, session) = stream.get_ref();
            shown[at] = session.peer_certificates().unwrap()[0].to_vec();
        }
        shown
    }
}

fn write(folder: &Path, name: &str, signed: &Signed) {
    std::fs::write(folder.join(format!("{name}.pem")), &signed.pem).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), &signed.key).unwrap();
}

#[tokio::test]
async fn certificates_are_replaced_at_both_listeners_or_at_none() {
    let authority = Authority::new();
    let (rest, grpc) = (authority.sign(), authority.sign());
    let gateway = Certified::new(&rest, &grpc, authority).await;
    let first = gateway.shown().await;
    let reload = || gateway.shim.certificates.as_ref().unwrap().reload();

    gateway.replace("rest", &gateway.authority.sign());
    gateway.replace("grpc", &gateway.authority.sign());
    assert_eq!(gateway.shown().await, first, "nobody has asked for it");
    reload().unwrap();
    let second = gateway.shown().await;
    assert!(second[0] != first[0] && second[1] != first[1]);

    // One half that cannot be used: nothing changes, and the error names the option.
    gateway.replace("rest", &gateway.authority.sign());
    std::fs::write(gateway.file("grpc.key"), "no key").unwrap();
    let error = format!("{:#}", reload().unwrap_err());
    assert!(error.contains("grpc_tls_key_file"), "{error}");
    assert_eq!(gateway.shown().await, second);
    // A key of another certificate, at the other listener.
    gateway.replace("grpc", &gateway.authority.sign());
    std::fs::write(gateway.file("rest.key"), gateway.authority.sign().key).unwrap();
    reload().unwrap_err();
    assert_eq!(gateway.shown().await, second);

    gateway.replace("rest", &gateway.authority.sign());
    reload().unwrap();
    let third = gateway.shown().await;
    assert!(third[0] != second[0] && third[1] != second[1]);
}

#[tokio::test]
async fn handshakes_are_counted_and_a_certificate_that_has_ended_is_named() {
    let authority = Authority::new();
    let (rest, grpc) = (authority.sign(), authority.sign_until(2020));
    let gateway = Certified::new(&rest, &grpc, authority).await;
    let agents: SocketAddr = gateway
        .shim
        .url
        .trim_start_matches("http://")
        .parse()
        .unwrap();
    let refused = tls::connect(agents, &gateway.authority.pem, &[&TLS13]).await;
    refused.unwrap_err();
    let mut line = Line::open(gateway.shim.metrics.unwrap()).await;
    let counted = "ironic_shim_handshakes_total{outcome=\"refused_by_client\"} 1";
    let counting = async {
        loop {
            let text = line.ask("GET", "/metrics", "", b"").await.text().to_owned();
            if text.lines().any(|line| line == counted) {
                return text;
            }
        }
    };
    let counted = tokio::time::timeout(std::time::Duration::from_secs(20), counting).await;
    let text = counted.expect("the handshake is counted");
    let ends = "ironic_shim_certificate_ends_in_seconds{certificate=\"grpc\"} -";
    assert!(text.contains(ends), "{text}");
    let ready = line.ask("GET", "/readyz", "", b"").await;
    assert_eq!(ready.status, 503, "{ready:?}");
    let reason = ready.json()["dependencies"]["certificates"]["reason"].clone();
    assert!(
        reason.as_str().unwrap().contains("grpc has ended"),
        "{reason}"
    );
}
