//! What the arguments of the tool ask for: the same request that Ironic's document would make.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{ArgGroup, Parser};
use ironic_program::CommonSettings;
use ironic_text::Secret;
use ironic_transport::tls::TlsVersion;

use super::NAME;
use crate::config::AgentConfig;
use crate::image::{Checksums, ImageRequest, ServerCredentials};

/// Writes an image to a disk: downloaded, verified, decoded and written in one pass. The status is
/// 0 only when the verified image is on the disk; otherwise the disk has no partition table, or is
/// as it was.
#[derive(Debug, Parser)]
#[command(name = NAME, bin_name = "ironic-agent write-image", max_term_width = 100)]
#[command(group(ArgGroup::new("digest").args(["sha256", "sha512", "checksum"])))]
pub(super) struct WriteImageArguments {
    /// Where the image is; repeated: tried in this order
    #[arg(long, value_name = "URL", required = true)]
    url: Vec<String>,
    /// SHA-256 of the file, or a checksum file
    #[arg(long, value_name = "DIGEST|URL")]
    sha256: Option<String>,
    /// SHA-512 of the file, or a checksum file
    #[arg(long, value_name = "DIGEST|URL")]
    sha512: Option<String>,
    /// Digest whose length tells the algorithm, or a checksum file
    #[arg(long, value_name = "DIGEST|URL")]
    checksum: Option<String>,
    /// raw (also when compressed), qcow2, ...; without it the content decides
    #[arg(long, value_name = "FORMAT")]
    disk_format: Option<String>,
    /// The disk, or a plain file of the disk's size
    #[arg(long, value_name = "PATH")]
    device: PathBuf,
    /// A config drive: ISO 9660, as it is or packed by gzip, in base64 when given inline
    #[arg(long, value_name = "URL|FILE|BASE64")]
    configdrive: Option<String>,
    /// Trust these authorities (PEM)
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Our certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// The key of our certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,
    /// Accept every certificate of the server
    #[arg(long)]
    insecure: bool,
    /// The oldest TLS that the server may speak: 1.2 or 1.3
    #[arg(long, value_name = "VERSION", value_parser = ["1.2", "1.3"])]
    tls_min_version: Option<String>,
    /// The suites of TLS 1.2 that may be used, by their IANA or OpenSSL names, with colons
    #[arg(long, value_name = "NAMES")]
    tls_cipher_suites: Option<String>,
    /// User at the server, by HTTP Basic
    #[arg(
        long,
        value_name = "NAME",
        requires = "password_file",
        conflicts_with = "authorization_file"
    )]
    user: Option<String>,
    /// Its first line is the password of --user
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// Its first line is sent as Authorization header, for example "Bearer ..."
    #[arg(long, value_name = "FILE")]
    authorization_file: Option<PathBuf>,
    /// Attempts after the first, without progress in between
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// How long a server may be silent
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Accept a checksum that is an MD5 digest
    #[arg(long)]
    allow_md5: bool,
    /// A format that the content may have; repeated. Without it: raw, gpt and qcow2
    #[arg(long, value_name = "FORMAT")]
    permit_format: Vec<String>,
    /// Believe --disk-format without looking at the content
    #[arg(long)]
    no_inspection: bool,
    /// Log what happens on standard error
    #[arg(long)]
    debug: bool,
}

/// What the arguments ask for.
#[derive(Debug)]
pub(super) struct WriteImageJob {
    pub(super) config: AgentConfig,
    pub(super) request: ImageRequest,
    pub(super) configdrive: Option<String>,
    pub(super) device: PathBuf,
    /// Whether to log. What the report says is enough for a person.
    pub(super) is_debugging: bool,
}

impl WriteImageJob {
    pub(super) fn new(arguments: WriteImageArguments) -> anyhow::Result<Self> {
        let device = arguments.device.clone();
        Ok(Self {
            config: arguments.config(),
            request: arguments.request()?,
            // The kernel's name, which its messages use; a missing device is reported later.
            device: device.canonicalize().unwrap_or(device),
            is_debugging: arguments.debug,
            configdrive: arguments.configdrive.map(config_drive).transpose()?,
        })
    }
}

impl WriteImageArguments {
    /// The settings of the agent that belong to one image.
    fn config(&self) -> AgentConfig {
        let defaults = AgentConfig::default();
        let retries = defaults.image_download_connection_retries;
        let timeout = defaults.image_download_connection_timeout;
        let is_newest = self.tls_min_version.as_deref() == Some("1.3");
        AgentConfig {
            common: CommonSettings {
                insecure: self.insecure,
                cafile: self.ca_file.clone(),
                certfile: self.cert_file.clone(),
                keyfile: self.key_file.clone(),
                tls_min_version: if is_newest {
                    TlsVersion::V1_3
                } else {
                    defaults.common.tls_min_version
                },
                tls_cipher_suites: self.tls_cipher_suites.clone(),
                ..defaults.common
            },
            disable_deep_image_inspection: self.no_inspection,
            permitted_image_formats: if self.permit_format.is_empty() {
                defaults.permitted_image_formats.clone()
            } else {
                self.permit_format.clone()
            },
            image_download_connection_retries: self.retries.unwrap_or(retries),
            image_download_connection_timeout: self.timeout.map_or(timeout, Duration::from_secs),
            ..defaults
        }
    }

    fn request(&self) -> anyhow::Result<ImageRequest> {
        let checksums = self.checksums();
        anyhow::ensure!(
            checksums != Checksums::default() || self.url.iter().any(|url| is_in_registry(url)),
            "one of --sha256, --sha512 and --checksum is required: only an image in a registry \
             (oci://) brings its digest"
        );
        let format = self.disk_format.as_deref();
        let format = format.filter(|format| !format.is_empty());
        Ok(ImageRequest {
            id: self.url.first().map_or("", |url| file_name(url)).to_owned(),
            urls: self.url.clone(),
            disk_format: format
                .map(str::to_ascii_lowercase)
                .filter(|format| format != "unknown"),
            checksums,
            md5_enabled: self.allow_md5,
            credentials: self.credentials()?,
            ..ImageRequest::default()
        })
    }

    fn checksums(&self) -> Checksums {
        let named = [("sha256", &self.sha256), ("sha512", &self.sha512)];
        let named = named
            .into_iter()
            .find_map(|(name, digest)| Some((name, digest.clone()?)));
        let (algorithm, value) = named.unzip();
        Checksums {
            os_hash_algo: algorithm.map(str::to_owned),
            os_hash_value: value,
            checksum: self.checksum.clone(),
        }
    }

    fn credentials(&self) -> anyhow::Result<ServerCredentials> {
        if let Some(path) = &self.authorization_file {
            let header = first_line("--authorization-file", path)?;
            return Ok(ServerCredentials::Header(Secret::new(header)));
        }
        let Some(path) = &self.password_file else {
            return Ok(ServerCredentials::Configured);
        };
        let password = first_line("--password-file", path)?;
        Ok(ServerCredentials::Basic {
            user: self.user.clone(),
            password: Some(Secret::new(password)),
        })
    }
}

/// Whether a URL names an image in a registry.
fn is_in_registry(url: &str) -> bool {
    let scheme = url.get(..6);
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("oci://"))
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
pub(super) fn config_drive(value: String) -> anyhow::Result<String> {
    let is_file = !value.contains("://") && std::fs::exists(&value).unwrap_or(false);
    if !is_file {
        return Ok(value);
    }
    let context = || format!("--configdrive {value}");
    let bytes = std::fs::read(&value).with_context(context)?;
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
        .with_context(context)?;
    Ok(STANDARD.encode(packed))
}
