//! What the contract tests stand on: a fake Ironic, a running shim, and recorded traffic.

pub(crate) mod ironic;
pub(crate) mod shim;
pub(crate) mod tls;
