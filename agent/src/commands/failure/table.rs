//! The one table from the errors of the modules to the classes that Ironic sees. One section per
//! module; every match is exhaustive, so a new error must say what Ironic sees of it.

use std::error::Error;

use ironic_text::error_chain;

use crate::commands::document_fields::InvalidOrderField;
use crate::disk::boot::{BootError, KexecError};
use crate::disk::erase::guard::GuardError;
use crate::disk::erase::metadata::MetadataError;
use crate::disk::erase::{EraseError, InvalidOverrides};
use crate::disk::inject::InjectError;
use crate::disk::raid::RaidError;
use crate::failure::{Failure, FailureKind};
use crate::image::bootc::BootcError;
use crate::image::{
    ChecksumError, ConfigDriveError, ImageError, ImageTableError, InvalidImageInfo,
    PartitionImageError, SourceError,
};
use crate::machine::block::hints::NoRootDevice;
use crate::system::time_server::TimeServerError;
use crate::system::{DiskError, RunError};
use crate::task::Cancelled;

/// A failure of this class that says what the error and its causes say.
fn failure(kind: FailureKind, error: &dyn Error) -> Failure {
    Failure::new(kind, error_chain(error))
}

/// The same, with what the program itself said that caused it.
fn program_failure(kind: FailureKind, error: &dyn Error, program: &RunError) -> Failure {
    with_program(failure(kind, error), program)
}

/// The failure, with what the program itself said.
pub(super) fn with_program(mut failure: Failure, error: &RunError) -> Failure {
    match error {
        RunError::Failed {
            program,
            status,
            stderr,
            ..
        } => {
            failure.program = Some(program.clone());
            failure.exit_status = Some(*status);
            failure.stderr_tail.clone_from(stderr);
        }
        RunError::Missing { program } => failure.program = Some(program.clone()),
        RunError::Broken { .. } | RunError::TimedOut { .. } => {}
    }
    failure
}

// The commands themselves.

impl From<Cancelled> for Failure {
    fn from(error: Cancelled) -> Self {
        failure(FailureKind::CommandExecution, &error)
    }
}

impl From<TimeServerError> for Failure {
    fn from(error: TimeServerError) -> Self {
        failure(FailureKind::CommandExecution, &error)
    }
}

impl From<InvalidOrderField> for Failure {
    fn from(error: InvalidOrderField) -> Self {
        failure(FailureKind::InvalidCommandParams, &error)
    }
}

// Machine.

impl From<NoRootDevice> for Failure {
    fn from(error: NoRootDevice) -> Self {
        failure(FailureKind::DeviceNotFound, &error)
    }
}

// Disk.

impl From<GuardError> for Failure {
    fn from(error: GuardError) -> Self {
        match &error {
            GuardError::SharedFileSystem { .. } | GuardError::TooManyPartitions { .. } => {
                failure(FailureKind::ProtectedDevice, &error)
            }
            GuardError::SkipList(_)
            | GuardError::Unreadable { .. }
            | GuardError::Gone(_)
            | GuardError::Locked { .. }
            | GuardError::ReadOnly(_)
            | GuardError::InUse(_)
            | GuardError::UnknownUse { .. }
            | GuardError::SplitArray { .. } => failure(FailureKind::BlockDeviceErase, &error),
            GuardError::ArrayNotStopped { source, .. } => {
                program_failure(FailureKind::BlockDeviceErase, &error, source)
            }
            GuardError::Thread(_) => failure(FailureKind::CommandExecution, &error),
        }
    }
}

impl From<MetadataError> for Failure {
    fn from(error: MetadataError) -> Self {
        match &error {
            MetadataError::Cancelled(_) => failure(FailureKind::CommandExecution, &error),
            MetadataError::Program { source, .. } => {
                program_failure(FailureKind::BlockDeviceErase, &error, source)
            }
            MetadataError::Disk { .. } | MetadataError::Thread { .. } => {
                failure(FailureKind::BlockDeviceErase, &error)
            }
        }
    }
}

impl From<InvalidOverrides> for Failure {
    fn from(error: InvalidOverrides) -> Self {
        failure(FailureKind::BlockDeviceErase, &error)
    }
}

impl From<EraseError> for Failure {
    fn from(error: EraseError) -> Self {
        failure(FailureKind::BlockDeviceErase, &error)
    }
}

impl From<InjectError> for Failure {
    fn from(error: InjectError) -> Self {
        match &error {
            InjectError::File { .. } => failure(FailureKind::CommandExecution, &error),
            InjectError::NoFileSystem { .. } => failure(FailureKind::DeviceNotFound, &error),
        }
    }
}

impl From<RaidError> for Failure {
    fn from(error: RaidError) -> Self {
        let software_raid = |failure: Self| Self {
            details: format!("Software RAID caused unknown error: {}", failure.details),
            ..failure
        };
        const KIND: FailureKind = FailureKind::SoftwareRaid;
        match error {
            RaidError::Cancelled(cancelled) => cancelled.into(),
            RaidError::Guard(guard) => guard.into(),
            RaidError::Program { ref source, .. } => {
                software_raid(program_failure(KIND, &error, source))
            }
            RaidError::Config { .. }
            | RaidError::SkipList(_)
            | RaidError::IdleVolume { .. }
            | RaidError::NoVolumeName { .. }
            | RaidError::UnwantedArray { .. }
            | RaidError::Layout(_)
            | RaidError::Partitioned(_)
            | RaidError::LeftAlone { .. }
            | RaidError::RootVolume(_)
            | RaidError::Partitions { .. }
            | RaidError::NoDevice { .. }
            | RaidError::Remaining(_)
            | RaidError::Thread(_) => software_raid(failure(KIND, &error)),
        }
    }
}

impl From<BootError> for Failure {
    fn from(error: BootError) -> Self {
        let kind = match &error {
            BootError::Cancelled(_)
            | BootError::Firmware { .. }
            | BootError::Grub { .. }
            | BootError::EfiFiles { .. }
            | BootError::FallbackLoader { .. }
            | BootError::Partitions { .. } => FailureKind::CommandExecution,
            BootError::NoEfiSystemPartition { .. }
            | BootError::NoPartition { .. }
            | BootError::AmbiguousPartition { .. } => FailureKind::DeviceNotFound,
            BootError::Array(_) => FailureKind::SoftwareRaid,
        };
        failure(kind, &error)
    }
}

impl From<KexecError> for Failure {
    fn from(error: KexecError) -> Self {
        match &error {
            KexecError::Cancelled(_) | KexecError::Thread(_) => {
                failure(FailureKind::CommandExecution, &error)
            }
            KexecError::Load { source, .. } => {
                program_failure(FailureKind::SystemReboot, &error, source)
            }
            KexecError::NoKernel { .. } => failure(FailureKind::DeviceNotFound, &error),
            KexecError::Disabled
            | KexecError::SeveralInitrds { .. }
            | KexecError::File { .. }
            | KexecError::Unmount { .. } => failure(FailureKind::SystemReboot, &error),
        }
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        use FailureKind::{CommandExecution, DeviceNotFound, ImageWrite, InvalidImage};
        let text = error.to_string();
        match error {
            ImageError::Cancelled(cancelled) => cancelled.into(),
            ImageError::Source(error) => error.into(),
            ImageError::Size { .. } => Self::new(FailureKind::ImageChecksum, text),
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
                let details = format!("Writing image to device {device} failed: {source}");
                return with_program(Self::new(FailureKind::ImageWrite, details), &source);
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
