//! Why a command failed, in the classes that Ironic knows.
//!
//! The names, codes and sentences are the Python agent's: the conductor shows `details`, or
//! else `message`, and looks at `kind` in a few cases (`TypeError`, `VersionMismatch`).

use std::fmt;

/// The error classes of the agent API, named as Ironic sees them in `command_error.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// Unspecific.
    Rest,
    /// The command's name is malformed or unknown.
    InvalidCommand,
    /// The command's arguments are wrong; nothing was started.
    InvalidCommandParams,
    /// A command failed for a reason of no other class.
    CommandExecution,
    /// The hardware managers are not those that Ironic planned with.
    VersionMismatch,
    /// A clean step failed.
    Cleaning,
    /// A deploy step failed.
    Deployment,
    /// A service step failed.
    Servicing,
    /// The image is not what it claims to be or must not be used.
    InvalidImage,
    /// The image could not be fetched.
    ImageDownload,
    /// Fetching the image took too long.
    ImageDownloadTimeout,
    /// The image is not the one that was asked for.
    ImageChecksum,
    /// The image could not be written.
    ImageWrite,
    /// The machine did not reboot or power off.
    SystemReboot,
    /// No disk or partition fits.
    DeviceNotFound,
    /// A block device failed.
    BlockDevice,
    /// A block device could not be erased.
    BlockDeviceErase,
    /// Software RAID failed.
    SoftwareRaid,
    /// The clock could not be set.
    ClockSync,
    /// The device holds something that must not be erased.
    ProtectedDevice,
    /// No such file system.
    FileSystemNotSupported,
    /// No hardware manager is left.
    HardwareManagerNotFound,
    /// No hardware manager offers this step.
    HardwareManagerMethodNotFound,
    /// A hardware manager is set up wrongly.
    HardwareManagerConfiguration,
    /// The step does not fit this hardware.
    IncompatibleHardwareMethod,
    /// The operator does not allow this container.
    ContainerNotPermitted,
    /// Inspection failed.
    Inspection,
}

impl FailureKind {
    /// Every class.
    pub const ALL: [Self; 27] = [
        Self::Rest,
        Self::InvalidCommand,
        Self::InvalidCommandParams,
        Self::CommandExecution,
        Self::VersionMismatch,
        Self::Cleaning,
        Self::Deployment,
        Self::Servicing,
        Self::InvalidImage,
        Self::ImageDownload,
        Self::ImageDownloadTimeout,
        Self::ImageChecksum,
        Self::ImageWrite,
        Self::SystemReboot,
        Self::DeviceNotFound,
        Self::BlockDevice,
        Self::BlockDeviceErase,
        Self::SoftwareRaid,
        Self::ClockSync,
        Self::ProtectedDevice,
        Self::FileSystemNotSupported,
        Self::HardwareManagerNotFound,
        Self::HardwareManagerMethodNotFound,
        Self::HardwareManagerConfiguration,
        Self::IncompatibleHardwareMethod,
        Self::ContainerNotPermitted,
        Self::Inspection,
    ];

    /// The class with this name on the wire.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The class name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rest => "RESTError",
            Self::InvalidCommand => "InvalidCommandError",
            Self::InvalidCommandParams => "InvalidCommandParamsError",
            Self::CommandExecution => "CommandExecutionError",
            Self::VersionMismatch => "VersionMismatch",
            Self::Cleaning => "CleaningError",
            Self::Deployment => "DeploymentError",
            Self::Servicing => "ServicingError",
            Self::InvalidImage => "InvalidImage",
            Self::ImageDownload => "ImageDownloadError",
            Self::ImageDownloadTimeout => "ImageDownloadTimeoutError",
            Self::ImageChecksum => "ImageChecksumError",
            Self::ImageWrite => "ImageWriteError",
            Self::SystemReboot => "SystemRebootError",
            Self::DeviceNotFound => "DeviceNotFound",
            Self::BlockDevice => "BlockDeviceError",
            Self::BlockDeviceErase => "BlockDeviceEraseError",
            Self::SoftwareRaid => "SoftwareRAIDError",
            Self::ClockSync => "ClockSyncError",
            Self::ProtectedDevice => "ProtectedDeviceError",
            Self::FileSystemNotSupported => "FileSystemNotSupported",
            Self::HardwareManagerNotFound => "HardwareManagerNotFound",
            Self::HardwareManagerMethodNotFound => "HardwareManagerMethodNotFound",
            Self::HardwareManagerConfiguration => "HardwareManagerConfigurationError",
            Self::IncompatibleHardwareMethod => "IncompatibleHardwareMethodError",
            Self::ContainerNotPermitted => "ContainerNotPermittedError",
            Self::Inspection => "InspectionError",
        }
    }

    /// The HTTP-like status code on the wire.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::InvalidCommand | Self::InvalidCommandParams => 400,
            Self::DeviceNotFound => 404,
            Self::ImageDownloadTimeout => 408,
            Self::VersionMismatch => 409,
            _ => 500,
        }
    }

    /// The fixed sentence on the wire; `None` for the classes whose message is their details.
    #[must_use]
    pub fn message(self) -> Option<&'static str> {
        Some(match self {
            Self::Rest => "An error occurred",
            Self::InvalidCommand => "Invalid command",
            Self::InvalidCommandParams => "Invalid command parameters",
            Self::CommandExecution => "Command execution failed",
            Self::VersionMismatch => {
                "Hardware managers version mismatch, reload agent with correct version"
            }
            Self::Cleaning => "Clean step failed",
            Self::Deployment => "Deploy step failed",
            Self::Servicing => "Service step failed",
            Self::InvalidImage => "The provided image is not valid for use",
            Self::ImageDownload => "Error downloading image",
            Self::ImageDownloadTimeout => "Image download timeout",
            Self::ImageChecksum => "Error verifying image checksum",
            Self::ImageWrite => "Error writing image to device",
            Self::SystemReboot => "Error rebooting system",
            Self::DeviceNotFound => {
                "Error finding the disk or partition device to deploy the image onto"
            }
            Self::BlockDevice => "Block device caused unknown error",
            Self::BlockDeviceErase => "Error erasing block device",
            Self::SoftwareRaid => "Software RAID caused unknown error",
            Self::ClockSync => "Error syncing system clock",
            Self::HardwareManagerNotFound => "No valid HardwareManager found",
            Self::HardwareManagerMethodNotFound => "No HardwareManager found to handle method",
            Self::HardwareManagerConfiguration => "Hardware manager configuration error",
            Self::IncompatibleHardwareMethod => {
                "HardwareManager method is not compatible with hardware"
            }
            Self::ContainerNotPermitted => "Container image not permitted",
            Self::Inspection => "Error during inspection",
            Self::ProtectedDevice | Self::FileSystemNotSupported => return None,
        })
    }

    /// Whether a command that fails like this before it starts is refused and not recorded.
    #[must_use]
    pub fn is_refusal(self) -> bool {
        matches!(self, Self::InvalidCommand | Self::InvalidCommandParams)
    }
}

/// Why a command failed: a class, and what happened this time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The class.
    pub kind: FailureKind,
    /// What happened and what to do about it, for the operator. Never a secret.
    pub details: String,
    /// The external program that failed, without arguments.
    pub program: Option<String>,
    /// Its exit status, unless it was killed, timed out or did not start.
    pub exit_status: Option<i32>,
    /// The end of its standard error, at most 1 KiB.
    pub stderr_tail: String,
}

impl Failure {
    /// A failure in which no external program had a part.
    #[must_use]
    pub fn new(kind: FailureKind, details: impl Into<String>) -> Self {
        Self {
            kind,
            details: details.into(),
            program: None,
            exit_status: None,
            stderr_tail: String::new(),
        }
    }

    /// A failure of class `CommandExecutionError`.
    #[must_use]
    pub fn execution(details: impl Into<String>) -> Self {
        Self::new(FailureKind::CommandExecution, details)
    }

    /// The sentence of the class, or the details where a class has none.
    #[must_use]
    pub fn message(&self) -> &str {
        self.kind.message().unwrap_or(&self.details)
    }
}

/// `<message>: <details>`, the form in which the Python agent prints its errors.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind.message() {
            Some(message) => write!(f, "{message}: {}", self.details),
            None => f.write_str(&self.details),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for kind in FailureKind::ALL {
            assert_eq!(FailureKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(FailureKind::from_name("TypeError"), None);
        // `Inspection` is the last class: a new one must join the list.
        assert_eq!(FailureKind::ALL.len(), FailureKind::Inspection as usize + 1);
    }

    #[test]
    fn displays_like_the_python_agent() {
        let cases = [
            (
                Failure::new(
                    FailureKind::InvalidCommandParams,
                    "Image is missing 'id' field.",
                ),
                "Invalid command parameters: Image is missing 'id' field.",
            ),
            (
                Failure::new(FailureKind::ProtectedDevice, "Protected VMFS"),
                "Protected VMFS",
            ),
        ];
        for (failure, text) in cases {
            assert_eq!(failure.to_string(), text);
        }
    }
}
