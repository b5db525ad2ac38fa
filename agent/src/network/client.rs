//! The DHCP clients that were started, and which of them must be started again.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::commands::{CLIENT, client_pid_file};
use super::plan::PlannedInterface;
use crate::system::PathPrefix;

/// How long after its start a client is looked at. It doubles, up to the longest, when one ends
/// again and again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// One that ran as long as this does not end again and again.
const STEADY: Duration = Duration::from_secs(60);

/// The clients, by interface.
#[derive(Debug, Default)]
pub(super) struct DhcpClients(BTreeMap<String, ClientStart>);

#[derive(Debug)]
struct ClientStart {
    at: Instant,
    pause: Duration,
}

/// What an interface lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientNeed {
    /// Its client runs, or was started a moment ago.
    Nothing,
    /// It has had no client yet.
    First,
    /// Its client has ended.
    Again,
}

impl DhcpClients {
    /// What the interface lacks. A client of an earlier run of this program goes on.
    pub(super) fn need(&self, root: &PathPrefix, interface: &PlannedInterface) -> ClientNeed {
        match self.0.get(&interface.name) {
            Some(start) if start.at.elapsed() < start.pause => ClientNeed::Nothing,
            _ if is_running(root, interface) => ClientNeed::Nothing,
            Some(_) => ClientNeed::Again,
            None => ClientNeed::First,
        }
    }

    /// Forgets the client of an interface that is away: it has ended with it.
    pub(super) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Remembers that the interface's client is started now.
    pub(super) fn started(&mut self, name: &str) {
        let now = Instant::now();
        let before = self.0.get(name);
        let before = before.filter(|start| now.duration_since(start.at) < STEADY);
        let pause = before.map_or(FIRST_PAUSE, |start| MAX_PAUSE.min(start.pause * 2));
        self.0
            .insert(name.to_owned(), ClientStart { at: now, pause });
    }
}

/// Whether the process in the client's own file is there and is the client.
fn is_running(root: &PathPrefix, interface: &PlannedInterface) -> bool {
    let Some(text) = root.read_optional(client_pid_file(interface)) else {
        return false;
    };
    let Ok(number) = text.trim().parse::<u32>() else {
        return false;
    };
    let stat = root.read_optional(format!("/proc/{number}/stat"));
    let stat = stat.unwrap_or_default();
    let state = stat.strip_prefix(&format!("{number} ({CLIENT}) "));
    // Z and X: it has ended, and nobody has asked how.
    state.is_some_and(|state| !state.starts_with(['Z', 'X']))
}
