//! How much of the machine a sandboxed program may take: memory and processes.
//!
//! Where the kernel has cgroup v2 with both controllers, as in the ramdisk, it holds the
//! program to the limits ([`LimitedCgroup`]). Elsewhere each process gets a limit of its own
//! (`RLIMIT_AS`), and the first process adds up what all of them have ([`UsageWatch`]): when that is
//! too much, it ends, and all others with it. A watch holds memory, but processes can multiply
//! faster than it looks.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::statfs;
use rustix::mount::{MountFlags, mount};
use rustix::process::{Resource, Rlimit, setrlimit};
use thiserror::Error;

/// Processes and threads, also those that have ended and are not reaped. GRUB's scripts have
/// a dozen at a time.
const TASKS: u64 = 512;
/// Memory in bytes: half of the machine's, within these bounds. GRUB's tools take some 50 MiB.
const MIN_MEMORY_BYTES: u64 = 256 << 20;
const MAX_MEMORY_BYTES: u64 = 1 << 30;
/// `CGROUP2_SUPER_MAGIC` of `linux/magic.h`.
const CGROUP2: u64 = 0x6367_7270;
/// Where cgroup v2 is mounted, or can be.
const MOUNT_POINTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// Before the number of the process that made it.
const NAME: &str = "ironic-agent-image-";
/// How often the first process looks, where the kernel does not.
const PERIOD: Duration = Duration::from_millis(50);

/// The limits of one program with all that it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ResourceLimits {
    /// Bytes.
    memory: u64,
    /// Processes and threads.
    tasks: u64,
}

impl ResourceLimits {
    /// Those for this machine.
    pub(super) fn of_machine() -> Self {
        let info = rustix::system::sysinfo();
        #[expect(
            clippy::useless_conversion,
            reason = "the type depends on the architecture"
        )]
        let total = u64::from(info.totalram).saturating_mul(u64::from(info.mem_unit));
        Self::of_memory(total)
    }

    fn of_memory(total: u64) -> Self {
        Self {
            memory: (total / 2).clamp(MIN_MEMORY_BYTES, MAX_MEMORY_BYTES),
            tasks: TASKS,
        }
    }

    /// Holds this process, and what it starts, to the limits. Must be called while the
    /// machine's own `/sys` is to be seen. What is left to do is the answer's.
    pub(super) fn apply(self) -> UsageWatch {
        match LimitedCgroup::make(self) {
            Ok(()) => UsageWatch(None),
            // Not said: the output is the program's.
            Err(_) => {
                let memory = self.memory.max(MAX_MEMORY_BYTES);
                let limit = Rlimit {
                    current: Some(memory),
                    maximum: Some(memory),
                };
                // Without it the watch is there still.
                let _ = setrlimit(Resource::As, limit);
                UsageWatch(Some(self))
            }
        }
    }
}

/// A cgroup of our own.
struct LimitedCgroup;

impl LimitedCgroup {
    /// Makes a group with these limits and enters it.
    fn make(limits: ResourceLimits) -> io::Result<()> {
        let root = Self::root().ok_or(io::ErrorKind::Unsupported)?;
        Self::sweep(&root);
        // Another one may have done it.
        let _ = fs::write(root.join("cgroup.subtree_control"), "+memory +pids");
        let group = root.join(format!("{NAME}{}", unique()));
        fs::create_dir(&group)?;
        let entered =
            Self::set(&group, limits).and_then(|()| fs::write(group.join("cgroup.procs"), "0"));
        if entered.is_err() {
            let _ = fs::remove_dir(&group);
        }
        entered
    }

    fn set(group: &Path, limits: ResourceLimits) -> io::Result<()> {
        fs::write(group.join("memory.max"), limits.memory.to_string())?;
        fs::write(group.join("pids.max"), limits.tasks.to_string())?;
        // Not everywhere; where the kernel kills, it kills all.
        for (file, value) in [("memory.swap.max", "0"), ("memory.oom.group", "1")] {
            if group.join(file).exists() {
                fs::write(group.join(file), value)?;
            }
        }
        Ok(())
    }

    /// Where cgroup v2 has its root. A ramdisk may not have mounted it; then it is mounted for
    /// this process alone, whose mounts are its own.
    fn root() -> Option<PathBuf> {
        let is_mounted = |mount_point: &str| {
            // The kernel's number has 32 bits, whatever type it comes in.
            statfs(mount_point).is_ok_and(|found| u64::try_from(found.f_type) == Ok(CGROUP2))
        };
        if let Some(mount_point) = MOUNT_POINTS
            .into_iter()
            .find(|mount_point| is_mounted(mount_point))
        {
            return Some(PathBuf::from(mount_point));
        }
        // A place with something else in it is another version's.
        let is_empty = fs::read_dir(MOUNT_POINTS[0]).is_ok_and(|mut names| names.next().is_none());
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        (is_empty && mount("cgroup2", MOUNT_POINTS[0], "cgroup2", flags, c"").is_ok())
            .then(|| PathBuf::from(MOUNT_POINTS[0]))
    }

    /// Removes groups of programs that have ended: nobody could while they were in there.
    fn sweep(root: &Path) {
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            if entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(NAME.as_bytes())
            {
                // One that is in use cannot be removed.
                let _ = fs::remove_dir(entry.path());
            }
        }
    }
}

/// A number that no other group has: this process is always the first one of its own.
fn unique() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// What the first process has to look after itself; nothing where the kernel does.
#[derive(Debug, Clone, Copy)]
pub(super) struct UsageWatch(Option<ResourceLimits>);

impl UsageWatch {
    /// Comes back when the processes take too much, with what it is. Must be called when
    /// `/proc` shows them and nobody else.
    pub(super) fn until_exceeded(self) -> Option<LimitExceeded> {
        let limits = self.0?;
        loop {
            std::thread::sleep(PERIOD);
            let taken = ResourceUsage::now(Path::new("/proc"));
            if let Some(excess) = taken.exceeds(limits) {
                return Some(excess);
            }
        }
    }
}

/// Which limit a program has exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum LimitExceeded {
    /// Processes and threads.
    #[error("it has more than {0} processes")]
    Tasks(u64),
    /// MiB of memory.
    #[error("it takes more than {0} MiB of memory")]
    Memory(u64),
}

/// What all processes take together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct ResourceUsage {
    memory: u64,
    tasks: u64,
}

impl ResourceUsage {
    fn now(proc: &Path) -> Self {
        let mut taken = Self::default();
        for entry in fs::read_dir(proc).into_iter().flatten().flatten() {
            let is_process = entry
                .file_name()
                .as_encoded_bytes()
                .iter()
                .all(u8::is_ascii_digit);
            // One that has ended meanwhile takes nothing.
            if is_process && let Ok(status) = fs::read_to_string(entry.path().join("status")) {
                taken.add(&status);
            }
        }
        taken
    }

    /// Adds a process by its `/proc/PID/status`. Shared memory counts for each that has it.
    fn add(&mut self, status: &str) {
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let kibibytes = [number("RssAnon:"), number("RssShmem:"), number("VmSwap:")];
        self.memory += kibibytes.into_iter().flatten().sum::<u64>() * 1024;
        self.tasks += number("Threads:").unwrap_or(1);
    }

    fn exceeds(self, limits: ResourceLimits) -> Option<LimitExceeded> {
        if self.tasks > limits.tasks {
            return Some(LimitExceeded::Tasks(limits.tasks));
        }
        (self.memory > limits.memory).then_some(LimitExceeded::Memory(limits.memory >> 20))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_gets_half_of_the_memory_within_bounds() {
        for (machine, memory) in [(0, 256), (400, 256), (1024, 512), (65536, 1024)] {
            let limits = ResourceLimits::of_memory(machine << 20);
            assert_eq!(limits.memory >> 20, memory, "{machine}");
        }
        assert!(ResourceLimits::of_machine().memory >= MIN_MEMORY_BYTES);
    }

    #[test]
    fn processes_are_added_up() {
        let directory = tempfile::tempdir().unwrap();
        for (name, status) in [
            (
                "1",
                "Name:\tagent\nRssAnon:\t 100 kB\nRssFile:\t 900 kB\nThreads:\t3\n",
            ),
            (
                "27",
                "RssAnon:\t 1000 kB\nRssShmem:\t 24 kB\nVmSwap:\t 900 kB\nThreads:\t1\n",
            ),
            // A kernel thread or a zombie has no memory.
            ("30", "State:\tZ (zombie)\nThreads:\t1\n"),
            ("self", "RssAnon:\t 100 kB\nThreads:\t3\n"),
        ] {
            fs::create_dir(directory.path().join(name)).unwrap();
            fs::write(directory.path().join(name).join("status"), status).unwrap();
        }
        let taken = ResourceUsage::now(directory.path());
        let expected = ResourceUsage {
            memory: 2024 << 10,
            tasks: 5,
        };
        assert_eq!(taken, expected);
        let limits = |memory, tasks| ResourceLimits { memory, tasks };
        assert_eq!(taken.exceeds(limits(2024 << 10, 5)), None);
        let tasks = taken.exceeds(limits(2024 << 10, 4)).unwrap();
        assert!(tasks.to_string().contains("4 processes"), "{tasks}");
        let memory = taken.exceeds(limits(1 << 20, 5)).unwrap();
        assert!(memory.to_string().contains("1 MiB"), "{memory}");
    }
}
