//! What a program of an image can reach when it is root and means harm: this machine's own
//! root directory is the image, and the program a shell.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and this one runs the program"
)]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// Longer than a process needs to end on a busy machine; nothing waits for all of it.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A program of an image that may see `/dev/null`, also by another name, and no disk.
fn program(image: &str, program: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["-m", "-u", "-i", "-p", "-n", "-f"])
        .arg(env!("CARGO_BIN_EXE_ironic-agent"))
        .args(["run-in-image", image, "/dev/null"])
        .args(["/dev/disk/by-uuid/12-34=/dev/null", "--", "WORD=a b"])
        .args(program)
        .env("SECRET", "of the agent");
    command
}

fn run_in(image: &str, words: &[&str]) -> Output {
    program(image, words).output().unwrap()
}

/// Runs a shell's script.
fn run(script: &str) -> Output {
    run_in("/", &["sh", "-c", script])
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    format!("{} {}", text(&output.stdout), text(&output.stderr))
}

/// Needs root: what is tested holds a program that is root of the whole machine. `.ci/run` sees to it that CI
/// is root; for others a line names the test that was left out.
fn may_not_run() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        let thread = std::thread::current();
        skipped(thread.name().unwrap_or("confined"), "root");
    }
    !is_root
}

/// Names what was left out. Not by a macro, whose output the test harness keeps to itself.
fn skipped(what: &str, need: &str) {
    let line = format!("SKIPPED {what}: needs {need}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

#[test]
fn a_program_sees_its_devices_its_processes_and_no_environment() {
    if may_not_run() {
        return;
    }
    for (script, expected) in [
        (
            "ls /dev | sort | tr '\\n' ' '",
            "disk fd full null random stdin tty urandom zero",
        ),
        ("readlink /dev/disk/by-uuid/12-34", "/dev/null"),
        ("set -- /proc/[0-9]*; echo $#", "2"),
        ("echo $WORD$SECRET", "a b"),
        ("ls /run | wc -l", "0"),
        ("wc -l < /proc/net/route", "0"),
        ("kill -KILL 1; echo still here", "still here"),
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
    // None of these would do harm if it were not refused.
    for script in [
        "mount -t devtmpfs none /dev",
        "mount -o remount,rw /sys",
        "mount -t tmpfs none /mnt",
        "umount /proc",
        "mknod /dev/disk0 b 8 0",
        "chroot / true",
        "cat /proc/sys/kernel/core_pattern > /proc/sys/kernel/core_pattern",
        "echo h > /proc/sysrq-trigger",
        "cat /sys/kernel/mm/ksm/run > /sys/kernel/mm/ksm/run",
        "unshare -m true",
        "nsenter -t 1 -m true",
        "hostname elsewhere",
        "date -s \"$(date)\"",
        // Nor to the process that keeps it in.
        "ls /proc/1/root/",
        "readlink /proc/1/exe",
        "cat /proc/1/environ",
    ] {
        let output = run(script);
        assert!(!output.status.success(), "{script}: {}", said(&output));
        // It is refused, not missing.
        let missing = matches!(output.status.code(), Some(126 | 127));
        assert!(!missing, "{script}: {}", said(&output));
    }
}

#[test]
fn a_program_keeps_no_more_of_root_than_it_needs() {
    if may_not_run() {
        return;
    }
    // To change owners, to ignore permissions, owners and set-id bits, to signal, and to become
    // somebody else: linux/capability.h.
    let kept = [0, 1, 3, 4, 5, 6, 7].map(|number| 1_u64 << number);
    let kept = format!("{:016x}", kept.iter().sum::<u64>());
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        let output = run(&format!(
            "sed -n 's/^{set}:[[:space:]]*//p' /proc/self/status"
        ));
        assert_eq!(said(&output).trim(), kept, "{set}");
    }
    let output = run("sed -n 's/^NoNewPrivs:[[:space:]]*//p' /proc/self/status");
    assert_eq!(said(&output).trim(), "1");
}

/// Starts a program that leaves every group that could be ended, ignores what it is asked, and
/// holds a pipe open. Answers once it does so, with a channel that reports the end of the pipe.
fn start_stubborn(directory: &Path) -> (Child, Receiver<()>) {
    let pipe = directory.join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    let script = format!(
        "trap '' TERM HUP PIPE; exec 3> {}; echo here >&3; while :; do sleep 1000; done",
        pipe.display()
    );
    let child = program("/", &["setsid", "sh", "-c", &script])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(File::open(&pipe).unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "here\n");
    let (send, ended) = channel();
    std::thread::spawn(move || {
        reader.read_to_end(&mut Vec::new()).unwrap();
        send.send(()).unwrap();
    });
    (child, ended)
}

#[test]
fn nothing_of_a_program_outlives_its_caller() {
    if may_not_run() {
        return;
    }
    // Its group is killed, as after a timeout.
    let directory = tempfile::tempdir().unwrap();
    let (mut child, ended) = start_stubborn(directory.path());
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    assert!(ended.try_recv().is_err());
    kill_process_group(group, Signal::KILL).unwrap();
    ended.recv_timeout(TIMEOUT).unwrap();
    child.wait().unwrap();

    // Nobody reads it any more, as when the agent has crashed.
    let directory = tempfile::tempdir().unwrap();
    let (mut child, ended) = start_stubborn(directory.path());
    drop(child.stdout.take());
    ended.recv_timeout(TIMEOUT).unwrap();
    assert!(!child.wait().unwrap().success());
}

/// Each of these would take a machine with it that does not stop them. They end soon, and what
/// they took is free.
#[test]
fn a_program_that_takes_too_much_is_ended() {
    if may_not_run() {
        return;
    }
    let begin = std::time::Instant::now();
    // Without the kernel's help this would take the whole machine: the agent's own watch is
    // slower than processes multiply.
    let counts_processes = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
        .is_ok_and(|controllers| controllers.split_whitespace().any(|name| name == "pids"));
    if !counts_processes {
        skipped("the fork bomb", "cgroup v2 with the controller `pids`");
    }
    // Processes that do nothing but start two more. Should nothing stop it, a file does.
    let directory = tempfile::tempdir().unwrap();
    let stop = directory.path().join("stop");
    let forks = format!(
        "bomb() {{ [ -e {stop} ] || {{ bomb & bomb & sleep 20; }}; }}; bomb; wait",
        stop = stop.display()
    );
    // One process that takes ever more, and many of which none takes much.
    let grows = "x=0123456789abcdef; while :; do x=$x$x; done";
    let many = "for i in $(seq 200); do (x=0123456789abcdef; \
                for j in $(seq 19); do x=$x$x; done; sleep 60) & done; wait";
    for (script, said_to) in [
        (forks.as_str(), &["processes", "fork"][..]),
        (grows, &["memory"]),
        (many, &["memory"]),
    ] {
        if script == forks && !counts_processes {
            continue;
        }
        let output = run(script);
        // The kernel may be first, and then it is the shell that says so, or nobody; a shell
        // that gets no more memory may also crash (139).
        let said = said(&output).to_lowercase();
        let is_killed = matches!(output.status.code(), Some(137 | 139) | None);
        let is_said = said_to.iter().any(|word| said.contains(word));
        let shown = &said[said.floor_char_boundary(said.len().saturating_sub(200))..];
        assert!(
            is_killed || is_said,
            "{script}: {:?} {shown}",
            output.status
        );
    }
    std::fs::write(stop, "").unwrap();
    assert!(begin.elapsed() < TIMEOUT, "{:?}", begin.elapsed());
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
