//! Step `update_nvidia_nic_firmware_image`.

use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use ironic_transport::tls::TlsSettings;
use md5::Md5;
use serde_json::Value;
use sha2::{Digest as _, Sha256, Sha512};

use super::card::{Card, parse_query};
use super::error;
use crate::hardware::{StepContext, StepError};
use crate::system::Cmd;
use crate::system::fetch::Request;

/// Firmware of network cards has some 30 MB.
const LARGEST: usize = 512 * 1024 * 1024;

const CONFIG: &str = "InvalidFirmwareImageConfig";

/// An image that an operator wants on all cards of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) url: String,
    pub(super) checksum: String,
    pub(super) algorithm: Algorithm,
    pub(super) psid: String,
    pub(super) version: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Md5,
    Sha256,
    Sha512,
}

/// `md5_enabled` is the operator's word on images, and firmware is one.
pub(super) fn parse(images: &Value, md5_enabled: bool) -> Result<Vec<Image>, StepError> {
    let Value::Array(items) = images else {
        return Err(error(CONFIG, "'images' must be a list"));
    };
    items
        .iter()
        .map(|item| parse_one(item, md5_enabled))
        .collect()
}

fn parse_one(item: &Value, md5_enabled: bool) -> Result<Image, StepError> {
    let text = |key: &str| match item.get(key) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        _ => Err(error(CONFIG, format!("each image needs the text '{key}'"))),
    };
    let algorithm = match text("checksumType")?.to_ascii_lowercase().as_str() {
        "sha256" => Algorithm::Sha256,
        "sha512" => Algorithm::Sha512,
        "md5" if md5_enabled => Algorithm::Md5,
        other => {
            let hint = if other == "md5" {
                " (md5_enabled allows it)"
            } else {
                ""
            };
            return Err(error(
                "InvalidChecksumAlgorithm",
                format!("checksumType must be sha256 or sha512, not {other}{hint}"),
            ));
        }
    };
    Ok(Image {
        url: text("url")?,
        checksum: text("checksum")?.to_ascii_lowercase(),
        algorithm,
        psid: text("componentFlavor")?,
        version: text("version")?,
    })
}

/// Flashes the cards that do not have the version yet. Every image is fetched and checked
/// before the first card is touched.
pub(super) async fn apply(
    ctx: StepContext<'_>,
    cards: &[Card],
    images: &[Image],
) -> Result<(), StepError> {
    let mut wanted: Vec<(&Image, PathBuf)> = Vec::new();
    let folder = ctx.config.state_dir.join("firmware");
    std::fs::create_dir_all(&folder)?;
    for image in images {
        if !cards.iter().any(|card| card.firmware.psid == image.psid) {
            tracing::info!(psid = %image.psid, "no such card: the image is left out");
            continue;
        }
        if wanted.iter().any(|(other, _)| other.psid == image.psid) {
            let text = format!("two images for cards with PSID {}", image.psid);
            return Err(error("DuplicateComponentFlavor", text));
        }
        let number = wanted.len();
        let path = obtain(ctx, image, &folder.join(format!("image-{number}.bin"))).await?;
        check(ctx, image, &path).await?;
        wanted.push((image, path));
    }
    let mut flashed: Vec<&str> = Vec::new();
    for card in cards {
        let image = wanted
            .iter()
            .find(|(image, _)| image.psid == card.firmware.psid);
        let Some((image, path)) = image else {
            continue;
        };
        if flashed.contains(&card.slot()) {
            continue;
        }
        flashed.push(card.slot());
        if card.firmware.version == image.version {
            tracing::info!(card = %card.pci, version = %image.version, "it has this firmware");
            continue;
        }
        if card.firmware.running.is_some() {
            // An earlier image waits in flash; it cannot be replaced before it runs.
            card.reset(ctx.system).await?;
        }
        card.burn(ctx.system, &path.display().to_string()).await?;
        ctx.task
            .phase(format!("{} has firmware {}", card.pci, image.version));
    }
    for (_, path) in wanted.iter().filter(|(_, path)| path.starts_with(&folder)) {
        // It is in memory; what is left goes with the machine.
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// The image as a file: the one that is named, or one that is fetched.
async fn obtain(ctx: StepContext<'_>, image: &Image, place: &Path) -> Result<PathBuf, StepError> {
    if let Some(path) = image.url.strip_prefix("file://") {
        return Ok(PathBuf::from(path));
    }
    if !image.url.starts_with("http://") && !image.url.starts_with("https://") {
        return Err(error(
            "InvalidURLScheme",
            format!(
                "{} does not begin with file://, http:// or https://",
                image.url
            ),
        ));
    }
    let download = |text: String| error("FirmwareDownloadError", text);
    let config = ctx.config;
    let request = Request {
        url: image.url.clone(),
        tls: TlsSettings {
            insecure: config.common.insecure,
            ca_file: config.common.cafile.clone(),
            ..TlsSettings::default()
        },
        patience: config.image_download_connection_timeout,
        ..Request::default()
    };
    let response = ctx.system.fetch.open(request).await;
    let mut response = response.map_err(|failed| download(failed.to_string()))?;
    if response.status != 200 {
        let status = response.status;
        return Err(download(format!("{} answers {status}", image.url)));
    }
    let mut bytes = Vec::new();
    while let Some(piece) = response.body.next().await {
        ctx.task.check()?;
        bytes.extend_from_slice(&piece.map_err(|failed| download(failed.to_string()))?);
        if bytes.len() > LARGEST {
            return Err(download(format!(
                "{} is larger than {LARGEST} bytes",
                image.url
            )));
        }
    }
    std::fs::write(place, bytes)?;
    Ok(place.to_owned())
}

/// Whether a file is what the operator means: for these cards, of this version, unaltered.
async fn check(ctx: StepContext<'_>, image: &Image, path: &Path) -> Result<(), StepError> {
    let shown = path.display().to_string();
    let query = Cmd::new("mstflint").args(["-i", &shown, "query"]);
    let told = parse_query(&ctx.system.run.run(query).await?.text());
    let differs = |class, what: &str, wanted: &str, found: &str| {
        let text = format!("{}: {what} is {found}, not {wanted}", image.url);
        error(class, text)
    };
    if told.psid != image.psid {
        return Err(differs(
            "MismatchComponentFlavor",
            "the PSID",
            &image.psid,
            &told.psid,
        ));
    }
    if told.version != image.version {
        let (wanted, found) = (&image.version, &told.version);
        return Err(differs("MismatchFWVersion", "the version", wanted, found));
    }
    let bytes = std::fs::read(path)?;
    let found = match image.algorithm {
        Algorithm::Md5 => hex::encode(Md5::digest(&bytes)),
        Algorithm::Sha256 => hex::encode(Sha256::digest(&bytes)),
        Algorithm::Sha512 => hex::encode(Sha512::digest(&bytes)),
    };
    if found != image.checksum {
        let wanted = &image.checksum;
        return Err(differs(
            "MismatchChecksumError",
            "the checksum",
            wanted,
            &found,
        ));
    }
    Ok(())
}
