//! The world: programs, disks, downloads, power, and the root of the file system.
//!
//! Only this room starts processes, opens block devices for writing or calls the kernel
//! directly. Everything else takes a [`System`] (or one of its handles), so that tests and
//! `--simulate` put another world in its place.

use std::sync::Arc;

pub mod process;
pub mod root;

pub use process::{Cmd, Output, Run, RunError};
pub use root::Root;

/// The handles through which the agent touches the machine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct System {
    /// Runs programs.
    pub run: Arc<dyn Run>,
    /// Where `/proc`, `/sys`, `/etc` and `/run` are found.
    pub root: Root,
}

impl System {
    /// The real machine.
    #[must_use]
    pub fn linux() -> Self {
        Self {
            run: Arc::new(process::Programs),
            root: Root::new("/"),
        }
    }
}
