//! The state of a gateway, as its operators see it.

use super::context::Relay;
use super::placement::Placement;
use crate::metrics::{Descriptors, Observation, Observe};
use crate::pacing::Pacing;

impl Observe for Relay {
    fn observe(&self) -> Observation {
        let proofs = self.placement.proofs();
        let Placement::Gateway(_) = &self.placement else {
            return Observation::default();
        };
        Observation {
            is_draining: false,
            ironic: *self.reachable().borrow(),
            queue: self
                .pacing
                .as_ref()
                .map(Pacing::lengths)
                .unwrap_or_default(),
            known_nodes: proofs.count(),
            state_dir: proofs.problem(),
            certificates: Vec::new(),
            descriptors: Descriptors::now(),
        }
    }
}
