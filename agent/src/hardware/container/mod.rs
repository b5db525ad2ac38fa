//! Steps that run in containers: one for any image that the operator allows, and those of a
//! file in the ramdisk.
//!
//! Nothing may run unless the operator said so: an image that comes with a command must be
//! in `allowed_containers`, and then runs with the configured options only, since options can
//! undo any list. Steps of the file were written by the builder of the ramdisk and are trusted.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use super::manager::{HardwareManager, ManagerError, ManagerIdentity, Support};
use super::step::Step;
use crate::config::AgentConfig;
use crate::system::System;

pub mod error;
mod file;
mod options;
mod run;
mod runtime;
mod step;

use error::StepsFileError;
pub(super) use runtime::has_runtime;
use step::{ContainerSource, ContainerStep};

/// Where the runner writes which container it started.
const ID_FILE: &str = "/run/ironic-agent/container-id";

/// What machines with a container runtime can do more.
#[derive(Debug)]
pub struct ContainerManager {
    /// The file that the steps were read from.
    file: PathBuf,
    reserved: Arc<[String]>,
    has_runtime: bool,
    steps: Vec<ContainerStep>,
    problem: Option<Arc<StepsFileError>>,
}

pub(super) static IDENTITY: ManagerIdentity = ManagerIdentity {
    class: Cow::Borrowed("ContainerHardwareManager"),
    name: Cow::Borrowed("ContainerHardwareManager"),
    version: Cow::Borrowed("2"),
};

impl ContainerManager {
    /// Reads the file of steps. `reserved` are the names of other managers' steps, which must
    /// not be taken: a container would run in place of an erase. `has_runtime`: whether any
    /// container runtime runs here.
    #[must_use]
    pub fn new(
        system: &System,
        config: &AgentConfig,
        reserved: Arc<[String]>,
        has_runtime: bool,
    ) -> Self {
        let path = &config.container.container_steps_file;
        let named = |name| ContainerStep::new(name, ContainerSource::Asked);
        let mut steps = vec![
            named("generic_container_step"),
            named("container_clean_step"),
        ];
        let mut names: Vec<&str> = steps.iter().map(|step| step.name()).collect();
        names.extend(reserved.iter().map(String::as_str));
        let read = file::read(&system.root.path(path), &names);
        let problem = match read {
            Ok(found) => {
                steps.extend(found.into_iter().map(ContainerStep::of_file));
                None
            }
            Err(source) => Some(Arc::new(StepsFileError {
                path: path.clone(),
                source,
            })),
        };
        if let Some(problem) = &problem {
            tracing::error!(%problem, "steps in containers");
        }
        Self {
            file: path.clone(),
            reserved,
            has_runtime,
            steps,
            problem,
        }
    }
}

impl HardwareManager for ContainerManager {
    fn identity(&self) -> &ManagerIdentity {
        &IDENTITY
    }

    fn support(&self, _system: &System) -> Support {
        if self.has_runtime {
            Support::Mainline
        } else {
            Support::None
        }
    }

    fn steps(&self) -> Vec<&dyn Step> {
        self.steps.iter().map(|step| step as &dyn Step).collect()
    }

    fn under(&self, system: &System, config: &AgentConfig) -> Option<Arc<dyn HardwareManager>> {
        let same = config.container.container_steps_file == self.file;
        (!same).then(|| {
            let reserved = Arc::clone(&self.reserved);
            Arc::new(Self::new(system, config, reserved, self.has_runtime))
                as Arc<dyn HardwareManager>
        })
    }

    fn check(&self) -> Result<(), ManagerError> {
        match &self.problem {
            Some(problem) => Err(Arc::clone(problem).into()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
