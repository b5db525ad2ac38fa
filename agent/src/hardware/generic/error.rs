//! Why the steps of this manager failed that erase devices or boot entries.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::clean_uefi_nvram::pattern::InvalidPattern;
use crate::disk::erase::EraseFailure;
use crate::failure::Failure;

/// Devices that were not erased. The others were.
#[derive(Debug, Error)]
pub enum EraseDevicesError {
    /// By `erase_devices`.
    #[error("Failed to erase the device(s): {}", list(.0, "; "))]
    Data(Vec<UnerasedDevice>),
    /// By `erase_devices_metadata`.
    #[error("Failed to erase the metadata on the device(s): {}", list(.0, "; "))]
    Metadata(Vec<UnerasedDevice>),
    /// By `erase_devices_express`.
    #[error("Failed to conduct an express erase on the device(s): {}", list(.0, "\n"))]
    Express(Vec<UnerasedDevice>),
}

fn list(devices: &[UnerasedDevice], separator: &str) -> String {
    let lines: Vec<_> = devices.iter().map(UnerasedDevice::to_string).collect();
    lines.join(separator)
}

/// A device that was not erased.
#[derive(Debug)]
pub struct UnerasedDevice {
    /// The device's path.
    pub device: String,
    /// What was tried, and why each of it failed.
    pub attempts: Vec<EraseAttemptError>,
}

impl fmt::Display for UnerasedDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attempts: Vec<_> = self
            .attempts
            .iter()
            .map(EraseAttemptError::to_string)
            .collect();
        write!(f, "\"{}\": {}", self.device, attempts.join("; then "))
    }
}

/// Why one way to erase a device failed.
#[derive(Debug, Error)]
pub enum EraseAttemptError {
    /// A vendor's manager knows the disk and failed.
    #[error(transparent)]
    Vendor(#[from] VendorEraseError),
    /// The drive's own commands, or overwriting it.
    #[error("{}", .0.error)]
    Disk(EraseFailure),
    /// Removing what says what is on it.
    #[error("{}", .0.details)]
    Metadata(#[from] Failure),
}

/// Why a vendor's manager did not erase a disk that it knows.
#[derive(Debug, Clone, Error)]
#[error("{manager}: {source}")]
pub struct VendorEraseError {
    /// The manager's class name.
    pub manager: String,
    /// Why not.
    pub source: Arc<dyn Error + Send + Sync>,
}

/// Why the patterns of `clean_uefi_nvram` cannot be used.
#[derive(Debug, Error)]
pub enum InvalidMatchPatterns {
    /// They are not a list, or one of them is not a text.
    #[error("The match_patterns must be a list of strings: {0}")]
    NotStrings(serde_json::Value),
    /// One of them is not a regular expression of Python's.
    #[error("The match_patterns must be a list of strings: {0}")]
    Pattern(#[from] InvalidPattern),
}
