//! Programs of an untrusted image, run within it and apart from this machine.
//!
//! A directory of its own does not confine a program that is root, so there are several:
//!
//! * [`command`] makes processes, mounts, names, IPC and network of their own by `unshare`, and
//!   in them starts this very program again, which is
//! * [`main`]: it makes the image the root directory, gives it the few device nodes that are
//!   named, `/proc` and `/sys` to read, an empty `/run`, and starts the program without every
//!   capability by which root gets out of there: to mount, to make nodes, to change the root, to
//!   load modules, to trace.
//!
//! It stays the first of these processes, which the program can neither stop nor trace, and ends
//! with the program, with the processes that the agent ends, or when nobody reads any more what
//! the program says. With it go all others, whatever group they are in, and all mounts. The
//! program, with all that it starts, has a share of memory and of processes: `limits`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::mpsc::channel;

use ironic_text::printable;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, FileType, Mode};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::DumpableBehavior;
use rustix::thread::CapabilitySet;

use super::Cmd;

mod error;
mod limits;

use error::SandboxError;
use limits::{LimitExceeded, ResourceLimits, UsageWatch};

/// The word that makes this program [`main`].
pub const NAME: &str = "run-in-image";
/// Mount points, hostname, System V IPC, processes and network of its own.
const APART: [&str; 6] = ["-m", "-u", "-i", "-p", "-n", "-f"];
/// Before the node of the EFI system partition.
const EFI_SYSTEM: &str = "--efi-system=";
/// What stands between what the program gets to see and the program.
const END: &str = "--";
/// Where programs are in the image.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// Where the EFI system partition is in the image.
pub const EFI_SYSTEM_MOUNT_POINT: &str = "/boot/efi";
/// Nodes that every program may expect.
const NODES: [&str; 6] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
];
/// What root keeps: to read and write the files of the image, of any owner, and to become
/// another user.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID);
/// Bytes of each of its outputs that are kept: it may say anything for minutes.
const TAIL: usize = 64 << 10;
/// The status of a shell that could not start a program.
const NOT_STARTED: u8 = 126;

/// What a program of an image gets to see of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VisibleDevices {
    /// Device nodes: `/dev/sda`.
    pub nodes: BTreeSet<String>,
    /// Other names, `/dev/disk/by-uuid/…`, of these nodes.
    pub names: BTreeMap<String, String>,
    /// The node of a FAT file system that is mounted at [`EFI_SYSTEM_MOUNT_POINT`].
    pub efi_system: Option<String>,
}

impl VisibleDevices {
    fn words(&self) -> impl Iterator<Item = String> {
        let names = self
            .names
            .iter()
            .map(|(name, node)| format!("{name}={node}"));
        let efi_system = self
            .efi_system
            .iter()
            .map(|node| format!("{EFI_SYSTEM}{node}"));
        self.nodes.iter().cloned().chain(names).chain(efi_system)
    }

    fn of(words: &[String]) -> Self {
        let mut view = Self::default();
        for word in words {
            if let Some(node) = word.strip_prefix(EFI_SYSTEM) {
                view.efi_system = Some(node.to_owned());
            } else if let Some((name, node)) = word.split_once('=') {
                view.names.insert(name.to_owned(), node.to_owned());
            } else {
                view.nodes.insert(word.clone());
            }
        }
        view
    }
}

/// A program of the image that is mounted at `image`. Of the machine it sees `view`, and of the
/// environment what `environment` says, as `NAME=value`.
///
/// # Errors
/// This program does not know where it is.
pub fn command(
    image: &Path,
    view: &VisibleDevices,
    environment: &[&str],
    program: &[&str],
) -> io::Result<Cmd> {
    let own = std::env::current_exe()?;
    Ok(Cmd::new("unshare")
        .args(APART)
        .args([own.display().to_string(), NAME.to_owned()])
        .arg(image.display().to_string())
        .args(view.words())
        .arg(END)
        .args(environment.iter().copied())
        .args(program.iter().copied())
        .tail(TAIL))
}

/// Runs the program. `arguments` are this program's: its name, [`NAME`], the image, a
/// [`VisibleDevices`], `--`, the environment, the program and its arguments. Must run as
/// `unshare` leaves it: as the first process of its own, with mounts of its own. Ends with the
/// status of the program.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Result<Vec<String>, _> = arguments.skip(2).map(OsString::into_string).collect();
    let ended = match arguments {
        Ok(arguments) => run(&arguments),
        Err(_) => Err(SandboxError::NotText),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("{}", printable(&format!("ironic-agent {NAME}: {error}")));
        ExitCode::from(NOT_STARTED)
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the caller of this program has the timeout"
)]
fn run(arguments: &[String]) -> Result<ExitCode, SandboxError> {
    let mut parts = arguments.splitn(2, |argument| argument == END);
    let (Some([image, view @ ..]), Some(program)) = (parts.next(), parts.next()) else {
        return Err(SandboxError::Usage);
    };
    // Nobody else may run this: it would take the capabilities from its caller, and mount over
    // the directories of the machine.
    if std::process::id() != 1 {
        return Err(SandboxError::NotFirstProcess);
    }
    let is_variable = |argument: &&String| argument.contains('=');
    let environment = program.iter().take_while(is_variable);
    let Some((name, arguments)) = program[environment.clone().count()..].split_first() else {
        return Err(SandboxError::NoProgram);
    };
    let watch = confine(Path::new(image), &VisibleDevices::of(view))?;
    let mut program = Command::new(name);
    program.args(arguments).env_clear().env("PATH", PATH);
    for (variable, value) in environment.filter_map(|argument| argument.split_once('=')) {
        program.env(variable, value);
    }
    let of_program = |source| SandboxError::Program {
        name: name.clone(),
        source,
    };
    let mut child = program.spawn().map_err(of_program)?;
    // Whichever is first; with this process the others go, too.
    let (tell, ends) = channel();
    let (unheard, exceeded) = (tell.clone(), tell.clone());
    std::thread::spawn(move || tell.send(SandboxEnd::Program(child.wait())));
    std::thread::spawn(move || {
        until_unheard();
        unheard.send(SandboxEnd::Unheard)
    });
    std::thread::spawn(move || {
        let excess = watch.until_exceeded();
        excess.map(|excess| exceeded.send(SandboxEnd::Exceeded(excess)))
    });
    match ends.recv() {
        Ok(SandboxEnd::Program(Ok(status))) => {
            let code = status
                .code()
                .or_else(|| status.signal().map(|signal| 128 + signal));
            let code = code.and_then(|code| u8::try_from(code).ok());
            Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
        }
        Ok(SandboxEnd::Program(Err(error))) => Err(of_program(error)),
        Ok(SandboxEnd::Exceeded(excess)) => Err(SandboxError::Exceeded {
            name: name.clone(),
            excess,
        }),
        Ok(SandboxEnd::Unheard) | Err(_) => Err(SandboxError::Unheard),
    }
}

/// Why the first process ends.
enum SandboxEnd {
    /// The program has.
    Program(io::Result<std::process::ExitStatus>),
    /// It takes too much.
    Exceeded(LimitExceeded),
    /// Nobody reads what it says.
    Unheard,
}

/// Waits until nobody reads this process's output: the agent has given it up, or is gone itself.
fn until_unheard() {
    let output = io::stdout();
    let mut heard = [PollFd::new(&output, PollFlags::empty())];
    // Interrupted by a signal, it is asked again.
    while heard[0].revents().is_empty() {
        if let Err(error) = poll(&mut heard, None)
            && error != Errno::INTR
        {
            return;
        }
    }
}

/// Leaves the machine for the image, with only what the program is to see.
fn confine(image: &Path, view: &VisibleDevices) -> Result<UsageWatch, SandboxError> {
    let watch = ResourceLimits::of_machine().apply();
    // As long as the machine's own /dev is to be seen.
    let nodes = view.nodes.iter().chain(&view.efi_system);
    let named: BTreeSet<&str> = nodes.map(String::as_str).chain(NODES).collect();
    let devices: Vec<DeviceNode> = named.into_iter().filter_map(DeviceNode::find).collect();
    std::env::set_current_dir(image).map_err(at(image))?;
    rustix::process::chroot(".").map_err(at(image))?;
    std::env::set_current_dir("/").map_err(at(image))?;
    // From here on every path is one of the image, also if that has links.
    let plain = MountFlags::NOSUID | MountFlags::NOEXEC;
    let without_nodes = plain | MountFlags::NODEV;
    let read_only = without_nodes | MountFlags::RDONLY;
    let put = |kind: &str, from: &str, mount_point: &str, flags: MountFlags, size: &CStr| {
        let mounted = mount(from, mount_point, kind, flags, size);
        mounted.map_err(at(Path::new(mount_point)))
    };
    put("tmpfs", "dev", "/dev", plain, c"mode=755,size=1m")?;
    put("proc", "proc", "/proc", read_only, c"")?;
    put("sysfs", "sysfs", "/sys", read_only, c"")?;
    put("tmpfs", "run", "/run", without_nodes, c"mode=755,size=16m")?;
    for device in &devices {
        device.make().map_err(at(&device.path))?;
    }
    let standard = [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
    ];
    let names = view
        .names
        .iter()
        .map(|(name, node)| (name.as_str(), node.as_str()));
    for (path, target) in names.chain(standard) {
        link(Path::new(path), Path::new(target)).map_err(at(Path::new(path)))?;
    }
    if let Some(node) = &view.efi_system {
        put("vfat", node, EFI_SYSTEM_MOUNT_POINT, without_nodes, c"")?;
    }
    // What the program may not do, it may not do to this process either.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .and_then(|()| rustix::thread::set_no_new_privs(true))
        .map_err(SandboxError::Privileges)?;
    give_up_capabilities().map_err(SandboxError::Capabilities)?;
    Ok(watch)
}

/// A device node as it is on the machine.
#[derive(Debug, PartialEq, Eq)]
struct DeviceNode {
    path: PathBuf,
    kind: FileType,
    number: u64,
}

impl DeviceNode {
    /// `None`: there is no such device; the program that needs it reports that.
    fn find(path: &str) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let kind = metadata.file_type();
        let kind = if kind.is_block_device() {
            FileType::BlockDevice
        } else if kind.is_char_device() {
            FileType::CharacterDevice
        } else {
            return None;
        };
        Some(Self {
            path: PathBuf::from(path),
            kind,
            number: metadata.rdev(),
        })
    }

    fn make(&self) -> io::Result<()> {
        make_parent(&self.path)?;
        let mode = if self.kind == FileType::BlockDevice {
            Mode::RUSR | Mode::WUSR
        } else {
            Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP | Mode::ROTH | Mode::WOTH
        };
        let made = rustix::fs::mknodat(CWD, &self.path, self.kind, mode, self.number);
        made.map_err(io::Error::from)
    }
}

fn link(path: &Path, target: &Path) -> io::Result<()> {
    make_parent(path)?;
    symlink(target, path)
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// What is not in the bounding set, no program that is started can get, root or not. This
/// process keeps what it has, so that the program cannot trace it.
fn give_up_capabilities() -> rustix::io::Result<()> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if KEPT.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // Behind the last one that this kernel knows.
            Err(Errno::INVAL) => break,
            other => other?,
        }
    }
    Ok(())
}

/// The error of what is tried with a path.
fn at<E: Into<io::Error>>(path: &Path) -> impl FnOnce(E) -> SandboxError {
    move |error| SandboxError::Path {
        path: path.to_owned(),
        source: error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandboxed_program_gets_its_arguments_unchanged() {
        let node = "/dev/sda2".to_owned();
        let view = VisibleDevices {
            nodes: ["/dev/sda".to_owned(), node.clone()].into(),
            names: [("/dev/disk/by-uuid/1-2".to_owned(), node)].into(),
            efi_system: Some("/dev/sda1".to_owned()),
        };
        let words: Vec<String> = view.words().collect();
        assert_eq!(words.len(), 4);
        assert_eq!(VisibleDevices::of(&words), view);
    }

    #[test]
    fn invalid_input_is_reported_and_nothing_is_changed() {
        let run = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            run(&words).unwrap_err().to_string()
        };
        assert!(run(&[]).starts_with("usage:"));
        assert!(run(&["/image", "/dev/sda"]).starts_with("usage:"));
        // Outside of namespaces it would take the machine apart.
        assert!(run(&["/", "--", "true"]).contains("in namespaces of its own"));
        assert!(Path::new("/proc/self/exe").exists());
    }
}
