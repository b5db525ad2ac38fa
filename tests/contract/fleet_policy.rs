//! Access to the fleet of a gateway: a policy, certificates of operators, join tokens and
//! draining, with the real agent and the real shim.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command_service_client::CommandServiceClient;
use ironic_agent_protocol::v1::fleet_service_client::FleetServiceClient;
use ironic_agent_protocol::v1::join_token_service_client::JoinTokenServiceClient;
use ironic_agent_protocol::v1::{NodeEventKind, NodeState};
use ironic_shim::config::{NodeCertificates, ShimConfig};
use ironic_shim::identity::join_token::JoinTokens;
use rcgen::DnType;
use rustls_pki_types::UnixTime;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::fleet::{
    Watch, channel_at, config_without_ironic, describe, of_node, prepare_image, reason, sync,
};
use crate::support::gateway::{AttachedAgent, Machine};
use crate::support::ironic::NODE;
use crate::support::replicas::program;
use crate::support::shim::{Shim, free_port};
use crate::support::tls::{Authority, Signed};

const LIMIT: Duration = Duration::from_secs(30);

/// A node of another rack than the one that is there.
const OTHER: &str = "5d0f7a52-6bd0-4a0b-8f4e-0d6b6d1f7e11";

const POLICY: &str = "rules:
  - {common_name: alice, role: observer}
  - {subject: 'O=Ops, CN=bob', role: operator}
  - {spiffe_id: 'spiffe://ops.example/ci/*', role: operator}
  - {common_name: carol, role: provisioner, labels: {rack: '2'}}
  - {common_name: dave, role: provisioner, labels: {rack: '1'}}
  - {common_name: root, role: provisioner}
";

/// A gateway whose callers need certificates and roles.
struct Guarded {
    state: TempDir,
    operators: Authority,
    shim: Shim,
    port: u16,
}

fn write(state: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = state.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

fn guarded(state: &TempDir, operators: &Authority, port: u16) -> ShimConfig {
    let server = operators.sign();
    describe(
        state,
        "other.yaml",
        &format!(
            "uuid: {OTHER}\nname: rack2-1\nmacs: ['52:54:00:e2:e0:02']\nlabels: {{rack: '2'}}\n"
        ),
    );
    ShimConfig {
        fleet_listen: Some(format!("127.0.0.1:{port}").parse().unwrap()),
        fleet_tls_cert_file: Some(write(state, "gw.crt", &server.pem)),
        fleet_tls_key_file: Some(write(state, "gw.key", &server.key)),
        fleet_tls_ca_file: Some(write(state, "ca.crt", &operators.pem)),
        fleet_policy_file: Some(write(state, "policy.yaml", POLICY)),
        ..config_without_ironic(state)
    }
}

impl Guarded {
    async fn new() -> Self {
        Self::with(|_, _, config| config).await
    }

    /// The same with a list of revoked certificates.
    async fn with_list(list: impl FnOnce(&Authority) -> String) -> Self {
        let change = |state: &TempDir, operators: &Authority, config| ShimConfig {
            fleet_tls_crl_file: Some(write(state, "crl.pem", &list(operators))),
            ..config
        };
        Self::with(change).await
    }

    async fn with(change: impl FnOnce(&TempDir, &Authority, ShimConfig) -> ShimConfig) -> Self {
        let state = tempfile::tempdir().unwrap();
        fs::create_dir_all(state.path().join("nodes")).unwrap();
        let (operators, port) = (Authority::new(), free_port());
        let config = change(&state, &operators, guarded(&state, &operators, port));
        let shim = Shim::start(config).await;
        Self {
            state,
            operators,
            shim,
            port,
        }
    }

    /// Whether somebody with this certificate gets a connection.
    async fn connect(&self, signed: Signed, server: &Authority) -> Option<Channel> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&server.pem))
            .identity(Identity::from_pem(signed.pem, signed.key));
        let url = format!("https://127.0.0.1:{}", self.port);
        let endpoint = Endpoint::from_shared(url).unwrap().tls_config(tls).unwrap();
        let channel = endpoint.connect().await.ok()?;
        // In TLS 1.3 the server's refusal comes after the client's last message.
        let mut nodes = FleetServiceClient::new(channel.clone());
        match nodes.list_nodes(v1::ListNodesRequest::default()).await {
            Err(status) if status.get_details_error_info().is_none() => None,
            _ => Some(channel),
        }
    }

    /// The calls of somebody by name.
    async fn caller(&self, name: &str) -> Caller {
        let (subject, spiffe) = match name.strip_prefix("spiffe:") {
            Some(_) => (vec![], name),
            None => (
                vec![
                    (DnType::OrganizationName, "Ops"),
                    (DnType::CommonName, name),
                ],
                "",
            ),
        };
        let signed = self.operators.sign_caller(&subject, spiffe);
        let channel = self.connect(signed, &self.operators).await.unwrap();
        Caller {
            nodes: FleetServiceClient::new(channel.clone()),
            commands: CommandServiceClient::new(channel.clone()),
            tokens: JoinTokenServiceClient::new(channel.clone()),
            channel,
        }
    }

    async fn attach(&self, machine: &Machine) -> AttachedAgent {
        let root = self.caller("root").await;
        let mut watch = Watch::over(root.channel, v1::WatchNodesRequest::default()).await;
        let agent = machine.start_agent(&self.shim.url);
        watch.until(NodeEventKind::Attached).await;
        agent
    }

    /// What SIGHUP does.
    fn reload(&self) -> Result<(), String> {
        let reloaded = self.shim.certificates.as_ref().unwrap().reload();
        reloaded.map_err(|error| format!("{error:#}"))
    }
}

struct Caller {
    nodes: FleetServiceClient<Channel>,
    commands: CommandServiceClient<Channel>,
    tokens: JoinTokenServiceClient<Channel>,
    channel: Channel,
}

impl Caller {
    /// The names of the nodes that are listed.
    async fn list(&mut self) -> Result<Vec<String>, Status> {
        let list = self.nodes.list_nodes(v1::ListNodesRequest::default()).await;
        let nodes = list?.into_inner().nodes.into_iter();
        let mut names: Vec<_> = nodes.map(|node| node.name).collect();
        names.sort();
        Ok(names)
    }

    async fn order(&mut self, order: v1::ExecuteCommandRequest) -> Result<(), Status> {
        let answer = self.commands.execute_command(of_node(NODE, order)).await;
        answer.map(drop)
    }

    async fn create_token(
        &mut self,
        request: v1::CreateJoinTokenRequest,
    ) -> Result<v1::CreateJoinTokenResponse, Status> {
        let created = self.tokens.create_join_token(request).await;
        created.map(tonic::Response::into_inner)
    }
}

/// Asserts that a role was missing, and that the refusal says which and whose.
fn assert_missing<T: std::fmt::Debug>(answer: Result<T, Status>, role: &str, caller: &str) {
    let status = answer.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::PermissionDenied, "ROLE_MISSING"),
        "{status:?}"
    );
    let metadata = status.get_details_error_info().unwrap().metadata;
    assert_eq!(metadata["role"], role, "{status:?}");
    assert!(metadata["caller"].contains(caller), "{status:?}");
    assert!(status.message().contains(role) && status.message().contains(caller));
}

#[tokio::test]
async fn each_role_does_what_it_may_and_no_more() {
    let gateway = Guarded::new().await;
    let machine = Machine::new();
    let _agent = gateway.attach(&machine).await;
    let image = prepare_image("http://127.0.0.1:1/image", &"0".repeat(64));

    let mut alice = gateway.caller("alice").await;
    assert_eq!(alice.list().await.unwrap(), ["rack1-1", "rack2-1"]);
    let list = of_node(NODE, v1::ListCommandsRequest {});
    alice.commands.list_commands(list).await.unwrap();
    let inventory = of_node(NODE, v1::GetInventoryRequest {});
    alice.commands.get_inventory(inventory).await.unwrap();
    assert_missing(alice.order(sync()).await, "operator", "CN=alice");
    assert_missing(alice.order(image.clone()).await, "operator", "CN=alice");
    let cancel = of_node(NODE, v1::CancelCommandRequest::default());
    let cancelled = alice.commands.cancel_command(cancel).await;
    assert_missing(cancelled, "operator", "CN=alice");
    let logs = of_node(NODE, v1::CollectLogsRequest {});
    let logs = alice.commands.collect_logs(logs).await.map(drop);
    assert_missing(logs, "operator", "CN=alice");

    for name in ["bob", "spiffe://ops.example/ci/7"] {
        let mut operator = gateway.caller(name).await;
        operator.order(sync()).await.unwrap();
        assert_missing(operator.order(image.clone()).await, "provisioner", name);
        let drained = operator.nodes.drain(v1::DrainRequest {}).await;
        assert_missing(drained, "provisioner", name);
    }
    let mut eve = gateway.caller("eve").await;
    assert_missing(eve.list().await, "observer", "CN=eve");
    assert_missing(eve.order(sync()).await, "operator", "CN=eve");
    let mut ci = gateway.caller("spiffe://ops.example/cd").await;
    assert_missing(ci.list().await, "observer", "spiffe://ops.example/cd");

    let mut root = gateway.caller("root").await;
    root.order(image).await.unwrap();
}

#[tokio::test]
async fn who_has_a_role_for_some_nodes_sees_no_others() {
    let gateway = Guarded::new().await;
    let machine = Machine::new();
    let _agent = gateway.attach(&machine).await;
    let mut carol = gateway.caller("carol").await;
    assert_eq!(carol.list().await.unwrap(), ["rack2-1"]);
    for node in [NODE, "rack1-1"] {
        let asked = carol
            .nodes
            .get_node(v1::GetNodeRequest { node: node.into() });
        assert_eq!(reason(&asked.await.unwrap_err()), "NODE_NOT_FOUND");
    }
    let refused = carol.order(sync()).await.unwrap_err();
    assert_eq!(reason(&refused), "NODE_NOT_FOUND");
    // What changes about a node that she does not see is none of her events; a label brings it.
    let mut watch = Watch::over(carol.channel.clone(), v1::WatchNodesRequest::default()).await;
    gateway.caller("dave").await.order(sync()).await.unwrap();
    describe(
        &gateway.state,
        "a.yaml",
        &format!(
            "uuid: {NODE}\nname: rack1-1\nmacs: ['52:54:00:e2:e0:01']\nlabels: {{rack: '2'}}\n"
        ),
    );
    let added = watch.until(NodeEventKind::Added).await.node.unwrap();
    assert_eq!(
        (added.uuid.as_str(), added.state()),
        (NODE, NodeState::Attached)
    );
    carol.order(sync()).await.unwrap();
    // The gateway itself is not hers.
    let token = carol
        .create_token(v1::CreateJoinTokenRequest::default())
        .await;
    assert_missing(token, "provisioner", "CN=carol");
    let drained = carol.nodes.drain(v1::DrainRequest {}).await;
    assert_missing(drained, "provisioner", "CN=carol");
}

#[tokio::test]
async fn every_order_is_an_event_with_who_what_and_how_it_went() {
    let gateway = Guarded::new().await;
    let machine = Machine::new();
    let _agent = gateway.attach(&machine).await;
    let mut bob = gateway.caller("bob").await;
    let mut watch = Watch::over(bob.channel.clone(), v1::WatchNodesRequest::default()).await;
    let id = "6dd11111-2222-4333-8444-555555555555";
    let order = v1::ExecuteCommandRequest {
        id: id.into(),
        ..sync()
    };
    bob.order(order.clone()).await.unwrap();
    bob.order(prepare_image("http://127.0.0.1:1/image", ""))
        .await
        .unwrap_err();
    bob.order(v1::ExecuteCommandRequest {
        validate_only: true,
        ..sync()
    })
    .await
    .unwrap();
    let cancel = v1::CancelCommandRequest {
        id: "nothing".into(),
        reason: String::new(),
    };
    let cancelled = bob.commands.cancel_command(of_node(NODE, cancel)).await;
    cancelled.unwrap_err();
    gateway
        .caller("alice")
        .await
        .order(sync())
        .await
        .unwrap_err();
    let mut seen = Vec::new();
    for _ in 0..5 {
        let event = watch.until(NodeEventKind::Ordered).await;
        assert_eq!(event.node.unwrap().uuid, NODE);
        let order = event.order.unwrap();
        let who = if order.caller.ends_with("CN=bob") {
            "bob"
        } else {
            "other"
        };
        seen.push((
            who,
            order.verb,
            Code::from(order.code),
            order.reason,
            order.validate_only,
        ));
    }
    let event = |who, verb: &str, code, reason: &str, dry| {
        (who, verb.to_owned(), code, reason.to_owned(), dry)
    };
    assert_eq!(
        seen,
        [
            event("bob", "standby.sync", Code::Ok, "", false),
            event(
                "bob",
                "standby.prepare_image",
                Code::PermissionDenied,
                "ROLE_MISSING",
                false
            ),
            event("bob", "standby.sync", Code::Ok, "", true),
            event("bob", "cancel", Code::NotFound, "COMMAND_NOT_FOUND", false),
            event(
                "other",
                "standby.sync",
                Code::PermissionDenied,
                "ROLE_MISSING",
                false
            ),
        ]
    );
}

#[tokio::test]
async fn another_policy_counts_at_once_and_a_wrong_one_never() {
    let gateway = Guarded::new().await;
    let machine = Machine::new();
    let _agent = gateway.attach(&machine).await;
    let mut alice = gateway.caller("alice").await;
    let mut watch = Watch::over(alice.channel.clone(), v1::WatchNodesRequest::default()).await;
    gateway.caller("root").await.order(sync()).await.unwrap();
    watch.until(NodeEventKind::Ordered).await;
    let token = watch.token.clone();

    write(
        &gateway.state,
        "policy.yaml",
        "rules:\n  - {common_name: alice, role: king}",
    );
    gateway.reload().unwrap();
    assert_missing(alice.order(sync()).await, "operator", "CN=alice");
    alice.list().await.unwrap();

    write(
        &gateway.state,
        "policy.yaml",
        "rules: [{common_name: alice, role: operator}]",
    );
    gateway.reload().unwrap();
    alice.order(sync()).await.unwrap();
    let mut root = gateway.caller("root").await;
    assert_missing(root.list().await, "observer", "CN=root");
    assert_eq!(reason(&watch.end().await), "POLICY_CHANGED");
    let request = v1::WatchNodesRequest {
        resume_token: token,
        selector: None,
    };
    let resumed = alice.nodes.watch_nodes(request).await;
    assert_eq!(reason(&resumed.unwrap_err()), "WATCH_EXPIRED");

    // Also without SIGHUP.
    write(&gateway.state, "policy.yaml", "rules: []");
    let refused = async {
        while alice.list().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, refused).await.unwrap();
}

#[tokio::test]
async fn a_policy_that_does_not_parse_is_an_error_at_start_with_its_line() {
    let state = tempfile::tempdir().unwrap();
    fs::create_dir_all(state.path().join("nodes")).unwrap();
    let config = guarded(&state, &Authority::new(), free_port());
    for (text, expected) in [
        (
            "rules:\n  - {common_name: a, role: king}",
            "policy.yaml, line 2",
        ),
        ("rules:\n\n  - {role: observer}", "policy.yaml, line 3"),
        ("roles: []", "policy.yaml, line 1"),
    ] {
        write(&state, "policy.yaml", text);
        let config = config.clone();
        let started = ironic_shim::app::Shim::start(config, CancellationToken::new()).await;
        let error = format!("{:#}", started.unwrap_err());
        assert!(error.contains("fleet_policy_file"), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn certificates_of_operators_are_judged_by_the_files_as_they_are_now() {
    let gateway = Guarded::new().await;
    let operators = &gateway.operators;
    let name = [(DnType::CommonName, "root")];
    let connects = async |signed| gateway.connect(signed, operators).await.is_some();
    assert!(connects(operators.sign_caller(&name, "")).await);
    assert!(!connects(operators.sign_until(2020)).await, "it has ended");
    let others = Authority::new();
    assert!(
        !connects(others.sign_caller(&name, "")).await,
        "nobody knows it"
    );

    // Another authority signs operators from now on; connections that are open stay.
    let mut root = gateway.caller("root").await;
    fs::write(gateway.state.path().join("gw.key"), "no key").unwrap();
    write(&gateway.state, "ca.crt", &others.pem);
    let error = gateway.reload().unwrap_err();
    assert!(error.contains("fleet_tls_key_file"), "{error}");
    assert!(
        connects(operators.sign_caller(&name, "")).await,
        "all or none"
    );
    let server = others.sign();
    write(&gateway.state, "gw.crt", &server.pem);
    write(&gateway.state, "gw.key", &server.key);
    gateway.reload().unwrap();
    assert!(!connects(operators.sign_caller(&name, "")).await);
    let signed = others.sign_caller(&name, "");
    assert!(gateway.connect(signed, &others).await.is_some());
    root.list().await.unwrap();
}

#[tokio::test]
async fn a_revoked_certificate_is_none() {
    let gateway = Guarded::with_list(|operators| operators.revoke(&[7])).await;
    let name = [(DnType::CommonName, "root")];
    let connects = async |serial| {
        let signed = gateway.operators.sign_numbered(&name, "", serial);
        gateway.connect(signed, &gateway.operators).await.is_some()
    };
    assert!(connects(6).await && !connects(7).await);
    write(&gateway.state, "crl.pem", &gateway.operators.revoke(&[6]));
    gateway.reload().unwrap();
    assert!(!connects(6).await && connects(7).await);
    let damaged = "-----BEGIN X509 CRL-----\nMAMCAQE=\n-----END X509 CRL-----\n";
    for wrong in ["nothing", damaged] {
        write(&gateway.state, "crl.pem", wrong);
        let error = gateway.reload().unwrap_err();
        assert!(error.contains("fleet_tls_crl_file"), "{error}");
        assert!(!connects(6).await && connects(7).await);
    }
}

/// What OpenSSL says of a certificate, by which nginx, HAProxy and Envoy decide.
fn openssl_takes(state: &TempDir, authority: &Authority, certificate: &str) -> Option<bool> {
    let openssl = program("openssl")?;
    write(state, "openssl-ca.crt", &authority.pem);
    write(state, "openssl.crt", certificate);
    #[expect(clippy::disallowed_methods, reason = "the programs do not run it")]
    let mut command = std::process::Command::new(openssl);
    let at = |name: &str| state.path().join(name);
    let command = command.args(["verify", "-crl_check", "-CAfile"]);
    let command = command.arg(at("openssl-ca.crt")).arg("-CRLfile");
    let output = command.arg(at("crl.pem")).arg(at("openssl.crt")).output();
    Some(output.unwrap().status.success())
}

#[tokio::test]
async fn a_list_past_its_next_update_lets_nobody_in_until_another_is_read() {
    // It starts: agents do not need the list.
    let gateway = Guarded::with_list(|operators| operators.revoke_until(&[7], 2021)).await;
    let operators = &gateway.operators;
    let name = [(DnType::CommonName, "root")];
    let connects = async |serial| {
        let signed = operators.sign_numbered(&name, "", serial);
        let taken = openssl_takes(&gateway.state, operators, &signed.pem);
        let connected = gateway.connect(signed, operators).await.is_some();
        if let Some(taken) = taken {
            assert_eq!(connected, taken, "OpenSSL decides otherwise on {serial}");
        }
        connected
    };
    assert!(!connects(6).await && !connects(7).await);
    write(&gateway.state, "crl.pem", &operators.revoke(&[7]));
    gateway.reload().unwrap();
    assert!(connects(6).await && !connects(7).await);
    write(
        &gateway.state,
        "crl.pem",
        &operators.revoke_until(&[], 2021),
    );
    gateway.reload().unwrap();
    assert!(!connects(6).await && !connects(7).await);
}

#[tokio::test]
async fn join_tokens_are_made_listed_and_revoked_by_calls() {
    let state = tempfile::tempdir().unwrap();
    let config = ShimConfig {
        node_certificates: NodeCertificates::JoinToken,
        ..config_without_ironic(&state)
    };
    let _shim = Shim::start(config).await;
    let mut tokens = JoinTokenServiceClient::new(channel_at(state.path()));
    let request = v1::CreateJoinTokenRequest {
        node_uuid: NODE.into(),
        labels: [("rack".to_owned(), "1".to_owned())].into(),
        max_uses: 3,
        lifetime: Some(prost_types::Duration {
            seconds: 60,
            nanos: 0,
        }),
    };
    let made = tokens.create_join_token(request.clone()).await.unwrap();
    let made = made.into_inner();
    let token = made.join_token.unwrap();
    assert!(made.secret.starts_with(&format!("{}.", token.id)));
    let kept = JoinTokens::new(state.path()).list(UnixTime::now()).unwrap();
    assert_eq!(
        (kept[0].id.as_str(), kept[0].max_uses, kept.len()),
        (token.id.as_str(), 3, 1)
    );
    let of_any_node = tokens
        .create_join_token(v1::CreateJoinTokenRequest::default())
        .await;
    let of_any_node = of_any_node.unwrap().into_inner().join_token.unwrap();
    assert_eq!(
        (of_any_node.max_uses, of_any_node.node_uuid.as_str()),
        (1, "")
    );
    let list = tokens.list_join_tokens(v1::ListJoinTokensRequest {}).await;
    let list = list.unwrap().into_inner().join_tokens;
    assert_eq!(list, [token.clone(), of_any_node]);
    let id = token.id;
    let revoke = tokens
        .revoke_join_token(v1::RevokeJoinTokenRequest { id })
        .await;
    assert!(revoke.unwrap().into_inner().join_token.unwrap().revoked);
    let unknown = v1::RevokeJoinTokenRequest { id: "x".into() };
    let refused = tokens.revoke_join_token(unknown).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::NotFound, "JOIN_TOKEN_NOT_FOUND")
    );
    for (node, seconds) in [("x", 60), (NODE, 0), (NODE, -1), (NODE, 400 * 24 * 3600)] {
        let lifetime = Some(prost_types::Duration { seconds, nanos: 0 });
        let wrong = v1::CreateJoinTokenRequest {
            node_uuid: node.into(),
            lifetime,
            ..request.clone()
        };
        let refused = tokens.create_join_token(wrong).await.unwrap_err();
        assert_eq!(
            (refused.code(), reason(&refused).as_str()),
            (Code::InvalidArgument, "JOIN_TOKEN_REQUEST_INVALID"),
            "{node} {seconds}"
        );
    }
}

#[tokio::test]
async fn a_gateway_that_issues_no_certificates_makes_no_join_tokens() {
    let state = tempfile::tempdir().unwrap();
    let _shim = Shim::start(config_without_ironic(&state)).await;
    let mut tokens = JoinTokenServiceClient::new(channel_at(state.path()));
    let refused = tokens
        .create_join_token(v1::CreateJoinTokenRequest::default())
        .await;
    assert_eq!(reason(&refused.unwrap_err()), "ENROLLMENT_METHOD_OFF");
}
