//! A tree of small nodes that several machines share, as a coordination service keeps it:
//! some nodes live as long as the session that made them.

use std::fmt;
use std::io;
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
    ) -> BoxFuture<'a, Result<Box<dyn CoordinationSession>, CoordinationError>>;
}

/// A session. It lasts while something is asked at least every few seconds.
pub trait CoordinationSession: fmt::Debug + Send {
    /// The address by which the server is reached, and by which others may reach us.
    fn own_address(&self) -> IpAddr;

    /// Makes a node and answers its path: that of a numbered one ends with its number.
    fn create<'a>(
        &'a mut self,
        path: &'a str,
        life: NodeLifetime,
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
pub enum NodeLifetime {
    /// Until it is removed.
    Lasting,
    /// Until the session ends.
    OfSession,
    /// Likewise; the server appends ten digits that grow.
    OfSessionNumbered,
}

/// Why the service did not do what it was asked for.
#[derive(Debug, Error)]
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
    #[error("no coordination server answers: {}", list(.0))]
    Unreachable(Vec<UnreachableServer>),
    /// No server is asked.
    #[error("no coordination server answers: a simulation meets no other machines")]
    Simulated,
    /// The connection was lost, or the server does not speak the protocol.
    #[error("the coordination service was lost: {0}")]
    Lost(#[from] CoordinationConnectionError),
}

/// A server that gave no session.
#[derive(Debug, Error)]
#[error("{server}: {source}")]
pub struct UnreachableServer {
    /// As it is configured.
    pub server: String,
    /// Why not.
    pub source: CoordinationConnectionError,
}

fn list(servers: &[UnreachableServer]) -> String {
    let lines: Vec<_> = servers.iter().map(UnreachableServer::to_string).collect();
    lines.join("; ")
}

/// Why a server gave no answer that can be used.
#[derive(Debug, Error)]
pub enum CoordinationConnectionError {
    /// The network failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server is silent.
    #[error("no answer")]
    NoAnswer,
    /// The server opens no session.
    #[error("it gives no session")]
    NoSession,
    /// The answer is longer than any that is expected.
    #[error("an answer of {0} bytes")]
    TooLong(usize),
    /// The answer ends too early.
    #[error("an answer that is cut off")]
    CutOff,
    /// A name is not UTF-8.
    #[error("a name that is not text")]
    NotText(#[from] std::string::FromUtf8Error),
}
