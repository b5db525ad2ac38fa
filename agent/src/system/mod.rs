//! The world: programs, disks, downloads, power, and the root of the file system.
//!
//! Only this module starts processes, opens block devices for writing or calls the kernel
//! directly. Everything else takes a [`System`] (or one of its handles), so that tests and
//! `--simulate` put another world in its place.

use std::sync::Arc;

pub mod clock;
pub mod coordination;
pub mod daemon;
pub mod disk;
pub mod ethernet;
pub mod fetch;
pub mod foreign_root;
mod group;
pub mod ipmi;
pub mod kernel_log;
pub mod link;
pub mod memory;
pub mod network;
pub mod path_prefix;
pub mod power;
pub mod process;
pub mod sandbox;
pub mod simulation;
pub mod time_server;
pub mod zookeeper;

pub use clock::Clock;
pub use daemon::Daemon;
pub use disk::{Disk, DiskError, Disks};
pub use fetch::Fetch;
pub use kernel_log::KernelLog;
pub use network::Network;
pub use path_prefix::PathPrefix;
pub use power::{Power, PowerAction};
pub use process::{Cmd, Output, Run, RunError};
pub use simulation::Simulation;

/// The handles through which the agent touches the machine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct System {
    /// Runs programs.
    pub run: Arc<dyn Run>,
    /// Where `/proc`, `/sys`, `/etc` and `/run` are found.
    pub root: PathPrefix,
    /// Opens disks for writing.
    pub disks: Arc<dyn Disks>,
    /// Gets URLs.
    pub fetch: Arc<dyn Fetch>,
    /// Knows the network interfaces.
    pub network: Arc<dyn Network>,
    /// Asks the management controller.
    pub controller: Arc<dyn ipmi::IpmiController>,
    /// Meets other machines.
    pub coordination: Arc<dyn coordination::Coordination>,
    /// Sets the clock.
    pub clock: Arc<dyn Clock>,
    /// Reboots and powers off.
    pub power: Arc<dyn Power>,
    /// Shows what the kernel logs.
    pub kernel_log: Arc<dyn KernelLog>,
    /// Set when this machine is only simulated: where its disks are.
    pub simulation: Option<Simulation>,
}

impl System {
    /// The real machine.
    #[must_use]
    pub fn linux() -> Self {
        let run: Arc<dyn Run> = Arc::new(process::Programs);
        let root = PathPrefix::new("/");
        Self {
            disks: Arc::new(disk::LinuxDisks),
            fetch: Arc::new(fetch::UrlFetch::default()),
            power: Arc::new(power::MachinePower {
                run: Arc::clone(&run),
                root: root.clone(),
            }),
            network: Arc::new(network::KernelNetwork),
            controller: Arc::new(ipmi::KernelController::new(root.clone())),
            coordination: Arc::new(zookeeper::ZooKeeper),
            clock: Arc::new(clock::KernelClock),
            kernel_log: Arc::new(kernel_log::KernelLogDevice(root.clone())),
            simulation: None,
            run,
            root,
        }
    }
}
