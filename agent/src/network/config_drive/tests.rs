use std::sync::Arc;

use super::*;
use crate::machine::testing::FakeMachine;
use crate::system::process::Script;

#[test]
fn the_rule_is_that_of_the_python_agents_ramdisk() {
    let announced = |text: &str| MediumSearch::Announced(text.to_owned());
    for (line, expected) in [
        ("ir_pub_id=Abc boot_method=vmedia", announced("Abc")),
        (
            "ir_pub_id=Abc BOOTIF=01-52-54-00-00-00-01",
            announced("Abc"),
        ),
        ("BOOTIF=01-52-54-00-00-00-01", MediumSearch::No),
        ("ir_pub_id= BOOTIF=01-52-54-00-00-00-01", MediumSearch::No),
        ("boot_method=vmedia", MediumSearch::Present),
        ("quiet", MediumSearch::Present),
    ] {
        assert_eq!(
            MediumSearch::of(&Parameters::parse(line)),
            expected,
            "{line}"
        );
    }
}

fn cd(machine: &mut FakeMachine, name: &str, label: &str, publisher: &str) {
    let mut head = vec![0; 40 << 10];
    head[32768..32774].copy_from_slice(b"\x01CD001");
    head[32808..32840].fill(b' ');
    head[32808..32808 + label.len()].copy_from_slice(label.as_bytes());
    head[33086..33214].fill(b' ');
    head[33086..33086 + publisher.len()].copy_from_slice(publisher.as_bytes());
    let path = format!("sys/devices/pci0000:00/ata1/block/{name}");
    machine
        .file(&format!("{path}/size"), "2048")
        .file(&format!("{path}/device/type"), "5")
        .link(&format!("sys/block/{name}"), &path)
        .bytes(&format!("dev/{name}"), &head);
}

/// What is found by a search, and where, of the problems of the document that every drive has.
async fn found(machine: &mut FakeMachine, line: &str, device: Option<&str>) -> Option<Vec<String>> {
    let inside = "run/ironic-virtual-media/network";
    machine.file(&format!("{inside}/{FILE}"), r#"{"links": 7}"#);
    let mount_point = machine.path().join(inside).display().to_string();
    let script = device.into_iter().fold(Script::new(), |script, device| {
        let options = "-o ro,nodev,nosuid,noexec";
        script
            .expect(
                &format!("mount -t iso9660 {options} {device} {mount_point}"),
                "",
            )
            .expect(&format!("umount {mount_point}"), "")
    });
    let script = Arc::new(script);
    let search = MediumSearch::of(&Parameters::parse(line));
    let request = look(&machine.system_with(script.clone()), &search).await;
    script.assert_done();
    request.map(|request| request.problems.iter().map(ToString::to_string).collect())
}

const READ: &str =
    "network_data.json: links is \"7\", expected a list of at most 256 objects; it is left out";

#[tokio::test]
async fn the_medium_of_this_boot_is_read() {
    let mut machine = FakeMachine::new();
    cd(&mut machine, "sr0", "config-2", "ANOTHER");
    cd(&mut machine, "sr1", "config-2", "3F2A-ID");
    let read = Some(vec![READ.to_owned()]);
    assert_eq!(
        found(&mut machine, "ir_pub_id=3f2a-id", Some("/dev/sr1")).await,
        read
    );
    assert_eq!(found(&mut machine, "ir_pub_id=other", None).await, None);
    assert_eq!(
        found(&mut machine, "BOOTIF=01-52-54-00-00-00-01", None).await,
        None
    );
    assert_eq!(found(&mut machine, "quiet", None).await, None);
    cd(&mut machine, "sr2", "CONFIG-2", "");
    assert_eq!(found(&mut machine, "quiet", Some("/dev/sr2")).await, read);
    // Which of two is meant nobody can know.
    cd(&mut machine, "sr3", "config-2", "");
    let problems = found(&mut machine, "quiet", Some("/dev/sr2"))
        .await
        .unwrap();
    assert_eq!(
        problems[1],
        "config drives /dev/sr2 and /dev/sr3: the first is read, the others are ignored"
    );
}

#[tokio::test]
async fn a_medium_without_the_file_asks_for_nothing() {
    let mut machine = FakeMachine::new();
    cd(&mut machine, "sr0", "VMEDIA_BOOT_ISO", "3f2a-id");
    let mount_point = machine.path().join("run/ironic-virtual-media/network");
    let options = "-o ro,nodev,nosuid,noexec";
    let script = Script::new()
        .expect(
            &format!(
                "mount -t iso9660 {options} /dev/sr0 {}",
                mount_point.display()
            ),
            "",
        )
        .expect(&format!("umount {}", mount_point.display()), "");
    let search = MediumSearch::Announced("3f2a-id".to_owned());
    let request = look(&machine.system_with(Arc::new(script)), &search).await;
    assert_eq!(request, Some(NetworkRequest::default()));
}

#[tokio::test]
async fn a_file_that_is_too_large_is_named() {
    let mut machine = FakeMachine::new();
    cd(&mut machine, "sr0", "config-2", "");
    let inside = "run/ironic-virtual-media/network";
    let size = usize::try_from(MAX_FILE_BYTES).unwrap() + 1;
    machine.bytes(&format!("{inside}/{FILE}"), &vec![b' '; size]);
    let mount_point = machine.path().join(inside).display().to_string();
    let script = Script::new()
        .expect(
            &format!("mount -t iso9660 -o ro,nodev,nosuid,noexec /dev/sr0 {mount_point}"),
            "",
        )
        .expect(&format!("umount {mount_point}"), "");
    let request = look(
        &machine.system_with(Arc::new(script)),
        &MediumSearch::Present,
    )
    .await;
    let problems = request.unwrap().problems;
    let said = problems[0].to_string();
    assert!(
        said.contains("network_data.json of virtual media has more than 1048576 bytes"),
        "{said}"
    );
}
