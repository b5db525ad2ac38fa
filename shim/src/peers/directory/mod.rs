//! The directory: how replicas find each other and, of each node, the one that holds it.
//!
//! It carries small questions and answers and proves nothing. What replicas must believe of each
//! other, and all requests, go directly from one to the other.

use std::fmt::Debug;

use futures_util::future::BoxFuture;
use thiserror::Error;

use super::wire::{LocateAnswer, Presence};

pub mod credentials;
pub mod nats;

/// The directory does not answer at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the directory (option directory) does not answer")]
pub struct DirectoryAway;

/// What replicas answered to the question for a node.
#[derive(Debug, Default)]
pub struct Located {
    /// The answers.
    pub answers: Vec<LocateAnswer>,
    /// Whether all that were expected to answer have.
    pub is_complete: bool,
}

/// How replicas find each other.
pub trait Directory: Debug + Send + Sync {
    /// Asks the other replicas for a node; `expected` is how many of them are known.
    fn locate<'a>(
        &'a self,
        node_uuid: &'a str,
        expected: usize,
    ) -> BoxFuture<'a, Result<Located, DirectoryAway>>;

    /// Whether it can be reached.
    fn is_connected(&self) -> bool;
}

/// A replica, as the directory needs it.
pub trait DirectoryMember: Send + Sync {
    /// How it introduces itself.
    fn presence(&self) -> Presence;

    /// Another replica has introduced itself. Whether it was not known.
    fn meet(&self, presence: Presence) -> bool;

    /// What it answers about a node.
    fn answer(&self, node_uuid: &str) -> LocateAnswer;

    /// Called every few seconds while the directory is connected: who has not been heard of for
    /// long is gone.
    fn forget_absent(&self);
}
