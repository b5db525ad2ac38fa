//! What the program tells people: one line per event on standard error. A serial console and
//! a journal are the readers, so there is no colour, and whatever a terminal would obey is
//! written as its escape.
//!
//! Others choose how often there is something to tell. Lines of one kind, and of one kind
//! about one peer (the field `peer`), have a [budget](limit), as all lines together have; what
//! was left out is counted by a line of its own within seconds.
//!
//! Where somebody follows the log, its last lines are [kept].

use std::any::Any;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::panic::PanicHookInfo;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber, callsite};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use ironic_text::printable;
pub use kept::{KeptLine, KeptLog};
use limit::{Limiter, Rates};

pub mod kept;
pub mod limit;

/// What the names of our own crates begin with.
const OURS: &str = "ironic_";

/// The longest line in bytes, before escaping. A program's last words are shorter.
const MAX_LINE_BYTES: usize = 16 * 1024;

/// How long after a line was left out the count of such lines follows.
const REPORT: Duration = Duration::from_secs(5);

/// Starts the log of this process. A second call changes nothing.
///
/// `debug` lets more of our own lines through, never those of libraries: at that level HTTP
/// libraries print headers and URLs, and with them tokens.
pub fn start(debug: bool) {
    let budget = LogBudget::new(Rates::default());
    let layer = layer(debug, &budget, io::stderr);
    // Fails only when there is a log already.
    if tracing_subscriber::registry()
        .with(layer)
        .try_init()
        .is_err()
    {
        return;
    }
    std::panic::set_hook(Box::new(panicked));
    let counted = budget.clone();
    let reporter = thread::Builder::new().name("log".to_owned());
    match reporter.spawn(move || counted.keep_reporting()) {
        Ok(reporter) => budget.report_by(reporter.thread().clone()),
        Err(error) => tracing::warn!(%error, "lines that are left out are not counted"),
    }
}

fn layer<S, W>(
    debug: bool,
    budget: &LogBudget,
    writer: impl Fn() -> W + Send + Sync + 'static,
) -> impl Layer<S>
where
    S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: Write + 'static,
{
    let writers = LineWriters {
        make: writer,
        budget: budget.clone(),
    };
    // The outer one decides first. None of them filters for another one alone: that kind of
    // filter may not look at the fields of an event.
    tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_target(false)
        .with_writer(writers)
        .and_then(budget.clone())
        .and_then(filter(debug))
}

fn filter(debug: bool) -> Targets {
    let ours = if debug { Level::DEBUG } else { Level::INFO };
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target(OURS, ours)
}

/// A panic is a line like any other: its text may quote what others sent.
fn panicked(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let location = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    tracing::error!(
        thread = thread.name().unwrap_or("unnamed"),
        place = %location,
        "panic: {}",
        payload(panic.payload())
    );
}

fn payload(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

/// The budgets of the log, shared by what decides, what writes and what counts.
#[derive(Clone)]
struct LogBudget(Arc<Mutex<LogState>>);

struct LogState {
    limiter: Limiter<callsite::Identifier>,
    /// What the kinds of which lines were left out say.
    texts: Vec<(callsite::Identifier, String)>,
    reporter: Option<Thread>,
}

impl LogBudget {
    fn new(rates: Rates) -> Self {
        Self(Arc::new(Mutex::new(LogState {
            limiter: Limiter::new(rates, Instant::now()),
            texts: Vec::new(),
            reporter: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, LogState> {
        // Nothing in there is left half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admits(&self, event: &Event<'_>) -> bool {
        let kind = event.metadata().callsite();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut state = self.state();
        if state
            .limiter
            .admits(kind.clone(), fields.peer, Instant::now())
        {
            return true;
        }
        if !state.texts.iter().any(|(known, _)| *known == kind) {
            state.texts.push((kind, fields.message));
            if let Some(reporter) = &state.reporter {
                reporter.unpark();
            }
        }
        false
    }

    fn wrote(&self, bytes: usize) {
        self.state().limiter.wrote(bytes, Instant::now());
    }

    fn report_by(&self, reporter: Thread) {
        self.state().reporter = Some(reporter);
    }

    /// Goal: a line for each kind of which lines were left out, some seconds later. Exit: with
    /// the process.
    fn keep_reporting(&self) {
        loop {
            thread::park();
            thread::sleep(REPORT);
            self.report();
        }
    }

    fn report(&self) {
        let (left_out, texts) = {
            let mut state = self.state();
            (state.limiter.left_out(), std::mem::take(&mut state.texts))
        };
        for (kind, lines) in left_out {
            let text = texts.iter().find(|(known, _)| *known == kind);
            let of = text.map_or("other lines", |(_, text)| text.as_str());
            tracing::warn!(lines, %of, "similar lines were left out");
        }
    }
}

/// What a budget needs to know of an event.
#[derive(Default)]
struct Fields {
    peer: Option<u64>,
    message: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "peer" => self.peer = peer(&format!("{value:?}")),
            "message" => {
                self.message = format!("{value:?}");
                self.message.truncate(self.message.floor_char_boundary(100));
            }
            _ => {}
        }
    }
}

/// The number of a peer as a line has it. One that may be unknown is written as an `Option`.
fn peer(shown: &str) -> Option<u64> {
    let known = shown
        .strip_prefix("Some(")
        .and_then(|shown| shown.strip_suffix(')'));
    (shown != "None").then(|| number(known.unwrap_or(shown)))
}

/// A number for a peer, whose port does not matter: never 0, which stands for many of them.
fn number(peer: &str) -> u64 {
    let address = peer.parse::<SocketAddr>().map(|address| address.ip());
    let mut hasher = DefaultHasher::new();
    match address
        .or_else(|_| peer.parse::<IpAddr>())
        .map(|ip| ip.to_canonical())
    {
        Ok(IpAddr::V6(address)) => (address.to_bits() >> 64).hash(&mut hasher),
        Ok(IpAddr::V4(address)) => address.hash(&mut hasher),
        Err(_) => peer.hash(&mut hasher),
    }
    hasher.finish().max(1)
}

impl<S: Subscriber> Layer<S> for LogBudget {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.admits(event)
    }
}

/// Makes a writer for each event, which knows the event's level.
struct LineWriters<M> {
    make: M,
    budget: LogBudget,
}

impl<M, W> MakeWriter<'_> for LineWriters<M>
where
    M: Fn() -> W,
    W: Write,
{
    type Writer = LineWriter<W>;

    fn make_writer(&self) -> LineWriter<W> {
        LineWriter {
            out: (self.make)(),
            budget: self.budget.clone(),
            level: Level::INFO,
        }
    }

    fn make_writer_for(&self, metadata: &Metadata<'_>) -> LineWriter<W> {
        LineWriter {
            level: *metadata.level(),
            ..self.make_writer()
        }
    }
}

/// Writes each event, which arrives whole and with a line break at its end, as one line and
/// by one system call, so that lines of several threads do not mix.
struct LineWriter<W> {
    out: W,
    budget: LogBudget,
    level: Level,
}

impl<W: Write> Write for LineWriter<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = event.strip_suffix(b"\n").unwrap_or(event);
        let shown = String::from_utf8_lossy(&text[..text.len().min(MAX_LINE_BYTES)]);
        let mut line = printable(&shown).into_owned();
        if text.len() > MAX_LINE_BYTES {
            line.push_str(&format!(
                " ... ({} bytes more)",
                text.len() - MAX_LINE_BYTES
            ));
        }
        if let Some(log) = KeptLog::if_wanted() {
            log.write(SystemTime::now(), self.level, said(&line, self.level));
        }
        line.push('\n');
        self.budget.wrote(line.len());
        self.out.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What a line says behind its time and its level.
fn said(line: &str, level: Level) -> &str {
    let behind_time = line.split_once(' ').map_or("", |(_, rest)| rest);
    let said = behind_time.trim_start().strip_prefix(level.as_str());
    said.map_or(line, str::trim_start)
}

#[cfg(test)]
mod tests;
