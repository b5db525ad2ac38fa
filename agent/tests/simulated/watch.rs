//! Watches what a program asks of the kernel, and refuses what would reach the machine.
//!
//! Every system call of the program and of all its threads stops at its entry (`ptrace`). What
//! changes something outside of the given directories, starts a program, or sends a request to
//! a device is written down and replaced by a call that does not exist: the machine that runs
//! the test stays as it is also when the test finds something.

use std::collections::HashMap;
use std::ffi::CString;
use std::io::{BufRead, BufReader, IoSliceMut};
use std::os::unix::process::CommandExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// What the program tried, in the order of the calls.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// What would have reached the machine.
    pub(crate) refused: Vec<String>,
    /// Files that it opened for writing, or made, within the directories.
    pub(crate) written: Vec<PathBuf>,
    /// All system calls.
    pub(crate) calls: usize,
    /// What it wrote to its standard error.
    pub(crate) log: String,
}

/// Runs a program to its end. It may write below `directories`. `started` gets the process, and
/// `log` what it writes to its standard error.
///
/// Must be called on a thread that does nothing else: its children are its own.
#[expect(
    clippy::zombie_processes,
    reason = "it is waited for together with its threads"
)]
pub(crate) fn watch(
    mut command: Command,
    directories: &[PathBuf],
    started: &Sender<u32>,
    log: Arc<Mutex<String>>,
) -> Seen {
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    #[expect(unsafe_code, reason = "the child asks to be traced before it starts")]
    // SAFETY: between fork and exec only one system call is made.
    unsafe {
        command.pre_exec(|| ptrace::traceme().map_err(Into::into));
    }
    let mut child = command.spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let logging = std::thread::spawn(move || {
        let mut line = Vec::new();
        while stderr.read_until(b'\n', &mut line).unwrap() > 0 {
            *log.lock().unwrap() += &String::from_utf8_lossy(&line);
            line.clear();
        }
        std::mem::take(&mut *log.lock().unwrap())
    });
    let main = Pid::from_raw(i32::try_from(child.id()).unwrap());
    // It stops when it has become the program.
    assert!(matches!(
        waitpid(main, Some(WaitPidFlag::__WALL)).unwrap(),
        WaitStatus::Stopped(_, Signal::SIGTRAP)
    ));
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(main, options).unwrap();
    ptrace::syscall(main, None).unwrap();
    started.send(child.id()).unwrap();

    let mut seen = Seen::default();
    let judge = Judge { directories };
    // Threads that are in a call: their next stop is its end.
    let mut inside: HashMap<Pid, bool> = HashMap::new();
    loop {
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        let status = match waitpid(None, Some(flags)) {
            Ok(status) => status,
            Err(Errno::ECHILD) => break,
            Err(Errno::EINTR) => continue,
            Err(error) => panic!("{error}"),
        };
        let (thread, signal) = match status {
            WaitStatus::PtraceSyscall(thread) => {
                let ends = inside.entry(thread).or_default();
                if !*ends {
                    seen.calls += 1;
                    judge.call(thread, main, &mut seen);
                }
                *ends = !*ends;
                (thread, None)
            }
            WaitStatus::PtraceEvent(thread, ..) | WaitStatus::Stopped(thread, Signal::SIGSTOP) => {
                // A new thread begins with a stop.
                (thread, None)
            }
            WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
            WaitStatus::Exited(thread, _) | WaitStatus::Signaled(thread, ..) => {
                inside.remove(&thread);
                continue;
            }
            other => panic!("{other:?}"),
        };
        // One that was killed meanwhile cannot go on.
        match ptrace::syscall(thread, signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => panic!("{error}"),
        }
    }
    seen.log = logging.join().unwrap();
    seen
}

struct Judge<'a> {
    directories: &'a [PathBuf],
}

/// The arguments of a call, and whose it is.
struct Call {
    thread: Pid,
    number: i64,
    arguments: [u64; 6],
}

impl Judge<'_> {
    fn call(&self, thread: Pid, main: Pid, seen: &mut Seen) {
        let Ok(mut registers) = ptrace::getregs(thread) else {
            return;
        };
        let call = Call {
            thread,
            number: registers.orig_rax.cast_signed(),
            arguments: [
                registers.rdi,
                registers.rsi,
                registers.rdx,
                registers.r10,
                registers.r8,
                registers.r9,
            ],
        };
        if let Some(what) = self.verdict(&call, main, &mut seen.written) {
            seen.refused.push(what);
            registers.orig_rax = u64::MAX;
            ptrace::setregs(thread, registers).unwrap();
        }
    }

    /// Why a call is refused.
    fn verdict(&self, call: &Call, main: Pid, written: &mut Vec<PathBuf>) -> Option<String> {
        let [first, second, third, fourth, fifth, _] = call.arguments;
        let here = libc::AT_FDCWD.cast_unsigned();
        let here = u64::from(here);
        let mut change = |at: u64, path: u64| {
            let path = call.path(at, path);
            if self.is_ours(&path) {
                written.push(path);
                None
            } else {
                Some(path.display().to_string())
            }
        };
        let refused = |what: &str, path: Option<String>| path.map(|path| format!("{what} {path}"));
        match call.number {
            libc::SYS_execve => Some(format!("start {}", call.text(first))),
            libc::SYS_execveat => Some(format!("start {}", call.text(second))),

            libc::SYS_open if writes(second) => refused("open", change(here, first)),
            libc::SYS_creat => refused("open", change(here, first)),
            libc::SYS_openat if writes(third) => refused("open", change(first, second)),
            libc::SYS_openat2 if writes(call.word(third)) => refused("open", change(first, second)),
            libc::SYS_truncate => refused("truncate", change(here, first)),
            libc::SYS_mkdir | libc::SYS_mknod => refused("make", change(here, first)),
            libc::SYS_mkdirat | libc::SYS_mknodat => refused("make", change(first, second)),
            libc::SYS_rmdir | libc::SYS_unlink => refused("remove", change(here, first)),
            libc::SYS_unlinkat => refused("remove", change(first, second)),
            libc::SYS_rename | libc::SYS_link => refused("rename", change(here, first))
                .or_else(|| refused("rename", change(here, second))),
            libc::SYS_renameat | libc::SYS_renameat2 | libc::SYS_linkat => {
                refused("rename", change(first, second))
                    .or_else(|| refused("rename", change(third, fourth)))
            }
            libc::SYS_symlink => refused("link", change(here, second)),
            libc::SYS_symlinkat => refused("link", change(second, third)),
            libc::SYS_chmod
            | libc::SYS_chown
            | libc::SYS_lchown
            | libc::SYS_utime
            | libc::SYS_utimes
            | libc::SYS_setxattr
            | libc::SYS_lsetxattr
            | libc::SYS_removexattr
            | libc::SYS_lremovexattr => refused("change", change(here, first)),
            libc::SYS_fchmodat | libc::SYS_fchownat | libc::SYS_futimesat => {
                refused("change", change(first, second))
            }
            // Without a path it is an open file's.
            libc::SYS_utimensat if second != 0 => refused("change", change(first, second)),
            libc::SYS_bind => match call.address(second, third) {
                Address::Unix(path) if self.is_ours(&path) => None,
                Address::Internet => None,
                Address::Netlink => None,
                other => Some(format!("listen {other:?}")),
            },
            libc::SYS_connect => match call.address(second, third) {
                Address::Internet => None,
                Address::Unix(path) if self.is_ours(&path) => None,
                other => Some(format!("connect {other:?}")),
            },
            libc::SYS_sendto => match call.address(fifth, 12) {
                // The type of the message; the kernel is only asked to list (`RTM_GET*`).
                Address::Netlink => {
                    let kind = call.word(second) >> 32 & 0xffff;
                    (kind % 4 != 2).then(|| format!("send a netlink message of type {kind}"))
                }
                _ => None,
            },
            libc::SYS_socket => {
                let family = i32::try_from(first).unwrap();
                let kind = i32::try_from(second & 0xf).unwrap();
                let is_plain = [libc::SOCK_STREAM, libc::SOCK_DGRAM].contains(&kind);
                match family {
                    libc::AF_UNIX => None,
                    libc::AF_INET | libc::AF_INET6 if is_plain => None,
                    libc::AF_NETLINK if third == 0 => None,
                    _ => Some(format!("socket of family {family} and kind {kind}")),
                }
            }
            libc::SYS_ioctl => {
                let harmless = [libc::TCGETS, libc::TIOCGWINSZ, libc::FIONBIO, libc::FIOCLEX];
                (!harmless.contains(&second))
                    .then(|| format!("ioctl {second:#x} of {}", call.descriptor(first).display()))
            }
            libc::SYS_kill | libc::SYS_tkill => Some(format!("signal {first}")),
            libc::SYS_tgkill if first != u64::from(main.as_raw().cast_unsigned()) => {
                Some(format!("signal {first}"))
            }
            // Asking changes nothing.
            libc::SYS_prlimit64 if first == 0 => None,
            libc::SYS_adjtimex if call.word(first) & 0xffff_ffff == 0 => None,
            number => FORBIDDEN
                .iter()
                .find(|(forbidden, _)| *forbidden == number)
                .map(|(_, name)| (*name).to_owned()),
        }
    }

    fn is_ours(&self, path: &Path) -> bool {
        path == Path::new("/dev/null") || self.directories.iter().any(|ours| path.starts_with(ours))
    }
}

/// Calls that have no business in a simulation, whatever their arguments are.
const FORBIDDEN: &[(i64, &str)] = &[
    (libc::SYS_mount, "mount"),
    (libc::SYS_umount2, "umount"),
    (libc::SYS_fsopen, "fsopen"),
    (libc::SYS_fspick, "fspick"),
    (libc::SYS_fsmount, "fsmount"),
    (libc::SYS_move_mount, "move_mount"),
    (libc::SYS_open_tree, "open_tree"),
    (libc::SYS_mount_setattr, "mount_setattr"),
    (libc::SYS_pivot_root, "pivot_root"),
    (libc::SYS_chroot, "chroot"),
    (libc::SYS_setns, "setns"),
    (libc::SYS_unshare, "unshare"),
    (libc::SYS_reboot, "reboot"),
    (libc::SYS_kexec_load, "kexec_load"),
    (libc::SYS_kexec_file_load, "kexec_file_load"),
    (libc::SYS_init_module, "init_module"),
    (libc::SYS_finit_module, "finit_module"),
    (libc::SYS_delete_module, "delete_module"),
    (libc::SYS_settimeofday, "settimeofday"),
    (libc::SYS_clock_settime, "clock_settime"),
    (libc::SYS_clock_adjtime, "clock_adjtime"),
    (libc::SYS_adjtimex, "adjtimex"),
    (libc::SYS_sethostname, "sethostname"),
    (libc::SYS_setdomainname, "setdomainname"),
    (libc::SYS_swapon, "swapon"),
    (libc::SYS_swapoff, "swapoff"),
    (libc::SYS_sync, "sync"),
    (libc::SYS_quotactl, "quotactl"),
    (libc::SYS_quotactl_fd, "quotactl_fd"),
    (libc::SYS_acct, "acct"),
    (libc::SYS_syslog, "syslog"),
    (libc::SYS_iopl, "iopl"),
    (libc::SYS_ioperm, "ioperm"),
    (libc::SYS_bpf, "bpf"),
    (libc::SYS_ptrace, "ptrace"),
    (libc::SYS_process_vm_writev, "process_vm_writev"),
    (libc::SYS_pidfd_send_signal, "pidfd_send_signal"),
    (libc::SYS_prlimit64, "prlimit64 of another process"),
    (libc::SYS_fork, "fork"),
    (libc::SYS_vfork, "vfork"),
    // They would go around this.
    (libc::SYS_io_uring_setup, "io_uring_setup"),
    (libc::SYS_open_by_handle_at, "open_by_handle_at"),
    (libc::SYS_fchmodat2, "fchmodat2"),
];

fn writes(flags: u64) -> bool {
    let flags = i32::try_from(flags & 0x7fff_ffff).unwrap();
    let anything = libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC;
    flags & anything != 0
}

#[derive(Debug)]
#[allow(dead_code, reason = "shown in a failure")]
enum Address {
    None,
    Unix(PathBuf),
    Internet,
    Netlink,
    Other(u16),
}

impl Call {
    fn bytes(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let base = usize::try_from(address).unwrap();
        // A page at a time: the next one may not be there.
        let mut done = 0;
        while done < length {
            let page = 4096 - (base + done) % 4096;
            let part = page.min(length - done);
            let remote = RemoteIoVec {
                base: base + done,
                len: part,
            };
            let local = IoSliceMut::new(&mut bytes[done..done + part]);
            if process_vm_readv(self.thread, &mut [local], &[remote]) != Ok(part) {
                break;
            }
            done += part;
        }
        bytes.truncate(done);
        bytes
    }

    fn word(&self, address: u64) -> u64 {
        let bytes = self.bytes(address, 8);
        bytes
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    fn text(&self, address: u64) -> String {
        let bytes = self.bytes(address, 4096);
        let end = bytes.iter().position(|byte| *byte == 0);
        let text = CString::new(&bytes[..end.unwrap_or(bytes.len())]).unwrap();
        text.to_string_lossy().into_owned()
    }

    fn descriptor(&self, descriptor: u64) -> PathBuf {
        let link = format!("/proc/{}/fd/{descriptor}", self.thread);
        std::fs::read_link(&link).unwrap_or_else(|_| link.into())
    }

    /// An absolute path without `..`, with the links of its directories followed.
    fn path(&self, at: u64, path: u64) -> PathBuf {
        let path = PathBuf::from(self.text(path));
        let start = if u32::try_from(at & 0xffff_ffff).unwrap().cast_signed() == libc::AT_FDCWD {
            std::fs::read_link(format!("/proc/{}/cwd", self.thread)).unwrap()
        } else {
            self.descriptor(at)
        };
        let whole = start.join(path);
        let mut plain = PathBuf::new();
        for component in whole.components() {
            match component {
                Component::ParentDir => {
                    plain.pop();
                }
                other => plain.push(other),
            }
        }
        match (plain.parent().map(Path::canonicalize), plain.file_name()) {
            (Some(Ok(parent)), Some(name)) => parent.join(name),
            _ => plain,
        }
    }

    fn address(&self, address: u64, length: u64) -> Address {
        if address == 0 {
            return Address::None;
        }
        let bytes = self.bytes(address, usize::try_from(length.min(110)).unwrap());
        let Some(family) = bytes.first_chunk() else {
            return Address::None;
        };
        let family = u16::from_ne_bytes(*family);
        match i32::from(family) {
            libc::AF_UNIX => {
                let name = &bytes[2..];
                let end = name.iter().position(|byte| *byte == 0);
                let name = String::from_utf8_lossy(&name[..end.unwrap_or(name.len())]);
                Address::Unix(PathBuf::from(name.into_owned()))
            }
            libc::AF_INET | libc::AF_INET6 | libc::AF_UNSPEC => Address::Internet,
            libc::AF_NETLINK => Address::Netlink,
            _ => Address::Other(family),
        }
    }
}
