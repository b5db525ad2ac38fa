//! What a verb works with: the machine, the configuration, and what the agent remembers
//! between commands.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::config;
use crate::hardware::Registry;
use crate::image::Installed;
use crate::machine::node::Node;
use crate::system::System;

/// Everything a verb may touch. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Workplace {
    /// The machine.
    pub system: System,
    /// The configuration, as the last lookup left it.
    pub config: config::Shared,
    /// Who can act on this machine.
    pub registry: Arc<Registry>,
    /// What the last image write left behind.
    pub installed: Arc<Installed>,
    /// The node that this machine is, as the last lookup or command told it.
    pub node: NodeMemory,
}

/// The node document that was heard last. Cheap to clone; clones share the memory.
#[derive(Debug, Clone, Default)]
pub struct NodeMemory {
    node: Arc<RwLock<Arc<Node>>>,
    /// UUID of the node whose disks a command has waited for.
    disks_of: Arc<Mutex<String>>,
}

impl NodeMemory {
    /// The node as it was heard last; an empty document before that.
    #[must_use]
    pub fn current(&self) -> Arc<Node> {
        // Replacing an Arc cannot leave it half done, so a poisoned lock holds a whole node.
        Arc::clone(&self.node.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the node.
    pub fn remember(&self, node: Node) {
        *self.node.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(node);
    }

    /// Whether no command has waited for this node's disks yet; from now on one has. A lookup
    /// only remembers a node: its heartbeats do not wait for disks.
    #[must_use]
    pub fn is_first_to_need_disks(&self, uuid: &str) -> bool {
        let mut known = self.disks_of.lock().unwrap_or_else(PoisonError::into_inner);
        let first = *known != uuid;
        uuid.clone_into(&mut known);
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_needed_first_once_per_node_also_after_a_lookup() {
        let memory = NodeMemory::default();
        memory.remember(Node::default());
        let firsts = ["a", "a", "b", "b"].map(|uuid| memory.is_first_to_need_disks(uuid));
        assert_eq!(firsts, [true, false, true, false]);
    }
}
