use std::io;
use std::sync::Arc;

use super::*;
use crate::hardware::ArgumentError;
use crate::hardware::container::error::{InvalidSteps, StepsFileError};
use crate::hardware::external::error::{ExternalStepCause, ExternalStepError, ReportedFailure};
use crate::hardware::generic::burnin::error::NetworkConfigError;
use crate::hardware::generic::error::{EraseAttemptError, UnerasedDevice};
use crate::hardware::generic::inject_files::error::{FileContentError, InvalidFile};

fn missing() -> RunError {
    RunError::Missing {
        program: "fio".to_owned(),
    }
}

/// What Ironic sees of a clean step that failed.
fn seen(error: impl Into<StepError>) -> Failure {
    let failed = StepFailed {
        phase: StepPhase::Clean,
        name: "work".to_owned(),
        source: error.into(),
    };
    StepsError::Step(Box::new(failed)).into()
}

#[test]
fn errors_of_steps_have_the_classes_that_ironic_knows() {
    let command = "fio --rw readwrite".to_owned();
    let program = "fio".to_owned();
    let content = InjectFilesError::Content {
        path: "/a".to_owned(),
        source: FileContentError::TooLarge,
    };
    let image = "example.com/x".to_owned();
    let cases: [(StepError, FailureKind); 11] = [
        (
            BurnInError::Program(BurnInProgramError::Missing { program, command }).into(),
            FailureKind::CommandExecution,
        ),
        (
            BurnInError::Network(NetworkConfigError::Missing).into(),
            FailureKind::Cleaning,
        ),
        (
            InvalidMatchPatterns::NotStrings(true.into()).into(),
            FailureKind::InvalidCommandParams,
        ),
        (
            EraseDevicesError::Data(Vec::new()).into(),
            FailureKind::BlockDeviceErase,
        ),
        (
            InjectFilesError::Invalid(vec![InvalidFile::NotAList { field: "files" }]).into(),
            FailureKind::InvalidCommandParams,
        ),
        (content.into(), FailureKind::CommandExecution),
        (
            ContainerStepError::NoUrl.into(),
            FailureKind::InvalidCommandParams,
        ),
        (
            ContainerStepError::NotPermitted { image }.into(),
            FailureKind::ContainerNotPermitted,
        ),
        (
            ContainerStepError::Runner {
                runner: "podman",
                source: missing(),
            }
            .into(),
            FailureKind::HardwareManagerConfiguration,
        ),
        (
            ContainerStepError::IdFile(io::ErrorKind::ReadOnlyFilesystem.into()).into(),
            FailureKind::CommandExecution,
        ),
        (ArgumentError::ImageInfo.into(), FailureKind::Cleaning),
    ];
    for (error, kind) in cases {
        let text = error.to_string();
        let failure = seen(error);
        assert_eq!(failure.kind, kind, "{text}");
        assert!(failure.details.ends_with(&text), "{}", failure.details);
    }
    let file = Arc::new(StepsFileError {
        path: "/etc/steps.yaml".into(),
        source: InvalidSteps::NotAList,
    });
    let failure = Failure::from(StepsError::Manager(file.into()));
    assert_eq!(failure.kind, FailureKind::HardwareManagerConfiguration);
}

#[test]
fn errors_that_ironic_does_not_know_get_the_phases_class_and_a_name() {
    let down = ExternalStepCause::NoPlan { seconds: 30 };
    let manager = "vendor".to_owned();
    for (error, text) in [
        (
            StepError::Run(missing()),
            "ProcessExecutionError: fio is not installed",
        ),
        (StepError::Io(io::Error::other("smoke")), "OSError: smoke"),
        (
            ExternalStepError {
                manager,
                source: down,
            }
            .into(),
            "HardwareManagerError: hardware manager vendor: no plan within 30 s",
        ),
        (
            NicFirmwareError::DuplicateSetting { id: "1".to_owned() }.into(),
            "DuplicateDeviceID: two settings for device 1",
        ),
    ] {
        let failure = seen(error);
        assert_eq!(failure.kind, FailureKind::Cleaning);
        let details = format!("Unexpected exception performing clean step work. {text}");
        assert_eq!(failure.details, details);
    }
    assert_eq!(seen(missing()).program.as_deref(), Some("fio"));
}

/// A manager's failure is its own where Ironic knows the class.
#[test]
fn a_managers_own_class_is_kept_or_named() {
    let reported = |kind: &str| {
        StepError::Reported(Box::new(ManagerFailure {
            manager: "vendor".to_owned(),
            failure: ReportedFailure {
                kind: kind.to_owned(),
                details: "smoke".to_owned(),
                program: None,
                exit_status: Some(4),
                stderr_tail: String::new(),
            },
        }))
    };
    let known = seen(reported("BlockDeviceError"));
    assert_eq!(known.kind, FailureKind::BlockDevice);
    assert_eq!(
        (known.details.as_str(), known.exit_status),
        ("smoke", Some(4))
    );
    for (kind, text) in [("CardError", "CardError: smoke"), ("", "smoke")] {
        let failure = seen(reported(kind));
        let end = format!("HardwareManagerError: hardware manager vendor: {text}");
        assert!(failure.details.ends_with(&end), "{}", failure.details);
    }
}

#[test]
fn metadata_that_was_not_erased_names_the_program_of_the_first_device() {
    let failure = with_program(
        Failure::new(
            FailureKind::BlockDeviceErase,
            format!("Destroying failed: {}", missing()),
        ),
        &missing(),
    );
    let devices = vec![UnerasedDevice {
        device: "/dev/sda".to_owned(),
        attempts: vec![EraseAttemptError::Metadata(failure)],
    }];
    let seen = seen(EraseDevicesError::Metadata(devices));
    assert_eq!(
        (seen.program.as_deref(), seen.details.as_str()),
        (
            Some("fio"),
            "Failed to erase the metadata on the device(s): \"/dev/sda\": \
             Destroying failed: fio is not installed"
        )
    );
}
