//! Strangers at the agent's gRPC port: they hold connections, streams and descriptors. Who
//! asks meanwhile is answered, and the agent stays small.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and this one runs the program"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long an honest caller waits for its answer while the others do what they do.
const ANSWERED: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(60);
const STATUS: &str = "/ironic.agent.v1.CommandService/GetStatus";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// An agent at a port of its own, with a simulated disk.
struct Agent {
    child: Child,
    address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
    _directory: tempfile::TempDir,
}

impl Agent {
    /// `descriptors` is the most that it may have open.
    fn start(descriptors: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let disks = directory.path().join("disks");
        std::fs::create_dir(&disks).unwrap();
        let disk = std::fs::File::create(disks.join("sda")).unwrap();
        disk.set_len(8 << 30).unwrap();
        let script = format!("ulimit -n {descriptors} && exec \"$@\"");
        let mut child = Command::new("sh")
            .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_ironic-agent")])
            .args(["--standalone", "--agent_token", "T"])
            .args(["--grpc-listen", "127.0.0.1:0"])
            .arg("--simulate")
            .arg(&disks)
            .arg("--state-dir")
            .arg(directory.path().join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut address = None;
        while address.is_none() {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "the agent ended");
            address = line
                .split_once("listen=")
                .map(|(_, rest)| rest.trim().parse().unwrap());
        }
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        Self {
            child,
            address: address.unwrap(),
            lines,
            _directory: directory,
        }
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, ANSWERED)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWERED))?;
        Ok(stream)
    }

    /// Asserts that an honest caller is answered in time. What strangers do delays each answer, where
    /// other work of a machine delays one.
    fn assert_answers(&self) {
        let mut late = Vec::new();
        while late.len() < 3 {
            let taken = self.ask();
            if taken < ANSWERED {
                return;
            }
            late.push(taken);
        }
        panic!("answers took {late:?}");
    }

    /// Asks for the status over a new connection, and says how long that took.
    fn ask(&self) -> Duration {
        let begin = Instant::now();
        let mut stream = self.connect().unwrap();
        stream
            .write_all(&[PREFACE, &call(1, STATUS, true)].concat())
            .unwrap();
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        // The trailers name the status; HPACK keeps digits of this length as they are, and
        // the message before them has the version.
        while !contains(&answer, env!("CARGO_PKG_VERSION").as_bytes()) {
            match stream.read(&mut buffer) {
                Ok(read @ 1..) => answer.extend_from_slice(&buffer[..read]),
                other => panic!("{other:?} after {:?}", begin.elapsed()),
            }
        }
        begin.elapsed()
    }

    fn status(&self, key: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(path).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Resident memory in MiB.
    fn memory(&self) -> u64 {
        self.status("VmRSS:") >> 10
    }

    /// Processor time so far.
    fn busy(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<u64> = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        // After the state, which is a letter, utime and stime are 11th and 12th, in hundredths.
        Duration::from_millis((fields[10] + fields[11]) * 10)
    }

    fn lines(&self) -> usize {
        self.lines.lock().unwrap().len()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// The beginning of HTTP/2, and settings that say nothing.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A call with an empty message, or with none yet.
fn call(stream: u32, path: &str, whole: bool) -> Vec<u8> {
    let mut headers = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "agent"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        // A literal without indexing and without Huffman's code.
        headers.push(0);
        for text in [name, value] {
            headers.push(u8::try_from(text.len()).unwrap());
            headers.extend(text.as_bytes());
        }
    }
    let mut frames = frame(1, 4, stream, &headers);
    if whole {
        frames.extend(frame(0, 1, stream, &[0; 5]));
    }
    frames
}

#[test]
fn silent_connections_end_and_do_not_block_others() {
    let agent = Agent::start(4096);
    let before = agent.memory();
    let mut silent = Vec::new();
    for number in 0..400 {
        // Those that were closed for others free their places.
        if let Ok(mut stream) = agent.connect() {
            // Half of them say that they speak HTTP/2, and no more.
            if number % 2 == 0 {
                let _ = stream.write_all(PREFACE);
            }
            silent.push(stream);
        }
        if number % 50 == 0 {
            agent.assert_answers();
        }
    }
    agent.assert_answers();
    let grown = agent.memory() - before;
    println!("400 silent connections: {grown} MiB");
    assert!(grown < 32, "{grown} MiB");
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", agent.child.id())).unwrap();
    assert!(descriptors.count() < 200);
    // All end, one after another, and nobody has to ask for it.
    let begin = Instant::now();
    for mut stream in silent {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(begin.elapsed() < TIMEOUT, "it is kept");
    }
}

#[test]
fn without_descriptors_the_agent_rests_and_says_so_once_in_a_while() {
    // The agent needs some twenty itself.
    let agent = Agent::start(64);
    let flood: Vec<_> = (0..300).filter_map(|_| agent.connect().ok()).collect();
    let (busy, lines) = (agent.busy(), agent.lines());
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(5) {
        agent.assert_answers();
        std::thread::sleep(Duration::from_millis(250));
    }
    let (busy, lines) = (agent.busy() - busy, agent.lines() - lines);
    println!(
        "{} connections: {busy:?} of 5 s, {lines} lines",
        flood.len()
    );
    assert!(busy < Duration::from_millis(1500), "{busy:?}");
    assert!(lines < 60, "{lines} lines");
    // What is needed for work was kept back.
    let open = std::fs::read_dir(format!("/proc/{}/fd", agent.child.id())).unwrap();
    let open = open.count();
    assert!(open < 64 - 16, "{open} descriptors are open");
}

#[test]
fn streams_without_a_token_are_few_and_cost_little() {
    let agent = Agent::start(4096);
    let before = agent.memory();
    let mut flood = Vec::new();
    for number in 0..200 {
        let Ok(mut stream) = agent.connect() else {
            continue;
        };
        let mut calls = PREFACE.to_vec();
        for stream in 0..256 {
            calls.extend(call(2 * stream + 1, REFLECTION, false));
        }
        let _ = stream.write_all(&calls);
        flood.push(stream);
        if number % 20 == 0 {
            agent.assert_answers();
        }
    }
    agent.assert_answers();
    let grown = agent.memory() - before;
    println!("200 connections with 256 streams each: {grown} MiB");
    assert!(grown < 64, "{grown} MiB");
}

/// A request that is open to everybody may have no message to speak of.
#[test]
fn large_messages_without_a_token_are_not_read() {
    const STREAMS: u32 = 8;
    let agent = Agent::start(4096);
    let before = agent.memory();
    let mut connections = Vec::new();
    for _ in 0..8 {
        let mut stream = agent.connect().unwrap();
        let mut begin = PREFACE.to_vec();
        // A message of 100 MiB, of which as much comes as the agent takes.
        let head = [&[0][..], &(100_u32 << 20).to_be_bytes()].concat();
        for number in 0..STREAMS {
            begin.extend(call(2 * number + 1, STATUS, false));
            begin.extend(frame(0, 0, 2 * number + 1, &head));
        }
        stream.write_all(&begin).unwrap();
        let part = vec![0; 16 << 10];
        'pouring: for _ in 0..15 {
            for number in 0..STREAMS {
                if stream
                    .write_all(&frame(0, 0, 2 * number + 1, &part))
                    .is_err()
                {
                    break 'pouring;
                }
            }
        }
        connections.push(stream);
        agent.assert_answers();
    }
    let grown = agent.memory() - before;
    println!("64 large messages: {grown} MiB");
    assert!(grown < 32, "{grown} MiB");
}
