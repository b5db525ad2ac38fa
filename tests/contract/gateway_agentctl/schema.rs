//! `docs/agentctl.schema.json` describes what `-o json` prints, and every command prints it.

use std::collections::BTreeSet;
use std::path::Path;

use ironic_shim::config::NodeCertificates;
use serde_json::json;

use super::*;

const SCHEMA: &str = "docs/agentctl.schema.json";

/// Names every value that its schema does not allow, one each line.
const VALIDATE: &str = r##"
import json, sys
from jsonschema import Draft202012Validator

definitions = json.load(open(sys.argv[1]))["$defs"]
Draft202012Validator.check_schema({"$defs": definitions})
for line in sys.stdin:
    name, value = json.loads(line)
    validator = Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": definitions})
    for error in validator.iter_errors(value):
        print(name, error.json_path, error.message[:300])
"##;

/// Commands that print no result, or one that is not JSON.
const WITHOUT: [&str; 2] = ["completion", "login"];

#[test]
fn the_schema_in_the_docs_is_what_is_printed() {
    let schema = ironic_agentctl::output_schema().unwrap();
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    crate::support::golden::check_document(SCHEMA, &text);
}

/// Values that were printed, by the names of their schemas.
#[derive(Default)]
struct Printed(Vec<(String, Value)>);

impl Printed {
    async fn whole(&mut self, lab: &Lab, name: &str, words: &[&str]) -> Value {
        let ran = lab.run(&[words, &["-o", "json"]].concat()).await;
        assert!(!ran.out.is_empty(), "{name}: {ran:?}");
        let value: Value = serde_json::from_str(&ran.out).unwrap();
        self.0.push((name.to_owned(), value.clone()));
        value
    }

    async fn lines(&mut self, lab: &Lab, name: &str, words: &[&str]) {
        let ran = lab.run(&[words, &["-o", "json"]].concat()).await.done();
        assert!(!ran.is_empty(), "{name}");
        for line in ran.lines() {
            let value = serde_json::from_str(line).unwrap();
            self.0.push((name.to_owned(), value));
        }
    }
}

/// What a validator complains of.
#[expect(
    clippy::disallowed_methods,
    reason = "the validator is no part of the programs"
)]
async fn complaints(python: &std::ffi::OsStr, values: &[(String, Value)]) -> String {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join(SCHEMA);
    let mut validator = Command::new(python)
        .args(["-c", VALIDATE])
        .arg(schema)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = values.iter().map(|value| json!(value).to_string() + "\n");
    let mut input = validator.stdin.take().unwrap();
    input
        .write_all(lines.collect::<String>().as_bytes())
        .await
        .unwrap();
    drop(input);
    let output = validator.wait_with_output().await.unwrap();
    assert!(output.status.success(), "the validator has failed");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn every_command_prints_what_its_schema_says() {
    let Some(python) = std::env::var_os("GRPC_PYTHON").filter(|path| !path.is_empty()) else {
        assert!(std::env::var_os("CI").is_none(), "CI has jsonschema");
        println!("skipped: GRPC_PYTHON names no Python with jsonschema");
        return;
    };
    let mut printed = Printed::default();
    looks(&mut printed).await;
    tokens(&mut printed).await;
    let names: BTreeSet<_> = printed.0.iter().map(|(name, _)| name.as_str()).collect();
    let schema = ironic_agentctl::output_schema().unwrap();
    let defined = schema["$defs"].as_object().unwrap().keys();
    let defined = defined.filter(|name| !name.contains('.') && *name != "error");
    assert_eq!(names, defined.map(String::as_str).collect());
    let commands = ironic_agentctl::arguments::clap_command();
    for command in commands.get_subcommands() {
        let name = command.get_name();
        let of_group = format!("{name}-");
        let is_covered = names.contains(name)
            || WITHOUT.contains(&name)
            || names.iter().any(|printed| printed.starts_with(&of_group));
        assert!(is_covered, "{name}");
    }
    assert_eq!(complaints(&python, &printed.0).await, "");
    // And it would complain: of each schema, a value with a field too many.
    for name in &names {
        let mut wrong = printed
            .0
            .iter()
            .find(|(known, _)| known == name)
            .unwrap()
            .clone();
        let object = match &mut wrong.1 {
            Value::Array(values) => &mut values[0],
            value => value,
        };
        object["unheard_of"] = json!(1);
        assert_ne!(complaints(&python, &[wrong]).await, "", "{name}");
    }
}

/// Commands of nodes.
async fn looks(printed: &mut Printed) {
    let lab = Lab::of(2).await;
    let (image, digest) = image();
    let url = serve(image, None).await;
    let write = [
        "write", "node-1", "--yes", "--image", &url, "--sha256", &digest,
    ];
    printed
        .whole(&lab, "plan", &["plan", "erase", "--all"])
        .await;
    printed.whole(&lab, "write", &write).await;
    let erase = ["erase", "--all", "--yes", "--method", "metadata"];
    printed.whole(&lab, "erase", &erase).await;
    printed
        .whole(&lab, "raid", &["raid", "node-1", "--delete", "--yes"])
        .await;
    let sync = ["run", "node-1", "--command", r#"{"sync": {}}"#];
    printed.whole(&lab, "run", &sync).await;
    // Failures, with the record of the command and without it.
    let step = ["run", "node-1", "--yes", "--step", "deploy.no_such_step"];
    let failed = printed.whole(&lab, "run", &step).await;
    assert_eq!(failed[0]["error"]["kind"], "command_failed");
    let unknown = [
        "cancel",
        "node-2",
        "--id",
        "0c5a2b1e-7d3f-4a68-9b50-2f1d8e6c4a97",
    ];
    let unknown = printed.whole(&lab, "cancel", &unknown).await;
    assert_eq!(unknown[0]["error"]["reason"], "COMMAND_NOT_FOUND");
    cancelled(printed, &lab).await;
    for (name, words) in [
        ("nodes", &["nodes"][..]),
        ("get", &["get", "--all"]),
        ("inventory", &["inventory", "node-1"]),
        ("steps", &["steps", "node-1"]),
        ("contexts", &["contexts"]),
    ] {
        let value = printed.whole(&lab, name, words).await;
        assert!(!value.as_array().unwrap().is_empty(), "{name}");
    }
    let archive = lab.state.path().join("logs");
    let archive = ["logs", "node-1", "--archive", archive.to_str().unwrap()];
    printed.whole(&lab, "logs-archive", &archive).await;
    printed.lines(&lab, "logs", &["logs", "--all"]).await;
    printed
        .lines(&lab, "watch", &["watch", "--until-idle"])
        .await;
    let events = ["events", "--count", "3", "-o", "json"];
    let events = tokio::spawn(output(lab.command(&events)));
    // Orders until they have come: the stream may begin late.
    while !events.is_finished() {
        lab.run(&sync).await.done();
    }
    for line in events.await.unwrap().done().lines() {
        let value = serde_json::from_str(line).unwrap();
        printed.0.push(("events".to_owned(), value));
    }
    printed
        .whole(&lab, "power", &["power", "reboot", "node-1", "--yes"])
        .await;
}

/// A command that runs is cancelled.
async fn cancelled(printed: &mut Printed, lab: &Lab) {
    let (image, digest) = image();
    let silent = serve(image, Some(1 << 20)).await;
    let order = [
        "write", "node-1", "--yes", "--detach", "--image", &silent, "--sha256", &digest,
    ];
    printed.whole(lab, "write", &order).await;
    printed.whole(lab, "cancel", &["cancel", "node-1"]).await;
    // It has ended when its failure is known.
    lab.run(&["watch", "node-1", "--until-idle"]).await;
}

/// `agentctl token` with a gateway that issues certificates.
async fn tokens(printed: &mut Printed) {
    let lab = token_lab().await;
    let create = ["token", "create", "--uses", "2", "-l", "rack=1"];
    let created = printed.whole(&lab, "token-create", &create).await;
    let id = created["join_token"]["id"].as_str().unwrap().to_owned();
    printed.whole(&lab, "token-list", &["token", "list"]).await;
    printed
        .whole(&lab, "token-revoke", &["token", "revoke", &id])
        .await;
}

/// A gateway that issues certificates to machines with join tokens.
async fn token_lab() -> Lab {
    let state = tempfile::tempdir().unwrap();
    let config = ShimConfig {
        node_certificates: NodeCertificates::JoinToken,
        ..Lab::config(&state)
    };
    Lab::with(config, state).await
}

#[tokio::test]
async fn join_tokens_are_made_listed_and_revoked() {
    const NODE: &str = "1be26c0b-03f2-4d2e-ae87-c02d7f33c781";
    let lab = token_lab().await;
    let create = ["token", "create", "--node", NODE, "--lifetime", "60"];
    let secret = lab.run(&create).await.done();
    let (id, _) = secret.trim().split_once('.').unwrap();
    let kept = ironic_shim::identity::join_token::JoinTokens::new(&lab.shim.config.state_dir);
    let kept = kept.list(rustls_pki_types::UnixTime::now()).unwrap();
    assert_eq!((kept.len(), kept[0].id.as_str()), (1, id));
    let listed = lab.run(&["token", "list"]).await.done();
    let row = listed.lines().nth(1).unwrap();
    for word in [id, "0/1", NODE] {
        assert!(row.contains(word), "{listed}");
    }
    let secret = secret.trim().split_once('.').unwrap().1;
    assert!(!listed.contains(secret), "{listed}");
    assert_eq!(
        lab.run(&["token", "list", "-o", "name"]).await.done(),
        format!("{id}\n")
    );
    lab.run(&["token", "revoke", id]).await.done();
    assert!(lab.run(&["token", "list"]).await.done().contains("revoked"));
    let unknown = lab.run(&["token", "revoke", "x"]).await;
    assert_eq!(unknown.code, Some(6), "{unknown:?}");
    assert!(unknown.err.contains("agentctl token list"), "{unknown:?}");
    let wrong = lab.run(&["token", "create", "--node", "rack1-1"]).await;
    assert_eq!(wrong.code, Some(8), "{wrong:?}");
    assert!(wrong.err.contains("token create --help"), "{wrong:?}");
    // A gateway that issues none says so.
    let lab = Lab::new().await;
    let refused = lab.run(&["token", "create"]).await;
    assert_eq!(refused.code, Some(8), "{refused:?}");
    assert!(refused.err.contains("node_certificates"), "{refused:?}");
}
