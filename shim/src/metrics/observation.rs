//! What is not counted but looked at: the state of a gateway at one moment.

use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::process::Descriptors;
use super::{registered, whole};

/// The state of a gateway at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// No new sessions are accepted: agents are asked to attach elsewhere.
    pub is_draining: bool,
    /// Whether Ironic answered the last time; `None` before it was asked.
    pub ironic: Option<bool>,
    /// What waits for Ironic.
    pub queue: QueueLengths,
    /// Nodes whose tokens are proved.
    pub known_nodes: usize,
    /// What is wrong with the state directory.
    pub state_dir: Option<String>,
    /// When the certificates end that this gateway shows.
    pub certificates: Vec<CertificateEnd>,
    /// The gateways that share the nodes with this one; `None` where it stands alone.
    pub gateways: Option<GatewaysState>,
    /// The descriptors of the process.
    pub descriptors: Descriptors,
}

/// The gateways that share their nodes, as one of them knows them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GatewaysState {
    /// Whether the directory can be reached.
    pub directory_connected: bool,
    /// Other gateways that are known.
    pub others: usize,
    /// Nodes that are attached to others.
    pub nodes_elsewhere: usize,
}

/// The calls that wait for Ironic.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct QueueLengths {
    /// Forced heartbeats that wait here.
    pub forced: usize,
    /// Other calls that wait here.
    pub ordinary: usize,
    /// Callers that were sent away for a while and keep their place.
    pub deferred: usize,
    /// Calls that Ironic has not answered.
    pub in_flight: usize,
    /// Calls per second that may start.
    pub rate: f64,
}

/// When a certificate ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateEnd {
    /// Which one: `rest`, `grpc`, ...
    pub name: &'static str,
    /// The time until then; negative when it has passed.
    pub ends_in_seconds: i64,
}

/// Makes observations.
pub trait Observe: fmt::Debug + Send + Sync {
    /// The state of the gateway now.
    fn observe(&self) -> Observation;
}

type FloatGauge = Gauge<f64, AtomicU64>;

/// The gauges that are set from an [`Observation`].
#[derive(Debug)]
pub(super) struct ObservedGauges {
    draining: Gauge,
    ironic: Gauge,
    waiting: Family<[(&'static str, &'static str); 1], Gauge>,
    deferred: Gauge,
    in_flight: Gauge,
    rate: FloatGauge,
    known_nodes: Gauge,
    certificates: Family<[(&'static str, &'static str); 1], Gauge>,
    directory: Gauge,
    gateways: Gauge,
    nodes_elsewhere: Gauge,
}

impl ObservedGauges {
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self {
            draining: registered(
                registry,
                "draining",
                "1 while agents are asked to attach elsewhere",
            ),
            ironic: registered(
                registry,
                "ironic_reachable",
                "1 if Ironic answered the last call, or was not called yet",
            ),
            waiting: registered(
                registry,
                "pacing_waiting",
                "Calls to Ironic that wait here for their turn",
            ),
            deferred: registered(
                registry,
                "pacing_deferred",
                "Callers that were asked to come back later and keep their place",
            ),
            in_flight: registered(
                registry,
                "pacing_in_flight",
                "Calls to Ironic that are not answered",
            ),
            rate: registered(
                registry,
                "pacing_rate",
                "Calls to Ironic that may start in a second",
            ),
            known_nodes: registered(
                registry,
                "known_nodes",
                "Nodes whose token is proved, attached or away",
            ),
            certificates: registered(
                registry,
                "certificate_ends_in_seconds",
                "Until a certificate of this gateway ends; negative when it has",
            ),
            directory: registered(
                registry,
                "directory_connected",
                "1 if the directory of several gateways can be reached, or there is none",
            ),
            gateways: registered(
                registry,
                "other_gateways",
                "Gateways that are known to share the nodes with this one",
            ),
            nodes_elsewhere: registered(
                registry,
                "nodes_elsewhere",
                "Nodes that are attached to other gateways",
            ),
        }
    }

    pub(super) fn set(&self, observation: &Observation) {
        let Observation {
            is_draining,
            ironic,
            queue,
            known_nodes,
            state_dir: _,
            certificates,
            gateways,
            descriptors: _,
        } = observation;
        self.draining.set(i64::from(*is_draining));
        self.ironic.set(i64::from(*ironic != Some(false)));
        for (class, length) in [("forced", queue.forced), ("ordinary", queue.ordinary)] {
            self.waiting
                .get_or_create(&[("class", class)])
                .set(whole(length));
        }
        self.deferred.set(whole(queue.deferred));
        self.in_flight.set(whole(queue.in_flight));
        self.rate.set(queue.rate);
        self.known_nodes.set(whole(*known_nodes));
        let is_away = gateways.is_some_and(|gateways| !gateways.directory_connected);
        self.directory.set(i64::from(!is_away));
        let gateways = gateways.unwrap_or_default();
        self.gateways.set(whole(gateways.others));
        self.nodes_elsewhere.set(whole(gateways.nodes_elsewhere));
        for certificate in certificates {
            self.certificates
                .get_or_create(&[("certificate", certificate.name)])
                .set(certificate.ends_in_seconds);
        }
    }
}
