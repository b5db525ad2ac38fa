//! Why an image is not on the disk, by the stage that failed.

use thiserror::Error;
use tokio::task::JoinError;

use super::checksum::ChecksumError;
use super::config_drive::ConfigDriveError;
use super::decode::DecodeError;
use super::decode::format::FormatError;
use super::decode::qcow2::Qcow2Error;
use super::partition_image::PartitionImageError;
use super::partition_table::ImageTableError;
use super::source::SourceError;
use crate::system::DiskError;
use crate::task::Cancelled;

/// Why an image is not on the disk.
#[derive(Debug, Error)]
pub enum ImageError {
    /// The command was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The command was cancelled and the disk does not answer.
    #[error("{0}. The disk does not answer: what the kernel has for it may still be written")]
    Silent(#[source] Cancelled),
    /// It does not come.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The server has another size than was asked for.
    #[error("image {id} has {found} bytes where it is, and {expected} were asked for")]
    Size {
        /// The image.
        id: String,
        /// What was asked for.
        expected: u64,
        /// What the server says.
        found: u64,
    },
    /// It is not verified.
    #[error(transparent)]
    Checksum(#[from] ChecksumError),
    /// It is not what it is declared to be.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Header or tables of a qcow2 image are refused before anything is written.
    #[error("Security: Image failed safety check: {0}")]
    Qcow2(#[source] Qcow2Error),
    /// The disk cannot be opened.
    #[error(transparent)]
    Open(DiskError),
    /// The disk does not take it.
    #[error("Writing image to device {device} failed: {source}")]
    Write {
        /// The disk.
        device: String,
        /// Why.
        source: DecodeError,
    },
    /// Its bytes are not what its format says.
    #[error("The image cannot be written to {device}: {source}")]
    Decode {
        /// The disk.
        device: String,
        /// Why.
        source: DecodeError,
    },
    /// No disk boots with its partition table.
    #[error(transparent)]
    Table(#[from] ImageTableError),
    /// The config drive is not on the disk.
    #[error(transparent)]
    ConfigDrive(#[from] ConfigDriveError),
    /// What is around a partition image is not on the disk.
    #[error(transparent)]
    Partition(#[from] PartitionImageError),
    /// A thread was lost.
    #[error("{work} failed: {source}")]
    Thread {
        /// What it did.
        work: String,
        /// Why.
        source: JoinError,
    },
    /// The thread that writes ended and left no error.
    #[error("the writer stopped without a reason")]
    NoReason,
    /// The bytes are at fault, and the server may have changed them.
    #[error(
        "{source} The server sent it with Content-Encoding: {coding}; if that is not how the file \
         itself is packed, have the server send the file as it is."
    )]
    Encoded {
        /// The content coding that the server named.
        coding: String,
        /// What is wrong with the bytes.
        source: Box<ImageError>,
    },
}

impl ImageError {
    /// The error of writing to `device`.
    pub(super) fn of_decoding(device: &str, error: impl Into<DecodeError>) -> Self {
        let (device, source) = (device.to_owned(), error.into());
        if source.is_about_bytes() {
            Self::Decode { device, source }
        } else {
            Self::Write { device, source }
        }
    }

    /// Whether the bytes that came are at fault, rather than the disk or the network: they are
    /// not those of the checksum, or not of the format, as an error page is not, or of a version
    /// whose rest is not to be had.
    pub(super) fn is_about_bytes(&self) -> bool {
        match self {
            Self::Size { .. }
            | Self::Format(_)
            | Self::Qcow2(_)
            | Self::Decode { .. }
            | Self::Encoded { .. } => true,
            Self::Checksum(error) => matches!(error, ChecksumError::Mismatch { .. }),
            Self::Source(error) => error.saw_another_version(),
            Self::Table(error) => matches!(error, ImageTableError::Beginning { .. }),
            Self::Partition(error) => matches!(
                error,
                PartitionImageError::BiosLoader | PartitionImageError::EfiLoader
            ),
            Self::Cancelled(_)
            | Self::Silent(_)
            | Self::Open(_)
            | Self::Write { .. }
            | Self::ConfigDrive(_)
            | Self::Thread { .. }
            | Self::NoReason => false,
        }
    }

    /// Whether a server has another version of the image than the one that was begun.
    pub(super) fn saw_another_version(&self) -> bool {
        match self {
            Self::Source(error) => error.saw_another_version(),
            Self::Encoded { source, .. } => source.saw_another_version(),
            _ => false,
        }
    }

    /// Names the content coding that the server claimed, where that may be the reason.
    pub(super) fn with_coding(self, coding: Option<&str>) -> Self {
        match coding {
            Some(coding) if self.is_about_bytes() => Self::Encoded {
                coding: coding.to_owned(),
                source: Box::new(self),
            },
            _ => self,
        }
    }
}
