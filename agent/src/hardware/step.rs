//! What a step is: what it is called, when it is offered, what it takes, what it does.

use std::borrow::Cow;
use std::fmt;

use futures_util::future::BoxFuture;
use ironic_document::JsonObject;
use serde_json::Value;

use super::argument::Argument;
use super::ordered_disks::OrderedDisks;
use super::step_error::StepError;
use crate::config::AgentConfig;
use crate::image::LastDeployment;
use crate::machine::ironic_node::Node;
use crate::system::System;
use crate::task::Task;

/// Which of the three step machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StepPhase {
    /// Cleaning, before a node becomes available.
    Clean,
    /// Deployment of an instance.
    Deploy,
    /// Servicing of a node that holds an instance.
    Service,
}

impl StepPhase {
    /// The word in Ironic's keys and command names: `clean`, `deploy` or `service`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Deploy => "deploy",
            Self::Service => "service",
        }
    }
}

/// Everything that a step may touch.
#[derive(Debug, Clone, Copy)]
pub struct StepContext<'a> {
    /// The machine.
    pub system: &'a System,
    /// The configuration in force.
    pub config: &'a AgentConfig,
    /// The node as it came with the command.
    pub node: &'a Node,
    /// Its ports.
    pub ports: &'a [JsonObject],
    /// Progress and cancellation.
    pub task: &'a Task,
    /// What the last image write left behind.
    pub installed: &'a LastDeployment,
    /// Managers that erase disks of their own kind, the best first.
    pub erasers: &'a [VendorEraser<'a>],
    /// The disks of a typed order to erase; `None`: nobody ordered which.
    pub ordered: Option<&'a OrderedDisks>,
}

/// A step by which a vendor's manager erases its own kind of disk.
#[derive(Debug, Clone, Copy)]
pub struct VendorEraser<'a> {
    /// The class name of its manager.
    pub manager: &'a str,
    /// The step, which takes the disk as argument `device`.
    pub step: &'a dyn Step,
}

/// How a step is known. Values, not code: a plug-in may bring its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The name that Ironic sends.
    pub name: Cow<'static, str>,
    /// The driver interface that it belongs to: `deploy`, `raid`, ...
    pub interface: Cow<'static, str>,
    /// Whether Ironic reboots the machine after it.
    pub reboot_requested: bool,
    /// What it takes. Anything else is refused before anything is touched.
    pub arguments: Cow<'static, [Argument]>,
}

impl Description {
    /// A step that takes nothing and wants no reboot.
    #[must_use]
    pub const fn without_arguments(name: &'static str, interface: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            interface: Cow::Borrowed(interface),
            reboot_requested: false,
            arguments: Cow::Borrowed(&[]),
        }
    }
}

/// How a step is offered in one phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The order in which Ironic runs steps, highest first; 0 means only when asked for.
    pub priority: u32,
    /// Whether an operator may abort it; `None` leaves the key out.
    pub abortable: Option<bool>,
}

impl Offer {
    /// An offer that says nothing about aborting.
    #[must_use]
    pub const fn at(priority: u32) -> Self {
        Self {
            priority,
            abortable: None,
        }
    }

    /// An offer of a step that may be aborted.
    #[must_use]
    pub const fn abortable_at(priority: u32) -> Self {
        Self {
            priority,
            abortable: Some(true),
        }
    }
}

/// One thing that a step would do, for a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlannedAction {
    /// One line for a person.
    pub description: String,
    /// The device that it changes, for example `/dev/sda`; empty when it changes none.
    pub device: String,
    /// Whether data on `device` would be lost.
    pub destructive: bool,
}

/// The plan of a step in the making: what it would do, in order.
pub type PlanFuture<'a> = BoxFuture<'a, Result<Vec<PlannedAction>, StepError>>;

/// A step at work: its result, which Ironic gets.
pub type RunFuture<'a> = BoxFuture<'a, Result<Value, StepError>>;

/// One thing that a hardware manager can do to the machine.
pub trait Step: fmt::Debug + Send + Sync {
    /// How it is known and what it takes.
    fn description(&self) -> &Description;

    /// How it is offered in a phase; `None` when it is not.
    fn offer(&self, phase: StepPhase, config: &AgentConfig) -> Option<Offer>;

    /// What it would do, found out without changing anything. The arguments are checked.
    fn plan<'a>(&'a self, ctx: StepContext<'a>, arguments: &'a JsonObject) -> PlanFuture<'a>;

    /// Does it. The arguments are checked.
    fn run<'a>(&'a self, ctx: StepContext<'a>, arguments: &'a JsonObject) -> RunFuture<'a>;
}
