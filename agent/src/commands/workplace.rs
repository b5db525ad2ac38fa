//! What a verb works with: the machine, the configuration, and what the agent remembers
//! between commands.

use std::sync::{Arc, PoisonError, RwLock};

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
pub struct NodeMemory(Arc<RwLock<Arc<Node>>>);

impl NodeMemory {
    /// The node as it was heard last; an empty document before that.
    #[must_use]
    pub fn current(&self) -> Arc<Node> {
        // Replacing an Arc cannot leave it half done, so a poisoned lock holds a whole node.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the node.
    pub fn remember(&self, node: Node) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(node);
    }
}
