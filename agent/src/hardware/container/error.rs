//! Why a step in a container failed, and what is wrong with the file of such steps.

use std::io;
use std::path::PathBuf;

use serde_saphyr::UserMessageFormatter;
use thiserror::Error;

use super::ID_FILE;
use crate::system::RunError;

/// Why a step in a container did not run.
#[derive(Debug, Error)]
pub enum ContainerStepError {
    /// The command names no image.
    #[error("container_url must be a text that is not empty")]
    NoUrl,
    /// The runner would take the image for an option.
    #[error("container_url must not begin with a dash")]
    UrlIsOption,
    /// The operator does not allow this image.
    #[error(
        "Container image {image} is not in [container]allowed_containers and \
         [container]allow_arbitrary_containers is not enabled."
    )]
    NotPermitted {
        /// The image.
        image: String,
    },
    /// The configured runner does not run.
    #[error(
        "Configured container runner '{runner}' ([container]runner) is not usable in this \
         ramdisk: {source}"
    )]
    Runner {
        /// Its name.
        runner: &'static str,
        /// Why not.
        source: RunError,
    },
    /// The file with the container's ID cannot be made or removed.
    #[error("{ID_FILE}: {0}")]
    IdFile(#[from] io::Error),
}

/// The file of steps cannot be used.
#[derive(Debug, Error)]
#[error("Container steps file {}: {source}", path.display())]
pub struct StepsFileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub source: InvalidSteps,
}

/// What is wrong with a file of steps.
#[derive(Debug, Error)]
pub enum InvalidSteps {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// It is not YAML, or more of it than a file of steps ever has.
    #[error("{}", .0.render_with_formatter(&UserMessageFormatter))]
    Yaml(#[source] Box<serde_saphyr::Error>),
    /// The document is not a mapping.
    #[error("it must be a mapping with the key 'steps'")]
    NotAMapping,
    /// The steps are not a list.
    #[error("'steps' must be a list")]
    NotAList,
    /// A step is not a mapping.
    #[error("each step must be a mapping")]
    StepNotAMapping,
    /// A key of a step is missing.
    #[error("step {step} needs the key '{key}'")]
    MissingKey {
        /// The step's name.
        step: String,
        /// The key.
        key: &'static str,
    },
    /// A key of a step has the wrong type.
    #[error("step {step}: '{key}' must be {expected}")]
    WrongType {
        /// The step's name.
        step: String,
        /// The key.
        key: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A step's name would not be safe.
    #[error(
        "step {0:?}: 'name' must not begin with an underscore, nor begin or end with a blank, \
         nor hold control characters"
    )]
    Name(String),
    /// Another step has this name already.
    #[error("there is another step of the name {0}")]
    NameTaken(String),
}
