//! What this machine is. Read only: every file is types, `parse(&str)` and a thin `probe`.

use serde_json::{Map, Value};

use crate::config::Config;
use crate::system::System;

pub mod block;
pub mod boot;
pub mod hints;
pub mod node;

pub use boot::{BootMode, mode as boot_mode};

/// What the machine is, as Ironic's inspection and lookup take it. Reads the kernel only and
/// takes milliseconds; blocks.
#[must_use]
pub fn inventory(_system: &System, _config: &Config) -> Map<String, Value> {
    Map::new()
}
