//! Process groups: a program goes together with what it started.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};

/// How often the list of processes is read while a tree of them is stopped: each reading finds
/// the children of those that the last one found.
const READINGS: usize = 16;

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

    /// What the leader has started so far, also outside of the group: the jobs of fio lead
    /// groups of their own.
    pub(super) fn descendants(&self) -> Descendants {
        Descendants::of(self.0, |_| {})
    }

    /// Kills the group and all that its leader has started.
    pub(super) fn kill(&self) {
        // A process that is stopped starts no other while the rest are looked for.
        self.signal(Signal::STOP);
        let stop = |process: &Process| process.signal(Signal::STOP);
        Descendants::of(self.0, stop).kill();
        self.signal(Signal::KILL);
    }

    /// Leaves alone what the program left behind on purpose.
    pub(super) fn let_go(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.0.is_some() {
            self.kill();
        }
    }
}

/// Processes that a program has started.
#[derive(Debug)]
pub(super) struct Descendants(Vec<Process>);

impl Descendants {
    /// All that `leader` has started; `each` is called once for each of them, and what they
    /// start until then is found, too.
    fn of(leader: Option<Pid>, each: impl Fn(&Process)) -> Self {
        let Some(leader) = leader else {
            return Self(Vec::new());
        };
        let mut known = HashSet::from([leader.as_raw_nonzero().get()]);
        let mut found = Vec::new();
        for _ in 0..READINGS {
            let before = known.len();
            let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
            for process in Process::all() {
                children.entry(process.parent).or_default().push(process);
            }
            let mut next: Vec<i32> = known.iter().copied().collect();
            while let Some(parent) = next.pop() {
                for process in children.remove(&parent).unwrap_or_default() {
                    next.push(process.id);
                    if known.insert(process.id) {
                        each(&process);
                        found.push(process);
                    }
                }
            }
            if known.len() == before {
                break;
            }
        }
        Self(found)
    }

    /// Kills those that are still there.
    pub(super) fn kill(&self) {
        for process in &self.0 {
            // A number may be another process's by now.
            if Process::read(process.id).is_some_and(|now| now.started == process.started) {
                process.signal(Signal::KILL);
            }
        }
    }
}

/// Kills all processes that have this variable of this value in their environment. Answers how
/// many there were.
pub(super) fn kill_marked(name: &str, value: &OsStr) -> usize {
    let mark = [name.as_bytes(), b"=", value.as_bytes()].concat();
    let marked = Process::all().filter(|process| {
        let environment = fs::read(format!("/proc/{}/environ", process.id)).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|word| word == mark)
    });
    let marked: Vec<_> = marked.collect();
    for process in &marked {
        process.signal(Signal::KILL);
    }
    marked.len()
}

/// A line of the kernel's list of processes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    id: i32,
    parent: i32,
    /// In ticks since the machine was started: with the number this is unique.
    started: u64,
}

impl Process {
    fn all() -> impl Iterator<Item = Self> {
        let listed = fs::read_dir("/proc").into_iter().flatten().flatten();
        listed.filter_map(|entry| Self::read(entry.file_name().to_str()?.parse().ok()?))
    }

    fn read(id: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
    }

    /// `7 (name) S 1 ...`: a name may hold blanks and parentheses; behind it the state comes
    /// first, the parent second, the time of start twentieth.
    fn parse(line: &str) -> Option<Self> {
        let id = line.split_once(' ')?.0.parse().ok()?;
        let mut behind = line.rsplit_once(')')?.1.split_whitespace();
        Some(Self {
            id,
            parent: behind.nth(1)?.parse().ok()?,
            started: behind.nth(17)?.parse().ok()?,
        })
    }

    fn signal(&self, signal: Signal) {
        if let Some(id) = Pid::from_raw(self.id) {
            // One that is gone needs no signal.
            let _ = kill_process(id, signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_line_is_read_with_any_name() {
        let line = "12 (a) b (c) S 7 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 99 1";
        let expected = Process {
            id: 12,
            parent: 7,
            started: 4711,
        };
        assert_eq!(Process::parse(line), Some(expected));
        for bad in ["", "12", "12 (a", "12 (a) S", "x (a) S 1"] {
            assert_eq!(Process::parse(bad), None, "{bad:?}");
        }
        let own = i32::try_from(std::process::id()).unwrap();
        let own = Process::read(own).unwrap();
        assert!(own.started > 0);
        assert!(Process::all().any(|process| process == own));
    }
}
