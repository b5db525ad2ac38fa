//! The state of a gateway, as its operators see it.

use std::time::Duration;

use tracing::warn;

use super::context::Relay;
use super::listener_tls::ListenerTls;
use super::placement::Placement;
use crate::metrics::readiness::ENDS_SOON_SECONDS;
use crate::metrics::{CertificateEnd, Descriptors, GatewaysState, Observation, Observe};
use crate::pacing::Pacing;

/// How often certificates that end soon are named.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Looks at everything that a gateway is made of. Cheap to clone.
#[derive(Debug, Clone)]
pub struct GatewayObserver {
    relay: Relay,
    tls: Option<ListenerTls>,
}

impl GatewayObserver {
    pub(super) fn new(relay: Relay, tls: Option<ListenerTls>) -> Self {
        Self { relay, tls }
    }

    /// Names certificates that end soon, once a day. Never returns.
    pub async fn name_ending_certificates(self) {
        let mut days = tokio::time::interval(DAY);
        loop {
            days.tick().await;
            let ends = self.certificates().into_iter();
            for end in ends.filter(|end| end.ends_in_seconds < ENDS_SOON_SECONDS) {
                let (certificate, hours) = (end.name, end.ends_in_seconds / 3600);
                warn!(certificate, hours, "a certificate ends soon, or has ended");
            }
        }
    }

    /// When the certificates end that this gateway shows.
    fn certificates(&self) -> Vec<CertificateEnd> {
        let rest = self.relay.placement.gateway();
        let rest = rest.map(|gateway| gateway.certificate_ends());
        let agents = self.tls.as_ref().and_then(ListenerTls::end);
        rest.unwrap_or_default().into_iter().chain(agents).collect()
    }
}

impl Observe for GatewayObserver {
    fn observe(&self) -> Observation {
        let relay = &self.relay;
        let proofs = relay.placement.proofs();
        let Placement::Gateway(gateway) = &relay.placement else {
            return Observation::default();
        };
        Observation {
            is_draining: gateway.is_draining(),
            ironic: relay.reachable().and_then(|known| *known.borrow()),
            queue: relay
                .pacing
                .as_ref()
                .map(Pacing::lengths)
                .unwrap_or_default(),
            known_nodes: proofs.count(),
            state_dir: proofs.problem(),
            certificates: self.certificates(),
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
