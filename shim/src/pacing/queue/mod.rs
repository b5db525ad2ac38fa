//! Which call is next, and who comes back later. Pure: times are offsets on one monotonic clock.
//!
//! A call waits for a few seconds at most. What does not fit into that is deferred, for as long as
//! those before it take, but not for long. A caller that was deferred keeps its place:
//! of those that wait, the one that came first is next, and the one that came last is deferred.
//!
//! There are three [classes](CallClass), because a stranger can make any number of calls that nobody
//! has proved: they wait and are deferred among themselves.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::rate::{CallOutcome, CallRate};
use crate::metrics::QueueLengths;

/// How long a call waits here. An agent gives a beat up after a minute, which includes the
/// call itself.
const MAX_WAIT: Duration = Duration::from_secs(3);
/// Calls that wait, of each class.
const MAX_WAITING: usize = 4096;
/// Calls that may wait however low the rate is.
const MIN_WAITING: usize = 4;
/// Deferred callers whose place is kept, of each class.
const MAX_DEFERRED: u32 = 65_536;
/// How long a place is kept after its time has come.
const KEPT: Duration = Duration::from_secs(120);
/// Forced calls that pass others in a row.
const FORCED_IN_A_ROW: u32 = 3;
/// Proved calls that pass those of strangers in a row.
const PROVED_IN_A_ROW: u32 = 3;
const MIN_DEFERRAL: Duration = Duration::from_secs(1);
/// The same while Ironic is away.
const DEFERRAL_WHILE_AWAY: Duration = Duration::from_secs(5);
/// For a beat, whose session is open: asking again costs little, and an Ironic that is back must find callers.
const MAX_DEFERRAL: Duration = Duration::from_secs(15);
/// For what nobody has proved. A lookup is a new call each time, and a hall that is powered on at once asks for thousands.
const MAX_DEFERRAL_OF_UNPROVED: Duration = Duration::from_secs(30);
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

impl PacedCall {
    fn class(&self) -> CallClass {
        match (self.is_forced, self.is_proved) {
            (true, _) => CallClass::Forced,
            (false, true) => CallClass::Proved,
            (false, false) => CallClass::Unproved,
        }
    }
}

/// Calls that wait for each other. Each class passes those behind it, a few times in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallClass {
    /// Beats of a node at which something has happened.
    Forced,
    /// Other beats with a token that is known to be the node's.
    Proved,
    /// What anybody can ask for: lookups, reports, and beats of which that is not known.
    Unproved,
}

impl CallClass {
    const ALL: [Self; 3] = [Self::Forced, Self::Proved, Self::Unproved];
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
type QueuePosition = (Duration, CallId);

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
    class: CallClass,
}

/// A deferred caller. What a stranger asks in the name of a node does not touch the place of the node.
type DeferredKey = (CallerKey, bool);

/// The calls of one class that wait.
#[derive(Debug, Default)]
struct WaitingCalls {
    waiting: BTreeMap<QueuePosition, QueuedCall>,
    /// Callers that were deferred and have not come back.
    outstanding: u32,
}

/// The calls that wait and run.
#[derive(Debug)]
pub(super) struct CallQueue {
    rate: CallRate,
    /// By [`CallClass`], in its order.
    classes: [WaitingCalls; CallClass::ALL.len()],
    positions: HashMap<CallerKey, (CallClass, QueuePosition)>,
    /// In the order in which they came; some of them wait no more.
    entered: VecDeque<(Duration, CallClass, QueuePosition)>,
    in_flight: HashMap<CallId, RunningCall>,
    busy: HashSet<CallerKey>,
    deferred: HashMap<DeferredKey, Deferred>,
    forget_at: Duration,
    decisions: Vec<PacingDecision>,
    calls: u64,
    forced_in_a_row: u32,
    proved_in_a_row: u32,
    /// Between 0 and 1, each time elsewhere.
    spread: f64,
}

impl CallQueue {
    /// Begins with `first_rate` calls per second.
    pub(super) fn new(first_rate: f64) -> Self {
        Self {
            rate: CallRate::new(first_rate),
            classes: Default::default(),
            positions: HashMap::new(),
            entered: VecDeque::new(),
            in_flight: HashMap::new(),
            busy: HashSet::new(),
            deferred: HashMap::new(),
            forget_at: Duration::ZERO,
            decisions: Vec::new(),
            calls: 0,
            forced_in_a_row: 0,
            proved_in_a_row: 0,
            spread: 0.0,
        }
    }

    /// How many calls wait and run.
    pub(super) fn lengths(&self) -> QueueLengths {
        QueueLengths {
            forced: self.waiting(CallClass::Forced).len(),
            ordinary: self.waiting(CallClass::Proved).len()
                + self.waiting(CallClass::Unproved).len(),
            deferred: self.deferred.len(),
            in_flight: self.in_flight.len(),
            rate: self.rate.per_second(),
        }
    }

    /// A call asks for leave. [`decide`](Self::decide) answers, now or later.
    pub(super) fn ask(&mut self, now: Duration, call: PacedCall) -> CallId {
        self.calls += 1;
        let id = CallId(self.calls);
        if let Some((class, position)) = self.positions.get(&call.key).copied() {
            let other = self.waiting(class).get(&position).copied();
            let is_better = call.is_proved && other.is_none_or(|other| !other.call.is_proved);
            let second = if is_better {
                self.remove(call.key);
                position.1
            } else {
                id
            };
            let later = PacingDecision::Defer(second, DEFERRAL_OF_A_SECOND);
            self.decisions.push(later);
            if !is_better {
                return id;
            }
        }
        let (mut since, class) = (now, call.class());
        let key = (call.key, call.is_proved);
        if let Some(deferred) = self.deferred.get(&key).copied() {
            let early = deferred.until.saturating_sub(now);
            let has_room = !self.rate.is_away() && self.waiting(class).is_empty();
            if early > MAX_WAIT && deferred.class == class && !has_room {
                self.decisions.push(PacingDecision::Defer(id, early));
                return id;
            }
            since = deferred.since;
            self.deferred.remove(&key);
            self.class(deferred.class).outstanding -= 1;
        }
        let position = (since, id);
        let waiting = QueuedCall { call, entered: now };
        self.class(class).waiting.insert(position, waiting);
        self.positions.insert(call.key, (class, position));
        self.entered.push_back((now, class, position));
        id
    }

    /// What becomes of calls, now that it is `now`.
    pub(super) fn decide(&mut self, now: Duration) -> Vec<PacingDecision> {
        self.forget(now);
        self.expire(now);
        // Goal: every call that may start, does. Exit: none may.
        while self.in_flight.len() < self.rate.at_once() && self.rate.next_start() <= now {
            let Some((class, position)) = self.next() else {
                break;
            };
            self.start(now, class, position);
        }
        for class in CallClass::ALL {
            while self.waiting(class).len() > self.room() {
                self.defer_last(now, class);
            }
        }
        std::mem::take(&mut self.decisions)
    }

    /// When [`decide`](Self::decide) has something to do again, unless a call comes or ends before.
    pub(super) fn wake(&self, now: Duration) -> Option<Duration> {
        let expiry = self
            .entered
            .front()
            .map(|(entered, ..)| *entered + MAX_WAIT)?;
        let start = self.rate.next_start();
        let may_start = start > now && self.in_flight.len() < self.rate.at_once();
        Some(if may_start { expiry.min(start) } else { expiry })
    }

    /// A call has ended. Answers when it comes back, if Ironic was unavailable.
    pub(super) fn finish(
        &mut self,
        now: Duration,
        id: CallId,
        outcome: CallOutcome,
    ) -> Option<Duration> {
        let RunningCall {
            call,
            since,
            started,
            waited,
        } = self.take_running(id)?;
        self.rate.finish(now, started, outcome, waited);
        let is_away = outcome == CallOutcome::Unavailable;
        is_away.then(|| self.defer(now, since, &call, DEFERRAL_WHILE_AWAY))
    }

    /// The caller of a call that runs is gone, which says nothing about Ironic. `false` if the call has
    /// ended already.
    pub(super) fn abandon(&mut self, id: CallId) -> bool {
        self.take_running(id).is_some()
    }

    fn take_running(&mut self, id: CallId) -> Option<RunningCall> {
        let running = self.in_flight.remove(&id)?;
        self.busy.remove(&running.call.key);
        Some(running)
    }

    /// The caller of a call that waits is gone.
    pub(super) fn cancel(&mut self, key: CallerKey, id: CallId) {
        if self
            .positions
            .get(&key)
            .is_some_and(|(_, position)| position.1 == id)
        {
            self.remove(key);
        }
    }

    fn class(&mut self, class: CallClass) -> &mut WaitingCalls {
        &mut self.classes[class as usize]
    }

    fn waiting(&self, class: CallClass) -> &BTreeMap<QueuePosition, QueuedCall> {
        &self.classes[class as usize].waiting
    }

    fn remove(&mut self, key: CallerKey) -> Option<(QueuePosition, QueuedCall)> {
        let (class, position) = self.positions.remove(&key)?;
        let waiting = self.class(class).waiting.remove(&position)?;
        Some((position, waiting))
    }

    /// The next call that may start: the first of its class whose key is not busy.
    fn next(&self) -> Option<(CallClass, QueuePosition)> {
        use CallClass::{Forced, Proved, Unproved};
        let first = |class: CallClass| {
            let mut waiting = self.waiting(class).iter();
            let free = waiting.find(|(_, waiting)| !self.busy.contains(&waiting.call.key));
            free.map(|(position, _)| (class, *position))
        };
        let others = if self.proved_in_a_row >= PROVED_IN_A_ROW {
            [Unproved, Proved]
        } else {
            [Proved, Unproved]
        };
        let mut other = others.into_iter().filter_map(first);
        if self.forced_in_a_row >= FORCED_IN_A_ROW {
            other.next().or_else(|| first(Forced))
        } else {
            first(Forced).or_else(|| other.next())
        }
    }

    fn start(&mut self, now: Duration, class: CallClass, position: QueuePosition) {
        let Some(QueuedCall { call, entered }) = self.class(class).waiting.remove(&position) else {
            return;
        };
        match class {
            CallClass::Forced => self.forced_in_a_row += 1,
            CallClass::Proved => self.proved_in_a_row += 1,
            CallClass::Unproved => self.proved_in_a_row = 0,
        }
        if class != CallClass::Forced {
            self.forced_in_a_row = 0;
        }
        self.positions.remove(&call.key);
        self.busy.insert(call.key);
        let (since, id) = position;
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
        let starts = MAX_WAIT.as_nanos() / self.rate.gap().as_nanos().max(1);
        let starts = usize::try_from(starts).unwrap_or(MAX_WAITING);
        starts.clamp(MIN_WAITING, MAX_WAITING)
    }

    fn defer_last(&mut self, now: Duration, class: CallClass) {
        let last = self.class(class).waiting.pop_last();
        if let Some(((since, id), waiting)) = last {
            self.positions.remove(&waiting.call.key);
            self.postpone(now, since, id, &waiting.call);
        }
    }

    /// Defers the calls that have waited for [`MAX_WAIT`].
    fn expire(&mut self, now: Duration) {
        while let Some((entered, class, position)) = self.entered.front().copied() {
            let waiting = self.waiting(class).get(&position).copied();
            if waiting.is_some() && entered + MAX_WAIT > now {
                return;
            }
            self.entered.pop_front();
            if let Some(waiting) = waiting {
                self.remove(waiting.call.key);
                self.postpone(now, position.0, position.1, &waiting.call);
            }
        }
    }

    fn postpone(&mut self, now: Duration, since: Duration, id: CallId, call: &PacedCall) {
        let least = if self.rate.is_away() {
            DEFERRAL_WHILE_AWAY
        } else {
            MIN_DEFERRAL
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
        let max_deferral = match call.class() {
            CallClass::Unproved if !self.rate.is_away() => MAX_DEFERRAL_OF_UNPROVED,
            _ => MAX_DEFERRAL,
        };
        let class = self.class(call.class());
        // Those for whom there is no room are deferred, too, and counted then.
        let count = u32::try_from(class.waiting.len().min(room)).unwrap_or(u32::MAX);
        let count = count.saturating_add(class.outstanding);
        let ahead = gap * count;
        let time = if ahead > max_deferral {
            // More than can be spaced by the rate come back evenly: some always wait here.
            self.spread = (self.spread + GOLDEN_RATIO).fract();
            least + (max_deferral - least).mul_f64(self.spread)
        } else {
            ahead.max(least)
        };
        self.keep_position(call, since, now + time);
        time
    }

    /// Keeps the place of a caller that was deferred, if there is room in its class.
    fn keep_position(&mut self, call: &PacedCall, since: Duration, until: Duration) {
        let class = call.class();
        let key = (call.key, call.is_proved);
        if let Some(earlier) = self.deferred.remove(&key) {
            self.class(earlier.class).outstanding -= 1;
        }
        if self.class(class).outstanding < MAX_DEFERRED {
            let deferred = Deferred {
                since,
                until,
                class,
            };
            self.deferred.insert(key, deferred);
            self.class(class).outstanding += 1;
        }
    }

    /// Forgets callers that did not come back.
    fn forget(&mut self, now: Duration) {
        if now < self.forget_at {
            return;
        }
        let mut outstanding = [0; CallClass::ALL.len()];
        self.deferred.retain(|_, deferred| {
            let is_kept = deferred.until + KEPT > now;
            outstanding[deferred.class as usize] += u32::from(is_kept);
            is_kept
        });
        for class in CallClass::ALL {
            self.class(class).outstanding = outstanding[class as usize];
        }
        self.forget_at = now + KEPT / 4;
    }
}

#[cfg(test)]
mod tests;
