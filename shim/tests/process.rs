//! The program as a supervisor and a person see it: exit codes, the log, its socket.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "the whole file is a test, also outside its test functions; its subject is a process"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

const TOKEN: &str = "a-token-that-nobody-may-read-in-a-log";

/// The program with nothing configured but `arguments`.
fn command(state: &Path, arguments: &[&str]) -> Command {
    let nothing = state.join("nothing.conf");
    fs::write(&nothing, "[DEFAULT]\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ironic-shim"));
    command
        .arg("--config-file")
        .arg(nothing)
        .arg("--state-dir")
        .arg(state)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> Output {
    let state = tempfile::tempdir().unwrap();
    command(state.path(), arguments).output().unwrap()
}

/// A running shim without an Ironic, its REST server open.
struct Running {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    read: String,
    rest: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended, which is what some tests wait for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(state: &Path, socket: &Path) -> Self {
        let listen = format!("unix:{}", socket.display());
        let agent = format!("unix:{}", state.join("agent.sock").display());
        let arguments = [
            "--listen_host",
            "127.0.0.1",
            "--listen_port",
            "0",
            "--agent",
            &agent,
            "--conductor-listen",
            &listen,
            "--agent_token",
            TOKEN,
            "--debug",
        ];
        let mut child = command(state, &arguments).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut read = String::new();
        let rest = loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended: {read}");
            read.push_str(&line);
            if let Some((_, url)) = line.split_once("event=rest_listener_open url=http://") {
                break url.trim().to_owned();
            }
        };
        Self {
            child,
            log,
            read,
            rest,
        }
    }

    fn get(&self, path: &str) -> String {
        let mut peer = TcpStream::connect(&self.rest).unwrap();
        write!(
            peer,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        peer.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Sends a signal; the exit code and the whole log.
    fn end(mut self, signal: Signal) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let code = self.child.wait().unwrap().code();
        let mut log = std::mem::take(&mut self.read);
        self.log.read_to_string(&mut log).unwrap();
        (code, log)
    }
}

#[test]
fn it_ends_by_signals_as_supervisors_expect() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 0)] {
        let state = tempfile::tempdir().unwrap();
        let shim = Running::start(state.path(), &state.path().join("conductor.sock"));
        assert!(shim.get("/v1/").starts_with("HTTP/1.1 200"));
        assert_eq!(shim.end(signal).0, Some(code), "{signal:?}");
    }
}

#[test]
fn an_option_that_cannot_work_is_named_and_the_exit_code_is_1() {
    let cases: [(&[&str], &str); 9] = [
        (&["--api_url", "ftp://x"], "api_url"),
        (&["--listen_port", "99999"], "listen_port"),
        (&["--conductor-listen", "127.0.0.1:x"], "conductor_listen"),
        (&["--agent", "nonsense"], "agent"),
        (&["--tls_min_version", "1.1"], "tls_min_version"),
        (&["--no_such_option", "1"], "no_such_option"),
        (
            &[
                "--listen_host",
                "203.0.113.99",
                "--conductor-listen",
                "127.0.0.1:0",
            ],
            "listen_host",
        ),
        (
            &[
                "--api_url",
                "https://127.0.0.1:1",
                "--cafile",
                "/does/not/exist",
            ],
            "cafile /does/not/exist",
        ),
        (
            &[
                "--conductor-listen",
                "127.0.0.1:0",
                "--grpc_tls_cert_file",
                "/does/not/exist",
            ],
            "grpc_tls",
        ),
    ];
    for (arguments, named) in cases {
        let output = run(arguments);
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {log}");
        assert!(log.contains(named), "{arguments:?}: {log}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for argument in ["--help", "--version"] {
        let output = run(&[argument]);
        assert_eq!(output.status.code(), Some(0), "{argument}");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("shim"), "{text}");
    }
}

#[test]
fn the_socket_is_private_and_an_old_one_does_not_hinder() {
    let state = tempfile::tempdir().unwrap();
    let socket = state.path().join("deep/er/conductor.sock");
    let shim = Running::start(state.path(), &socket);
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // A second shim says that the place is taken, and does not take it.
    let listen = format!("unix:{}", socket.display());
    let output = run(&["--conductor-listen", &listen]);
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("another program"), "{log}");

    // Killed, it leaves the socket behind; the next life takes it over.
    shim.end(Signal::KILL);
    assert!(socket.exists());
    let shim = Running::start(state.path(), &socket);
    assert!(shim.get("/v1/").starts_with("HTTP/1.1 200"));
}

#[test]
fn no_log_tells_a_token() {
    let state = tempfile::tempdir().unwrap();
    let shim = Running::start(state.path(), &state.path().join("conductor.sock"));
    shim.get(&format!("/v1/commands/?agent_token={TOKEN}"));
    shim.get("/v1/commands/?agent_token=another-secret-word");
    let (_, log) = shim.end(Signal::TERM);
    for secret in [TOKEN, "another-secret-word"] {
        assert!(!log.contains(secret), "{log}");
    }
}
