//! `ironic-agent write-image`: the image path of the agent as a tool, without a conductor.
//!
//! The arguments become the document that Ironic would send, so that there is one way of an
//! image to a disk and not two.

use std::ffi::OsString;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::builder::PathBufValueParser;
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use ironic_program::CommonSettings;
use ironic_text::Secret;
use ironic_text::printable;
use ironic_transport::tls::TlsVersion;
use serde_json::{Map, Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::progress_report::Report;
use crate::config::{Config, ImageServerAuth};
use crate::failure::Failure;
use crate::image::{Deployment, Installed, prepare};
use crate::machine::block::BlockDevice;
use crate::machine::ironic_node::Node;
use crate::system::System;
use crate::task::{Note, Task, TaskListener};

/// The word that chooses this tool.
pub(super) const NAME: &str = "write-image";
/// Status of a command that was interrupted.
const INTERRUPTED: u8 = 130;
/// Log lines of the image path: what the report says is enough for a person.
const DEBUG: &str = "debug";

/// What the arguments say.
#[derive(Debug)]
struct Job {
    config: Config,
    image_info: Map<String, Value>,
    configdrive: Option<String>,
    device: PathBuf,
    is_debugged: bool,
}

/// Runs the tool. `arguments` begin with the name of the program and [`NAME`].
pub(super) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let matches = match command().try_get_matches_from(arguments.skip(1)) {
        Ok(matches) => matches,
        Err(error) => {
            // A closed pipe is nobody's fault.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let ended = Job::new(&matches).and_then(|job| {
        if job.is_debugged {
            ironic_program::log::start(true);
        }
        super::runtime()?.block_on(run(job))
    });
    ended.unwrap_or_else(|error| {
        let line = format!("{error:#}").replace(['\n', '\r'], " ");
        eprintln!("ironic-agent {NAME}: {}", printable(&line));
        ExitCode::FAILURE
    })
}

fn command() -> Command {
    let option = |name: &'static str, word: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(word).help(help)
    };
    let file = |name, help| option(name, "FILE", help).value_parser(PathBufValueParser::new());
    Command::new(NAME)
        .bin_name(format!("ironic-agent {NAME}"))
        .about(
            "Writes an image to a disk: downloaded, verified, decoded and written in one pass. \
             The status is 0 only when the verified image is on the disk; otherwise the disk has \
             no partition table, or is as it was.",
        )
        .max_term_width(100)
        .arg(
            option(
                "url",
                "URL",
                "Where the image is; repeated: tried in this order.",
            )
            .required(true)
            .action(ArgAction::Append),
        )
        .arg(option(
            "sha256",
            "DIGEST|URL",
            "SHA-256 of the file, or a checksum file.",
        ))
        .arg(option(
            "sha512",
            "DIGEST|URL",
            "SHA-512 of the file, or a checksum file.",
        ))
        .arg(option(
            "checksum",
            "DIGEST|URL",
            "Digest whose length tells the algorithm, or a checksum file.",
        ))
        .group(ArgGroup::new("digest").args(["sha256", "sha512", "checksum"]))
        .arg(option(
            "disk-format",
            "FORMAT",
            "raw (also when compressed), qcow2, ...; without it the content decides.",
        ))
        .arg(
            option(
                "device",
                "PATH",
                "The disk, or a plain file of the disk's size.",
            )
            .required(true)
            .value_parser(PathBufValueParser::new()),
        )
        .arg(option(
            "configdrive",
            "URL|FILE|BASE64",
            "A config drive: ISO 9660, as it is or packed by gzip, in base64 when given inline.",
        ))
        .arg(file("ca-file", "Trust these authorities (PEM)."))
        .arg(file("cert-file", "Our certificate (PEM).").requires("key-file"))
        .arg(file("key-file", "The key of our certificate (PEM).").requires("cert-file"))
        .arg(
            Arg::new("insecure")
                .long("insecure")
                .help("Accept every certificate of the server.")
                .action(ArgAction::SetTrue),
        )
        .arg(
            option(
                "tls-min-version",
                "VERSION",
                "The oldest TLS that the server may speak: 1.2 or 1.3.",
            )
            .value_parser(["1.2", "1.3"]),
        )
        .arg(option(
            "tls-cipher-suites",
            "NAMES",
            "The suites of TLS 1.2 that may be used, by their IANA or OpenSSL names, with colons.",
        ))
        .arg(
            option("user", "NAME", "Who we are to the server, by HTTP Basic.")
                .requires("password-file")
                .conflicts_with("authorization-file"),
        )
        .arg(file("password-file", "Its first line is the password of --user.").requires("user"))
        .arg(file(
            "authorization-file",
            "Its first line is sent as Authorization header, for example \"Bearer ...\".",
        ))
        .arg(
            option(
                "retries",
                "N",
                "Attempts after the first, without progress in between.",
            )
            .value_parser(value_parser!(u32)),
        )
        .arg(
            option("timeout", "SECONDS", "How long a server may be silent.")
                .value_parser(value_parser!(u64)),
        )
        .arg(
            Arg::new("allow-md5")
                .long("allow-md5")
                .help("Accept a checksum that is an MD5 digest.")
                .action(ArgAction::SetTrue),
        )
        .arg(
            option(
                "permit-format",
                "FORMAT",
                "A format that the content may have; repeated. Without it: raw, gpt and qcow2.",
            )
            .action(ArgAction::Append),
        )
        .arg(
            Arg::new("no-inspection")
                .long("no-inspection")
                .help("Believe --disk-format without looking at the content.")
                .action(ArgAction::SetTrue),
        )
        .arg(
            Arg::new(DEBUG)
                .long(DEBUG)
                .help("Log what happens on standard error.")
                .action(ArgAction::SetTrue),
        )
}

impl Job {
    fn new(matches: &ArgMatches) -> anyhow::Result<Self> {
        let text = |name: &str| matches.get_one::<String>(name).cloned();
        let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
        let defaults = Config::default();
        let mut config = Config {
            common: CommonSettings {
                insecure: matches.get_flag("insecure"),
                cafile: path("ca-file"),
                certfile: path("cert-file"),
                keyfile: path("key-file"),
                ..CommonSettings::default()
            },
            md5_enabled: matches.get_flag("allow-md5"),
            disable_deep_image_inspection: matches.get_flag("no-inspection"),
            ..defaults
        };
        if matches
            .get_one::<String>("tls-min-version")
            .map(String::as_str)
            == Some("1.3")
        {
            config.common.tls_min_version = TlsVersion::V1_3;
        }
        config.common.tls_cipher_suites = text("tls-cipher-suites");
        if let Some(formats) = matches.get_many::<String>("permit-format") {
            config.permitted_image_formats = formats.cloned().collect();
        }
        if let Some(path) = path("password-file") {
            config.image_server_auth_strategy = ImageServerAuth::HttpBasic;
            config.image_server_user = text("user");
            let password = first_line("--password-file", &path)?;
            config.image_server_password = Some(Secret::new(password));
        }
        if let Some(retries) = matches.get_one("retries") {
            config.image_download_connection_retries = *retries;
        }
        if let Some(seconds) = matches.get_one("timeout") {
            config.image_download_connection_timeout = Duration::from_secs(*seconds);
        }
        let urls: Vec<&String> = matches.get_many("url").unwrap_or_default().collect();
        let is_named = urls.iter().any(|url| {
            url.get(..6)
                .is_some_and(|scheme| scheme.eq_ignore_ascii_case("oci://"))
        });
        anyhow::ensure!(
            matches.contains_id("digest") || is_named,
            "one of --sha256, --sha512 and --checksum is required: only an image in a registry \
             (oci://) brings its digest"
        );
        let id = urls.first().map_or("", |url| file_name(url));
        let mut image_info = Map::new();
        image_info.insert("id".into(), json!(id));
        image_info.insert("urls".into(), json!(urls));
        for (name, algorithm) in [("sha256", "sha256"), ("sha512", "sha512")] {
            if let Some(digest) = text(name) {
                image_info.insert("os_hash_algo".into(), json!(algorithm));
                image_info.insert("os_hash_value".into(), json!(digest));
            }
        }
        if let Some(checksum) = text("checksum") {
            image_info.insert("checksum".into(), json!(checksum));
        }
        if let Some(format) = text("disk-format") {
            image_info.insert("disk_format".into(), json!(format));
        }
        if let Some(path) = path("authorization-file") {
            let header = first_line("--authorization-file", &path)?;
            image_info.insert(
                "image_request_authorization".into(),
                json!(STANDARD.encode(header)),
            );
        }
        let device = path("device").unwrap_or_default();
        Ok(Self {
            config,
            image_info,
            configdrive: text("configdrive").map(config_drive).transpose()?,
            // The kernel's name, which its messages use; what is not there is told later.
            device: device.canonicalize().unwrap_or(device),
            is_debugged: matches.get_flag(DEBUG),
        })
    }
}

/// A secret that is not to be seen in the list of processes.
fn first_line(option: &str, path: &Path) -> anyhow::Result<String> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("{option} {}", path.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// The last part of a URL's path, which names the image in messages.
fn file_name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    match path.trim_end_matches('/').rsplit('/').next() {
        Some(name) if !name.is_empty() => name,
        _ => url,
    }
}

/// A config drive as Ironic sends it: a URL, or base64 of a gzip-compressed ISO 9660 image.
fn config_drive(value: String) -> anyhow::Result<String> {
    let is_file = !value.contains("://") && std::fs::exists(&value).unwrap_or(false);
    if !is_file {
        return Ok(value);
    }
    let told = || format!("--configdrive {value}");
    let bytes = std::fs::read(&value).with_context(told)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(STANDARD.encode(bytes));
    }
    if let Ok(text) = std::str::from_utf8(&bytes)
        && !text.contains('\0')
    {
        return Ok(text.trim().to_owned());
    }
    let mut packed = Vec::new();
    flate2::bufread::GzEncoder::new(bytes.as_slice(), flate2::Compression::fast())
        .read_to_end(&mut packed)
        .with_context(told)?;
    Ok(STANDARD.encode(packed))
}

async fn run(job: Job) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (task, mut listener) = Task::new();
    let begin = Instant::now();
    // A task of its own shares a thread with the connection's, as in the agent; this thread
    // would have to be woken for every piece of the image.
    let mut writing = tokio::spawn(write(job, task.clone()));
    let written = async {
        loop {
            tokio::select! {
                written = &mut writing => return written,
                _ = terminate.recv(), if !task.is_cancelled() => task.cancel("terminated"),
                _ = interrupt.recv(), if !task.is_cancelled() => task.cancel("interrupted"),
            }
        }
    };
    let mut report = Report::new(std::io::stdout().is_terminal());
    let written = tokio::select! {
        written = written => written.context("the work was lost")?,
        never = listen(&mut listener, &mut report) => match never {},
    };
    // What was noted last may wait still.
    while let Ok(note) = listener.notes.try_recv() {
        show_note(note, &mut report);
    }
    show(&report.end());
    match written {
        Ok(sentence) => {
            let seconds = begin.elapsed().as_secs_f64();
            let sentence = printable(&sentence);
            show(&format!("{sentence} in {seconds:.2} s\n"));
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) if task.is_cancelled() => {
            let line = failure.to_string();
            eprintln!("ironic-agent {NAME}: {}", printable(&line));
            Ok(ExitCode::from(INTERRUPTED))
        }
        Err(failure) => Err(failure.into()),
    }
}

async fn write(job: Job, task: Task) -> Result<String, Failure> {
    let device = BlockDevice {
        name: job.device.to_string_lossy().into_owned(),
        ..BlockDevice::default()
    };
    prepare(Deployment {
        system: &System::linux(),
        config: &job.config,
        node: &Node::default(),
        image_info: &job.image_info,
        configdrive: job.configdrive.as_deref(),
        device: &device,
        task: &task,
        installed: &Installed::default(),
    })
    .await
}

/// Shows progress and notes as they come.
async fn listen(listener: &mut TaskListener, report: &mut Report) -> std::convert::Infallible {
    loop {
        tokio::select! {
            Ok(()) = listener.progress.changed() => {
                let progress = listener.progress.borrow_and_update().clone();
                if let Some(progress) = progress {
                    show(&report.progress(&progress, Instant::now()));
                }
            }
            Some(note) = listener.notes.recv() => show_note(note, report),
            else => std::future::pending().await,
        }
    }
}

/// Warnings go to a line of their own.
fn show_note(note: Note, report: &mut Report) {
    if let Note::Warning(text) = note {
        show(&report.end());
        eprintln!("warning: {}", printable(&text));
    }
}

fn show(text: &str) {
    let mut out = std::io::stdout().lock();
    // Whether anybody reads along changes nothing.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(arguments: &[&str]) -> Result<Job, String> {
        let matches = command()
            .try_get_matches_from([&[NAME], arguments].concat())
            .map_err(|error| error.to_string())?;
        Job::new(&matches).map_err(|error| format!("{error:#}"))
    }

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn arguments_become_what_ironic_would_send() {
        let job = job(&[
            "--url",
            "https://a/x/disk.qcow2?sig=1",
            "--url",
            "http://b/disk.qcow2",
            "--sha256",
            DIGEST,
            "--disk-format",
            "qcow2",
            "--device",
            "/nonexistent/disk",
            "--configdrive",
            "http://c/drive",
            "--ca-file",
            "/ca.pem",
            "--retries",
            "3",
            "--timeout",
            "7",
            "--insecure",
        ])
        .unwrap();
        assert_eq!(
            Value::Object(job.image_info),
            json!({
                "id": "disk.qcow2",
                "urls": ["https://a/x/disk.qcow2?sig=1", "http://b/disk.qcow2"],
                "os_hash_algo": "sha256", "os_hash_value": DIGEST, "disk_format": "qcow2",
            })
        );
        assert_eq!(job.configdrive.as_deref(), Some("http://c/drive"));
        assert_eq!(job.device, PathBuf::from("/nonexistent/disk"));
        assert!(job.config.common.insecure && !job.config.md5_enabled);
        assert_eq!(job.config.common.cafile, Some("/ca.pem".into()));
        assert_eq!(job.config.image_download_connection_retries, 3);
        assert_eq!(
            job.config.image_download_connection_timeout,
            Duration::from_secs(7)
        );
    }

    #[test]
    fn what_protects_a_transfer_can_be_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "correct horse\nsecond line\n").unwrap();
        let password = path.to_str().unwrap();
        let image = ["--url", "https://a/b", "--sha256", DIGEST, "--device", "/d"];
        let job = job(&[
            &image[..],
            &["--tls-min-version", "1.3", "--tls-cipher-suites", "A:B"],
            &["--user", "node", "--password-file", password],
            &["--permit-format", "raw", "--permit-format", "iso"],
        ]
        .concat())
        .unwrap();
        let config = job.config;
        assert_eq!(config.common.tls_min_version, TlsVersion::V1_3);
        assert_eq!(config.common.tls_cipher_suites.as_deref(), Some("A:B"));
        assert_eq!(config.permitted_image_formats, ["raw", "iso"]);
        assert_eq!(
            config.image_server_auth_strategy,
            ImageServerAuth::HttpBasic
        );
        assert_eq!(config.image_server_user.as_deref(), Some("node"));
        assert_eq!(
            config.image_server_password,
            Some(Secret::new("correct horse"))
        );
        for (more, text) in [
            (&["--tls-min-version", "1.0"][..], "1.0"),
            (&["--user", "node"], "--password-file"),
            (
                &["--user", "n", "--password-file", "/no/such/file"],
                "/no/such/file",
            ),
        ] {
            let refused = super::tests::job(&[&image[..], more].concat()).unwrap_err();
            assert!(refused.contains(text), "{refused}");
        }
    }

    #[test]
    fn an_image_in_a_registry_brings_its_digest() {
        job(&["--url", "OCI://r/a:1", "--device", "/d"]).unwrap();
        let job = job(&["--url", "oci://r/a:1", "--device", "/d"]).unwrap();
        assert_eq!(
            Value::Object(job.image_info),
            json!({"id": "a:1", "urls": ["oci://r/a:1"]})
        );
    }

    #[test]
    fn what_is_missing_or_too_much_is_named() {
        let rest = ["--url", "http://a/x", "--device", "/d"];
        for (arguments, named) in [
            (&["--sha256", DIGEST, "--device", "/d"][..], "--url"),
            (&["--sha256", DIGEST, "--url", "http://a/x"], "--device"),
            (&rest, "--sha256"),
            (
                &[&rest[..], &["--sha256", DIGEST, "--checksum", DIGEST]].concat(),
                "--checksum",
            ),
            (
                &[&rest[..], &["--sha256", DIGEST, "--cert-file", "/c"]].concat(),
                "--key-file",
            ),
            (
                &[
                    &rest[..],
                    &["--sha256", DIGEST, "--authorization-file", "/none"],
                ]
                .concat(),
                "--authorization-file /none",
            ),
        ] {
            let error = job(arguments).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn a_config_drive_may_be_a_file_in_any_form() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("drive");
        let given = || path.to_str().unwrap().to_owned();
        assert_eq!(config_drive("QUJD".into()).unwrap(), "QUJD");
        assert_eq!(config_drive("http://h/x".into()).unwrap(), "http://h/x");
        std::fs::write(&path, b"QUJD\n").unwrap();
        assert_eq!(config_drive(given()).unwrap(), "QUJD");
        std::fs::write(&path, [0x1f, 0x8b, 8]).unwrap();
        assert_eq!(
            config_drive(given()).unwrap(),
            STANDARD.encode([0x1f, 0x8b, 8])
        );
        std::fs::write(&path, [0; 4096]).unwrap();
        let packed = STANDARD.decode(config_drive(given()).unwrap()).unwrap();
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice())
            .read_to_end(&mut plain)
            .unwrap();
        assert_eq!(plain, [0; 4096]);
    }
}
