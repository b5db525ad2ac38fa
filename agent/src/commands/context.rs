//! What a verb works with: the machine, the configuration, and what the agent remembers
//! between commands.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use futures_util::future::BoxFuture;

use crate::config;
use crate::hardware::ManagerRegistry;
use crate::image::LastDeployment;
use crate::machine::ironic_node::Node;
use crate::system::System;

/// Everything a verb may touch. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CommandContext {
    /// The machine.
    pub system: System,
    /// The configuration, as the last lookup left it.
    pub config: config::Shared,
    /// The hardware managers of this machine.
    pub registry: Arc<ManagerRegistry>,
    /// What the last image write left behind.
    pub installed: Arc<LastDeployment>,
    /// The node that this machine is, as the last lookup or command named it.
    pub node: NodeMemory,
}

/// Where the node as it is now is read.
pub trait NodeSource: Debug + Send + Sync {
    /// The node; `None` when there is no answer in time, which is logged.
    fn node(&self) -> BoxFuture<'_, Option<Node>>;
}

/// The node document that was heard last. Cheap to clone; clones share the memory.
#[derive(Debug, Clone, Default)]
pub struct NodeMemory {
    node: Arc<RwLock<Arc<Node>>>,
    /// UUID of the node whose disks a command has waited for.
    disks_of: Arc<Mutex<String>>,
    /// Whether Ironic has the node.
    is_ironics: Arc<AtomicBool>,
    /// Empty where there is no conductor, and before the first lookup.
    source: Arc<OnceLock<Arc<dyn NodeSource>>>,
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

    /// Notes whether Ironic has the node, and so waits for what becomes of it.
    pub fn mark_ironics(&self, is_ironics: bool) {
        self.is_ironics.store(is_ironics, Ordering::Relaxed);
    }

    /// Whether Ironic has the node. `false` before a lookup, and without an Ironic.
    #[must_use]
    pub fn is_ironics(&self) -> bool {
        self.is_ironics.load(Ordering::Relaxed)
    }

    /// Lets `source` be asked from now on. Only the first one counts.
    pub fn learn_from(&self, source: Arc<dyn NodeSource>) {
        if self.source.set(source).is_err() {
            tracing::debug!("somebody is asked for the node already");
        }
    }

    /// The node, asked for again if no hint for the root disk is known: without one the
    /// smallest disk is taken, and an operator may have given one since. When nobody answers
    /// it is the node as it was heard last.
    pub async fn with_hints(&self) -> Arc<Node> {
        let known = self.current();
        if known.root_hints().is_none()
            && let Some(source) = self.source.get()
            && let Some(node) = source.node().await
        {
            tracing::info!(hints = ?node.root_hints(), "the node was asked for again");
            self.remember(node);
        }
        self.current()
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
    use serde_json::json;

    use super::*;

    #[derive(Debug)]
    struct Answers(Option<Node>);

    impl NodeSource for Answers {
        fn node(&self) -> BoxFuture<'_, Option<Node>> {
            Box::pin(std::future::ready(self.0.clone()))
        }
    }

    fn node(document: serde_json::Value) -> Node {
        Node(document.as_object().unwrap().clone())
    }

    #[tokio::test]
    async fn a_node_without_hints_is_asked_for_again() {
        let hints = |name: &str| json!({"properties": {"root_device": {"name": name}}});
        for (known, now, expected) in [
            (json!({}), Some(hints("/dev/sdb")), hints("/dev/sdb")),
            (
                hints("/dev/sda"),
                Some(hints("/dev/sdb")),
                hints("/dev/sda"),
            ),
            (json!({"uuid": "a"}), None, json!({"uuid": "a"})),
        ] {
            let memory = NodeMemory::default();
            memory.remember(node(known.clone()));
            assert_eq!(*memory.with_hints().await, node(known), "nobody to ask");
            memory.learn_from(Arc::new(Answers(now.map(node))));
            assert_eq!(*memory.with_hints().await, node(expected.clone()));
            assert_eq!(*memory.current(), node(expected));
        }
    }

    #[test]
    fn disks_are_needed_first_once_per_node_also_after_a_lookup() {
        let memory = NodeMemory::default();
        memory.remember(Node::default());
        let firsts = ["a", "a", "b", "b"].map(|uuid| memory.is_first_to_need_disks(uuid));
        assert_eq!(firsts, [true, false, true, false]);
    }
}
