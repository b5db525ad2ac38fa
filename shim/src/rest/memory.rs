//! The memory for the bodies of requests: what all of them have together, and what those for one
//! node may have of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::error::RestError;

/// A share of [`Memory`].
pub(super) const SHARE: usize = 1024 * 1024;

/// How long a body for a node waits for a share. Its sender waits with it, and gives up after 60 s.
const PATIENCE: Duration = Duration::from_secs(5);

/// The memory that all bodies have together.
#[derive(Debug, Clone)]
pub struct Memory {
    all: Arc<Semaphore>,
    /// What the bodies for one node may have of it.
    of_one_node: usize,
    /// The nodes whose bodies have some.
    nodes: Arc<Mutex<HashMap<String, Weak<Semaphore>>>>,
}

impl Memory {
    /// So many bytes, and so many of them for the bodies of one node; rounded up to MiB.
    #[must_use]
    pub fn of(bytes: usize, of_one_node: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(bytes.div_ceil(SHARE))),
            of_one_node: of_one_node.div_ceil(SHARE),
            nodes: Arc::default(),
        }
    }

    /// How many MiB nobody has.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.all.available_permits()
    }

    /// What the bodies for a node may still have.
    fn of_node(&self, node: &str) -> Arc<Semaphore> {
        // Every change is whole before anything can panic.
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|_, shares| shares.strong_count() > 0);
        if let Some(shares) = nodes.get(node).and_then(Weak::upgrade) {
            return shares;
        }
        let shares = Arc::new(Semaphore::new(self.of_one_node));
        nodes.insert(node.to_owned(), Arc::downgrade(&shares));
        shares
    }
}

/// What a body has of the [`Memory`], which it gives back when it is dropped.
#[derive(Debug)]
pub struct BodyShares {
    all: OwnedSemaphorePermit,
    /// Of what its node may have.
    of_node: Option<OwnedSemaphorePermit>,
}

impl BodyShares {
    fn merge(&mut self, more: Self) {
        self.all.merge(more.all);
        match (&mut self.of_node, more.of_node) {
            (Some(held), Some(more)) => held.merge(more),
            (held, more) => *held = held.take().or(more),
        }
    }
}

/// The memory for one body, while it is read.
#[derive(Debug)]
pub(super) struct GrowingBody<'a> {
    memory: &'a Memory,
    node: Option<&'a str>,
    /// What the node may have, once the body needs some.
    of_node: Option<Arc<Semaphore>>,
    held: Option<BodyShares>,
    count: usize,
}

impl<'a> GrowingBody<'a> {
    /// A body without any share yet.
    pub(super) fn new(memory: &'a Memory, node: Option<&'a str>) -> Self {
        Self {
            memory,
            node,
            of_node: None,
            held: None,
            count: 0,
        }
    }

    /// Takes as many shares as so many bytes need.
    ///
    /// # Errors
    /// Others have the memory.
    pub(super) async fn reach(&mut self, bytes: usize) -> Result<(), RestError> {
        while self.count < bytes / SHARE {
            let share = self.share().await?;
            self.count += 1;
            match &mut self.held {
                Some(held) => held.merge(share),
                None => self.held = Some(share),
            }
        }
        Ok(())
    }

    /// What the body has.
    pub(super) fn into_shares(self) -> Option<BodyShares> {
        self.held
    }

    /// One share. The conductor takes an error for the end of a node's deployment, and asks again
    /// where there was no answer; beside an agent there are no others to wait for.
    async fn share(&mut self) -> Result<BodyShares, RestError> {
        let all = Arc::clone(&self.memory.all);
        let Some(node) = self.node else {
            let all = all.try_acquire_owned().map_err(|_| RestError::crowded())?;
            return Ok(BodyShares { all, of_node: None });
        };
        let of_node = self
            .of_node
            .get_or_insert_with(|| self.memory.of_node(node));
        let of_node = Arc::clone(of_node);
        let shares = async {
            // The node's own first: what waits for it must not hold what others could use.
            let of_node = of_node.acquire_owned().await.ok()?;
            let all = all.acquire_owned().await.ok()?;
            Some(BodyShares {
                all,
                of_node: Some(of_node),
            })
        };
        let shares = timeout(PATIENCE, shares).await;
        // They are never closed.
        shares.ok().flatten().ok_or_else(RestError::crowded_out)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    async fn body(
        memory: &Memory,
        node: Option<&str>,
        shares: usize,
    ) -> Result<Option<BodyShares>, RestError> {
        let mut body = GrowingBody::new(memory, node);
        body.reach(shares * SHARE).await?;
        Ok(body.into_shares())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_for_a_node_waits_for_others_and_then_gets_no_answer() {
        let memory = Memory::of(4 * SHARE, 4 * SHARE);
        let first = body(&memory, Some("a"), 3).await.unwrap();
        let begun = Instant::now();
        let refused = body(&memory, Some("b"), 2).await.unwrap_err();
        assert!(refused.unanswered.is_some(), "{refused:?}");
        assert_eq!(begun.elapsed(), PATIENCE);
        assert_eq!(memory.free(), 1);
        // Beside an agent an error says so at once.
        let refused = body(&memory, None, 2).await.unwrap_err();
        assert_eq!(refused, RestError::crowded());
        let waiting = body(&memory, Some("b"), 2);
        let (second, ()) = tokio::join!(waiting, async {
            sleep(PATIENCE / 2).await;
            drop(first);
        });
        assert!(second.unwrap().is_some());
        assert_eq!(memory.free(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn the_bodies_for_one_node_leave_some_to_others() {
        let memory = Memory::of(8 * SHARE, 4 * SHARE);
        let own = body(&memory, Some("a"), 3).await.unwrap();
        assert!(body(&memory, Some("a"), 2).await.is_err());
        assert_eq!(memory.free(), 5);
        assert!(body(&memory, Some("b"), 4).await.is_ok());
        drop(own);
        assert!(body(&memory, Some("a"), 4).await.is_ok());
        // Nothing is kept of nodes that have none.
        assert_eq!(memory.of_node("c").available_permits(), 4);
        assert_eq!(memory.nodes.lock().unwrap().len(), 1);
    }
}
