//! Every exit code, with the sentence that says what to do.

use std::collections::BTreeSet;

use super::*;
use crate::support::tls::{Authority, Signed};
use ironic_agentctl::exit_kind::ExitKind;

/// Ends with this kind, in words that hold these.
#[track_caller]
fn ended(ran: &Ran, kind: ExitKind, words: &[&str]) {
    assert_eq!(ran.code, Some(i32::from(kind.code())), "{ran:?}");
    for word in words {
        assert!(ran.err.contains(word), "{word}: {ran:?}");
    }
    assert!(!ran.err.contains("panicked"), "{ran:?}");
}

#[tokio::test]
async fn each_kind_of_failure_has_its_code_and_says_what_to_do() {
    let mut lab = Lab::of(2).await;
    let mut seen = BTreeSet::new();
    let mut check = async |kind: ExitKind, arguments: &[&str], words: &[&str]| {
        let ran = lab.run(arguments).await;
        ended(&ran, kind, words);
        seen.insert(kind.code());
    };
    check(ExitKind::Done, &["nodes"], &[]).await;
    check(ExitKind::Usage, &["nodes", "--nonsense"], &["--nonsense"]).await;
    check(ExitKind::Usage, &["get"], &["no node is named", "--all"]).await;
    let unknown = ["nodes", "--context", "prod"];
    check(ExitKind::Configuration, &unknown, &["\"prod\"", "lab"]).await;
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let nobody = ["--agent", &nobody, "inventory"];
    check(ExitKind::Unreachable, &nobody, &["does not answer"]).await;
    let unknown = ["get", "node-1", "rack9-9"];
    check(ExitKind::NotFound, &unknown, &["rack9-9", "agentctl nodes"]).await;
    let nobody_to_ask = ["erase", "node-1"];
    check(ExitKind::NotConfirmed, &nobody_to_ask, &["--yes", "plan"]).await;
    let url = serve(image().0, None).await;
    let wrong = "0".repeat(64);
    let write = [
        "write", "node-1", "--yes", "--image", &url, "--sha256", &wrong,
    ];
    check(ExitKind::CommandFailed, &write, &["write_image failed"]).await;
    let silent = serve(image().0, Some(1 << 20)).await;
    let deadline = [
        "write", "node-1", "--yes", "--image", &silent, "--sha256", &wrong,
    ];
    let deadline = [&deadline[..], &["--deadline", "0.2"]].concat();
    check(ExitKind::CommandCancelled, &deadline, &["cancelled"]).await;
    let refused = [
        "run",
        "node-1",
        "--yes",
        "--command",
        r#"{"prepare_image": {}}"#,
    ];
    check(ExitKind::Refused, &refused, &["id"]).await;
    // Accepts and says nothing.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute = format!("http://{}", mute.local_addr().unwrap());
    let mute = ["--agent", &mute, "--timeout", "0.5", "inventory"];
    check(ExitKind::TimedOut, &mute, &["--timeout"]).await;
    // Two nodes in different ways: one has no such step, and the other is away.
    drop(lab.machines.pop());
    lab.wait_for(NodeState::Away, 1).await;
    seen.insert(ExitKind::NodeAway.code());
    let away = lab.run(&["inventory", "node-2", "--timeout", "3"]).await;
    ended(&away, ExitKind::NodeAway, &["node-2", "ramdisk"]);
    let step = [
        "run",
        "--all",
        "--yes",
        "--timeout",
        "1",
        "--step",
        "deploy.no_such_step",
    ];
    let several = lab.run(&step).await;
    ended(&several, ExitKind::Other, &["node-1", "node-2"]);
    seen.insert(ExitKind::Other.code());
    let documented = lab.run(&[&step[..], &["-o", "json"]].concat()).await;
    let entries: Value = serde_json::from_str(&documented.out).unwrap();
    assert_eq!(entries[0]["error"]["kind"], "command_failed");
    assert_eq!(
        entries[0]["error"]["command"]["state"],
        "COMMAND_STATE_FAILED"
    );
    assert_eq!(entries[1]["error"]["reason"], "NODE_AWAY");
    assert_eq!(entries[1]["error"]["exit_code"], 7);
    // The tests of their own: a certificate, another boot, Ctrl-C and a pipe that closes.
    let others = [
        ExitKind::OutcomeUnknown,
        ExitKind::NotTrusted,
        ExitKind::Interrupted,
        ExitKind::OutputClosed,
    ];
    seen.extend(others.map(ExitKind::code));
    let all: BTreeSet<u8> = ExitKind::ALL.iter().map(|kind| kind.code()).collect();
    assert_eq!(seen, all);
}

#[tokio::test]
async fn a_broken_configuration_file_is_named_with_the_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    for (text, words) in [
        ("", &["no context is chosen", "agentctl login"][..]),
        ("contexts: [1]", &["config.yaml", "docs/agentctl.md"]),
        ("current_context: gone\ncontexts: {}", &["\"gone\""]),
        (
            "contexts: {a: {gateway: 'gw:1'}}\ncurrent_context: a",
            &["gw:1", "agentctl login a"],
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        let mut command = command(&path);
        command.arg("nodes");
        let ran = output(command).await;
        for word in words {
            assert!(ran.err.contains(word), "{text}: {ran:?}");
        }
        assert_eq!(ran.code, Some(3), "{text}: {ran:?}");
    }
}

#[tokio::test]
async fn a_name_that_two_nodes_have_is_refused_and_says_so() {
    let state = tempfile::tempdir().unwrap();
    let nodes = state.path().join("nodes");
    std::fs::create_dir_all(&nodes).unwrap();
    for number in [1, 2] {
        let node = format!(
            "uuid: 0000000{number}-0000-4000-8000-000000000000\nname: twin\nmacs: ['52:54:00:00:00:0{number}']\n"
        );
        std::fs::write(nodes.join(format!("{number}.yaml")), node).unwrap();
    }
    let config = ShimConfig {
        node_dir: Some(nodes),
        ..Lab::config(&state)
    };
    let lab = Lab::with(config, state).await;
    let ran = lab.run(&["get", "twin"]).await;
    ended(&ran, ExitKind::NotFound, &["twin", "UUID"]);
}

/// A gateway with TLS, whose context is written by `login`.
struct GuardedGateway {
    lab: Lab,
    operators: Authority,
    address: String,
}

impl GuardedGateway {
    async fn new(server: impl FnOnce(&Authority) -> Signed) -> Self {
        let state = tempfile::tempdir().unwrap();
        let operators = Authority::new();
        let signed = server(&operators);
        let port = free_port();
        let write = |name: &str, text: &str| {
            let path = state.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let mut config = Lab::config(&state);
        config.fleet_listen = Some(format!("127.0.0.1:{port}").parse().unwrap());
        config.fleet_tls_cert_file = write("gw.crt", &signed.pem);
        config.fleet_tls_key_file = write("gw.key", &signed.key);
        config.fleet_tls_ca_file = write("operators.crt", &operators.pem);
        Self {
            lab: Lab::with(config, state).await,
            operators,
            address: format!("https://127.0.0.1:{port}"),
        }
    }

    /// `login` with a CA and perhaps a certificate.
    async fn login(&self, ca: &Authority, client: Option<Signed>) -> Ran {
        let state = self.lab.state.path();
        let write = |name: &str, text: &str| {
            let path = state.join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let ca = write("ca.crt", &ca.pem);
        let mut words = vec!["login", "tls", "--gateway", &self.address, "--ca-file", &ca];
        let files =
            client.map(|client| (write("me.crt", &client.pem), write("me.key", &client.key)));
        if let Some((certificate, key)) = &files {
            words.extend(["--certificate-file", certificate, "--key-file", key]);
        }
        self.lab.run(&words).await
    }
}

#[tokio::test]
async fn certificate_problems_are_named() {
    let gateway = GuardedGateway::new(|authority| authority.sign()).await;
    let operators = &gateway.operators;
    let strangers = Authority::new();
    gateway
        .login(operators, Some(operators.sign()))
        .await
        .done();
    gateway.lab.run(&["nodes"]).await.done();
    let kind = ExitKind::NotTrusted;
    let expired = operators.sign_until(2020);
    let ran = gateway.login(operators, Some(expired)).await;
    ended(&ran, kind, &["expired at Jan  1", "me.crt"]);
    let ran = gateway.login(operators, None).await;
    ended(
        &ran,
        kind,
        &["requires a client certificate", "certificate_file"],
    );
    let ran = gateway.login(operators, Some(strangers.sign())).await;
    ended(
        &ran,
        kind,
        &["refuses our certificate", "fleet_tls_ca_file"],
    );
    let ran = gateway.login(&strangers, Some(operators.sign())).await;
    ended(&ran, kind, &["unknown authority", "ca_file"]);
    // The earlier context is still there, with files that were replaced.
    let ran = gateway.lab.run(&["nodes"]).await;
    ended(&ran, kind, &["unknown authority"]);
    // An option counts more than the context.
    let right = gateway.lab.state.path().join("right.crt");
    std::fs::write(&right, &operators.pem).unwrap();
    let right = ["nodes", "--ca-file", right.to_str().unwrap()];
    gateway.lab.run(&right).await.done();
    let plain = gateway.address.replace("https", "http");
    let ran = gateway
        .lab
        .run(&["login", "plain", "--gateway", &plain])
        .await;
    ended(&ran, ExitKind::Unreachable, &[]);
    let ca = gateway.lab.state.path().join("ca.crt");
    let half = [
        "--ca-file",
        ca.to_str().unwrap(),
        "login",
        "x",
        "--gateway",
        &gateway.address,
    ];
    let ran = gateway
        .lab
        .run(&[&half[..], &["--key-file", "/k"]].concat())
        .await;
    ended(&ran, ExitKind::Usage, &["--certificate-file"]);
    let ran = gateway
        .lab
        .run(&["login", "x", "--gateway", &gateway.address])
        .await;
    ended(&ran, ExitKind::Configuration, &["ca_file"]);

    let gateway = GuardedGateway::new(|authority| authority.sign_until(2020)).await;
    let operators = &gateway.operators;
    let ran = gateway.login(operators, Some(operators.sign())).await;
    ended(&ran, kind, &["certificate of the server has expired"]);
}
