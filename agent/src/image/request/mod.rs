//! Ironic's `image_info`: an open document in, a checked request out.
//!
//! The document is read here and nowhere else: what is wrong with it is found before anything is
//! started, in the order and with the words of the Python agent's validator.

use ironic_document::JsonObject;
use serde_json::Value;
use thiserror::Error;

use crate::system::fetch::Proxies;

mod credentials;
mod partition;

pub use credentials::{CredentialsError, ServerCredentials};
pub use partition::PartitionRequest;

use super::oci;

/// A checksum of this many hexadecimal digits or less can only be MD5.
const MD5_DIGITS: usize = 32;

/// Which image is to be written, where it comes from, and how it is verified.
#[derive(Debug, Clone, Default)]
pub struct ImageRequest {
    /// The image's id, for messages.
    pub id: String,
    /// Where it is, in the order of preference. Never empty.
    pub urls: Vec<String>,
    /// The declared format in lower case; `None` when absent, null or `unknown`.
    pub disk_format: Option<String>,
    /// How many bytes it has where it is; `None` does not check it.
    pub size: Option<u64>,
    /// What is needed around an image that is one partition's content; `None` for a whole disk.
    pub partition: Option<PartitionRequest>,
    /// What the image's checksum is claimed to be.
    pub checksums: Checksums,
    /// Whether MD5 may verify the image: option `md5_enabled` as it was when the request was read.
    pub md5_enabled: bool,
    /// The proxies to use.
    pub proxies: Proxies,
    /// The credentials for the image server that the node names.
    pub credentials: ServerCredentials,
    /// The older place of the config drive.
    pub configdrive: Option<String>,
    /// Whether the node is to boot by UEFI, by the older place of that.
    pub is_uefi: bool,
    /// The node, where nothing else tells it.
    pub node_uuid: Option<String>,
}

/// The checksum keys as they came; see `checksum` for how one is chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checksums {
    /// Name of a hash, in lower case.
    pub os_hash_algo: Option<String>,
    /// Hexadecimal digest, or the URL of a checksum file.
    pub os_hash_value: Option<String>,
    /// Hexadecimal digest, or the URL of a checksum file.
    pub checksum: Option<String>,
}

/// What is wrong with an `image_info`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidImageInfo {
    /// A field must be there.
    #[error("Image is missing '{0}' field.")]
    Missing(&'static str),
    /// There is no URL.
    #[error("Image 'urls' must be a list with at least one element.")]
    NoUrls,
    /// A URL is something else.
    #[error("Image 'urls' must hold text only.")]
    UrlsNotText,
    /// A field of the checksum is something else.
    #[error("Image '{0}' must be a non-empty string.")]
    NotText(&'static str),
    /// Nothing could verify the image.
    #[error(
        "Image checksum is not available, either the 'checksum' field or the \
         'os_hash_algo' and 'os_hash_value' fields pair must be set for image verification."
    )]
    NoChecksum,
    /// A partition image must say how large its partition is.
    #[error("Partition images need image_info.root_mb, the size of the root partition in MiB.")]
    NoRootSize,
    /// The size of a partition is something else.
    #[error("image_info.{field} must be a whole number of MiB, not {value}.")]
    Size {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: Value,
    },
    /// The ephemeral partition cannot have such a file system.
    #[error("image_info.ephemeral_format must be the name of a file system, not {0:?}.")]
    EphemeralFormat(String),
    /// Neither true nor false.
    #[error("image_info.preserve_ephemeral must be true or false, not {0}.")]
    PreserveEphemeral(Value),
}

impl ImageRequest {
    /// Reads Ironic's `image_info`. A checksum that can only be MD5 does not count unless
    /// `md5_enabled`.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn from_document(info: &JsonObject, md5_enabled: bool) -> Result<Self, InvalidImageInfo> {
        for field in ["id", "urls"] {
            if !info.contains_key(field) {
                return Err(InvalidImageInfo::Missing(field));
            }
        }
        let urls = match info.get("urls") {
            Some(Value::Array(urls)) if !urls.is_empty() => urls,
            _ => return Err(InvalidImageInfo::NoUrls),
        };
        check_checksums(info, urls, md5_enabled)?;
        let text = |key: &str| text(info, key);
        let urls = urls.iter().map(|url| url.as_str().map(str::to_owned));
        Ok(Self {
            id: match info.get("id") {
                Some(Value::String(id)) => id.clone(),
                other => other.map(ToString::to_string).unwrap_or_default(),
            },
            urls: urls
                .collect::<Option<Vec<_>>>()
                .ok_or(InvalidImageInfo::UrlsNotText)?,
            disk_format: text("disk_format")
                .map(|format| format.to_ascii_lowercase())
                .filter(|format| format != "unknown"),
            size: None,
            partition: match text("image_type").as_deref() {
                Some("partition") => Some(PartitionRequest::from_document(info)?),
                _ => None,
            },
            checksums: Checksums {
                os_hash_algo: text("os_hash_algo").map(|name| name.to_ascii_lowercase()),
                os_hash_value: text("os_hash_value"),
                checksum: text("checksum"),
            },
            md5_enabled,
            proxies: proxies(info),
            credentials: ServerCredentials::from_document(info),
            configdrive: text("configdrive"),
            is_uefi: text("deploy_boot_mode").as_deref() == Some("uefi"),
            node_uuid: info
                .get("node_uuid")
                .and_then(Value::as_str)
                .map(str::to_owned),
        })
    }
}

/// Refuses an image that nothing could verify.
fn check_checksums(
    info: &JsonObject,
    urls: &[Value],
    md5_enabled: bool,
) -> Result<(), InvalidImageInfo> {
    // The name of an image in a registry leads to its digest.
    let mut usable = urls.iter().filter_map(Value::as_str).any(oci::is_reference);
    if let Some(checksum) = info.get("checksum").filter(|value| !value.is_null()) {
        let checksum = non_empty(checksum, "checksum")?;
        usable |= is_url(checksum) || checksum.len() > MD5_DIGITS || md5_enabled;
    }
    let algorithm = info.get("os_hash_algo").unwrap_or(&Value::Null);
    let value = info.get("os_hash_value").unwrap_or(&Value::Null);
    if is_truthy(algorithm) || is_truthy(value) {
        non_empty(algorithm, "os_hash_algo")?;
        non_empty(value, "os_hash_value")?;
        usable = true;
    }
    if usable {
        Ok(())
    } else {
        Err(InvalidImageInfo::NoChecksum)
    }
}

/// Whether a value of this document is the address of something rather than the thing.
pub(super) fn is_url(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| {
        scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
    })
}

fn proxies(info: &JsonObject) -> Proxies {
    let proxy = |scheme: &str| {
        let url = info.get("proxies")?.get(scheme)?.as_str()?;
        Some(url.to_owned()).filter(|url| !url.is_empty())
    };
    Proxies {
        http: proxy("http"),
        https: proxy("https"),
        except: text(info, "no_proxy"),
    }
}

/// A text that is there and not empty.
fn text(info: &JsonObject, key: &str) -> Option<String> {
    let text = info.get(key)?.as_str()?;
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

fn non_empty<'a>(value: &'a Value, field: &'static str) -> Result<&'a str, InvalidImageInfo> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .ok_or(InvalidImageInfo::NotText(field))
}

/// Python's idea of truth, by which the pair counts as given.
fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

#[cfg(test)]
mod tests;
