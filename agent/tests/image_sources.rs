//! What servers send and tools make, compared with the tools themselves: bytes behind
//! compressed data (gzip, bzip2, xz, zstd), content codings, checksum files (the tools of
//! coreutils, OpenSSL), certificates (`curl --insecure`).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and this one runs programs"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use sha2::{Digest, Sha256};

const MIB: usize = 1 << 20;

/// The directory of the programs that `make unit` provides; `None` where tests are skipped.
fn programs() -> Option<PathBuf> {
    let found = std::env::var_os("TEST_PROGRAMS").map(PathBuf::from);
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "TEST_PROGRAMS is not set: run `make unit`"
        );
        eprintln!("SKIPPED: needs TEST_PROGRAMS; run `make unit`");
    }
    found
}

/// An image with a partition table of one partition, most of it easy to compress.
fn image() -> Vec<u8> {
    let mut image: Vec<u8> = (0..=250_u8).cycle().take(2 * MIB).collect();
    image[446..512].fill(0);
    image[450] = 0x83;
    image[454..458].copy_from_slice(&2048_u32.to_le_bytes());
    image[458..462].copy_from_slice(&2048_u32.to_le_bytes());
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    image
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Runs `write-image` onto a plain file. Answers also what the file holds then.
fn write_image(disk: &Path, url: &str, digest: &str, more: &[&str]) -> (Output, Vec<u8>) {
    std::fs::write(disk, vec![0x55; 4 * MIB]).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ironic-agent"))
        .args(["write-image", "--url", url, "--checksum", digest])
        .args(["--disk-format", "raw", "--retries", "0"])
        .args(more)
        .arg("--device")
        .arg(disk)
        .env_remove("http_proxy")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let bytes = std::fs::read(disk).unwrap();
    (output, bytes)
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn piped(program: &Path, arguments: &[&str], input: Vec<u8>) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A tool that has seen enough closes its end.
    let feeding = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    feeding.join().unwrap();
    output
}

/// What may stand behind compressed data: `packed` is a whole file of the same format.
fn tails(packed: &[u8]) -> Vec<Vec<u8>> {
    let mut tails: Vec<Vec<u8>> = [1, 2, 3, 4, 7, 8, 511, 512, 4096]
        .iter()
        .map(|length| vec![0; *length])
        .collect();
    tails.extend((1..=20).map(|length| packed[..length].to_vec()));
    tails.extend((1..=8).map(|length| b"{\"metadata\"}FWx0"[..length].to_vec()));
    for text in [
        &b"B"[..],
        b"BZ",
        b"BZh",
        b"BZh0",
        b"BZh9",
        b"BZh9garbage in place of a block",
        b"\x1f",
        b"\x1f\x8b",
        b"\x1f\x8b\x08",
        b"\x1f\x8c trailer",
        b"\x1f\x9d\x90 compress",
        b"\xfd7zXZ",
        b"\x28\xb5\x2f\xfd",
        b"\xff",
        b"a signature of sixty-four bytes",
    ] {
        tails.push(text.to_vec());
    }
    for length in [4, 512] {
        tails.push([&vec![0; length], packed].concat());
        tails.push([&vec![0; length][..], b"more"].concat());
    }
    tails.push([&b"more"[..], packed].concat());
    tails.push(packed.to_vec());
    tails
}

#[test]
fn bytes_behind_compressed_data_are_taken_as_the_formats_own_tool_takes_them() {
    let Some(programs) = programs() else { return };
    let directory = tempfile::tempdir().unwrap();
    let (disk, file) = (directory.path().join("disk"), directory.path().join("file"));
    let image = image();
    for (tool, warns) in [
        ("gzip", true),
        ("bzip2", true),
        ("xz", false),
        ("zstd", false),
    ] {
        let packed = piped(&programs.join(tool), &["-c"], image.clone()).stdout;
        assert!(packed.len() < image.len(), "{tool}");
        for tail in tails(&packed) {
            let bytes = [&packed[..], &tail].concat();
            std::fs::write(&file, &bytes).unwrap();
            let unpacked = piped(&programs.join(tool), &["-dc"], bytes.clone());
            // 2 is gzip's warning.
            let is_taken = matches!(
                (tool, unpacked.status.code()),
                (_, Some(0)) | ("gzip", Some(2))
            );
            let url = format!("file://{}", file.display());
            let (output, disk) = write_image(&disk, &url, &digest(&bytes), &[]);
            let what = format!(
                "{tool} with {:?}: {}",
                &tail[..tail.len().min(24)],
                errors(&output)
            );
            // Two images one after the other are two members, and larger than the disk or not.
            assert_eq!(output.status.success(), is_taken, "{what}");
            if is_taken {
                assert!(disk.starts_with(&unpacked.stdout), "{what}");
                let is_ignored = unpacked.stdout.len() == image.len();
                let is_zero = tail.iter().all(|byte| *byte == 0);
                let is_said = errors(&output).contains("bytes after the")
                    && String::from_utf8_lossy(&output.stdout).contains("(warning: ");
                let is_due = warns && is_ignored && !(tool == "gzip" && is_zero);
                assert_eq!(is_said, is_due, "{what}");
            }
        }
    }
}

/// Serves files below `/`; the query is a header that is sent beside.
fn serve(directory: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = String::new();
            BufReader::new(&stream).read_line(&mut head).unwrap();
            let target = head.split(' ').nth(1).unwrap().to_owned();
            let (path, header) = target.split_once('?').unwrap_or((&target, "X:"));
            let plain = |text: &str| text.replace("%20", " ");
            let body = std::fs::read(directory.join(plain(&path[1..]))).unwrap();
            let head = format!(
                "HTTP/1.1 200 OK\r\n{}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                plain(header),
                body.len()
            );
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&body);
            // The rest of the request, so that closing does not reset the connection.
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    format!("http://{address}")
}

#[test]
fn the_digest_decides_which_bytes_a_content_encoding_means() {
    let directory = tempfile::tempdir().unwrap();
    let (disk, image) = (directory.path().join("disk"), image());
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&image).unwrap();
    let packed = encoder.finish().unwrap();
    std::fs::write(directory.path().join("a.img"), &image).unwrap();
    std::fs::write(directory.path().join("a.img.gz"), &packed).unwrap();
    let server = serve(directory.path().to_owned());
    for encoding in [
        "identity",
        "Identity",
        "aws-chunked",
        "",
        "binary",
        "utf-8",
        "none",
        "gzip",
        "x-gzip",
        "br",
        "deflate",
        "aws-chunked,%20gzip",
    ] {
        for (name, bytes) in [("a.img", &image), ("a.img.gz", &packed)] {
            let url = format!("{server}/{name}?Content-Encoding:%20{encoding}");
            let (output, disk) = write_image(&disk, &url, &digest(bytes), &[]);
            assert!(output.status.success(), "{encoding}: {}", errors(&output));
            assert!(disk.starts_with(&image), "{name} as {encoding}");
        }
    }
    // Packed on the way: not the bytes of the digest, and the server is to blame.
    let url = format!("{server}/a.img.gz?Content-Encoding:%20gzip");
    let (output, _) = write_image(&disk, &url, &digest(&image), &[]);
    assert!(!output.status.success());
    assert!(
        errors(&output).contains("Content-Encoding: gzip; if that is not"),
        "{}",
        errors(&output)
    );
}

#[test]
fn digests_are_found_in_what_the_tools_print() {
    let Some(programs) = programs() else { return };
    let directory = tempfile::tempdir().unwrap();
    let (disk, image) = (directory.path().join("disk"), image());
    let server = serve(directory.path().to_owned());
    for name in ["image.raw", "my image.raw", "image (1).raw"] {
        std::fs::write(directory.path().join(name), &image).unwrap();
        let dotted = format!("./{name}");
        for command in [
            &["sha256sum", name][..],
            &["sha256sum", "--binary", name],
            &["sha256sum", &dotted],
            &["sha256sum", "--tag", name],
            &["sha256sum", "--tag", &dotted],
            &["sha512sum", name],
            &["openssl", "dgst", "-sha256", name],
            &["openssl", "dgst", "-r", "-sha256", name],
            &["openssl", "dgst", "-sha512", &dotted],
            &["openssl", "sha256", name],
        ] {
            let printed = Command::new(programs.join(command[0]))
                .args(&command[1..])
                .current_dir(directory.path())
                .output()
                .unwrap();
            assert!(printed.status.success(), "{command:?}: {printed:?}");
            let other = format!("{}  other.raw\n", "0".repeat(64));
            let list = [other.as_bytes(), &printed.stdout].concat();
            std::fs::write(directory.path().join("sums"), &list).unwrap();
            let url = format!("{server}/{}", name.replace(' ', "%20"));
            let (output, _) = write_image(&disk, &url, &format!("{server}/sums"), &[]);
            let list = String::from_utf8_lossy(&list).into_owned();
            assert!(output.status.success(), "{list}: {}", errors(&output));
        }
    }
}

/// A TLS server of OpenSSL with a certificate, which serves files of the directory.
struct TlsServer {
    child: Child,
    port: u16,
}

impl TlsServer {
    fn start(openssl: &Path, directory: &Path, version: &str) -> Self {
        let mut child = Command::new(openssl)
            .args(["s_server", "-accept", "127.0.0.1:0", "-HTTP", version])
            .args(["-cert", "cert.pem", "-key", "key.pem"])
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines
            .find_map(|line| {
                Some(
                    line.ok()?
                        .strip_prefix("ACCEPT ")?
                        .rsplit_once(':')?
                        .1
                        .parse(),
                )
            })
            .unwrap()
            .unwrap();
        // It must not block on what it prints.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port }
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn insecure_takes_what_curl_takes_and_names_what_it_does_not() {
    let Some(programs) = programs() else { return };
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let image = image();
    let answer = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", image.len());
    std::fs::write(at("image"), [answer.as_bytes(), &image].concat()).unwrap();
    let openssl = |arguments: &[&str]| {
        let output = Command::new(programs.join("openssl"))
            .args(arguments)
            .current_dir(directory.path())
            .env("OPENSSL_CONF", "/dev/null")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            errors(&output)
        );
    };
    let curve = |name: &str| format!("ec_paramgen_curve:{name}");
    let keys: &[(&str, &[&str])] = &[
        ("RSA 2048", &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
        ("RSA 3072", &["RSA", "-pkeyopt", "rsa_keygen_bits:3072"]),
        ("P-256", &["EC", "-pkeyopt", &curve("P-256")]),
        ("P-384", &["EC", "-pkeyopt", &curve("P-384")]),
        ("P-521", &["EC", "-pkeyopt", &curve("P-521")]),
        ("Ed25519", &["ED25519"]),
    ];
    // What is signed: version 1 without an extension; for another host and long over; an
    // authority; with an extension that nobody knows and that is critical.
    let kinds: &[(&str, &str)] = &[
        ("version 1", ""),
        ("another host", "subjectAltName=DNS:elsewhere.example"),
        ("an authority", "basicConstraints=critical,CA:TRUE"),
        ("unknown critical", "1.2.3.4=critical,ASN1:NULL"),
    ];
    for (key, arguments) in keys {
        let generate = [&["genpkey", "-out", "key.pem", "-algorithm"][..], arguments].concat();
        openssl(&generate);
        for (kind, extension) in kinds {
            openssl(&[
                "req",
                "-new",
                "-key",
                "key.pem",
                "-subj",
                "/CN=old",
                "-out",
                "request.pem",
                "-config",
                "/dev/null",
            ]);
            std::fs::write(at("extensions"), extension).unwrap();
            let mut sign = vec![
                "x509",
                "-req",
                "-in",
                "request.pem",
                "-key",
                "key.pem",
                "-out",
                "cert.pem",
                "-days",
                if *kind == "another host" { "-1" } else { "9" },
            ];
            if !extension.is_empty() {
                sign.extend(["-extfile", "extensions"]);
            }
            openssl(&sign);
            for version in ["-tls1_2", "-tls1_3"] {
                let server = TlsServer::start(&programs.join("openssl"), directory.path(), version);
                let url = format!("https://127.0.0.1:{}/image", server.port);
                let curl = Command::new(programs.join("curl"))
                    .args(["--insecure", "--silent", "--output", "/dev/null", &url])
                    .status()
                    .unwrap();
                let (output, _) = write_image(&at("disk"), &url, &digest(&image), &["--insecure"]);
                let what = format!("{key}, {kind}, {version}: {}", errors(&output));
                assert!(curl.success(), "curl does not take {what}");
                assert_eq!(output.status.success(), *key != "P-521", "{what}");
                assert!(
                    output.status.success() || errors(&output).contains("P-521"),
                    "{what}"
                );
            }
        }
    }
}
