//! The state of a gateway, as its operators see it.

use super::context::Relay;
use super::placement::Placement;
use crate::metrics::{Descriptors, GatewaysState, Observation, Observe};
use crate::pacing::Pacing;

impl Observe for Relay {
    fn observe(&self) -> Observation {
        let proofs = self.placement.proofs();
        let Placement::Gateway(gateway) = &self.placement else {
            return Observation::default();
        };
        Observation {
            is_draining: false,
            ironic: self.reachable().and_then(|known| *known.borrow()),
            queue: self
                .pacing
                .as_ref()
                .map(Pacing::lengths)
                .unwrap_or_default(),
            known_nodes: proofs.count(),
            state_dir: proofs.problem(),
            certificates: Vec::new(),
            gateways: gateway.peers().map(|peers| {
                let status = peers.status();
                GatewaysState {
                    directory_connected: status.directory_connected,
                    others: status.replicas,
                    nodes_elsewhere: status.nodes_elsewhere,
                }
            }),
            descriptors: Descriptors::now(),
        }
    }
}
