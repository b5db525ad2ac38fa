//! How both programs listen, connect and trust.
//!
//! [`listener`] bounds what unauthenticated peers can hold of a server, [`grpc`] puts gRPC on
//! top of it, [`tls`] decides whom a client trusts and with which versions and cipher suites,
//! [`redirect`] which redirects of HTTP are followed. [`address`] is where a program listens or
//! connects to, [`socket`] the kernel's options of all that.
//! [`Sha256Digest`] names certificates and tokens without showing them.

pub mod address;
pub mod grpc;
pub mod listener;
pub mod redirect;
mod sha256;
pub mod socket;
pub mod tls;

pub use address::{Endpoint, Endpoints, Listen};
pub use sha256::{InvalidSha256, Sha256Digest};
