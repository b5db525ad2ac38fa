//! What a gateway counts, and how operators and their monitoring read it.
//!
//! [`Metrics`] is one value that is handed to every module that counts; there is no registry of the
//! process. What others know better is not counted: an [`Observation`] is made when somebody asks,
//! and [`readiness`] judges it. [`listener`] answers `/metrics`, `/healthz` and `/readyz`.
//!
//! No metric has a label whose values are nodes, peers or texts: ten thousand nodes make no more
//! series than one.

use std::sync::Arc;
use std::time::Instant;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

pub mod labels;
pub mod listener;
mod observation;
mod process;
pub mod readiness;

use labels::{
    AttachOutcome, BeatResult, CommandVerdict, DetachCause, DropReason, HandshakeResult,
    InspectionResult, Label, LookupResult,
};
use observation::ObservedGauges;
pub use observation::{CertificateEnd, GatewaysState, Observation, Observe, QueueLengths};
pub use process::Descriptors;
use process::ProcessGauges;

/// What the names of our own metrics begin with.
const PREFIX: &str = "ironic_shim";

/// Bounds of the buckets of heartbeats, in seconds. A beat waits here for 3 s at most, and an
/// Ironic call ends after a minute.
const LAG_BOUNDS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

/// The metrics of one program. Cheap to clone; all clones count together.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<MetricsState>);

#[derive(Debug)]
struct MetricsState {
    registry: Registry,
    events: EventCounters,
    levels: LevelGauges,
    observed: ObservedGauges,
    process: ProcessGauges,
}

/// What has happened since the start.
#[derive(Debug)]
struct EventCounters {
    attaches: EventCounter,
    detaches: EventCounter,
    handshakes: EventCounter,
    beats: EventCounter,
    beat_lag: Histogram,
    lookups: EventCounter,
    inspections: EventCounter,
    commands: EventCounter,
    held: Counter,
    forwarded: Counter,
    dropped: EventCounter,
}

/// How many there are at the moment.
#[derive(Debug)]
struct LevelGauges {
    attached: Gauge,
    unproved: Gauge,
    heartbeat_sessions: Gauge,
    commands_running: Gauge,
    requests_waiting: Gauge,
    page_viewers: Gauge,
}

/// Events of several kinds. Each kind is served from the beginning: a series that appears with
/// its first event has no rate for it.
#[derive(Debug, Clone)]
struct EventCounter(Family<[(&'static str, &'static str); 1], Counter>);

impl EventCounter {
    fn register<L: Label>(registry: &mut Registry, name: &str, help: &str) -> Self {
        let family = Family::default();
        for label in L::ALL {
            let _: Counter = family.get_or_create_owned(&[(L::KEY, label.word())]);
        }
        registry.register(name, help, family.clone());
        Self(family)
    }

    fn add<L: Label>(&self, label: L) {
        self.0.get_or_create(&[(L::KEY, label.word())]).inc();
    }
}

/// Counts one of something for as long as it lives.
#[derive(Debug)]
#[must_use = "it is counted for as long as this lives"]
pub struct GaugeGuard(Gauge);

impl GaugeGuard {
    fn of(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn registered<M: Clone + Default + prometheus_client::registry::Metric>(
    registry: &mut Registry,
    name: &str,
    help: &str,
) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// A number as gauges have it.
fn whole(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn beat_lag(registry: &mut Registry) -> Histogram {
    let lag = Histogram::new(LAG_BOUNDS);
    registry.register(
        "heartbeat_lag_seconds",
        "From the arrival of a heartbeat to Ironic's answer; deferred ones are not counted",
        lag.clone(),
    );
    lag
}

impl EventCounters {
    fn register(registry: &mut Registry) -> Self {
        Self {
            beat_lag: beat_lag(registry),
            attaches: EventCounter::register::<AttachOutcome>(
                registry,
                "attaches",
                "Calls of Attach by what became of them",
            ),
            detaches: EventCounter::register::<DetachCause>(
                registry,
                "detaches",
                "Attachments that have ended; an agent attaches again after each of them",
            ),
            handshakes: EventCounter::register::<HandshakeResult>(
                registry,
                "handshakes",
                "TLS handshakes of agents by how they ended",
            ),
            beats: EventCounter::register::<BeatResult>(
                registry,
                "heartbeats",
                "Heartbeats by the verdict that the agent was given",
            ),
            lookups: EventCounter::register::<LookupResult>(
                registry,
                "lookups",
                "Lookups by what the agent was answered",
            ),
            inspections: EventCounter::register::<InspectionResult>(
                registry,
                "inspection_reports",
                "Inspection reports by what the agent was answered",
            ),
            commands: EventCounter::register::<CommandVerdict>(
                registry,
                "commands",
                "Commands that were given to agents, by the agent's answer",
            ),
            held: registered(
                registry,
                "requests_held",
                "Requests that had to wait for an agent that was away",
            ),
            forwarded: registered(
                registry,
                "requests_forwarded",
                "Requests that were sent to the gateway that holds the node",
            ),
            dropped: EventCounter::register::<DropReason>(
                registry,
                "requests_dropped",
                "Requests whose connection ended without an answer, which Ironic repeats",
            ),
        }
    }
}

impl LevelGauges {
    fn register(registry: &mut Registry) -> Self {
        let mut gauge = |name, help| registered(registry, name, help);
        Self {
            attached: gauge("attachments", "Agents that are attached"),
            unproved: gauge(
                "attachments_unproved",
                "Attachments that wait for the proof of their token",
            ),
            heartbeat_sessions: gauge("heartbeat_sessions", "Heartbeat sessions that are open"),
            commands_running: gauge(
                "commands_in_flight",
                "Commands that agents have been given and have not answered",
            ),
            requests_waiting: gauge(
                "requests_waiting",
                "Requests that wait for an agent that is away",
            ),
            page_viewers: gauge("page_viewers", "Browsers that show the page, live"),
        }
    }
}

impl Metrics {
    /// Nothing has been counted yet.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let process = ProcessGauges::register(&mut registry);
        let own = registry.sub_registry_with_prefix(PREFIX);
        let labels = [("version", ironic_program::version())];
        own.register("build", "The program that runs", Info::new(labels));
        let state = MetricsState {
            events: EventCounters::register(own),
            levels: LevelGauges::register(own),
            observed: ObservedGauges::register(own),
            process,
            registry,
        };
        Self(Arc::new(state))
    }

    /// A call of `Attach` was accepted or refused.
    pub fn attach(&self, outcome: AttachOutcome) {
        self.0.events.attaches.add(outcome);
    }

    /// An agent is attached for as long as the guard lives.
    pub fn attached(&self) -> GaugeGuard {
        GaugeGuard::of(&self.0.levels.attached)
    }

    /// An attachment has ended.
    pub fn detached(&self, cause: DetachCause) {
        self.0.events.detaches.add(cause);
    }

    /// The TLS handshake of an agent has ended.
    pub fn handshake(&self, result: HandshakeResult) {
        self.0.events.handshakes.add(result);
    }

    /// A browser shows the page for as long as the guard lives.
    pub fn page_viewer(&self) -> GaugeGuard {
        GaugeGuard::of(&self.0.levels.page_viewers)
    }

    /// An attachment waits for a proof for as long as the guard lives.
    pub fn waits_for_proof(&self) -> GaugeGuard {
        GaugeGuard::of(&self.0.levels.unproved)
    }

    /// A heartbeat session is open for as long as the guard lives.
    pub fn heartbeat_session(&self) -> GaugeGuard {
        GaugeGuard::of(&self.0.levels.heartbeat_sessions)
    }

    /// A beat that had arrived then was answered.
    pub fn beat(&self, result: BeatResult, arrived: Instant) {
        self.0.events.beats.add(result);
        if result != BeatResult::Deferred {
            self.0
                .events
                .beat_lag
                .observe(arrived.elapsed().as_secs_f64());
        }
    }

    /// A lookup was answered.
    pub fn lookup(&self, result: LookupResult) {
        self.0.events.lookups.add(result);
    }

    /// An inspection report was answered.
    pub fn inspection(&self, result: InspectionResult) {
        self.0.events.inspections.add(result);
    }

    /// A command is in flight for as long as the guard lives.
    pub fn command_begins(&self) -> GaugeGuard {
        GaugeGuard::of(&self.0.levels.commands_running)
    }

    /// A command was answered by its agent, or not.
    pub fn command(&self, result: CommandVerdict) {
        self.0.events.commands.add(result);
    }

    /// A request waits for an agent that is away, for as long as the guard lives.
    pub fn request_held(&self) -> GaugeGuard {
        self.0.events.held.inc();
        GaugeGuard::of(&self.0.levels.requests_waiting)
    }

    /// A request goes to another gateway.
    pub fn request_forwarded(&self) {
        self.0.events.forwarded.inc();
    }

    /// The connection of a request ends without an answer.
    pub fn request_dropped(&self, reason: DropReason) {
        self.0.events.dropped.add(reason);
    }

    /// Everything in the text format of OpenMetrics, with the values of `observation` and of the
    /// process as it is now.
    #[must_use]
    pub fn text(&self, observation: &Observation) -> String {
        self.0.observed.set(observation);
        self.0.process.set(observation.descriptors);
        let mut text = String::new();
        // Writing to a string fails only where a metric cannot be written, and ours can.
        let _ = text::encode(&mut text, &self.0.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_served_and_every_kind_from_the_beginning() {
        let metrics = Metrics::new();
        let nothing = metrics.text(&Observation::default());
        assert!(nothing.contains("\nironic_shim_attaches_total{outcome=\"unproved\"} 0\n"));
        metrics.attach(AttachOutcome::Accepted);
        let first = metrics.attached();
        let second = metrics.attached();
        drop(first);
        metrics.beat(BeatResult::Accepted, Instant::now());
        metrics.beat(BeatResult::Deferred, Instant::now());
        let text = metrics.text(&Observation::default());
        for line in [
            "ironic_shim_attaches_total{outcome=\"accepted\"} 1",
            "ironic_shim_attachments 1",
            "ironic_shim_heartbeats_total{verdict=\"deferred\"} 1",
            "ironic_shim_heartbeat_lag_seconds_count 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
        assert_eq!(
            text.lines().count(),
            nothing.lines().count(),
            "no new series"
        );
        drop(second);
        let text = metrics.text(&Observation::default());
        assert!(text.contains("\nironic_shim_attachments 0\n"), "{text}");
    }
}
