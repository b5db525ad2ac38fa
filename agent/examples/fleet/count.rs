//! Counts what the agents log.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    /// Attachments that were accepted.
    pub(crate) attaches: u64,
    /// Attachments that have ended.
    pub(crate) losses: u64,
}

/// A subscriber that counts. Cheap to clone; all clones share the numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    attaches: AtomicU64,
    losses: AtomicU64,
}

impl Counts {
    /// The numbers now.
    pub(crate) fn read(&self) -> Totals {
        Totals {
            attaches: self.0.attaches.load(Ordering::Relaxed),
            losses: self.0.losses.load(Ordering::Relaxed),
        }
    }
}

impl<S: Subscriber> Layer<S> for Counts {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.level() <= &Level::INFO && metadata.target().starts_with("ironic_agent::conductor")
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        if text.event == "attached" {
            self.0.attaches.fetch_add(1, Ordering::Relaxed);
        }
        if text.message == "the attachment has ended" {
            self.0.losses.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The fields of an event that say what has happened.
#[derive(Debug, Default)]
struct Text {
    event: String,
    message: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "event" => self.event = format!("{value:?}"),
            "message" => self.message = format!("{value:?}"),
            _ => {}
        }
    }
}
