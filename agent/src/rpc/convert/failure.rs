//! Failures as they go out.

use ironic_agent_protocol::v1;

use crate::failure::{Failure, FailureKind};

/// A failure, its class both by Ironic's name and as a value of the closed set.
pub(super) fn failure(failure: &Failure) -> v1::Failure {
    v1::Failure {
        kind: failure.kind.name().to_owned(),
        code: failure.kind.code(),
        message: failure.message().to_owned(),
        details: failure.details.clone(),
        program: failure.program.clone().unwrap_or_default(),
        exit_status: failure.exit_status,
        stderr_tail: failure.stderr_tail.clone(),
        failure_kind: failure_kind(failure.kind).into(),
    }
}

/// The class of a failure as a value of the closed set.
#[must_use]
pub fn failure_kind(kind: FailureKind) -> v1::FailureKind {
    use v1::FailureKind as K;
    match kind {
        FailureKind::Rest => K::Rest,
        FailureKind::InvalidCommand => K::InvalidCommand,
        FailureKind::InvalidCommandParams => K::InvalidCommandParams,
        FailureKind::CommandExecution => K::CommandExecution,
        FailureKind::VersionMismatch => K::VersionMismatch,
        FailureKind::Cleaning => K::Cleaning,
        FailureKind::Deployment => K::Deployment,
        FailureKind::Servicing => K::Servicing,
        FailureKind::InvalidImage => K::InvalidImage,
        FailureKind::ImageDownload => K::ImageDownload,
        FailureKind::ImageDownloadTimeout => K::ImageDownloadTimeout,
        FailureKind::ImageChecksum => K::ImageChecksum,
        FailureKind::ImageWrite => K::ImageWrite,
        FailureKind::SystemReboot => K::SystemReboot,
        FailureKind::DeviceNotFound => K::DeviceNotFound,
        FailureKind::BlockDevice => K::BlockDevice,
        FailureKind::BlockDeviceErase => K::BlockDeviceErase,
        FailureKind::SoftwareRaid => K::SoftwareRaid,
        FailureKind::ClockSync => K::ClockSync,
        FailureKind::ProtectedDevice => K::ProtectedDevice,
        FailureKind::FileSystemNotSupported => K::FileSystemNotSupported,
        FailureKind::HardwareManagerNotFound => K::HardwareManagerNotFound,
        FailureKind::HardwareManagerMethodNotFound => K::HardwareManagerMethodNotFound,
        FailureKind::HardwareManagerConfiguration => K::HardwareManagerConfiguration,
        FailureKind::IncompatibleHardwareMethod => K::IncompatibleHardwareMethod,
        FailureKind::ContainerNotPermitted => K::ContainerNotPermitted,
        FailureKind::Inspection => K::Inspection,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_value_of_its_own() {
        let mut values: Vec<i32> = FailureKind::ALL
            .into_iter()
            .map(|kind| failure_kind(kind).into())
            .collect();
        values.sort_unstable();
        let expected: Vec<i32> = (1..=27).collect();
        assert_eq!(values, expected);
    }
}
