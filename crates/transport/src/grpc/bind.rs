//! Where a gRPC server listens.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use http::{Request, Response};
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::server::Router;
use tower::{Layer, Service};

use super::server_tls::{ServerTls, handshakes};
use crate::address::Listen;
use crate::listener::{ConnectionLimits, Listener};

/// Why there is nothing to listen at.
#[derive(Debug, Error)]
pub enum BindError {
    /// The address or path cannot be used.
    #[error("cannot listen at {listen}")]
    Unusable {
        /// As it was configured.
        listen: Listen,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody answers at the socket.
    #[error("another program serves at unix:{0}: stop it, or listen elsewhere")]
    InUse(PathBuf),
    /// Something else is in the socket's place.
    #[error("{0} exists and is not a socket: listen elsewhere")]
    NoSocket(PathBuf),
}

/// How many connections there may be to one agent or beside it, and for how long they may keep
/// us waiting. A shim or an orchestrator has one.
pub const LIMITS: ConnectionLimits = ConnectionLimits {
    authenticated: 256,
    unauthenticated: 128,
    per_peer: 32,
    // TLS, the HTTP/2 preface and the first call together; also the pause between two calls.
    wait: Duration::from_secs(30),
    stall: Duration::from_secs(20),
};

/// An open listener.
#[derive(Debug)]
pub enum Bound {
    /// At an address and port.
    Tcp(Listener<TcpListener>),
    /// At a socket.
    Unix(Listener<UnixListener>),
}

impl Bound {
    /// Serves `router` on the connections that arrive, until `stop` completes. A router with TLS of
    /// its own gets none here.
    ///
    /// # Errors
    /// The transport failed.
    pub async fn serve<L>(
        self,
        router: Router<L>,
        tls: Option<ServerTls>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error>
    where
        L: Layer<Routes>,
        L::Service: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
        <L::Service as Service<Request<Body>>>::Future: Send,
        <L::Service as Service<Request<Body>>>::Error:
            Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    {
        match (self, tls) {
            (Self::Tcp(listener), None) => {
                let incoming = listener.into_stream().boxed();
                router.serve_with_incoming_shutdown(incoming, stop).await
            }
            (Self::Tcp(listener), Some(tls)) => {
                let incoming = handshakes(listener.into_stream().boxed(), tls).boxed();
                router.serve_with_incoming_shutdown(incoming, stop).await
            }
            (Self::Unix(listener), None) => {
                let incoming = listener.into_stream().boxed();
                router.serve_with_incoming_shutdown(incoming, stop).await
            }
            (Self::Unix(listener), Some(tls)) => {
                let incoming = handshakes(listener.into_stream().boxed(), tls).boxed();
                router.serve_with_incoming_shutdown(incoming, stop).await
            }
        }
    }
}

/// Opens the listener, which the log calls `name`. The answer also says where it listens, with the port that the
/// system chose for port 0.
///
/// # Errors
/// The address is taken, or not ours.
pub async fn bind(
    listen: &Listen,
    name: &'static str,
    limits: ConnectionLimits,
) -> Result<(Bound, Listen), BindError> {
    let unusable = |source| BindError::Unusable {
        listen: listen.clone(),
        source,
    };
    match listen {
        Listen::Tcp(address) => {
            let listener = TcpListener::bind(address).await.map_err(unusable)?;
            let address = listener.local_addr().map_err(unusable)?;
            let listener = Listener::new(listener, name, limits);
            Ok((Bound::Tcp(listener), Listen::Tcp(address)))
        }
        Listen::Unix(path) => {
            clear(path)?;
            let listener = bind_socket(path).map_err(unusable)?;
            let listener = Listener::new(listener, name, limits);
            Ok((Bound::Unix(listener), listen.clone()))
        }
    }
}

/// Removes a socket that an earlier life left behind.
fn clear(path: &Path) -> Result<(), BindError> {
    let unusable = |source| BindError::Unusable {
        listen: Listen::Unix(path.to_owned()),
        source,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unusable(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NoSocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    if UnixStream::connect(path).is_ok() {
        return Err(BindError::InUse(path.to_owned()));
    }
    fs::remove_file(path).map_err(unusable)
}

/// Opens a socket that only its owner may use. It gets its name when its mode is right, so
/// that nobody can connect in between.
fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)?;
    }
    let mut hidden = path.as_os_str().to_owned();
    hidden.push(format!(".{}", std::process::id()));
    let hidden = PathBuf::from(hidden);
    let listener = UnixListener::bind(&hidden)?;
    let named = fs::set_permissions(&hidden, fs::Permissions::from_mode(0o600))
        .and_then(|()| fs::rename(&hidden, path));
    match named {
        Ok(()) => Ok(listener),
        Err(error) => {
            // The first error is the one to tell.
            let _ = fs::remove_file(&hidden);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_belongs_to_its_owner_and_replaces_a_stale_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/agent.sock");
        let listen = Listen::Unix(path.clone());
        let (first, _) = bind(&listen, "test", LIMITS).await.unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(
            bind(&listen, "test", LIMITS).await.unwrap_err(),
            BindError::InUse(_)
        ));
        drop(first);
        assert!(path.exists(), "the socket is stale now");
        bind(&listen, "test", LIMITS).await.unwrap();
        let entries = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(entries, 1, "no hidden name is left");
    }

    #[tokio::test]
    async fn other_files_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        fs::write(&path, "precious").unwrap();
        let error = bind(&Listen::Unix(path.clone()), "test", LIMITS)
            .await
            .unwrap_err();
        assert!(matches!(error, BindError::NoSocket(_)));
        assert_eq!(fs::read_to_string(path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn the_port_of_port_0_is_reported() {
        let (_bound, listen) = bind(&"127.0.0.1:0".parse().unwrap(), "test", LIMITS)
            .await
            .unwrap();
        assert!(matches!(listen, Listen::Tcp(address) if address.port() != 0));
        let error = bind(&listen, "test", LIMITS).await.unwrap_err();
        assert!(matches!(error, BindError::Unusable { .. }));
    }
}
