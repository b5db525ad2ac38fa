//! Which listener of a gateway may use which part of the descriptors.
//!
//! Each agent has one connection, and with it one descriptor; all others share a quarter.

use ironic_transport::listener::DescriptorShare;

/// The listener of agents.
pub(crate) const AGENTS: DescriptorShare = DescriptorShare::new(12, 16);
/// The REST listener.
pub(crate) const REST: DescriptorShare = DescriptorShare::new(2, 16);
/// The listener of orchestrators and operators.
pub(crate) const FLEET: DescriptorShare = DescriptorShare::new(1, 16);
/// The page.
pub(crate) const PAGE: DescriptorShare = DescriptorShare::new(1, 32);
/// The listener of the other gateways. Calls to them, to Ironic and to NATS have what no listener may
/// use.
pub(crate) const PEERS: DescriptorShare = DescriptorShare::new(1, 32);

/// Descriptors that a gateway wants, for 65,536 agents and those that come.
const WANTED: u64 = 131_072;

/// Lets this process open as many descriptors as a gateway can use. The system bounds it:
/// `LimitNOFILE` of a service.
pub(crate) fn raise_limit() {
    ironic_program::raise_descriptor_limit(WANTED);
}
