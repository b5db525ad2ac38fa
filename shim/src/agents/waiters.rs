//! Callers that wait for something to happen to a node. What is kept of a node ends with the last
//! of them, also when they are dropped: strangers choose the names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Those who wait, by node.
#[derive(Debug, Default)]
pub struct NodeWaiters(Mutex<HashMap<String, WaitedFor>>);

#[derive(Debug, Default)]
struct WaitedFor {
    happened: Arc<Notify>,
    waiters: usize,
}

impl NodeWaiters {
    /// Begins to wait for a node. The number of callers is theirs to bound.
    #[must_use]
    pub fn join<'a>(&'a self, node: &'a str) -> NodeWaiter<'a> {
        let mut nodes = self.lock();
        let waited_for = nodes.entry(node.to_owned()).or_default();
        waited_for.waiters += 1;
        NodeWaiter {
            all: self,
            node,
            happened: Arc::clone(&waited_for.happened),
        }
    }

    /// Wakes all who wait for a node.
    pub fn wake(&self, node: &str) {
        if let Some(waited_for) = self.lock().remove(node) {
            waited_for.happened.notify_waiters();
        }
    }

    /// For how many nodes somebody waits.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    // Every change is whole before anything can panic.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, WaitedFor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who waits, until it is dropped.
#[derive(Debug)]
pub struct NodeWaiter<'a> {
    all: &'a NodeWaiters,
    node: &'a str,
    /// Notified when it has happened. A future of it that is enabled misses nothing from there on.
    pub happened: Arc<Notify>,
}

impl Drop for NodeWaiter<'_> {
    fn drop(&mut self) {
        let mut nodes = self.all.lock();
        let Some(waited_for) = nodes.get_mut(self.node) else {
            return;
        };
        // Those who have come since it happened are others.
        if !Arc::ptr_eq(&waited_for.happened, &self.happened) {
            return;
        }
        waited_for.waiters -= 1;
        if waited_for.waiters == 0 {
            nodes.remove(self.node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_kept_of_a_node_ends_with_the_last_who_waits() {
        let all = NodeWaiters::default();
        let (first, second, other) = (all.join("n"), all.join("n"), all.join("m"));
        assert_eq!(all.count(), 2);
        drop((first, other));
        assert_eq!(all.count(), 1);
        let happened = Arc::clone(&second.happened);
        let woken = happened.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        all.wake("n");
        woken.await;
        assert_eq!(all.count(), 0);
        // Somebody came in between.
        let third = all.join("n");
        drop(second);
        assert_eq!(all.count(), 1);
        drop(third);
        assert_eq!(all.count(), 0);
    }
}
