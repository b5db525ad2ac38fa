use std::sync::Arc;

use super::*;
use crate::machine::testing::FakeMachine;
use crate::system::RunError;
use crate::system::process::Script;

const SECTORS: u64 = 2048;

fn iso(label: &str) -> Vec<u8> {
    let mut head = vec![0; 40 << 10];
    head[32768..32774].copy_from_slice(b"\x01CD001");
    head[32808..32840].fill(b' ');
    head[32808..32808 + label.len()].copy_from_slice(label.as_bytes());
    head
}

fn fat(label: &[u8; 11]) -> Vec<u8> {
    crate::machine::block::guarded_filesystem::tests::fat(*label)
}

/// A drive of this kind at this place in the tree of devices.
fn drive(machine: &mut FakeMachine, name: &str, bus: &str, kind: &str, sectors: u64, head: &[u8]) {
    let path = format!("sys/devices/pci0000:00/{bus}/block/{name}");
    machine
        .file(&format!("{path}/size"), &sectors.to_string())
        .file(&format!("{path}/device/type"), kind)
        .file(&format!("{path}/device/model"), "DRIVE")
        .link(&format!("sys/block/{name}"), &path)
        .bytes(&format!("dev/{name}"), head);
}

fn place(machine: &FakeMachine) -> String {
    let place = machine.path().join("run/ironic-virtual-media/ironic-agent");
    place.display().to_string()
}

async fn taken(machine: &FakeMachine, mounts: &[&str]) -> Result<(), VirtualMediaError> {
    let place = place(machine);
    let script = mounts.iter().fold(Script::new(), |script, mounted| {
        let options = "-o ro,nodev,nosuid,noexec";
        let (kind, device) = mounted.split_once(' ').unwrap();
        script
            .expect(&format!("mount -t {kind} {options} {device} {place}"), "")
            .expect(&format!("umount {place}"), "")
    });
    let script = Arc::new(script);
    let done = take(&machine.system_with(script.clone()), "ironic-agent").await;
    script.assert_done();
    done
}

const INSIDE: &str = "run/ironic-virtual-media/ironic-agent";

fn read(machine: &FakeMachine, path: &str) -> Option<String> {
    fs::read_to_string(machine.path().join(path)).ok()
}

#[tokio::test]
async fn parameters_and_files_are_taken_over() {
    let mut machine = FakeMachine::new();
    drive(
        &mut machine,
        "sda",
        "usb1/1-1",
        "0",
        SECTORS,
        &fat(b"IR-VFD-DEV "),
    );
    drive(
        &mut machine,
        "sr0",
        "ata1",
        CD,
        SECTORS,
        &iso("VMEDIA_BOOT_ISO"),
    );
    let etc = format!("{INSIDE}/etc");
    machine
        .file(&format!("{INSIDE}/parameters.txt"), "ipa-debug=1")
        .file(&format!("{etc}/ironic-python-agent/ironic.crt"), "PEM")
        .file(
            &format!("{etc}/ironic-python-agent.d/tls.conf"),
            "[DEFAULT]",
        )
        .file(&format!("{etc}/ironic-python-agent.d/deep/er"), "no")
        .link(&format!("{etc}/ironic-python-agent/link"), "etc/secret")
        .file("etc/secret", "ours");
    taken(&machine, &["vfat /dev/sda", "iso9660 /dev/sr0"])
        .await
        .unwrap();
    let parameters = read(&machine, "run/ironic-virtual-media/parameters.txt");
    assert_eq!(parameters.as_deref(), Some("ipa-debug=1\n"));
    let certificate = read(&machine, "etc/ironic-python-agent/ironic.crt");
    assert_eq!(certificate.as_deref(), Some("PEM\n"));
    let root = &machine.system().root;
    assert_eq!(root.names("/etc/ironic-python-agent"), ["ironic.crt"]);
    assert_eq!(root.names("/etc/ironic-python-agent.d"), ["tls.conf"]);
}

#[tokio::test]
async fn only_what_a_bmc_may_play_is_read() {
    let mut machine = FakeMachine::new();
    let parameters = fat(b"IR-VFD-DEV ");
    // A disk of the machine, one that is too large, and one without a medium.
    drive(&mut machine, "sda", "ata1", "0", SECTORS, &parameters);
    drive(
        &mut machine,
        "sdb",
        "usb1/1-1",
        "0",
        MAX_VIRTUAL_MEDIUM_BYTES / 512,
        &parameters,
    );
    drive(&mut machine, "sr0", "ata2", CD, 0, &parameters);
    taken(&machine, &[]).await.unwrap();
    assert_eq!(
        read(&machine, "run/ironic-virtual-media/parameters.txt"),
        None
    );

    // The model may say it, and there may be nothing on it.
    drive(
        &mut machine,
        "sdc",
        "usb1/1-2",
        "0",
        SECTORS,
        &fat(b"NO NAME    "),
    );
    let model = "sys/devices/pci0000:00/usb1/1-2/block/sdc/device/model";
    machine.file(model, "Virtual Media 2");
    taken(&machine, &["vfat /dev/sdc"]).await.unwrap();
    assert_eq!(
        read(&machine, "run/ironic-virtual-media/parameters.txt"),
        None
    );
}

#[tokio::test]
async fn a_drive_that_is_mounted_already_is_used_where_it_is() {
    let mut machine = FakeMachine::new();
    drive(&mut machine, "sr0", "ata1", CD, SECTORS, &iso("config-2"));
    machine
        .file(
            "proc/self/mounts",
            "/dev/sda1 / ext4 rw 0 0\n/dev/sr0 /mnt/config iso9660 rw 0 0",
        )
        .file(
            &format!("{INSIDE}/etc/ironic-python-agent.d/tls.conf"),
            "[DEFAULT]",
        );
    let place = place(&machine);
    let script = Arc::new(
        Script::new()
            .expect(&format!("mount -o bind /mnt/config {place}"), "")
            .expect(&format!("umount {place}"), ""),
    );
    let system = machine.system_with(script.clone());
    take(&system, "ironic-agent").await.unwrap();
    script.assert_done();
    assert_eq!(
        system.root.names("/etc/ironic-python-agent.d"),
        ["tls.conf"]
    );
}

/// A machine whose `umount` takes the last line away from the list of mounts.
#[derive(Debug)]
struct Unmounts {
    list: std::path::PathBuf,
    refuses: bool,
    calls: std::sync::Mutex<Vec<String>>,
}

impl crate::system::Run for Unmounts {
    fn run(
        &self,
        cmd: crate::system::Cmd,
    ) -> futures_util::future::BoxFuture<'_, Result<crate::system::Output, RunError>> {
        self.calls.lock().unwrap().push(cmd.to_string());
        let answer = if self.refuses {
            Err(RunError::Failed {
                program: "umount".to_owned(),
                command: cmd.to_string(),
                status: 32,
                stderr: "target is busy".to_owned(),
            })
        } else {
            let text = fs::read_to_string(&self.list).unwrap();
            let mut lines: Vec<_> = text.lines().collect();
            lines.pop();
            fs::write(&self.list, lines.join("\n")).unwrap();
            Ok(crate::system::Output::default())
        };
        Box::pin(async { answer })
    }
}

#[tokio::test(start_paused = true)]
async fn a_config_drive_that_others_left_mounted_is_unmounted() {
    for (mounts, refuses, calls) in [
        ("/dev/sda1 / ext4 rw 0 0", false, 0),
        (
            "/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 /mnt/config iso9660 ro 0 0",
            false,
            1,
        ),
        (
            "/dev/sdb1 /mnt/config iso9660 ro 0 0\n/dev/sdc /mnt/config vfat ro 0 0",
            false,
            2,
        ),
        ("/dev/sdb1 /mnt/config\\040b iso9660 ro 0 0", false, 0),
        ("/dev/sdb1 /mnt/config iso9660 ro 0 0", true, 3),
    ] {
        let mut machine = FakeMachine::new();
        machine.file("proc/self/mounts", mounts);
        let run = Arc::new(Unmounts {
            list: machine.path().join("proc/self/mounts"),
            refuses,
            calls: std::sync::Mutex::default(),
        });
        release_config_drive(&machine.system_with(run.clone())).await;
        let place = machine.path().join("mnt/config").display().to_string();
        let expected = vec![format!("umount {place}"); calls];
        assert_eq!(*run.calls.lock().unwrap(), expected, "{mounts}");
    }
}

#[tokio::test]
async fn a_medium_that_cannot_be_read_is_an_error() {
    let mut machine = FakeMachine::new();
    drive(&mut machine, "sr0", "ata1", CD, SECTORS, &iso("config-2"));
    let mount = format!(
        "mount -t iso9660 -o ro,nodev,nosuid,noexec /dev/sr0 {}",
        place(&machine)
    );
    let refused = RunError::Failed {
        program: "mount".to_owned(),
        command: mount.clone(),
        status: 32,
        stderr: "bad superblock".to_owned(),
    };
    let script = Arc::new(Script::new().expect_result(&mount, Err(refused)));
    let error = take(&machine.system_with(script), "ironic-agent").await;
    let error = error_chain(&error.unwrap_err());
    assert!(error.starts_with("virtual media /dev/sr0: "), "{error}");
}
