//! The parts of a typed command for an image, as the values that Ironic's `image_info` becomes.

use ironic_text::Secret;

use super::document_fields::{DocumentFields, FieldProblem, InvalidOrderField};
use crate::image::{Checksums, ImageRequest, PartitionRequest, ServerCredentials};

/// Schemes of images.
const SCHEMES: [&str; 4] = ["https://", "http://", "file://", "oci://"];
/// Hashes, and how many hexadecimal digits each has.
const HASHES: [(&str, usize); 3] = [("sha256", 64), ("sha384", 96), ("sha512", 128)];
/// What scratch space is formatted with.
const EPHEMERAL_FORMAT: &str = "ext4";
/// The longest name of a file system, in bytes.
const MAX_FORMAT_BYTES: usize = 16;

/// How the deployed system is to boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestedFirmware {
    Uefi,
    Bios,
}

impl RequestedFirmware {
    /// Ironic's word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Uefi => "uefi",
            Self::Bios => "bios",
        }
    }
}

/// The wish of an order.
pub(super) fn firmware(
    order: &DocumentFields,
) -> Result<Option<RequestedFirmware>, InvalidOrderField> {
    const NAME: &str = "boot_mode";
    Ok(match order.word(NAME, "FIRMWARE_MODE_").as_deref() {
        None => None,
        Some("uefi") => Some(RequestedFirmware::Uefi),
        Some("bios") => Some(RequestedFirmware::Bios),
        Some(other) => {
            let expected = "FIRMWARE_MODE_UEFI or FIRMWARE_MODE_BIOS";
            return Err(order.must_be(NAME, expected, other));
        }
    })
}

/// The image, where it is and how it is known.
pub(super) fn image(image: &DocumentFields) -> Result<ImageRequest, InvalidOrderField> {
    let urls = image.texts("urls");
    for (index, url) in urls.iter().enumerate() {
        if !SCHEMES.iter().any(|scheme| is_scheme(url, scheme)) {
            let expected = "a URL with https://, http://, file:// or oci://";
            let found = url
                .split_once("://")
                .map_or("a text without a scheme", |(scheme, _)| scheme);
            return Err(image.must_be(&format!("urls[{index}]"), expected, found));
        }
    }
    let Some(first) = urls.first() else {
        let problem = FieldProblem::Missing("say where the image is");
        return Err(image.invalid("urls", problem));
    };
    let checksums = match image.document("digest") {
        Some(digest) => checksums(&digest)?,
        None if urls.iter().any(|url| is_scheme(url, "oci://")) => Checksums::default(),
        None => {
            let problem = FieldProblem::Missing("nothing else could verify the image");
            return Err(image.invalid("digest", problem));
        }
    };
    let credentials = image.document("credentials");
    if let Some(credentials) = &credentials
        && urls.iter().all(|url| is_scheme(url, "file://"))
    {
        return Err(InvalidOrderField {
            path: credentials.own_path(),
            problem: FieldProblem::Unused {
                with: "urls that are all file://".to_owned(),
                fix: "leave it out, or name a server",
            },
        });
    }
    if image.number("size") == Some(0) {
        return Err(image.must_be("size", "at least 1, or absent", 0));
    }
    Ok(ImageRequest {
        id: image
            .text("name")
            .unwrap_or_else(|| file_name(first))
            .to_owned(),
        urls: urls.iter().map(|url| (*url).to_owned()).collect(),
        disk_format: format(image)?,
        size: image.number("size"),
        checksums,
        credentials: credentials
            .as_ref()
            .map_or(Ok(ServerCredentials::Configured), self::credentials)?,
        ..ImageRequest::default()
    })
}

/// Whether a URL begins with a scheme and what follows it.
fn is_scheme(url: &str, scheme: &str) -> bool {
    let start = url.get(..scheme.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// The last part of a URL's path: what is before it and behind it may hold secrets.
fn file_name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

fn format(image: &DocumentFields) -> Result<Option<String>, InvalidOrderField> {
    const NAME: &str = "format";
    let word = image.word(NAME, "IMAGE_FORMAT_");
    match word.as_deref() {
        None | Some("raw" | "qcow2") => Ok(word),
        Some(other) => {
            let expected = "IMAGE_FORMAT_RAW, IMAGE_FORMAT_QCOW2 or unspecified";
            Err(image.must_be(NAME, expected, other))
        }
    }
}

fn checksums(digest: &DocumentFields) -> Result<Checksums, InvalidOrderField> {
    let word = digest.word("algorithm", "DIGEST_ALGORITHM_");
    let word = word.unwrap_or_else(|| "unspecified".to_owned());
    let Some((algorithm, digits)) = HASHES.iter().find(|(name, _)| *name == word) else {
        let expected =
            "DIGEST_ALGORITHM_SHA256, DIGEST_ALGORITHM_SHA384 or DIGEST_ALGORITHM_SHA512";
        return Err(digest.must_be("algorithm", expected, word));
    };
    digest.exclude("value", "list_url")?;
    let value = match (digest.text("value"), digest.text("list_url")) {
        (Some(value), _) => {
            let is_hexadecimal = value.bytes().all(|byte| byte.is_ascii_hexdigit());
            if value.len() != *digits || !is_hexadecimal {
                let found = format!("{} characters", value.chars().count());
                let expected = "as many hexadecimal digits as the algorithm has (64, 96 or 128)";
                return Err(digest.must_be("value", expected, found));
            }
            value
        }
        (None, Some(url)) => http_url(digest, "list_url", url)?,
        (None, None) => {
            let problem = FieldProblem::Missing("say the digest, or where a list of digests is");
            return Err(digest.invalid("value", problem));
        }
    };
    Ok(Checksums {
        os_hash_algo: Some((*algorithm).to_owned()),
        os_hash_value: Some(value.to_owned()),
        checksum: None,
    })
}

fn credentials(fields: &DocumentFields) -> Result<ServerCredentials, InvalidOrderField> {
    fields.exclude("authorization", "user")?;
    fields.exclude("authorization", "password")?;
    if let Some(header) = fields.text("authorization") {
        return Ok(ServerCredentials::Header(Secret::new(header)));
    }
    match (fields.text("user"), fields.text("password")) {
        (Some(user), Some(password)) => Ok(ServerCredentials::Basic {
            user: Some(user.to_owned()),
            password: Some(Secret::new(password)),
        }),
        (Some(_), None) => Err(fields.invalid("user", FieldProblem::Needs("password"))),
        (None, Some(_)) => Err(fields.invalid("password", FieldProblem::Needs("user"))),
        (None, None) => Err(InvalidOrderField {
            path: fields.own_path(),
            problem: FieldProblem::Missing("give user and password, or authorization"),
        }),
    }
}

/// The config drive as Ironic sends it: base64, or a URL.
pub(super) fn config_drive(drive: &DocumentFields) -> Result<String, InvalidOrderField> {
    drive.exclude("content", "url")?;
    match (drive.text("content"), drive.text("url")) {
        (Some(content), _) => Ok(content.to_owned()),
        (None, Some(url)) => Ok(http_url(drive, "url", url)?.to_owned()),
        (None, None) => Err(InvalidOrderField {
            path: drive.own_path(),
            problem: FieldProblem::Missing("give content or url"),
        }),
    }
}

/// The partitions around an image that is the content of one.
pub(super) fn partition(layout: &DocumentFields) -> Result<PartitionRequest, InvalidOrderField> {
    let size = |name: &str| layout.number(name).unwrap_or(0);
    let root_mib = size("root_mib");
    if root_mib == 0 {
        let problem = FieldProblem::Missing("say how large the partition of the image is");
        return Err(layout.invalid("root_mib", problem));
    }
    const FORMAT: &str = "ephemeral_file_system";
    if size("ephemeral_mib") == 0 {
        let of_scratch_space = [FORMAT, "preserve_ephemeral"];
        if let Some(name) = of_scratch_space.iter().find(|name| layout.has(name)) {
            return Err(layout.invalid(name, FieldProblem::Needs("ephemeral_mib")));
        }
    }
    let ephemeral_format = layout.text(FORMAT).unwrap_or(EPHEMERAL_FORMAT);
    // It becomes part of a program's name.
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if ephemeral_format.len() > MAX_FORMAT_BYTES || !ephemeral_format.bytes().all(is_name) {
        return Err(layout.must_be(FORMAT, "the name of a file system", ephemeral_format));
    }
    Ok(PartitionRequest {
        root_mib,
        ephemeral_mib: size("ephemeral_mib"),
        swap_mib: size("swap_mib"),
        ephemeral_format: ephemeral_format.to_owned(),
        is_ephemeral_preserved: layout.flag("preserve_ephemeral"),
        is_booted_locally: true,
    })
}

fn http_url<'a>(
    fields: &DocumentFields,
    name: &str,
    url: &'a str,
) -> Result<&'a str, InvalidOrderField> {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    let is_http = ["http", "https"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known));
    if is_http {
        return Ok(url);
    }
    Err(fields.must_be(name, "a URL with https:// or http://", scheme))
}
