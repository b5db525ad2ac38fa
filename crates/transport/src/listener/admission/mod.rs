//! Who may hold a connection: the table of slots, from data and the time alone.
//!
//! ```text
//!            admit                    authenticated
//! (new) ───────────▶ unauthenticated ──────────────▶ authenticated ──▶ (gone)
//!                     │ full, or too slow              │ stalls, or too many
//!                     ▼                                ▼
//!                   evicted                          evicted
//! ```
//!
//! When there is no room for a new connection, one that is unauthenticated makes way: of the
//! peer that holds the most of them (a handful makes no difference), one whose peer is known to
//! have sent nothing before one that may have sent something, that one before one that is being
//! served, and of these the one that began the earliest. A peer is an IPv4 address or an IPv6
//! network of 64 bits, which is what one machine can choose its addresses from.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::socket;

/// Descriptors that a process keeps for its work: images, disks, programs, its own calls.
const RESERVED_DESCRIPTORS: usize = 256;

/// So many connections make no difference between peers: a conductor that opens a few at once
/// is no attacker beside hundreds of addresses with one each.
const HANDFUL: usize = 8;

/// Connections that were closed and are not gone yet, beyond which nothing is accepted.
const DYING: usize = 128;

/// How many connections, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections that have shown a token.
    pub authenticated: usize,
    /// Connections that have not.
    pub unauthenticated: usize,
    /// Of these, those of one peer.
    pub per_peer: usize,
    /// How long an unauthenticated connection may make its server wait: for a handshake, a
    /// request, the reading of an answer. Counted from the last [`Slot::waiting`].
    pub wait: Duration,
    /// How long any peer may take no byte of what is sent to it.
    pub stall: Duration,
}

/// The part of a process's descriptors that one of its listeners may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescriptorShare {
    parts: usize,
    of: usize,
}

impl DescriptorShare {
    /// For the only listener of a process.
    pub const WHOLE: Self = Self::new(1, 1);
    /// For one of two listeners.
    pub const HALF: Self = Self::new(1, 2);

    /// So many parts of so many.
    ///
    /// # Panics
    /// It is no share: there are no parts, or more than there are in all.
    #[must_use]
    pub const fn new(parts: usize, of: usize) -> Self {
        assert!(0 < parts && parts <= of, "a share is a part of the whole");
        Self { parts, of }
    }
}

impl ConnectionLimits {
    /// The same limits, or smaller ones that leave enough of the descriptors of this process
    /// for its work and its other listeners.
    #[must_use]
    pub fn within_descriptors(self, share: DescriptorShare) -> Self {
        self.within(socket::descriptor_limit(), share)
    }

    fn within(self, descriptors: usize, share: DescriptorShare) -> Self {
        // A process with few descriptors keeps half of them.
        let reserved = RESERVED_DESCRIPTORS.min(descriptors / 2);
        let available = (descriptors - reserved) / share.of * share.parts;
        let available = available.saturating_sub(DYING.min(available / 4));
        let wanted = self.authenticated + self.unauthenticated;
        if wanted <= available {
            return self;
        }
        // Who has shown a token, or a certificate, comes first.
        let unauthenticated = self.unauthenticated.min(available / 4).max(1);
        let per_peer = if self.per_peer < self.unauthenticated {
            self.per_peer.min(unauthenticated.div_ceil(2))
        } else {
            // A proxy may be the only peer.
            unauthenticated
        };
        let left = available.saturating_sub(unauthenticated);
        Self {
            authenticated: self.authenticated.min(left).max(1),
            unauthenticated,
            per_peer,
            ..self
        }
    }
}

/// What counts as one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A program on this machine, over a socket in the file system.
    Local,
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// The first 64 bits of an IPv6 address.
    V6(u64),
}

impl Peer {
    /// The client at an address.
    #[must_use]
    pub fn of(address: Option<SocketAddr>) -> Self {
        match address.map(|address| address.ip().to_canonical()) {
            None => Self::Local,
            Some(IpAddr::V4(address)) => Self::V4(address),
            Some(IpAddr::V6(address)) => {
                let network = address.to_bits() >> 64;
                Self::V6(u64::try_from(network).unwrap_or(u64::MAX))
            }
        }
    }
}

/// The table of slots.
#[derive(Debug)]
pub struct Admission {
    name: &'static str,
    limits: ConnectionLimits,
    table: Mutex<ConnectionTable>,
    /// A connection is gone.
    gone: Notify,
}

#[derive(Debug, Default)]
struct ConnectionTable {
    next: u64,
    /// Those that were not evicted.
    held: HashMap<u64, ConnectionState>,
    /// Unauthenticated ones by peer.
    peers: HashMap<Peer, usize>,
    unauthenticated: usize,
    /// Those that were evicted and are not gone.
    dying: usize,
}

#[derive(Debug)]
struct ConnectionState {
    peer: Peer,
    authenticated: bool,
    turn: Turn,
    /// Since when it is the peer's turn, or the server's.
    since: Instant,
    /// Since when its peer takes nothing.
    blocked: Option<Instant>,
    eviction: Arc<Eviction>,
}

/// How a connection hears that its slot was taken away.
#[derive(Debug, Default)]
struct Eviction {
    /// For those who wait for it.
    token: CancellationToken,
    /// For those who look with each byte that moves: the token has a lock.
    is_done: AtomicBool,
}

impl Eviction {
    fn begin(&self) {
        self.is_done.store(true, Ordering::Release);
        self.token.cancel();
    }
}

/// Whose turn it is, in the order in which connections make way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// The peer's: the server has read all that came, and waits.
    Peer,
    /// The peer's, and the server has not looked yet whether something came. A busy server must
    /// not take its own delay for the peer's.
    Unread,
    /// The server's.
    Server,
}

impl ConnectionTable {
    /// The unauthenticated connection that makes way for another one.
    fn victim(&self, of: impl Fn(&ConnectionState) -> bool) -> Option<u64> {
        let candidates = self.held.iter();
        let candidates = candidates.filter(|(_, held)| !held.authenticated && of(held));
        candidates
            .min_by_key(|(id, held)| {
                let share = self.peers.get(&held.peer).copied().unwrap_or_default();
                (usize::MAX - share / HANDFUL, held.turn, held.since, **id)
            })
            .map(|(id, _)| *id)
    }

    fn evict(&mut self, id: u64) {
        if let Some(held) = self.forget(id) {
            self.dying += 1;
            held.eviction.begin();
        }
    }

    fn forget(&mut self, id: u64) -> Option<ConnectionState> {
        let held = self.held.remove(&id)?;
        if !held.authenticated {
            self.discount(held.peer);
        }
        Some(held)
    }

    fn discount(&mut self, peer: Peer) {
        self.unauthenticated -= 1;
        if let Some(share) = self.peers.get_mut(&peer) {
            *share -= 1;
            if *share == 0 {
                self.peers.remove(&peer);
            }
        }
    }

    fn authenticated(&self) -> usize {
        self.held.len() - self.unauthenticated
    }
}

impl Admission {
    /// An empty table.
    #[must_use]
    pub fn new(name: &'static str, limits: ConnectionLimits) -> Self {
        Self {
            name,
            limits,
            table: Mutex::default(),
            gone: Notify::new(),
        }
    }

    /// What the log calls the listener.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> ConnectionLimits {
        self.limits
    }

    /// A slot for a new connection, and how many were evicted for it.
    pub fn admit(self: &Arc<Self>, peer: Peer, now: Instant) -> (Slot, u8) {
        let mut table = self.table();
        let mut evicted = 0;
        let share = table.peers.get(&peer).copied().unwrap_or_default();
        let victim = if share >= self.limits.per_peer {
            table.victim(|held| held.peer == peer)
        } else if table.unauthenticated >= self.limits.unauthenticated {
            table.victim(|_| true)
        } else {
            None
        };
        if let Some(victim) = victim {
            table.evict(victim);
            evicted = 1;
        }
        let id = table.next;
        table.next += 1;
        let eviction = Arc::<Eviction>::default();
        table.held.insert(
            id,
            ConnectionState {
                peer,
                authenticated: false,
                turn: Turn::Unread,
                since: now,
                blocked: None,
                eviction: Arc::clone(&eviction),
            },
        );
        *table.peers.entry(peer).or_default() += 1;
        table.unauthenticated += 1;
        drop(table);
        let entry = Arc::new(AdmittedConnection {
            admission: Arc::clone(self),
            id,
            eviction,
            authenticated: AtomicBool::new(false),
            unread: AtomicBool::new(true),
        });
        (Slot(entry), evicted)
    }

    /// Evicts those whose time is up.
    pub fn sweep(&self, now: Instant) {
        let ConnectionLimits { wait, stall, .. } = self.limits;
        let mut table = self.table();
        let slow = table.held.iter().filter(|(_, held)| {
            let waits = !held.authenticated && held.turn != Turn::Server;
            let is_stalled = |since| now.saturating_duration_since(since) >= stall;
            waits && now.saturating_duration_since(held.since) >= wait
                || held.blocked.is_some_and(is_stalled)
        });
        let slow: Vec<u64> = slow.map(|(id, _)| *id).collect();
        for id in slow {
            table.evict(id);
        }
    }

    /// Evicts an unauthenticated connection, if there is one, for the sake of its descriptor.
    pub fn evict_for_descriptor(&self) -> bool {
        let mut table = self.table();
        let victim = table.victim(|_| true);
        if let Some(victim) = victim {
            table.evict(victim);
        }
        victim.is_some()
    }

    /// Completes when not too many evicted connections are still being taken down.
    pub async fn room(&self) {
        loop {
            let gone = self.gone.notified();
            if self.table().dying < DYING {
                return;
            }
            gone.await;
        }
    }

    /// How many connections are held: authenticated ones and others.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        let table = self.table();
        (table.authenticated(), table.unauthenticated)
    }

    // Every change leaves the table whole.
    fn table(&self) -> MutexGuard<'_, ConnectionTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right of one connection to exist. Clones stand for the same connection; it is free
/// when all are dropped.
#[derive(Debug, Clone)]
pub struct Slot(Arc<AdmittedConnection>);

#[derive(Debug)]
struct AdmittedConnection {
    admission: Arc<Admission>,
    id: u64,
    eviction: Arc<Eviction>,
    authenticated: AtomicBool,
    /// Whether the table has [`Turn::Unread`], so that most reads need not look there.
    unread: AtomicBool,
}

impl Slot {
    /// A slot in a table of its own, for connections that nobody competes with.
    #[must_use]
    pub fn unlimited() -> Self {
        let limits = ConnectionLimits {
            authenticated: 1,
            unauthenticated: 1,
            per_peer: 1,
            wait: Duration::MAX,
            stall: Duration::MAX,
        };
        let admission = Arc::new(Admission::new("unlimited", limits));
        admission.admit(Peer::Local, Instant::now()).0
    }

    /// The peer has shown a token that is right: the connection counts among those that make
    /// way for nobody. Should there be too many of them, the one that is idle for longest
    /// ends; if all are being served, this one stays unauthenticated.
    pub fn authenticated(&self) {
        if self.is_authenticated() {
            return;
        }
        let mut table = self.0.admission.table();
        let Some(held) = table.held.get(&self.0.id) else {
            return;
        };
        let peer = held.peer;
        if table.authenticated() >= self.0.admission.limits.authenticated {
            let idle = table.held.iter();
            let idle = idle.filter(|(_, held)| held.authenticated && held.turn != Turn::Server);
            let Some(oldest) = idle.min_by_key(|(_, held)| held.since).map(|(id, _)| *id) else {
                return;
            };
            table.evict(oldest);
        }
        table.discount(peer);
        if let Some(held) = table.held.get_mut(&self.0.id) {
            held.authenticated = true;
        }
        self.0.authenticated.store(true, Ordering::Relaxed);
    }

    /// Whether it counts among those.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.0.authenticated.load(Ordering::Relaxed)
    }

    /// It is the server's turn from now on: the deadline stops.
    pub fn serving(&self) {
        self.turn(Turn::Server);
    }

    /// It is the peer's turn from now on: to send something, or to read an answer. The
    /// deadline starts anew.
    pub fn waiting(&self) {
        self.turn(Turn::Unread);
    }

    /// The server has read all that the peer sent.
    pub(super) fn starved(&self) {
        if !self.0.unread.swap(false, Ordering::Relaxed) {
            return;
        }
        let mut table = self.0.admission.table();
        if let Some(held) = table.held.get_mut(&self.0.id)
            && held.turn == Turn::Unread
        {
            held.turn = Turn::Peer;
        }
    }

    /// Whether the peer takes no more bytes.
    pub(super) fn blocked(&self, blocked: bool) {
        let mut table = self.0.admission.table();
        if let Some(held) = table.held.get_mut(&self.0.id) {
            held.blocked = blocked.then(Instant::now);
        }
    }

    /// Completes when the slot is taken away.
    pub fn evicted(&self) -> WaitForCancellationFutureOwned {
        self.0.eviction.token.clone().cancelled_owned()
    }

    /// Whether it was taken away.
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        self.0.eviction.is_done.load(Ordering::Acquire)
    }

    fn turn(&self, turn: Turn) {
        let mut table = self.0.admission.table();
        if let Some(held) = table.held.get_mut(&self.0.id) {
            held.turn = turn;
            held.since = Instant::now();
        }
        self.0.unread.store(turn == Turn::Unread, Ordering::Relaxed);
    }
}

impl Drop for AdmittedConnection {
    fn drop(&mut self) {
        let mut table = self.admission.table();
        if table.forget(self.id).is_none() {
            table.dying -= 1;
        }
        drop(table);
        self.admission.gone.notify_one();
    }
}

#[cfg(test)]
mod tests;
