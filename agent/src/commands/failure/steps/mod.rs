//! The table's section for steps and hardware managers.

use super::table::with_program;
use crate::failure::{Failure, FailureKind};
use crate::hardware::container::error::ContainerStepError;
use crate::hardware::external::error::ManagerFailure;
use crate::hardware::generic::burnin::error::{BurnInError, BurnInProgramError};
use crate::hardware::generic::error::{EraseAttemptError, EraseDevicesError, InvalidMatchPatterns};
use crate::hardware::generic::inject_files::error::InjectFilesError;
use crate::hardware::vendor::mellanox::error::{ImageProperty, NicFirmwareError};
use crate::hardware::{ManagerError, StepError, StepPhase};
use crate::logs::archive::ArchiveError;
use crate::steps::{StepFailed, StepsError};
use crate::system::RunError;

impl From<StepsError> for Failure {
    fn from(error: StepsError) -> Self {
        let kind = match error {
            StepsError::Manager(error) => return error.into(),
            StepsError::Step(error) => return (*error).into(),
            StepsError::VersionMismatch { .. } => FailureKind::VersionMismatch,
            StepsError::NoName { .. } => FailureKind::CommandExecution,
            StepsError::Unknown { .. } => FailureKind::HardwareManagerMethodNotFound,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<ManagerError> for Failure {
    fn from(error: ManagerError) -> Self {
        match &error {
            ManagerError::StepsFile(_) => {
                Self::new(FailureKind::HardwareManagerConfiguration, error.to_string())
            }
        }
    }
}

impl From<StepFailed> for Failure {
    fn from(failed: StepFailed) -> Self {
        let StepFailed {
            phase,
            name,
            source,
        } = failed;
        let UnexpectedError {
            class,
            text,
            program,
        } = match StepFailure::from(source) {
            StepFailure::Known(failure) => return failure,
            StepFailure::Unexpected(unexpected) => unexpected,
        };
        let kind = match phase {
            StepPhase::Clean => FailureKind::Cleaning,
            StepPhase::Deploy => FailureKind::Deployment,
            StepPhase::Service => FailureKind::Servicing,
        };
        let word = phase.word();
        let details =
            format!("Unexpected exception performing {word} step {name}. {class}: {text}");
        let failure = Self::new(kind, details);
        match program {
            Some(error) => with_program(failure, &error),
            None => failure,
        }
    }
}

/// What Ironic sees of a step's error.
#[derive(Debug)]
pub(crate) enum StepFailure {
    /// A failure of one of the classes that Ironic knows.
    Known(Failure),
    /// Anything else: it becomes the phase's own class, `CleaningError` and its siblings.
    Unexpected(UnexpectedError),
}

/// An error as the Python agent names its own in the sentence of a phase's failure.
#[derive(Debug)]
pub(crate) struct UnexpectedError {
    /// The name of a class: `ProcessExecutionError`.
    pub(crate) class: &'static str,
    /// What happened.
    pub(crate) text: String,
    /// The program that failed, if one did.
    program: Option<RunError>,
}

fn unexpected(class: &'static str, text: String) -> StepFailure {
    StepFailure::Unexpected(UnexpectedError {
        class,
        text,
        program: None,
    })
}

impl From<StepError> for StepFailure {
    fn from(error: StepError) -> Self {
        let text = error.to_string();
        let failure = match error {
            StepError::Argument(_) => return unexpected("TypeError", text),
            StepError::Io(_) => return unexpected("OSError", text),
            StepError::External(_) => return unexpected("HardwareManagerError", text),
            StepError::NicFirmware(error) => return unexpected(nic_firmware_class(&error), text),
            StepError::Run(error) => {
                return Self::Unexpected(UnexpectedError {
                    class: "ProcessExecutionError",
                    text,
                    program: Some(error),
                });
            }
            StepError::Reported(failure) => return (*failure).into(),
            StepError::Incompatible(_) => {
                Failure::new(FailureKind::IncompatibleHardwareMethod, text)
            }
            StepError::Cancelled(cancelled) => cancelled.into(),
            StepError::BurnIn(error) => error.into(),
            StepError::MatchPatterns(
                InvalidMatchPatterns::NotStrings(_) | InvalidMatchPatterns::Pattern(_),
            ) => Failure::new(FailureKind::InvalidCommandParams, text),
            StepError::Erase(error) => error.into(),
            StepError::InjectFiles(error) => error.into(),
            StepError::Container(error) => error.into(),
            StepError::Failure(failure) => failure,
        };
        Self::Known(failure)
    }
}

/// A manager's own word is kept where Ironic knows it.
impl From<ManagerFailure> for StepFailure {
    fn from(error: ManagerFailure) -> Self {
        let ManagerFailure { manager, failure } = error;
        if let Some(kind) = FailureKind::from_name(&failure.kind) {
            return Self::Known(Failure {
                kind,
                details: failure.details,
                program: failure.program,
                exit_status: failure.exit_status,
                stderr_tail: failure.stderr_tail,
            });
        }
        let text = match failure.kind.as_str() {
            "" => failure.details,
            class => format!("{class}: {}", failure.details),
        };
        unexpected(
            "HardwareManagerError",
            format!("hardware manager {manager}: {text}"),
        )
    }
}

/// The names of the Python agent's classes.
fn nic_firmware_class(error: &NicFirmwareError) -> &'static str {
    match error {
        NicFirmwareError::ImageConfig(_) => "InvalidFirmwareImageConfig",
        NicFirmwareError::ChecksumAlgorithm { .. } => "InvalidChecksumAlgorithm",
        NicFirmwareError::DuplicateImage { .. } => "DuplicateComponentFlavor",
        NicFirmwareError::UrlScheme { .. } => "InvalidURLScheme",
        NicFirmwareError::Download(_) => "FirmwareDownloadError",
        NicFirmwareError::Mismatch { property, .. } => match property {
            ImageProperty::Psid => "MismatchComponentFlavor",
            ImageProperty::Version => "MismatchFWVersion",
            ImageProperty::Checksum => "MismatchChecksumError",
        },
        NicFirmwareError::SettingConfig(_) => "InvalidFirmwareSettingsConfig",
        NicFirmwareError::DuplicateSetting { .. } => "DuplicateDeviceID",
        NicFirmwareError::UnknownParameter { .. } => "UnSupportedConfigByMstflintPackage",
        NicFirmwareError::UnsupportedParameter { .. } => "UnSupportedConfigByFW",
    }
}

impl From<BurnInError> for Failure {
    fn from(error: BurnInError) -> Self {
        let text = error.to_string();
        match error {
            BurnInError::Program(BurnInProgramError::Missing { program, .. }) => Self {
                program: Some(program),
                ..Self::execution(text)
            },
            BurnInError::Program(BurnInProgramError::Run(error)) => {
                with_program(Self::execution(text), &error)
            }
            BurnInError::Cancelled(cancelled) => cancelled.into(),
            BurnInError::Failure(failure) => failure,
            BurnInError::GpuCount { .. }
            | BurnInError::GpusMissing { .. }
            | BurnInError::NoDisk
            | BurnInError::SelfTestNotStarted { .. }
            | BurnInError::SelfTests(_)
            | BurnInError::Network(_)
            | BurnInError::Pairing(_) => Self::new(FailureKind::Cleaning, text),
        }
    }
}

impl From<EraseDevicesError> for Failure {
    fn from(error: EraseDevicesError) -> Self {
        let failure = Self::new(FailureKind::BlockDeviceErase, error.to_string());
        let EraseDevicesError::Metadata(devices) = error else {
            return failure;
        };
        let mut attempts = devices.into_iter().flat_map(|device| device.attempts);
        match attempts.next() {
            Some(EraseAttemptError::Metadata(first)) => Self {
                kind: failure.kind,
                details: failure.details,
                ..first
            },
            _ => failure,
        }
    }
}

impl From<InjectFilesError> for Failure {
    fn from(error: InjectFilesError) -> Self {
        let kind = match &error {
            InjectFilesError::Invalid(_) => FailureKind::InvalidCommandParams,
            InjectFilesError::Content { .. } => FailureKind::CommandExecution,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<ContainerStepError> for Failure {
    fn from(error: ContainerStepError) -> Self {
        let kind = match &error {
            ContainerStepError::NoUrl | ContainerStepError::UrlIsOption => {
                FailureKind::InvalidCommandParams
            }
            ContainerStepError::NotPermitted { .. } => FailureKind::ContainerNotPermitted,
            ContainerStepError::Runner { .. } => FailureKind::HardwareManagerConfiguration,
            ContainerStepError::IdFile(_) => FailureKind::CommandExecution,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        Self::execution(error.to_string())
    }
}

/// In tests: what Ironic sees of a step that runs by itself.
#[cfg(test)]
impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        match StepFailure::from(error) {
            StepFailure::Known(failure) => failure,
            StepFailure::Unexpected(unexpected) => Self::execution(unexpected.text),
        }
    }
}

#[cfg(test)]
mod tests;
