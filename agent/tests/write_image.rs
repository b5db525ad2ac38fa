//! The tool `ironic-agent write-image` as a person or a script runs it.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and this one runs the program"
)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest, Sha256};

const MIB: usize = 1 << 20;

/// An image with a partition table of one partition.
fn image() -> Vec<u8> {
    let mut image: Vec<u8> = (0..=250_u8).cycle().take(3 * MIB).collect();
    image[446..512].fill(0);
    image[450] = 0x83;
    image[454..458].copy_from_slice(&2048_u32.to_le_bytes());
    image[458..462].copy_from_slice(&2048_u32.to_le_bytes());
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    image
}

/// Serves the same bytes to everyone until the test ends, `limit` of them if there is one.
fn serve(body: Vec<u8>, limit: Option<usize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&body[..limit.unwrap_or(body.len())]);
            if limit.is_some() {
                // Silent until the other side goes away.
                let _ = stream.read(&mut [0; 1]);
            }
        }
    });
    format!("http://{address}/disk.raw")
}

fn tool(url: &str, digest: &str, device: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ironic-agent"));
    command
        .args([
            "write-image",
            "--url",
            url,
            "--sha256",
            digest,
            "--disk-format",
            "raw",
        ])
        .arg("--device")
        .arg(device)
        .env_remove("http_proxy")
        .stdin(Stdio::null());
    command
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_status_tells_whether_the_verified_image_is_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    let image = image();
    let url = serve(image.clone(), None);
    let digest = hex::encode(Sha256::digest(&image));
    std::fs::write(&disk, vec![0x55; 4 * MIB]).unwrap();

    let output = tool(&url, &digest, &disk).output().unwrap();
    let (out, err) = texts(&output);
    assert_eq!((output.status.code(), err.as_str()), (Some(0), ""));
    assert!(out.contains("image (disk.raw) written to device"), "{out}");
    assert!(!out.contains('\x1b'), "a bar is for terminals: {out}");
    assert!(std::fs::read(&disk).unwrap()[..image.len()] == image);

    let output = tool(&url, &"0".repeat(64), &disk).output().unwrap();
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.contains(&digest), "{err}");
    assert!(
        std::fs::read(&disk).unwrap()[..MIB]
            .iter()
            .all(|byte| *byte == 0)
    );
}

#[test]
fn what_is_no_disk_is_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let url = serve(image(), None);
    for device in [dir.path().to_owned(), dir.path().join("missing")] {
        let output = tool(&url, &"0".repeat(64), &device).output().unwrap();
        let (_, err) = texts(&output);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(err.lines().count(), 1, "{err}");
        assert!(err.contains(device.to_str().unwrap()), "{err}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_ironic-agent"))
        .args(["write-image", "--url", &url])
        .output()
        .unwrap();
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(2));
    assert!(err.contains("--device"), "{err}");
}

#[test]
fn an_interrupted_tool_leaves_no_partition_table() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    std::fs::write(&disk, [0x55, 0xaa].repeat(2 * MIB)).unwrap();
    let image = image();
    let url = serve(image.clone(), Some(2 * MIB + 77));
    let digest = hex::encode(Sha256::digest(&image));
    let mut child = tool(&url, &digest, &disk)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while std::fs::read(&disk).unwrap()[0] != 0 {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(texts(&output).1.contains("terminated"));
    assert!(
        std::fs::read(&disk).unwrap()[..MIB]
            .iter()
            .all(|byte| *byte == 0)
    );
}

/// What is read and what is written may be files: no server is needed to restore an image.
#[test]
fn an_image_may_be_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, file) = (dir.path().join("disk"), dir.path().join("disk.raw"));
    let image = image();
    std::fs::write(&file, &image).unwrap();
    std::fs::write(&disk, vec![0x55; 4 * MIB]).unwrap();
    let digest = hex::encode(Sha256::digest(&image));
    let output = tool(&format!("file://{}", file.display()), &digest, &disk)
        .output()
        .unwrap();
    let (out, err) = texts(&output);
    assert_eq!((output.status.code(), err.as_str()), (Some(0), ""), "{out}");
    assert!(std::fs::read(&disk).unwrap()[..image.len()] == image);
}
