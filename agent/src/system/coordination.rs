//! A tree of small nodes that several machines share, as a coordination service keeps it:
//! some nodes live as long as the session of who made them.

use std::fmt;
use std::net::IpAddr;

use futures_util::future::BoxFuture;
use thiserror::Error;

/// Opens sessions with coordination services.
pub trait Coordination: fmt::Debug + Send + Sync {
    /// A session with the first server that answers; `servers` are `host[:port]`, separated by
    /// commas.
    fn open<'a>(
        &'a self,
        servers: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn Session>, CoordinationError>>;
}

/// A session. It lasts while something is asked at least every few seconds.
pub trait Session: fmt::Debug + Send {
    /// The address by which the server is reached, and by which others may reach us.
    fn own_address(&self) -> IpAddr;

    /// Makes a node and answers its path: that of a numbered one ends with its number.
    fn create<'a>(
        &'a mut self,
        path: &'a str,
        life: Life,
    ) -> BoxFuture<'a, Result<String, CoordinationError>>;

    /// Removes a node.
    fn delete<'a>(&'a mut self, path: &'a str) -> BoxFuture<'a, Result<(), CoordinationError>>;

    /// The names of a node's children.
    fn children<'a>(
        &'a mut self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Vec<String>, CoordinationError>>;

    /// Ends the session and with it the nodes that depend on it; best effort.
    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// How long a node lives, and how it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Until it is removed.
    Lasting,
    /// Until the session ends.
    OfSession,
    /// Likewise; the server appends ten digits that grow.
    OfSessionNumbered,
}

/// Why the service did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CoordinationError {
    /// The node is there already.
    #[error("{0} exists already")]
    Exists(String),
    /// There is no such node.
    #[error("{0} does not exist")]
    Missing(String),
    /// The service said no.
    #[error("the coordination service refuses {path}: error {code}")]
    Refused {
        /// The node.
        path: String,
        /// Its reason, as a number of its protocol.
        code: i32,
    },
    /// No server can be reached.
    #[error("no coordination server answers: {0}")]
    Unreachable(String),
    /// The connection was lost or makes no sense.
    #[error("the coordination service was lost: {0}")]
    Lost(String),
}
