//! Which call is next, and who comes back later. Pure: times are offsets on one monotonic clock.
//!
//! A call waits for a few seconds at most. What does not fit into that is deferred, for as long as
//! those before it take, but not for long. Who was deferred keeps its place: of those who wait,
//! the one that came first is next, and the one that came last is deferred.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::rate::{CallOutcome, CallRate};
use crate::metrics::QueueLengths;

/// How long a call waits here. An agent gives a beat up after a minute, which includes the
/// call itself.
const LONGEST_WAIT: Duration = Duration::from_secs(3);
/// Calls that wait, of each class.
const MOST_WAITING: usize = 4096;
/// Calls that may wait however low the rate is.
const LEAST_WAITING: usize = 4;
/// Deferred callers whose place is kept.
const MOST_DEFERRED: usize = 65_536;
/// How long a place is kept after its time has come.
const KEPT: Duration = Duration::from_secs(120);
/// Forced calls that pass others in a row.
const FORCED_IN_A_ROW: u32 = 3;
const SHORTEST_DEFERRAL: Duration = Duration::from_secs(1);
/// The same while Ironic is away.
const DEFERRAL_WHILE_AWAY: Duration = Duration::from_secs(5);
/// Asking again costs little here, and an Ironic that is back must find callers.
const LONGEST_DEFERRAL: Duration = Duration::from_secs(15);
/// Its multiples, without their whole parts, fill the interval from 0 to 1 evenly.
const GOLDEN_RATIO: f64 = 0.618_033_988_749_894_8;
/// For the second call of a node that waits already.
const DEFERRAL_OF_A_SECOND: Duration = Duration::from_secs(2);

/// Identifies a caller: calls with the same key never run at once, and a deferred one keeps
/// its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CallerKey(pub(super) u64);

/// A call that asks for leave to start.
#[derive(Debug, Clone, Copy)]
pub(super) struct PacedCall {
    pub(super) key: CallerKey,
    /// Passes those that are not.
    pub(super) is_forced: bool,
    /// Takes the place of a waiting call of the same key that is not proved.
    pub(super) is_proved: bool,
}

/// Names one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct CallId(u64);

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PacingDecision {
    /// It starts now.
    Start(CallId),
    /// It comes back after this time.
    Defer(CallId, Duration),
}

/// Since when a caller asks, and which call it is: the order of the calls that wait.
type Place = (Duration, CallId);

#[derive(Debug, Clone, Copy)]
struct QueuedCall {
    call: PacedCall,
    entered: Duration,
}

#[derive(Debug, Clone, Copy)]
struct RunningCall {
    call: PacedCall,
    since: Duration,
    started: Duration,
    waited: bool,
}

/// The place of a caller that was deferred.
#[derive(Debug, Clone, Copy)]
struct Deferred {
    since: Duration,
    until: Duration,
    is_forced: bool,
}

/// Calls that wait, forced or not.
#[derive(Debug, Default)]
struct Class {
    waiting: BTreeMap<Place, QueuedCall>,
    /// Callers that were deferred and have not come back.
    outstanding: u32,
}

/// The calls that wait and run.
#[derive(Debug)]
pub(super) struct CallQueue {
    rate: CallRate,
    forced: Class,
    ordinary: Class,
    places: HashMap<CallerKey, (bool, Place)>,
    /// In the order in which they came; some of them wait no more.
    entered: VecDeque<(Duration, bool, Place)>,
    in_flight: HashMap<CallId, RunningCall>,
    busy: HashSet<CallerKey>,
    deferred: HashMap<CallerKey, Deferred>,
    forget_at: Duration,
    decisions: Vec<PacingDecision>,
    calls: u64,
    forced_in_a_row: u32,
    /// Between 0 and 1, each time elsewhere.
    spread: f64,
}

impl CallQueue {
    pub(super) fn new() -> Self {
        Self {
            rate: CallRate::new(),
            forced: Class::default(),
            ordinary: Class::default(),
            places: HashMap::new(),
            entered: VecDeque::new(),
            in_flight: HashMap::new(),
            busy: HashSet::new(),
            deferred: HashMap::new(),
            forget_at: Duration::ZERO,
            decisions: Vec::new(),
            calls: 0,
            forced_in_a_row: 0,
            spread: 0.0,
        }
    }

    /// How many calls wait and run.
    pub(super) fn lengths(&self) -> QueueLengths {
        QueueLengths {
            forced: self.forced.waiting.len(),
            ordinary: self.ordinary.waiting.len(),
            deferred: self.deferred.len(),
            in_flight: self.in_flight.len(),
            rate: self.rate.per_second(),
        }
    }

    /// A call asks for leave. [`decide`](Self::decide) answers, now or later.
    pub(super) fn ask(&mut self, now: Duration, call: PacedCall) -> CallId {
        self.calls += 1;
        let id = CallId(self.calls);
        if let Some((is_forced, place)) = self.places.get(&call.key).copied() {
            let other = self.class(is_forced).waiting.get(&place).copied();
            let is_better = call.is_proved && other.is_none_or(|other| !other.call.is_proved);
            let second = if is_better {
                self.remove(call.key);
                place.1
            } else {
                id
            };
            let later = PacingDecision::Defer(second, DEFERRAL_OF_A_SECOND);
            self.decisions.push(later);
            if !is_better {
                return id;
            }
        }
        let mut since = now;
        if let Some(deferred) = self.deferred.get(&call.key).copied() {
            let early = deferred.until.saturating_sub(now);
            let has_room = !self.rate.is_away() && self.class(call.is_forced).waiting.is_empty();
            if early > LONGEST_WAIT && deferred.is_forced == call.is_forced && !has_room {
                self.decisions.push(PacingDecision::Defer(id, early));
                return id;
            }
            since = deferred.since;
            self.deferred.remove(&call.key);
            self.class(deferred.is_forced).outstanding -= 1;
        }
        let (place, is_forced) = ((since, id), call.is_forced);
        let waiting = QueuedCall { call, entered: now };
        self.class(is_forced).waiting.insert(place, waiting);
        self.places.insert(call.key, (is_forced, place));
        self.entered.push_back((now, is_forced, place));
        id
    }

    /// What becomes of calls, now that it is `now`.
    pub(super) fn decide(&mut self, now: Duration) -> Vec<PacingDecision> {
        self.forget(now);
        self.expire(now);
        // Goal: every call that may start, does. Exit: none may.
        while self.in_flight.len() < self.rate.at_once() && self.rate.next_start() <= now {
            let Some((is_forced, place)) = self.next() else {
                break;
            };
            self.start(now, is_forced, place);
        }
        for is_forced in [true, false] {
            while self.is_full(is_forced) {
                self.defer_last(now, is_forced);
            }
        }
        std::mem::take(&mut self.decisions)
    }

    /// When [`decide`](Self::decide) has something to do again, unless a call comes or ends before.
    pub(super) fn wake(&self, now: Duration) -> Option<Duration> {
        let expiry = self
            .entered
            .front()
            .map(|(entered, ..)| *entered + LONGEST_WAIT)?;
        let start = self.rate.next_start();
        let may_start = start > now && self.in_flight.len() < self.rate.at_once();
        Some(if may_start { expiry.min(start) } else { expiry })
    }

    /// A call has ended; `None` says nothing about Ironic. Answers when it comes back, if
    /// Ironic was unavailable.
    pub(super) fn finish(
        &mut self,
        now: Duration,
        id: CallId,
        outcome: Option<CallOutcome>,
    ) -> Option<Duration> {
        let RunningCall {
            call,
            since,
            started,
            waited,
        } = self.in_flight.remove(&id)?;
        self.busy.remove(&call.key);
        let outcome = outcome?;
        self.rate.finish(now, started, outcome, waited);
        let is_away = outcome == CallOutcome::Unavailable;
        is_away.then(|| self.defer(now, since, &call, DEFERRAL_WHILE_AWAY))
    }

    /// The caller of a call that waits is gone.
    pub(super) fn cancel(&mut self, key: CallerKey, id: CallId) {
        if self
            .places
            .get(&key)
            .is_some_and(|(_, place)| place.1 == id)
        {
            self.remove(key);
        }
    }

    fn class(&mut self, is_forced: bool) -> &mut Class {
        if is_forced {
            &mut self.forced
        } else {
            &mut self.ordinary
        }
    }

    fn remove(&mut self, key: CallerKey) -> Option<(Place, QueuedCall)> {
        let (is_forced, place) = self.places.remove(&key)?;
        let waiting = self.class(is_forced).waiting.remove(&place)?;
        Some((place, waiting))
    }

    /// The next call that may start: the first of its class whose key is not busy.
    fn next(&self) -> Option<(bool, Place)> {
        let first = |class: &Class| {
            let mut waiting = class.waiting.iter();
            let free = waiting.find(|(_, waiting)| !self.busy.contains(&waiting.call.key));
            free.map(|(place, _)| *place)
        };
        let ordinary = || first(&self.ordinary).map(|place| (false, place));
        let forced = || first(&self.forced).map(|place| (true, place));
        if self.forced_in_a_row >= FORCED_IN_A_ROW {
            ordinary().or_else(forced)
        } else {
            forced().or_else(ordinary)
        }
    }

    fn start(&mut self, now: Duration, is_forced: bool, place: Place) {
        let Some(QueuedCall { call, entered }) = self.class(is_forced).waiting.remove(&place)
        else {
            return;
        };
        self.forced_in_a_row = if is_forced {
            self.forced_in_a_row + 1
        } else {
            0
        };
        self.places.remove(&call.key);
        self.busy.insert(call.key);
        let (since, id) = place;
        let in_flight = RunningCall {
            call,
            since,
            started: now,
            waited: now.saturating_sub(entered) >= self.rate.gap() / 2,
        };
        self.in_flight.insert(id, in_flight);
        self.rate.start(now);
        self.decisions.push(PacingDecision::Start(id));
    }

    /// How many calls of a class may wait: as many as start while anybody may wait.
    fn room(&self) -> usize {
        if self.rate.is_away() {
            // The one that waits finds out when Ironic is back.
            return 1;
        }
        let starts = LONGEST_WAIT.as_nanos() / self.rate.gap().as_nanos().max(1);
        let starts = usize::try_from(starts).unwrap_or(MOST_WAITING);
        starts.clamp(LEAST_WAITING, MOST_WAITING)
    }

    fn is_full(&self, is_forced: bool) -> bool {
        let class = if is_forced {
            &self.forced
        } else {
            &self.ordinary
        };
        class.waiting.len() > self.room()
    }

    fn defer_last(&mut self, now: Duration, is_forced: bool) {
        let last = self.class(is_forced).waiting.pop_last();
        if let Some(((since, id), waiting)) = last {
            self.places.remove(&waiting.call.key);
            self.postpone(now, since, id, &waiting.call);
        }
    }

    /// Who has waited for as long as anybody may is deferred.
    fn expire(&mut self, now: Duration) {
        while let Some((entered, is_forced, place)) = self.entered.front().copied() {
            let waiting = self.class(is_forced).waiting.get(&place).copied();
            if waiting.is_some() && entered + LONGEST_WAIT > now {
                return;
            }
            self.entered.pop_front();
            if let Some(waiting) = waiting {
                self.remove(waiting.call.key);
                self.postpone(now, place.0, place.1, &waiting.call);
            }
        }
    }

    fn postpone(&mut self, now: Duration, since: Duration, id: CallId, call: &PacedCall) {
        let least = if self.rate.is_away() {
            DEFERRAL_WHILE_AWAY
        } else {
            SHORTEST_DEFERRAL
        };
        let time = self.defer(now, since, call, least);
        self.decisions.push(PacingDecision::Defer(id, time));
    }

    /// The time after which a caller comes back: after all who wait and all who were deferred
    /// before.
    fn defer(
        &mut self,
        now: Duration,
        since: Duration,
        call: &PacedCall,
        least: Duration,
    ) -> Duration {
        let (gap, room) = (self.rate.gap(), self.room());
        let class = self.class(call.is_forced);
        // Those for whom there is no room are deferred, too, and counted then.
        let count = u32::try_from(class.waiting.len().min(room)).unwrap_or(u32::MAX);
        let count = count.saturating_add(class.outstanding);
        let ahead = gap * count;
        let time = if ahead > LONGEST_DEFERRAL {
            // More than can be spaced by the rate come back evenly: some always wait here.
            self.spread = (self.spread + GOLDEN_RATIO).fract();
            least + (LONGEST_DEFERRAL - least).mul_f64(self.spread)
        } else {
            ahead.max(least)
        };
        if self.deferred.len() < MOST_DEFERRED {
            let deferred = Deferred {
                since,
                until: now + time,
                is_forced: call.is_forced,
            };
            let earlier = self.deferred.insert(call.key, deferred);
            if let Some(earlier) = earlier {
                self.class(earlier.is_forced).outstanding -= 1;
            }
            self.class(call.is_forced).outstanding += 1;
        }
        time
    }

    /// Forgets callers that did not come back.
    fn forget(&mut self, now: Duration) {
        if now >= self.forget_at {
            let (mut forced, mut ordinary) = (0, 0);
            self.deferred.retain(|_, deferred| {
                let is_kept = deferred.until + KEPT > now;
                if is_kept && deferred.is_forced {
                    forced += 1;
                } else if is_kept {
                    ordinary += 1;
                }
                is_kept
            });
            self.forced.outstanding = forced;
            self.ordinary.outstanding = ordinary;
            self.forget_at = now + KEPT / 4;
        }
    }
}

#[cfg(test)]
mod tests;
