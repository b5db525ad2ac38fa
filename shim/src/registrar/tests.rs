use std::fs;

use super::*;

const A: &str = "0a000000-0000-4000-8000-000000000000";
const B: &str = "0b000000-0000-4000-8000-000000000000";
const FIRMWARE: &str = "4c4c4544-0042-3510-8052-b4c04f4a3132";

struct Bench {
    folder: tempfile::TempDir,
    fleet: Fleet,
    proofs: Proofs,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            fleet: Fleet::default(),
            proofs: Proofs::default(),
        }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn open(&self, is_open: bool) -> (Registrar, NodeDirectory) {
        let settings = RegistrarSettings {
            node_dir: Some(self.folder.path().to_owned()),
            open_state: is_open.then(|| self.folder.path().join("state")),
        };
        let inspections = Inspections::new(&self.folder.path().join("state"));
        let (proofs, fleet) = (self.proofs.clone(), self.fleet.clone());
        let (registrar, directory) = Registrar::open(settings, proofs, fleet, inspections).unwrap();
        (registrar, directory.unwrap())
    }
}

fn serial(number: &str) -> MachineIdentity {
    MachineIdentity {
        serial_number: number.into(),
        ..MachineIdentity::default()
    }
}

fn found(answer: LookupAnswer) -> Found {
    match answer {
        LookupAnswer::Found(found) => *found,
        LookupAnswer::Retry { reason, .. } => panic!("{reason}"),
    }
}

fn reason(answer: LookupAnswer) -> String {
    match answer {
        LookupAnswer::Retry { reason, .. } => reason,
        LookupAnswer::Found(found) => panic!("{found:?}"),
    }
}

#[test]
fn a_described_machine_gets_its_node_and_a_new_token() {
    let bench = Bench::new();
    bench.write(
        "a.yaml",
        &format!("uuid: {A}\nname: one\nserial_number: S1\nroot_device: {{model: M}}\nlabels: {{rack: '1'}}\n"),
    );
    let (registrar, _directory) = bench.open(false);
    let first = found(registrar.lookup(&serial("S1"), None));
    assert_eq!(first.node["uuid"], A);
    assert_eq!(first.node["properties"]["root_device"]["model"], "M");
    let token = first.config.agent_token.unwrap();
    assert_eq!(token.len(), 64);
    assert_ne!(
        found(registrar.lookup(&serial("S1"), None))
            .config
            .agent_token,
        Some(token)
    );
    let node = bench.fleet.get(A).unwrap();
    assert_eq!(
        (node.name.as_str(), node.labels["rack"].as_str()),
        ("one", "1")
    );
    // The agent asks again what the node is.
    let again = found(registrar.lookup(&serial("S1"), Some(A)));
    assert_eq!(again.config.agent_token.as_deref(), Some(MASKED_TOKEN));
    // Another machine that says the same gets nothing while the first is there.
    let attachment = bench
        .fleet
        .attached(A, ironic_agent_protocol::v1::NodeAttachment::default());
    assert!(reason(registrar.lookup(&serial("S1"), None)).contains("is attached"));
    bench.fleet.lost(A, attachment);
    found(registrar.lookup(&serial("S1"), None));
}

#[test]
fn missing_and_ambiguous_nodes_are_reported_with_advice() {
    let bench = Bench::new();
    bench.write("a.yaml", &format!("uuid: {A}\nserial_number: S\n"));
    bench.write("b.yaml", &format!("uuid: {B}\nserial_number: S\n"));
    let (registrar, _directory) = bench.open(false);
    let text = reason(registrar.lookup(&serial("S"), None));
    assert!(
        text.contains("a.yaml:1") && text.contains("b.yaml:1") && text.contains("mend"),
        "{text}"
    );
    let text = reason(registrar.lookup(&serial("T"), None));
    assert!(text.contains("\"T\"") && text.contains("add one"), "{text}");
    assert!(matches!(registrar.beat(A, "t"), BeatAnswer::Refused { .. }));
    bench.proofs.prove(A, "t");
    assert_eq!(registrar.beat(A, "t"), BeatAnswer::Accepted);
}

#[test]
fn open_admission_takes_any_machine_under_its_system_uuid_and_keeps_its_name() {
    let bench = Bench::new();
    bench.write("a.yaml", &format!("uuid: {A}\nserial_number: S1\n"));
    let machine = MachineIdentity {
        system_uuid: FIRMWARE.to_uppercase(),
        ..MachineIdentity::default()
    };
    for _ in 0..2 {
        let (registrar, _directory) = bench.open(true);
        let node = found(registrar.lookup(&machine, None));
        assert_eq!(
            (node.node_uuid.as_str(), &node.node["name"]),
            (FIRMWARE, &json!("node-1"))
        );
        assert_eq!(found(registrar.lookup(&serial("S1"), None)).node_uuid, A);
        let text = reason(registrar.lookup(&serial("T"), None));
        assert!(text.contains("no system UUID"), "{text}");
    }
    assert_eq!(bench.fleet.resolve("node-1").unwrap().uuid, FIRMWARE);
}

#[test]
fn changed_files_change_the_nodes() {
    let bench = Bench::new();
    bench.write(
        "a.yaml",
        &format!("uuid: {A}\nname: one\nserial_number: S1\n"),
    );
    let (registrar, mut directory) = bench.open(false);
    bench.write(
        "a.yaml",
        &format!("uuid: {B}\nname: two\nserial_number: S2\n"),
    );
    registrar.refresh(&mut directory).unwrap();
    assert_eq!(bench.fleet.get(A), None);
    assert_eq!(bench.fleet.resolve("two").unwrap().uuid, B);
    assert_eq!(found(registrar.lookup(&serial("S2"), None)).node_uuid, B);
    // A node whose agent is here stays.
    bench
        .fleet
        .attached(B, ironic_agent_protocol::v1::NodeAttachment::default());
    fs::remove_file(bench.folder.path().join("a.yaml")).unwrap();
    registrar.refresh(&mut directory).unwrap();
    assert_eq!(bench.fleet.get(B).unwrap().name, "");
}

#[test]
fn inspection_report_is_kept_for_the_node_of_its_machine() {
    let bench = Bench::new();
    bench.write(
        "a.yaml",
        &format!("uuid: {A}\nmacs: ['52:54:00:00:00:01']\n"),
    );
    let (registrar, _directory) = bench.open(false);
    let report = |mac: &str| {
        let report = json!({"inventory": {"interfaces": [{"mac_address": mac}]}, "logs": "l"});
        report.as_object().unwrap().clone()
    };
    let kept = registrar.inspect(report("52:54:00:00:00:01"), String::new(), None);
    assert_eq!(kept, InspectionAnswer::Accepted(None));
    // A certificate of another node does not speak for this one.
    let mut other = report("52:54:00:00:00:01");
    other.insert("error".into(), "forged".into());
    let refused = registrar.inspect(other, String::new(), Some(B));
    assert!(matches!(refused, InspectionAnswer::Refused(text) if text.contains(B)));
    let folder = bench.folder.path().join("state/inspections");
    for kept in fs::read_dir(folder).unwrap() {
        let kept = fs::read_to_string(kept.unwrap().path()).unwrap();
        assert!(!kept.contains("forged"), "{kept}");
    }
    let own = registrar.inspect(report("52:54:00:00:00:01"), String::new(), Some(A));
    assert_eq!(own, InspectionAnswer::Accepted(None));
    let refused = registrar.inspect(report("52:54:00:00:00:02"), String::new(), None);
    assert!(matches!(refused, InspectionAnswer::Refused(text) if text.contains("00:02")));
}

#[test]
fn open_admission_takes_the_report_of_a_machine_that_was_not_looked_up() {
    let bench = Bench::new();
    let report = || {
        let report = json!({"inventory": {"interfaces": [{"mac_address": "52:54:00:00:00:01"}]}});
        report.as_object().unwrap().clone()
    };
    let (registrar, _directory) = bench.open(true);
    let kept = registrar.inspect(report(), FIRMWARE.to_uppercase(), None);
    assert_eq!(kept, InspectionAnswer::Accepted(None));
    assert_eq!(bench.fleet.resolve("node-1").unwrap().uuid, FIRMWARE);
    let nameless = registrar.inspect(report(), String::new(), None);
    assert!(matches!(nameless, InspectionAnswer::Refused(text) if text.contains("no system UUID")));
    // Nor does a file that names the system UUID alone need more.
    bench.write("a.yaml", &format!("uuid: {A}\nsystem_uuid: {FIRMWARE}\n"));
    let (registrar, _directory) = bench.open(false);
    let kept = registrar.inspect(report(), FIRMWARE.to_owned(), None);
    assert_eq!(kept, InspectionAnswer::Accepted(None));
}
