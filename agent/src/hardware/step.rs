//! What a step is: what it is called, when it is offered, what it takes, what it does.

use std::borrow::Cow;
use std::fmt;
use std::io;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use super::registry::Ranked;
use crate::config::Config;
use crate::failure::Failure;
use crate::image::Installed;
use crate::machine::ironic_node::Node;
use crate::system::{RunError, System};
use crate::task::Task;

/// A JSON object.
pub type Object = Map<String, Value>;

/// Which of the three step machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Cleaning, before a node becomes available.
    Clean,
    /// Deployment of an instance.
    Deploy,
    /// Servicing of a node that holds an instance.
    Service,
}

impl Phase {
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
    pub config: &'a Config,
    /// The node as it came with the command.
    pub node: &'a Node,
    /// Its ports.
    pub ports: &'a [Object],
    /// Progress and cancellation.
    pub task: &'a Task,
    /// What the last image write left behind.
    pub installed: &'a Installed,
    /// Who else can act on this machine, best first.
    pub managers: &'a [Ranked],
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

/// One argument of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: Cow<'static, str>,
    /// One sentence for operators.
    pub description: Cow<'static, str>,
    /// Whether the step cannot do without it.
    pub required: bool,
    /// What it must be.
    pub kind: ArgumentKind,
    /// Whether operators may give it: whether Ironic hears of it in `argsinfo`. Ironic
    /// itself sends the others.
    pub advertised: bool,
}

/// What an argument must be. An optional one may also be null, which means its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgumentKind {
    /// Anything.
    Any,
    /// Text.
    Text,
    /// `true` or `false`.
    Flag,
    /// A list.
    List,
    /// An object.
    Object,
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
pub struct Action {
    /// One line for a person.
    pub description: String,
    /// The device that it changes, for example `/dev/sda`; empty when it changes none.
    pub device: String,
    /// Whether data on `device` would be lost.
    pub destructive: bool,
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepError {
    /// One of the classes that Ironic knows. It passes as it is.
    Failure(Failure),
    /// Anything else. It becomes the phase's own class: `CleaningError` and its siblings.
    Unexpected {
        /// A class name in the manner of the Python agent: `ProcessExecutionError`.
        class: &'static str,
        /// What happened.
        text: String,
        /// The external program that failed, if one did.
        program: Option<Program>,
    },
}

/// An external program that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Its exit status, unless it has none.
    pub status: Option<i32>,
    /// The end of its standard error.
    pub stderr: String,
}

impl StepError {
    /// An argument that is not what the step takes.
    #[must_use]
    pub fn argument(text: impl Into<String>) -> Self {
        Self::Unexpected {
            class: "TypeError",
            text: text.into(),
            program: None,
        }
    }
}

impl From<Failure> for StepError {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<RunError> for StepError {
    fn from(error: RunError) -> Self {
        let text = error.to_string();
        let program = match error {
            RunError::Failed {
                program,
                status,
                stderr,
                ..
            } => Some(Program {
                name: program,
                status: Some(status),
                stderr,
            }),
            RunError::Missing { program } => Some(Program {
                name: program,
                status: None,
                stderr: String::new(),
            }),
            RunError::Broken { .. } | RunError::TimedOut { .. } => None,
        };
        Self::Unexpected {
            class: "ProcessExecutionError",
            text,
            program,
        }
    }
}

impl From<io::Error> for StepError {
    fn from(error: io::Error) -> Self {
        Self::Unexpected {
            class: "OSError",
            text: error.to_string(),
            program: None,
        }
    }
}

/// The plan of a step in the making: what it would do, in order.
pub type Planning<'a> = BoxFuture<'a, Result<Vec<Action>, StepError>>;

/// A step at work: its result, which Ironic gets.
pub type Running<'a> = BoxFuture<'a, Result<Value, StepError>>;

/// One thing that a hardware manager can do to the machine.
pub trait Step: fmt::Debug + Send + Sync {
    /// How it is known and what it takes.
    fn description(&self) -> &Description;

    /// How it is offered in a phase; `None` when it is not.
    fn offer(&self, phase: Phase, config: &Config) -> Option<Offer>;

    /// What it would do, found out without changing anything. The arguments are checked.
    fn plan<'a>(&'a self, ctx: StepContext<'a>, arguments: &'a Object) -> Planning<'a>;

    /// Does it. The arguments are checked.
    fn run<'a>(&'a self, ctx: StepContext<'a>, arguments: &'a Object) -> Running<'a>;
}
