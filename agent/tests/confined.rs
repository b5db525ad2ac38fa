//! What a program of an image can reach when it is root and means harm: this machine's own
//! root directory is the image, and the program a shell.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and this one runs the program"
)]

use std::process::{Command, Output};

/// Runs a program of an image that may see `/dev/null` and no disk.
fn run_in(image: &str, program: &[&str]) -> Output {
    Command::new("unshare")
        .args(["-m", "-u", "-i", "-p", "-n", "-f"])
        .arg(env!("CARGO_BIN_EXE_ironic-agent"))
        .args(["run-in-image", image, "/dev/null", "--", "WORD=a b"])
        .args(program)
        .env("SECRET", "of the agent")
        .output()
        .unwrap()
}

/// Runs a shell's script.
fn run(script: &str) -> Output {
    run_in("/", &["sh", "-c", script])
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    format!("{} {}", text(&output.stdout), text(&output.stderr))
}

/// Namespaces are root's. CI is root.
fn may_not_run() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    assert!(
        is_root || std::env::var_os("CI").is_none(),
        "CI runs as root"
    );
    if !is_root {
        eprintln!("not run: only root has namespaces");
    }
    !is_root
}

#[test]
fn a_program_sees_its_devices_its_processes_and_no_environment() {
    if may_not_run() {
        return;
    }
    for (script, expected) in [
        (
            "ls /dev | sort | tr '\\n' ' '",
            "fd full null random stdin tty urandom zero",
        ),
        ("echo $$", "1"),
        ("set -- /proc/[0-9]*; echo $#", "1"),
        ("echo $WORD$SECRET", "a b"),
        ("ls /run | wc -l", "0"),
        ("cat /proc/net/dev | grep -c :", "1"),
        ("echo written > /dev/null && echo yes", "yes"),
    ] {
        let output = run(script);
        assert_eq!(said(&output).trim(), expected, "{script}");
    }
    assert_eq!(run("exit 7").status.code(), Some(7));
}

#[test]
fn root_in_the_image_does_not_get_out_of_it() {
    if may_not_run() {
        return;
    }
    for script in [
        "mount -t devtmpfs none /dev",
        "mount -o remount,rw /sys",
        "mount -t tmpfs none /mnt",
        "umount /proc",
        "mknod /dev/disk b 8 0",
        "chroot / true",
        "echo '|/bin/false' > /proc/sys/kernel/core_pattern",
        "echo b > /proc/sysrq-trigger",
        "echo 1 > /sys/kernel/profiling",
        "unshare -m true",
        "nsenter -t 1 -m true",
        "swapoff -a 2>&1; hostname elsewhere",
        "rmmod ext4",
        "ip link set lo up",
        "date -s 2001-01-01",
    ] {
        let output = run(script);
        assert!(!output.status.success(), "{script}: {}", said(&output));
        // It is refused, not missing.
        let missing = matches!(output.status.code(), Some(126 | 127));
        assert!(!missing, "{script}: {}", said(&output));
    }
}

#[test]
fn what_cannot_be_started_is_named() {
    if may_not_run() {
        return;
    }
    let output = run_in("/", &["no-such-program"]);
    assert_eq!(output.status.code(), Some(126));
    assert!(said(&output).contains("no-such-program"), "{output:?}");
    let output = run_in("/no/such/image", &["true"]);
    assert_eq!(output.status.code(), Some(126));
    assert!(said(&output).contains("/no/such/image"), "{output:?}");
}
