use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ironic_text::Secret;
use ironic_transport::tls::TlsVersion;

use super::arguments::config_drive;
use super::*;
use crate::image::{Checksums, ServerCredentials};

fn job(arguments: &[&str]) -> Result<WriteImageJob, String> {
    let arguments = WriteImageArguments::try_parse_from([&[NAME], arguments].concat())
        .map_err(|error| error.to_string())?;
    WriteImageJob::new(arguments).map_err(|error| format!("{error:#}"))
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
    let request = job.request;
    assert_eq!(request.id, "disk.qcow2");
    assert_eq!(
        request.urls,
        ["https://a/x/disk.qcow2?sig=1", "http://b/disk.qcow2"]
    );
    assert_eq!(request.checksums.os_hash_algo.as_deref(), Some("sha256"));
    assert_eq!(request.checksums.os_hash_value.as_deref(), Some(DIGEST));
    assert_eq!(request.disk_format.as_deref(), Some("qcow2"));
    assert_eq!(request.credentials, ServerCredentials::Configured);
    assert_eq!(job.configdrive.as_deref(), Some("http://c/drive"));
    assert_eq!(job.device, PathBuf::from("/nonexistent/disk"));
    assert!(job.config.common.insecure && !request.md5_enabled);
    assert_eq!(job.config.common.cafile, Some("/ca.pem".into()));
    assert_eq!(job.config.image_download_connection_retries, 3);
    assert_eq!(
        job.config.image_download_connection_timeout,
        Duration::from_secs(7)
    );
}

#[test]
fn options_of_a_transfer_are_taken_from_the_command_line() {
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
    let basic = ServerCredentials::Basic {
        user: Some("node".into()),
        password: Some(Secret::new("correct horse")),
    };
    assert_eq!(job.request.credentials, basic);
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
    assert_eq!(job.request.id, "a:1");
    assert_eq!(job.request.checksums, Checksums::default());
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
