//! The machine's management controller, as Ironic looks nodes up by.

use crate::system::System;

/// Addresses of the management controller. `None` is unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bmc {
    /// IPv4 address.
    pub address: Option<String>,
    /// IPv6 address.
    pub v6address: Option<String>,
    /// Hardware address of the port.
    pub mac: Option<String>,
}

/// Asks the controller for its addresses, unless the node says that they need not be known.
///
/// A machine without an IPMI device has nothing to ask. Speaking IPMI is not built yet: on
/// machines that have it the addresses stay unknown, and Ironic finds the node by its MACs.
#[must_use]
pub fn probe(system: &System, skip: bool) -> Bmc {
    const DEVICES: [&str; 3] = ["/dev/ipmi0", "/dev/ipmi/0", "/dev/ipmidev/0"];
    if !skip && DEVICES.iter().any(|path| system.root.exists(path)) {
        tracing::info!("the BMC's addresses are not looked up: IPMI is not built yet");
    }
    Bmc::default()
}
