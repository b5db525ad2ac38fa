//! The time of day by a server's clock.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls_pki_types::UnixTime;
use tokio::time::Instant;

/// The time of day: the server's, once it was learned, and until then this machine's. After that
/// the machine's time of day, which may jump, does not count any more. Cheap to clone; all clones
/// share what was learned.
#[derive(Debug, Clone)]
pub struct ServerClock(Arc<ClockState>);

#[derive(Debug)]
struct ClockState {
    machine: Arc<dyn TimeProvider>,
    source: RwLock<ClockSource>,
}

#[derive(Debug, Clone, Copy)]
enum ClockSource {
    /// Nobody was asked yet.
    Unsettled,
    /// The server does not say what time it is.
    Machine,
    /// What the server said, and when.
    Server { time: UnixTime, at: Instant },
}

impl Default for ServerClock {
    fn default() -> Self {
        Self::new(Arc::new(DefaultTimeProvider))
    }
}

impl ServerClock {
    /// A clock that shows the machine's time at first.
    #[must_use]
    pub fn new(machine: Arc<dyn TimeProvider>) -> Self {
        Self(Arc::new(ClockState {
            machine,
            source: RwLock::new(ClockSource::Unsettled),
        }))
    }

    /// From now on the clock goes on from this time, which the server has just said.
    pub fn learn(&self, time: UnixTime) {
        let at = Instant::now();
        self.set(ClockSource::Server { time, at });
    }

    /// The server says no time: the machine's counts.
    pub fn trust_machine(&self) {
        self.set(ClockSource::Machine);
    }

    /// Whether it is decided whose time counts.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !matches!(self.source(), ClockSource::Unsettled)
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        match self.source() {
            ClockSource::Server { time, at } => {
                let since = Duration::from_secs(time.as_secs()).saturating_add(at.elapsed());
                UnixTime::since_unix_epoch(since)
            }
            ClockSource::Unsettled | ClockSource::Machine => {
                let now = self.0.machine.current_time();
                now.unwrap_or_else(|| UnixTime::since_unix_epoch(Duration::ZERO))
            }
        }
    }

    fn source(&self) -> ClockSource {
        // Every change is one assignment.
        *self.0.source.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, source: ClockSource) {
        *self
            .0
            .source
            .write()
            .unwrap_or_else(PoisonError::into_inner) = source;
    }
}

impl TimeProvider for ServerClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_the_server_says_counts_and_goes_on() {
        let clock = ServerClock::default();
        assert!(!clock.is_settled());
        clock.learn(UnixTime::since_unix_epoch(Duration::from_secs(1000)));
        tokio::time::sleep(Duration::from_secs(7)).await;
        assert_eq!(clock.now().as_secs(), 1007);
        clock.trust_machine();
        assert!(clock.is_settled() && clock.now().as_secs() > 1_700_000_000);
    }
}
