//! What a hardware manager is: how it is known, how well it knows this machine, what it brings.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::container::error::StepsFileError;
use super::step::Step;
use crate::config::AgentConfig;
use crate::system::System;

/// How well a manager knows this machine. The order is the order in which managers are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Support {
    /// Not at all: the manager is left out.
    None,
    /// As any machine.
    Generic,
    /// A vendor's hardware, from this source tree.
    Mainline,
    /// What an operator brought for their own machines; higher levels win.
    ServiceProvider(u32),
}

/// How Ironic and operators know a manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagerIdentity {
    /// The class name under which Ironic groups steps: `GenericHardwareManager`.
    pub class: Cow<'static, str>,
    /// The name in version maps: `generic_hardware_manager`.
    pub name: Cow<'static, str>,
    /// Changes whenever the steps change: Ironic then starts cleaning again.
    pub version: Cow<'static, str>,
}

/// A manager is set up wrongly.
#[derive(Debug, Clone, Error)]
pub enum ManagerError {
    /// Its file of steps cannot be used.
    #[error(transparent)]
    StepsFile(#[from] Arc<StepsFileError>),
}

/// Knows one kind of hardware.
pub trait HardwareManager: fmt::Debug + Send + Sync {
    /// How it is known.
    fn identity(&self) -> &ManagerIdentity;

    /// How well it knows this machine. Asked once, at start.
    fn support(&self, system: &System) -> Support;

    /// Its steps of all phases, in the order in which they are listed.
    fn steps(&self) -> Vec<&dyn Step>;

    /// The step by which it erases its own kind of disk: part of `erase_devices`, never offered.
    /// It takes the disk as argument `device`, with the keys of the inventory, and answers
    /// `IncompatibleHardwareMethod` for a disk that is not its own.
    fn eraser(&self) -> Option<&dyn Step> {
        None
    }

    /// Prepares the hardware. Called once, at start, on managers that support this machine.
    fn initialize(&self, _system: &System, _config: &AgentConfig) {}

    /// The manager under another configuration, as a lookup may have left it; `None` when it
    /// is the same one. Asked before steps are listed or run.
    fn under(&self, _system: &System, _config: &AgentConfig) -> Option<Arc<dyn HardwareManager>> {
        None
    }

    /// Whether it is set up rightly. Asked whenever steps are listed.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    fn check(&self) -> Result<(), ManagerError> {
        Ok(())
    }
}
