//! What is in the archive and what is not.

use std::collections::BTreeMap;
use std::sync::Arc;

use flate2::read::GzDecoder;

use super::*;
use crate::machine::testing::FakeMachine;
use crate::system::process::{Output, Script};

const JOURNALCTL: &str = "journalctl --full --no-pager -b -n 10000";

fn unpacked(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut tar = tar::Archive::new(GzDecoder::new(archive));
    tar.entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (entry.path().unwrap().to_str().unwrap().to_owned(), bytes)
        })
        .collect()
}

fn missing(program: &str) -> Result<Output, RunError> {
    Err(RunError::Missing {
        program: program.into(),
    })
}

async fn collected(machine: &FakeMachine, script: Script) -> BTreeMap<String, Vec<u8>> {
    let script = Arc::new(script);
    let system = machine.system_with(script.clone());
    let archive = collect(&system, Some(10_000)).await.unwrap();
    script.assert_done();
    unpacked(&archive)
}

#[tokio::test]
async fn holds_what_programs_and_the_kernel_say() {
    let mut machine = FakeMachine::new();
    let vda = machine.virtio_disk("vda", 1 << 32, "x");
    machine.partition(&vda, "vda1", "254:1", 1 << 20);
    machine.udev("254:0", &[("ID_SERIAL", "x")]);
    machine.file("proc/mdstat", "Personalities :");
    machine.file("proc/cmdline", "ipa-agent-token=secret");
    machine.file("var/log/messages", "not taken: there is a journal");
    let script = Script::new()
        .expect_result(
            JOURNALCTL,
            Ok(Output {
                // Not UTF-8.
                stdout: b"\xff line: ipa-agent-token=secret quiet\n".to_vec(),
                ..Output::default()
            }),
        )
        .expect("df -a", "space")
        .expect("dmesg", "ipa-agent-token=1234")
        .expect_result("efibootmgr -v", missing("efibootmgr"))
        .expect_result(
            "iptables -L",
            Err(RunError::Failed {
                program: "iptables".into(),
                command: "iptables -L".into(),
                status: 1,
                stderr: "no".into(),
            }),
        )
        .expect("ip addr", "lo")
        .expect(&format!("lsblk --all {LSBLK_COLUMNS}"), "blocks")
        .expect_result("lsblk --all --bytes --output-all --pairs", missing("lsblk"))
        .expect_result("multipath -ll", missing("multipath"))
        .expect_result("parted -l", missing("parted"))
        .expect("ps au", "init")
        .expect_result("lshw -quiet -json", missing("lshw"));
    let members = collected(&machine, script).await;
    let names: Vec<_> = members.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "df", "disks", "dmesg", "ip_addr", "journal", "lsblk", "mdstat", "mount", "ps",
            "udev/vda"
        ]
    );
    let expected = b"\xff line: ipa-agent-token=****** quiet\n";
    assert_eq!(members["journal"], expected);
    assert_eq!(members["dmesg"], b"ipa-agent-token=****");
    let disks: Value = serde_json::from_slice(&members["disks"]).unwrap();
    assert_eq!(disks[1]["parent"], "/dev/vda");
    let udev: Value = serde_json::from_slice(&members["udev/vda"]).unwrap();
    assert_eq!(udev, json!({"ID_SERIAL": "x"}));
    for (name, bytes) in &members {
        assert!(!String::from_utf8_lossy(bytes).contains("secret"), "{name}");
    }
}

#[tokio::test]
async fn without_a_journal_the_ends_of_files_are_taken() {
    let mut machine = FakeMachine::new();
    machine
        .file("var/log/messages", "one")
        .file("var/log/deep/er/file", "two")
        .file("etc/secret", "three")
        .link("var/log/link", "etc/secret");
    let size = usize::try_from(ONE_FILE).unwrap() + 5;
    machine.bytes(
        "var/log/large",
        &[vec![b'a'; 5], vec![b'b'; size - 5]].concat(),
    );
    let script = PROGRAMS.iter().map(|(_, argv)| argv.join(" ")).fold(
        Script::new().expect(JOURNALCTL, "-- No entries --\n"),
        |script, cmd| script.expect_result(&cmd, missing(&cmd)),
    );
    let members = collected(&machine, script).await;
    let names: Vec<_> = members.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "disks",
            "journal",
            "mount",
            "var/log/deep/er/file",
            "var/log/large",
            "var/log/messages"
        ]
    );
    assert_eq!(members["var/log/messages"], b"one\n");
    assert_eq!(members["var/log/large"], vec![b'b'; size - 5]);
}

#[derive(Debug)]
struct Slow;

impl crate::system::Run for Slow {
    fn run(&self, cmd: Cmd) -> futures_util::future::BoxFuture<'_, Result<Output, RunError>> {
        Box::pin(async move {
            tokio::time::sleep(cmd.timeout).await;
            Err(RunError::TimedOut {
                command: cmd.to_string(),
                timeout: cmd.timeout,
            })
        })
    }
}

#[tokio::test(start_paused = true)]
async fn programs_that_hang_cost_half_a_minute_in_all() {
    let machine = FakeMachine::new();
    let system = machine.system_with(Arc::new(Slow));
    let start = Instant::now();
    collect(&system, None).await.unwrap();
    assert_eq!(start.elapsed(), ALL_PROGRAMS);
}
