//! Process groups: a program goes together with what it started.

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// The processes of a program and of what it started. Dropping it kills them.
#[derive(Debug)]
pub(super) struct Group(Option<Pid>);

impl Group {
    /// Lets a program lead a group of its own, once it is started.
    pub(super) fn lead(command: &mut Command) {
        command.process_group(0);
    }

    /// The group of a program that leads it.
    pub(super) fn of(leader: &Child) -> Self {
        let id = leader.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    /// Sends a signal to all of it. The group's number is taken while any of it lives.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // A group that is gone needs no signal.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Leaves alone what the program left behind on purpose.
    pub(super) fn let_go(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
