//! To the last argument of what is asked of the kernel, on a machine made of files.

use std::sync::Arc;

use super::*;
use crate::machine::testing::FakeMachine;
use crate::system::process::{Output, Script};

const MENU: &str = "menuentry x {\nlinux /boot/vmlinuz-6 root=UUID=1 ro quiet\n\
                    initrd /boot/initrd.img-6\n}\n";

/// A disk with two partitions. What is in the directory of the mount is what every one of them
/// has.
fn machine() -> FakeMachine {
    let mut machine = FakeMachine::new();
    let vda = machine.virtio_disk("vda", 1 << 32, "x");
    machine.partition(&vda, "vda1", "254:1", 1 << 20);
    machine.partition(&vda, "vda2", "254:2", 1 << 20);
    machine.directory("run/ironic-agent/kexec");
    machine
}

fn system(machine: &FakeMachine, script: &Arc<Script>) -> System {
    machine.system_with(script.clone())
}

fn place(machine: &FakeMachine) -> String {
    let place = machine.path().join("run/ironic-agent/kexec");
    place.canonicalize().unwrap().display().to_string()
}

fn failed(stderr: &str) -> Result<Output, RunError> {
    Err(RunError::Failed {
        program: "kexec".into(),
        command: "kexec".into(),
        status: 255,
        stderr: stderr.into(),
    })
}

/// The commands around one partition that can be mounted.
fn around(machine: &FakeMachine, script: Script, load: &str) -> Script {
    let place = place(machine);
    script
        .expect_result(
            &format!("mount -o {OPTIONS} /dev/vda1 {place}"),
            failed("wrong fs type"),
        )
        .expect(&format!("mount -o {OPTIONS} /dev/vda2 {place}"), "")
        .expect(load, "")
        .expect(&format!("umount {place}"), "")
}

#[tokio::test]
async fn the_entry_of_grubs_menu_is_loaded() {
    let mut machine = machine();
    for (path, text) in [
        ("boot/grub/grub.cfg", MENU),
        ("boot/vmlinuz-6", "kernel"),
        ("boot/initrd.img-6", "initrd"),
    ] {
        machine.file(&format!("run/ironic-agent/kexec/{path}"), text);
    }
    let place = place(&machine);
    let load = format!(
        "kexec --kexec-file-syscall --load --initrd={place}/boot/initrd.img-6 \
         --command-line=root=UUID=1 ro quiet {place}/boot/vmlinuz-6"
    );
    let script = Arc::new(around(&machine, Script::new(), &load));
    load_with(&machine, &script).await.unwrap();
    script.assert_done();
}

#[tokio::test]
async fn the_kernel_that_was_loaded_is_started() {
    let machine = machine();
    let script = Arc::new(Script::new().expect("kexec --exec", ""));
    let started = system(&machine, &script).run.run(start()).await;
    started.unwrap();
    script.assert_done();
}

async fn load_with(machine: &FakeMachine, script: &Arc<Script>) -> Result<(), KexecError> {
    load(&system(machine, script), "/dev/vda", &Task::detached()).await
}

#[tokio::test]
async fn entries_of_the_boot_loader_specification_come_first() {
    let mut machine = machine();
    let entry = "linux /vmlinuz-7\noptions root=UUID=2\n";
    for (path, text) in [
        ("boot/grub/grub.cfg", MENU),
        ("loader/entries/m-7.conf", entry),
        ("vmlinuz-7", "kernel"),
    ] {
        machine.file(&format!("run/ironic-agent/kexec/{path}"), text);
    }
    let place = place(&machine);
    let load =
        format!("kexec --kexec-file-syscall --load --command-line=root=UUID=2 {place}/vmlinuz-7");
    let script = Arc::new(around(&machine, Script::new(), &load));
    load_with(&machine, &script).await.unwrap();
    script.assert_done();
}

#[tokio::test]
async fn a_kernel_that_is_locked_down_says_so() {
    let mut machine = machine();
    machine
        .file(
            "sys/kernel/security/lockdown",
            "none [integrity] confidentiality",
        )
        .file(
            "run/ironic-agent/kexec/boot/grub/grub.cfg",
            "linux /k root=/dev/vda2",
        )
        .file("run/ironic-agent/kexec/k", "kernel");
    let place = place(&machine);
    let load = format!("kexec --kexec-file-syscall --load --command-line=root=/dev/vda2 {place}/k");
    let script = Script::new()
        .expect(&format!("mount -o {OPTIONS} /dev/vda1 {place}"), "")
        .expect_result(
            &load,
            failed("kexec_file_load failed: Operation not permitted"),
        )
        .expect(&format!("umount {place}"), "");
    let script = Arc::new(script);
    let error = load_with(&machine, &script).await.unwrap_err();
    script.assert_done();
    assert!(
        error.to_string().contains("starts only signed ones"),
        "{error}"
    );
}

#[tokio::test]
async fn what_cannot_be_started_is_refused_before_anything_is_loaded() {
    let refused = async |machine: &FakeMachine| {
        let place = place(machine);
        let script = Script::new()
            .expect(&format!("mount -o {OPTIONS} /dev/vda1 {place}"), "")
            .expect(&format!("umount {place}"), "");
        let script = Arc::new(script);
        let error = load_with(machine, &script).await.unwrap_err();
        script.assert_done();
        error
    };
    let mut missing = machine();
    missing.file("run/ironic-agent/kexec/boot/grub/grub.cfg", MENU);
    let error = refused(&missing).await;
    assert!(matches!(error, KexecError::File { .. }), "{error}");

    let mut outside = machine();
    outside
        .file("outside", "not of the image")
        .file("run/ironic-agent/kexec/grub/grub.cfg", "linux /k root=x")
        .link("run/ironic-agent/kexec/k", "outside");
    let error = refused(&outside).await;
    assert!(matches!(error, KexecError::File { .. }), "{error}");

    let mut several = machine();
    several.file(
        "run/ironic-agent/kexec/grub/grub.cfg",
        "linux /k root=x\ninitrd /a /b",
    );
    let error = refused(&several).await;
    assert!(
        matches!(error, KexecError::SeveralInitrds { count: 2, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_disk_without_an_entry_and_a_machine_without_kexec_are_named() {
    let mut machine = machine();
    let place = place(&machine);
    let script = Script::new()
        .expect_result(
            &format!("mount -o {OPTIONS} /dev/vda1 {place}"),
            failed("wrong fs type"),
        )
        .expect(&format!("mount -o {OPTIONS} /dev/vda2 {place}"), "")
        .expect(&format!("umount {place}"), "");
    let script = Arc::new(script);
    let error = load_with(&machine, &script).await.unwrap_err().to_string();
    script.assert_done();
    assert!(
        error.contains("no partition of /dev/vda says which kernel"),
        "{error}"
    );
    assert!(error.contains("/dev/vda1 is not mounted"), "{error}");

    machine.file("proc/sys/kernel/kexec_load_disabled", "1");
    let script = Arc::new(Script::new());
    let error = load_with(&machine, &script).await.unwrap_err();
    assert!(matches!(error, KexecError::Disabled), "{error}");
}
