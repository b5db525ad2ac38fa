//! What Ironic asks for around a partition image.

use ironic_document::JsonObject;
use serde_json::Value;

use super::{InvalidImageInfo, text};
use crate::machine::ironic_node::as_flag;

/// What Ironic means when it does not say.
const EPHEMERAL_FORMAT: &str = "ext4";
/// The longest name of a file system, in bytes.
const MAX_FORMAT_BYTES: usize = 16;

/// The partitions around an image that is the content of one. Sizes are in MiB, and 0 stands for
/// no partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRequest {
    /// The partition that gets the image. Never 0.
    pub root_mib: u64,
    /// Scratch space.
    pub ephemeral_mib: u64,
    /// Swap space.
    pub swap_mib: u64,
    /// The file system of the ephemeral partition: lower-case letters and digits.
    pub ephemeral_format: String,
    /// Whether the ephemeral partition keeps its content.
    pub is_ephemeral_preserved: bool,
    /// Whether the machine boots from this disk, rather than from the network.
    pub is_booted_locally: bool,
}

impl PartitionRequest {
    pub(super) fn from_document(info: &JsonObject) -> Result<Self, InvalidImageInfo> {
        let root_mib = size(info, "root_mb")?;
        if root_mib == 0 {
            return Err(InvalidImageInfo::NoRootSize);
        }
        let ephemeral_format =
            text(info, "ephemeral_format").unwrap_or_else(|| EPHEMERAL_FORMAT.to_owned());
        // It becomes part of a program's name.
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if ephemeral_format.len() > MAX_FORMAT_BYTES || !ephemeral_format.bytes().all(is_name) {
            return Err(InvalidImageInfo::EphemeralFormat(ephemeral_format));
        }
        let is_ephemeral_preserved = match info.get("preserve_ephemeral") {
            None | Some(Value::Null) => false,
            Some(value) => {
                as_flag(value).ok_or_else(|| InvalidImageInfo::PreserveEphemeral(value.clone()))?
            }
        };
        Ok(Self {
            root_mib,
            ephemeral_mib: size(info, "ephemeral_mb")?,
            swap_mib: size(info, "swap_mb")?,
            ephemeral_format,
            is_ephemeral_preserved,
            is_booted_locally: text(info, "boot_option").as_deref() == Some("local"),
        })
    }
}

/// The size of a partition in MiB; an absent one is 0.
fn size(info: &JsonObject, field: &'static str) -> Result<u64, InvalidImageInfo> {
    match info.get(field) {
        None | Some(Value::Null) => Ok(0),
        Some(value) => {
            let text = value.as_str().map(str::trim);
            let number = value
                .as_u64()
                .or_else(|| text.and_then(|text| text.parse().ok()));
            number.ok_or_else(|| InvalidImageInfo::Size {
                field,
                value: value.clone(),
            })
        }
    }
}
