//! Hardware managers, ranked, and the steps that they offer.
//!
//! A [`HardwareManager`] knows one kind of hardware and brings [`Step`]s. The [`ManagerRegistry`]
//! ranks those that support this machine. Only a step that a manager declares can run: a
//! name that Ironic sends is looked up in these lists and never becomes anything else.
//!
//! A new step is one file with a [`Step`] and one line in its manager's list; a new manager is
//! one folder and one line in [`ManagerRegistry::of_this_source_tree`].

pub mod argument;
pub mod bring_up;
pub mod container;
pub mod external;
pub mod generic;
pub mod manager;
pub mod ordered_disks;
pub mod registry;
pub mod step;
pub mod step_error;
pub mod vendor;
pub mod vlan;
pub mod wait;

pub use argument::{Argument, ArgumentError, ArgumentKind};
pub use manager::{HardwareManager, ManagerError, ManagerIdentity, Support};
pub use ordered_disks::OrderedDisks;
pub use registry::{ManagerRegistry, NoHardwareManager};
pub use step::{
    Description, Offer, PlanFuture, PlannedAction, RunFuture, Step, StepContext, StepPhase,
    VendorEraser,
};
pub use step_error::StepError;
pub use wait::wait_for_disks;
