//! A gRPC connection within a stream of byte chunks.
//!
//! An agent without an open port calls `ConductorService.Attach`. The two streams of that call
//! carry the bytes of an HTTP/2 connection in which the roles are exchanged: the agent's
//! ordinary server takes it as one more connection, and whom the agent called is the client
//! ([`connect`]). Deadlines, cancellation, flow control and streams are those of gRPC, and
//! every proxy that passes gRPC passes it.
//!
//! [`Tunnel`] makes a socket of the two streams. It knows neither the messages that carry the
//! chunks nor who is at the other end: both programs build on it. [`keep_alive`] keeps long
//! calls alive that pass proxies.

mod connection;
mod exchange;
mod io;
mod keep_alive;

pub use connection::{
    CONNECTION_WINDOW, ConnectionDriver, GrpcChannel, ORIGIN, Pings, STREAM_WINDOW, connect,
};
pub use io::{CHUNK, Outgoing, Tunnel};
pub use keep_alive::{KEEP_ALIVE, KeptAlive, keep_alive};
