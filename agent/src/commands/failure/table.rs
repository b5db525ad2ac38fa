//! The one table from the errors of the rooms to the classes that Ironic sees. One section per
//! room; every match is exhaustive, so a new error must say what Ironic sees of it.

use crate::failure::{Failure, FailureKind};
use crate::image::bootc::BootcError;
use crate::image::{
    ChecksumError, ConfigDriveError, ImageError, ImageTableError, InvalidImageInfo,
    PartitionImageError, SourceError,
};
use crate::system::{DiskError, RunError};
use crate::task::Cancelled;

impl From<Cancelled> for Failure {
    fn from(cancelled: Cancelled) -> Self {
        Self::execution(cancelled.to_string())
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        use FailureKind::{CommandExecution, DeviceNotFound, ImageWrite, InvalidImage};
        let text = error.to_string();
        match error {
            ImageError::Cancelled(cancelled) => cancelled.into(),
            ImageError::Source(error) => error.into(),
            ImageError::Checksum(error) => error.into(),
            ImageError::Table(error) => error.into(),
            ImageError::ConfigDrive(error) => error.into(),
            ImageError::Partition(error) => error.into(),
            ImageError::Format(_) | ImageError::Qcow2(_) | ImageError::Decode { .. } => {
                Self::new(InvalidImage, text)
            }
            ImageError::Open(DiskError::NotADisk { .. }) => Self::new(DeviceNotFound, text),
            ImageError::Open(_) | ImageError::Write { .. } => Self::new(ImageWrite, text),
            ImageError::Silent(_) | ImageError::Thread { .. } | ImageError::NoReason => {
                Self::new(CommandExecution, text)
            }
            ImageError::Encoded { source, .. } => Self {
                details: text,
                ..Self::from(*source)
            },
        }
    }
}

impl From<InvalidImageInfo> for Failure {
    fn from(error: InvalidImageInfo) -> Self {
        Self::new(FailureKind::InvalidCommandParams, error.to_string())
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let kind = match error {
            SourceError::Cancelled(cancelled) => return cancelled.into(),
            SourceError::TimedOut { .. } => FailureKind::ImageDownloadTimeout,
            SourceError::GivenUp { .. }
            | SourceError::TooLarge { .. }
            | SourceError::Credentials { .. }
            | SourceError::Registry { .. } => FailureKind::ImageDownload,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<ChecksumError> for Failure {
    fn from(error: ChecksumError) -> Self {
        let kind = match error {
            ChecksumError::Source(error) => return error.into(),
            ChecksumError::File { .. } => FailureKind::ImageDownload,
            ChecksumError::Listed(_)
            | ChecksumError::Unsupported { .. }
            | ChecksumError::Unidentified { .. } => FailureKind::Rest,
            ChecksumError::Digest(_)
            | ChecksumError::UnknownHash(_)
            | ChecksumError::Contradiction { .. }
            | ChecksumError::Mismatch { .. } => FailureKind::ImageChecksum,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<ImageTableError> for Failure {
    fn from(error: ImageTableError) -> Self {
        match error {
            ImageTableError::ConfigDrive(error) => error.into(),
            ImageTableError::Written { .. }
            | ImageTableError::NoPartitions { .. }
            | ImageTableError::Beginning { .. } => {
                Self::new(FailureKind::Deployment, error.to_string())
            }
        }
    }
}

impl From<ConfigDriveError> for Failure {
    fn from(error: ConfigDriveError) -> Self {
        match error {
            ConfigDriveError::Cancelled(cancelled) => cancelled.into(),
            ConfigDriveError::NotBase64 { .. }
            | ConfigDriveError::Download { .. }
            | ConfigDriveError::Unpack { .. }
            | ConfigDriveError::TooLarge { .. }
            | ConfigDriveError::Size { .. }
            | ConfigDriveError::Logical { .. }
            | ConfigDriveError::Labels { .. }
            | ConfigDriveError::TwoPartitions { .. }
            | ConfigDriveError::TableFull { .. }
            | ConfigDriveError::Place { .. } => {
                Self::new(FailureKind::Deployment, error.to_string())
            }
        }
    }
}

impl From<PartitionImageError> for Failure {
    fn from(error: PartitionImageError) -> Self {
        let kind = match error {
            PartitionImageError::Cancelled(cancelled) => return cancelled.into(),
            PartitionImageError::ConfigDrive(error) => return error.into(),
            PartitionImageError::Clear(failure) => {
                return Self {
                    kind: FailureKind::ImageWrite,
                    ..failure
                };
            }
            PartitionImageError::Mkfs { device, source } => {
                let what = format!("Writing image to device {device} failed");
                return source.failure(FailureKind::ImageWrite, what);
            }
            PartitionImageError::BiosLoader | PartitionImageError::EfiLoader => {
                FailureKind::InvalidImage
            }
            PartitionImageError::TooLarge { .. } => FailureKind::InvalidCommandParams,
            PartitionImageError::FileSystem { .. } => FailureKind::FileSystemNotSupported,
            PartitionImageError::Partitioning { .. } | PartitionImageError::Missing { .. } => {
                FailureKind::Deployment
            }
            PartitionImageError::Thread { .. } => FailureKind::CommandExecution,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<BootcError> for Failure {
    fn from(error: BootcError) -> Self {
        let text = error.to_string();
        let kind = match error {
            BootcError::Cancelled(cancelled) => return cancelled.into(),
            BootcError::ConfigDrive(error) => return error.into(),
            BootcError::Table(error) => return error.into(),
            BootcError::Install { source, .. } => {
                let mut failure = Self::new(FailureKind::ImageWrite, text);
                if let RunError::Failed {
                    program, status, ..
                } = source
                {
                    failure.program = Some(program);
                    failure.exit_status = Some(status);
                }
                return failure;
            }
            BootcError::Disabled
            | BootcError::InstanceInfo { .. }
            | BootcError::Settings(_)
            | BootcError::Keys(_)
            | BootcError::Thread(_) => FailureKind::CommandExecution,
            BootcError::ImageSource(_) => FailureKind::InvalidImage,
            BootcError::TooSmall { .. } => FailureKind::DeviceNotFound,
            BootcError::Pull(_) | BootcError::NoBootc => FailureKind::ImageDownload,
            BootcError::Disk { .. } => FailureKind::ImageWrite,
        };
        Self::new(kind, text)
    }
}
