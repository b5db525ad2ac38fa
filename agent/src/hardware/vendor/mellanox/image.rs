//! Step `update_nvidia_nic_firmware_image`.

use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use ironic_transport::tls::TlsSettings;
use md5::Md5;
use serde_json::Value;
use sha2::{Digest as _, Sha256, Sha512};

use super::card::{Card, parse_query};
use super::error::{FirmwareDownloadError, ImageProperty, InvalidField, NicFirmwareError};
use crate::hardware::{StepContext, StepError};
use crate::system::Cmd;
use crate::system::fetch::FetchRequest;

/// Firmware of network cards has some 30 MB.
const MAX_IMAGE_BYTES: usize = 512 * 1024 * 1024;

/// An image that an operator wants on all cards of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FirmwareImage {
    pub(super) url: String,
    pub(super) checksum: String,
    pub(super) algorithm: FirmwareDigest,
    pub(super) psid: String,
    pub(super) version: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FirmwareDigest {
    Md5,
    Sha256,
    Sha512,
}

/// `md5_enabled` is the operator's word on images, and firmware is one.
pub(super) fn parse(
    images: &Value,
    md5_enabled: bool,
) -> Result<Vec<FirmwareImage>, NicFirmwareError> {
    let Value::Array(items) = images else {
        let field = InvalidField::NotAList("images");
        return Err(NicFirmwareError::ImageConfig(field));
    };
    items
        .iter()
        .map(|item| parse_one(item, md5_enabled))
        .collect()
}

fn parse_one(item: &Value, md5_enabled: bool) -> Result<FirmwareImage, NicFirmwareError> {
    let text = |key: &str| match item.get(key) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        _ => Err(NicFirmwareError::ImageConfig(InvalidField::ImageText(
            key.to_owned(),
        ))),
    };
    let algorithm = match text("checksumType")?.to_ascii_lowercase().as_str() {
        "sha256" => FirmwareDigest::Sha256,
        "sha512" => FirmwareDigest::Sha512,
        "md5" if md5_enabled => FirmwareDigest::Md5,
        other => {
            let algorithm = other.to_owned();
            return Err(NicFirmwareError::ChecksumAlgorithm { algorithm });
        }
    };
    Ok(FirmwareImage {
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
    images: &[FirmwareImage],
) -> Result<(), StepError> {
    let mut wanted: Vec<(&FirmwareImage, PathBuf)> = Vec::new();
    let folder = ctx.config.state_dir.join("firmware");
    std::fs::create_dir_all(&folder)?;
    for image in images {
        if !cards.iter().any(|card| card.firmware.psid == image.psid) {
            tracing::info!(psid = %image.psid, "no such card: the image is left out");
            continue;
        }
        if wanted.iter().any(|(other, _)| other.psid == image.psid) {
            let psid = image.psid.clone();
            return Err(NicFirmwareError::DuplicateImage { psid }.into());
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
            .phase_ended(format!("{} has firmware {}", card.pci, image.version));
    }
    for (_, path) in wanted.iter().filter(|(_, path)| path.starts_with(&folder)) {
        // It is in memory; what is left goes with the machine.
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// The image as a file: the one that is named, or one that is fetched.
async fn obtain(
    ctx: StepContext<'_>,
    image: &FirmwareImage,
    path: &Path,
) -> Result<PathBuf, StepError> {
    if let Some(path) = image.url.strip_prefix("file://") {
        return Ok(PathBuf::from(path));
    }
    if !image.url.starts_with("http://") && !image.url.starts_with("https://") {
        let url = image.url.clone();
        return Err(NicFirmwareError::UrlScheme { url }.into());
    }
    let bytes = download(ctx, &image.url).await?;
    std::fs::write(path, bytes)?;
    Ok(path.to_owned())
}

async fn download(ctx: StepContext<'_>, url: &str) -> Result<Vec<u8>, StepError> {
    let failed = |error| StepError::from(NicFirmwareError::Download(error));
    let config = ctx.config;
    let request = FetchRequest {
        url: url.to_owned(),
        tls: TlsSettings {
            insecure: config.common.insecure,
            ca_file: config.common.cafile.clone(),
            ..TlsSettings::default()
        },
        timeout: config.image_download_connection_timeout,
        ..FetchRequest::default()
    };
    let response = ctx.system.fetch.open(request).await;
    let mut response = response.map_err(|error| failed(error.into()))?;
    if response.status != 200 {
        return Err(failed(FirmwareDownloadError::Status {
            url: url.to_owned(),
            status: response.status,
        }));
    }
    let mut bytes = Vec::new();
    while let Some(piece) = response.body.next().await {
        ctx.task.check()?;
        bytes.extend_from_slice(&piece.map_err(|error| failed(error.into()))?);
        if bytes.len() > MAX_IMAGE_BYTES {
            return Err(failed(FirmwareDownloadError::TooLarge {
                url: url.to_owned(),
                largest: MAX_IMAGE_BYTES,
            }));
        }
    }
    Ok(bytes)
}

/// Whether a file is what the operator means: for these cards, of this version, unaltered.
async fn check(ctx: StepContext<'_>, image: &FirmwareImage, path: &Path) -> Result<(), StepError> {
    let shown = path.display().to_string();
    let query = Cmd::new("mstflint").args(["-i", &shown, "query"]);
    let firmware = parse_query(&ctx.system.run.run(query).await?.text());
    let compare = |property, wanted: &str, found: &str| {
        if wanted == found {
            return Ok(());
        }
        Err(NicFirmwareError::Mismatch {
            url: image.url.clone(),
            property,
            wanted: wanted.to_owned(),
            found: found.to_owned(),
        })
    };
    compare(ImageProperty::Psid, &image.psid, &firmware.psid)?;
    compare(ImageProperty::Version, &image.version, &firmware.version)?;
    let bytes = std::fs::read(path)?;
    let found = match image.algorithm {
        FirmwareDigest::Md5 => hex::encode(Md5::digest(&bytes)),
        FirmwareDigest::Sha256 => hex::encode(Sha256::digest(&bytes)),
        FirmwareDigest::Sha512 => hex::encode(Sha512::digest(&bytes)),
    };
    compare(ImageProperty::Checksum, &image.checksum, &found)?;
    Ok(())
}
