//! The config drive: from Ironic's text or URL to a partition of the disk.
//!
//! Its file system is written as it came, unless the disk's sectors are too large for it or
//! the operator wants it so: then its files move to a FAT file system that is made here.
//! Nothing is mounted for that, see [`Tree::of_iso`] and [`fat`].

use std::io::Read;

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::decode::GzipReader;
use super::request::is_url;
use super::source::{self, Download, SourceError};
use crate::disk::filesystem::copy_tree::Tree;
use crate::disk::filesystem::{fat, identity};

mod error;
mod place;

pub use error::ConfigDriveError;
pub(super) use error::PutError;
use error::{PlaceError, UnpackError};

/// The largest config drive behind a whole-disk image, and the size of the partition that is
/// made for one.
const MAX_DRIVE_BYTES: u64 = 64 << 20;
/// The largest beside a partition image, whose partition is made to its measure. Ironic has no
/// limit there; this one keeps a few bytes from unpacking to a full disk.
const MAX_FITTED_DRIVE_BYTES: u64 = 512 << 20;
/// The largest answer to a URL: base64 of something that does not compress.
const MAX_RESPONSE_BYTES: usize = 96 << 20;
/// What file systems of config drives are called, in any case.
const LABEL: &str = "config-2";
/// What it is called when it is made here.
const FAT_LABEL: &str = "CONFIG-2";
/// How much is looked at to tell what it is.
const HEAD: u64 = 40 << 10;
/// What gzip data begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A config drive that was unpacked once to see that it can be.
#[derive(Debug)]
pub(super) struct ConfigDrive {
    bytes: Vec<u8>,
    is_packed: bool,
    /// Unpacked size in bytes.
    size: u64,
    node: String,
    /// Whether the operator wants FAT whatever came.
    is_fat_wanted: bool,
}

/// What a config drive is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConfigDrivePurpose {
    /// Whether it gets a partition of just its size, beside a partition image.
    pub(super) is_to_measure: bool,
    /// Whether the operator wants FAT whatever came.
    pub(super) is_fat_wanted: bool,
}

impl ConfigDrivePurpose {
    fn largest(self) -> u64 {
        if self.is_to_measure {
            MAX_FITTED_DRIVE_BYTES
        } else {
            MAX_DRIVE_BYTES
        }
    }
}

impl ConfigDrive {
    /// Takes what Ironic sent: a URL, base64 of gzip, or base64 of a file system.
    pub(super) async fn load(
        value: &str,
        node: &str,
        download: Download<'_>,
        purpose: ConfigDrivePurpose,
    ) -> Result<Self, ConfigDriveError> {
        let new = |bytes, is_trusted| Self::new(bytes, node, is_trusted, purpose);
        if !is_url(value) {
            let node = node.to_owned();
            let bytes = decode_base64(value.as_bytes());
            return new(bytes.ok_or(ConfigDriveError::NotBase64 { node })?, false);
        }
        let unavailable = |error: SourceError| match error {
            SourceError::Cancelled(cancelled) => cancelled.into(),
            source => ConfigDriveError::Download {
                node: node.to_owned(),
                url: source::shown(value),
                source,
            },
        };
        let opened = download.open("configdrive", &[value.to_owned()]).await;
        let source = opened.map_err(unavailable)?;
        let bytes = source
            .bytes(MAX_RESPONSE_BYTES)
            .await
            .map_err(unavailable)?;
        match decode_base64(&bytes) {
            Some(decoded) => new(decoded, false),
            // A server may as well have the file system itself.
            None => new(bytes, true),
        }
    }

    fn new(
        bytes: Vec<u8>,
        node: &str,
        is_trusted: bool,
        purpose: ConfigDrivePurpose,
    ) -> Result<Self, ConfigDriveError> {
        let largest = purpose.largest();
        let is_packed = bytes.starts_with(&GZIP);
        let unpack_failed = |source: UnpackError| ConfigDriveError::Unpack {
            node: node.to_owned(),
            source,
        };
        let mut drive = Self {
            bytes,
            is_packed,
            size: 0,
            node: node.to_owned(),
            is_fat_wanted: purpose.is_fat_wanted,
        };
        if !is_packed && !is_trusted && !identity::is_config_drive(&drive.bytes) {
            return Err(unpack_failed(UnpackError::Unknown));
        }
        // One byte more than allowed, to see that there is more.
        let mut unpacked = drive.unpacked().take(largest + 1);
        let counted = std::io::copy(&mut unpacked, &mut std::io::sink());
        drop(unpacked);
        drive.size = counted.map_err(|error| unpack_failed(error.into()))?;
        if drive.size > largest {
            let node = node.to_owned();
            return Err(ConfigDriveError::TooLarge { node, largest });
        }
        Ok(drive)
    }

    fn unpacked(&self) -> Box<dyn Read + '_> {
        if self.is_packed {
            Box::new(GzipReader::new(&self.bytes))
        } else {
            Box::new(self.bytes.as_slice())
        }
    }

    /// How many bytes a partition for it must have on a disk with such sectors.
    ///
    /// # Errors
    /// It cannot be read from such a disk, nor be made into something that can.
    pub(super) fn size_on(&self, sector_size: u32) -> Result<u64, ConfigDriveError> {
        let size = match self.is_rebuilt(sector_size) {
            Ok(false) => Ok(self.size.max(1)),
            Ok(true) => self.with_files(|tree| Ok(fat::size_for(tree))),
            Err(error) => Err(error),
        };
        size.map_err(|source| ConfigDriveError::Size {
            node: self.node.clone(),
            source,
        })
    }

    /// Whether its files must move to another file system.
    fn is_rebuilt(&self, sector_size: u32) -> Result<bool, PutError> {
        let mut head = Vec::new();
        self.unpacked().take(HEAD).read_to_end(&mut head)?;
        Ok(self.is_fat_wanted || !place::is_readable(&head, sector_size)?)
    }

    /// Does something with its files.
    fn with_files<T>(
        &self,
        work: impl FnOnce(&Tree<'_>) -> Result<T, PutError>,
    ) -> Result<T, PutError> {
        // It is in memory for that, and the ramdisk is, too.
        if self.size > MAX_DRIVE_BYTES {
            return Err(PutError::TooLarge { size: self.size });
        }
        let mut bytes = Vec::new();
        self.unpacked().read_to_end(&mut bytes)?;
        if identity::is_iso(&bytes) {
            work(&Tree::of_iso(&bytes)?)
        } else if identity::is_fat(&bytes) {
            work(&fat::read(&bytes)?)
        } else {
            Err(PutError::Unknown)
        }
    }
}

/// Base64 with or without line breaks and padding; `None` if it is something else.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
    let compact: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    GeneralPurpose::new(&ALPHABET, LENIENT).decode(compact).ok()
}

#[cfg(test)]
mod tests;
